//! `hubbub bench idle`: a node's memory for an idle connection in one room, and its CPU time for a
//! handshake, at several sizes. Memory should grow in a straight line.

use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::time::sleep;

use crate::access::Access;
use crate::args::at_least_one;
use crate::error::BenchError;
use crate::fleet::{Fleet, FleetPlan, FloorProcess};
use crate::node::{Cluster, Target};
use crate::report::{Output, Report};
use crate::usage;

/// Connections that warm the node up and are not counted.
const WARM_UP: usize = 100;
/// The wait after the last join for presence frames and buffers to settle.
const SETTLE: Duration = Duration::from_secs(5);

/// Arguments of `hubbub bench idle`.
#[derive(Debug, Clone, Args)]
pub(crate) struct IdleArgs {
    /// How many connections; several numbers make several steps, each in addition to those before
    #[arg(long, value_delimiter = ',', default_value = "10000")]
    connections: Vec<usize>,
    /// Rooms that the connections are spread over, one room for each connection
    #[arg(long, default_value_t = 100, value_parser = at_least_one())]
    rooms: usize,
    /// Processes that hold the client ends; each needs one open file per connection
    #[arg(long, default_value_t = 1, value_parser = at_least_one())]
    processes: usize,
    /// Measure the floor too
    #[arg(long)]
    floor: bool,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    output: Output,
}

/// The processes of one system, and how clients reach them.
struct IdleSystem {
    name: &'static str,
    nodes: Vec<std::net::SocketAddr>,
    access: Access,
    pids: Vec<u32>,
}

pub(crate) async fn run(args: &IdleArgs) -> Result<(), BenchError> {
    let cluster = Cluster::open(&args.target, 1).await?;
    let pids = cluster.pids().ok_or(BenchError::Arguments(
        "bench idle reads the nodes' memory: give each --url its --pid",
    ))?;
    let mut systems = vec![IdleSystem {
        name: cluster.access.protocol.name(),
        nodes: cluster.addresses(),
        access: cluster.access.clone(),
        pids,
    }];
    let floor = if args.floor {
        Some(FloorProcess::start(None).await?)
    } else {
        None
    };
    systems.extend(floor.iter().map(|floor| IdleSystem {
        name: "floor",
        nodes: vec![floor.address],
        access: Access::default(),
        pids: vec![floor.pid],
    }));
    let steps = systems.len() * args.connections.len();
    let mut report = Report::new("idle", &args.output, steps);
    report.bars("bytes each");
    for system in &systems {
        measure(args, system, &mut report).await?;
    }
    report.note(
            "bytes each: memory (PSS) of all nodes per connection in one room. s/1000 shakes: CPU seconds of the nodes \
             for 1,000 handshakes up to the welcome, each with a token; s/1000 joins: for 1,000 joins.",
    );
    report.finish()?;
    Ok(())
}

async fn measure(
    args: &IdleArgs,
    system: &IdleSystem,
    report: &mut Report,
) -> Result<(), BenchError> {
    let IdleArgs { rooms, .. } = args;
    let (_warm, ..) = grow(args, system, WARM_UP).await?;
    sleep(SETTLE).await;
    let before = memory(system)?;
    let mut held = Vec::new();
    let mut total = 0;
    for &connections in &args.connections {
        report.step(format!("{} {connections}", system.name));
        let more = connections.saturating_sub(total);
        let (fleet, shaken, joined) = grow(args, system, more).await?;
        held.push(fleet);
        total += more;
        sleep(SETTLE).await;
        let after = memory(system)?;
        let per_thousand = |nanos: u64| nanos as f64 / 1e6 / more.max(1) as f64;
        report.row(json!({
            "system": system.name,
            "connections": total,
            "rooms": rooms,
            "KiB before": before / 1024,
            "KiB after": after / 1024,
            "bytes each": after.saturating_sub(before) / total.max(1) as u64,
            "s/1000 shakes": per_thousand(shaken),
            "s/1000 joins": per_thousand(joined),
        }))?;
    }
    Ok(())
}

/// Adds connections. Returns the nodes' CPU time for their handshakes and for their joins, in
/// nanoseconds.
async fn grow(
    args: &IdleArgs,
    system: &IdleSystem,
    connections: usize,
) -> Result<(Fleet, u64, u64), BenchError> {
    let begin = usage::cpu_of(&system.pids)?;
    let plan = FleetPlan {
        nodes: system.nodes.clone(),
        access: system.access.clone(),
        processes: args.processes,
        members: connections,
        rooms: args.rooms,
        name: format!("bench-{:08x}", fastrand::u32(..)),
    };
    let mut fleet = Fleet::connect(plan).await?;
    let shaken = usage::cpu_of(&system.pids)?;
    fleet.join().await?;
    let joined = usage::cpu_of(&system.pids)?;
    Ok((
        fleet,
        shaken.saturating_sub(begin),
        joined.saturating_sub(shaken),
    ))
}

fn memory(system: &IdleSystem) -> Result<u64, BenchError> {
    system.pids.iter().map(|&pid| usage::pss(pid)).sum()
}
