//! `hubbub bench idle`: bytes of a node's memory for an idle connection in one room.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::Attach;
use crate::error::BenchError;
use crate::member::{Member, Place, join_all};
use crate::node;
use crate::procfs;

/// Connections that warm the node up and are not counted.
const WARM_UP: usize = 100;
/// After the last join, for presence frames and buffers to settle.
const SETTLE: Duration = Duration::from_secs(5);

/// Arguments of `hubbub bench idle`.
#[derive(Debug, Clone, Args)]
pub(crate) struct IdleArgs {
    /// How many connections
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Rooms that the connections are spread over, each in one
    #[arg(long, default_value_t = 100)]
    rooms: usize,
    #[command(flatten)]
    attach: Attach,
}

pub(crate) async fn run(args: &IdleArgs) -> Result<(), BenchError> {
    let IdleArgs {
        connections,
        rooms,
        attach,
    } = args;
    procfs::check_open_files(connections + WARM_UP)?;
    let nodes = node::open(attach, 1, None).await?;
    let [node] = nodes.as_slice() else {
        return Err(BenchError::Arguments("bench idle looks at one node"));
    };
    let place = |number: usize| Place {
        number,
        authority: node.authority.clone(),
        room: format!("bench-{}", number % rooms.max(&1)),
    };
    let mut held = JoinSet::new();
    hold(
        &mut held,
        join_all((0..WARM_UP).map(place).collect()).await?,
    );
    sleep(SETTLE).await;
    let before = procfs::pss(node.pid)?;
    let start = Instant::now();
    let places = (WARM_UP..WARM_UP + connections).map(place).collect();
    hold(&mut held, join_all(places).await?);
    let took = start.elapsed();
    sleep(SETTLE).await;
    let after = procfs::pss(node.pid)?;
    if let Some(Ok(number)) = held.try_join_next() {
        return Err(BenchError::Answer {
            number,
            expected: "to stay connected",
            got: "the end".to_owned(),
        });
    }
    let each = after.saturating_sub(before) / (*connections).max(1) as u64;
    let rate = *connections as f64 / took.as_secs_f64();
    let mut out = std::io::stdout().lock();
    writeln!(out, "idle connections      {connections} in {rooms} rooms")?;
    writeln!(
        out,
        "connected and joined  {:.1} s ({rate:.0}/s)",
        took.as_secs_f64()
    )?;
    writeln!(
        out,
        "node memory (PSS)     {} KiB -> {} KiB",
        before / 1024,
        after / 1024
    )?;
    writeln!(out, "bytes per connection  {each}")?;
    Ok(())
}

/// Keeps members connected: reads, so that pings are answered. A task ends with its connection.
fn hold(held: &mut JoinSet<usize>, members: Vec<Member>) {
    for mut member in members {
        held.spawn(async move {
            while member.next().await.is_some() {}
            member.number
        });
    }
}
