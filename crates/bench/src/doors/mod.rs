//! `hubbub bench doors`: the same messages over every transport: bytes, requests, latency, CPU.

mod door;
mod ear;
mod http;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use futures_util::future::try_join_all;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

pub(crate) use self::door::Door;
use self::door::{Listener, Sender};
use self::ear::Heard;
use crate::access::Credentials;
use crate::args::at_least_one;
use crate::clock;
use crate::error::BenchError;
use crate::node::{Cluster, Target};
use crate::plan::Load;
use crate::report::{Output, Report};
use crate::tally::counts;

/// The wait for presence to settle, and for the last messages to arrive.
const SETTLE: Duration = Duration::from_secs(2);

/// Arguments of `hubbub bench doors`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DoorsArgs {
    /// The transports to measure; all if left out
    #[arg(long, value_delimiter = ',')]
    door: Vec<Door>,
    /// Listeners on each transport; the transports are measured one after the other
    #[arg(long, default_value_t = 100, value_parser = at_least_one())]
    listeners: usize,
    /// Messages per second
    #[arg(long, default_value_t = 10.0)]
    rate: f64,
    /// For how long, in seconds; below 20, so that no heartbeat is missed
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..20))]
    seconds: u32,
    /// The time between two polls of a REST listener, in milliseconds
    #[arg(long, default_value_t = 1000)]
    poll_ms: u64,
    /// Bytes of each message's body
    #[arg(long, default_value_t = 128)]
    payload: usize,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn run(args: &DoorsArgs) -> Result<(), BenchError> {
    let cluster = Cluster::open(&args.target, 1).await?;
    cluster.check_is_hubbub()?;
    let doors = if args.door.is_empty() {
        Door::value_variants()
    } else {
        &args.door
    };
    let mut report = Report::new("doors", &args.output, doors.len() + 1);
    report.bars("cpu us");
    report.step("nobody");
    let mut base = 0;
    // The CPU time of the sends themselves.
    let (alone, _) = measure(args, &cluster, None, &mut base).await?;
    for &door in doors {
        report.step(door.name());
        let (cpu, heard) = measure(args, &cluster, Some(door), &mut base).await?;
        let each = |count: u64| count as f64 / heard.deliveries.max(1) as f64;
        let cpu = cpu.zip(alone).map(|(cpu, alone)| cpu.saturating_sub(alone));
        let millis = |quantile: f64| heard.latency.value_at_quantile(quantile) as f64 / 1000.0;
        report.row(json!({
            "door": door.name(),
            "bytes": each(heard.bytes),
            "requests": each(heard.requests),
            "p50 ms": millis(0.5),
            "p99 ms": millis(0.99),
            "cpu us": cpu.map(|nanos| each(nanos) / 1000.0),
            "delivered": heard.deliveries,
            "missed": heard.missed,
        }))?;
        report.curve("by door", door.name(), &counts(&heard.latency));
    }
    report.note(format!(
            "{} listeners, {} messages/s of {} B. bytes, requests, cpu us: per message that a listener receives; bytes both \
             ways above TCP, CPU of the nodes without that of the sends. REST listeners poll every {} ms.",
        args.listeners, args.rate, args.payload, args.poll_ms
    ));
    report.finish()?;
    Ok(())
}

async fn measure(
    args: &DoorsArgs,
    cluster: &Cluster,
    door: Option<Door>,
    base: &mut u64,
) -> Result<(Option<u64>, Heard), BenchError> {
    let addresses = cluster.addresses();
    let name = format!("bench-{:08x}", fastrand::u32(..));
    let token = |number: usize| token(&cluster.access.credentials, &format!("{name}-{number}"));
    let mut sender = Sender::enter(addresses[0], token(args.listeners)?).await?;
    let listeners = match door {
        Some(door) => enter(args, door, &addresses, token).await?,
        None => Vec::new(),
    };
    sleep(SETTLE).await;
    let load = Load {
        start: clock::now() + 50_000_000,
        rate: args.rate,
        base: *base,
        count: (args.rate * f64::from(args.seconds)).max(1.0) as u64,
        payload: args.payload,
        senders: 1,
    };
    *base = load.end();
    let before = cluster.cpu()?;
    let (stop, stopped) = watch::channel(false);
    let mut ears = JoinSet::new();
    for listener in listeners {
        ears.spawn(listener.hear(load, stopped.clone()));
    }
    sender.send(load).await?;
    sleep(Duration::from_millis(args.poll_ms)).await;
    let cpu = before
        .zip(cluster.cpu()?)
        .map(|(before, after)| after.saturating_sub(before));
    sleep(SETTLE).await;
    stop.send_replace(true);
    let mut sum = Heard::default();
    while let Some(heard) = ears.join_next().await {
        sum.add(&heard.map_err(io::Error::other)??);
    }
    Ok((cpu, sum))
}

/// Connects all listeners, 50 at a time.
async fn enter(
    args: &DoorsArgs,
    door: Door,
    addresses: &[SocketAddr],
    token: impl Fn(usize) -> Result<String, BenchError>,
) -> Result<Vec<Listener>, BenchError> {
    let poll = Duration::from_millis(args.poll_ms);
    let mut listeners = Vec::new();
    for first in (0..args.listeners).step_by(50) {
        let some = first..args.listeners.min(first + 50);
        let entering = some.map(|number| {
            let host = addresses[number % addresses.len()];
            let token = token(number);
            async move { Ok::<_, BenchError>(Listener::enter(door, host, token?, poll).await?) }
        });
        listeners.extend(try_join_all(entering).await?);
    }
    Ok(listeners)
}

fn token(credentials: &Credentials, user: &str) -> Result<String, BenchError> {
    let token = credentials.token(user).map_err(BenchError::Worker)?;
    token.ok_or(BenchError::Arguments(
        "bench doors needs --secret with --url: REST does not accept guests",
    ))
}
