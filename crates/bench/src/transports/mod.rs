//! `hubbub bench doors`: the same messages over every transport: bytes, requests, latency, CPU.

mod http;
mod listener;
mod scanner;
mod transport;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use futures_util::future::try_join_all;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use self::listener::{Listener, Sender};
use self::scanner::TransportCounts;
pub(crate) use self::transport::Transport;
use crate::access::Credentials;
use crate::args::at_least_one;
use crate::clock;
use crate::error::BenchError;
use crate::node::{Cluster, Target};
use crate::plan::Load;
use crate::report::{Output, Report};
use crate::tally::counts as encode;

/// The wait for presence to settle, and for the last messages to arrive.
const SETTLE: Duration = Duration::from_secs(2);

/// Arguments of `hubbub bench doors`.
#[derive(Debug, Clone, Args)]
pub(crate) struct TransportsArgs {
    /// The transports to measure; all if left out
    #[arg(long = "door", value_name = "DOOR", value_delimiter = ',')]
    transports: Vec<Transport>,
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

pub(crate) async fn run(args: &TransportsArgs) -> Result<(), BenchError> {
    let cluster = Cluster::open(&args.target, 1).await?;
    cluster.check_is_hubbub()?;
    let transports = if args.transports.is_empty() {
        Transport::value_variants()
    } else {
        &args.transports
    };
    let mut report = Report::new("doors", &args.output, transports.len() + 1);
    report.bars("cpu us");
    report.step("nobody");
    let mut base = 0;
    // The CPU time of the sends themselves.
    let (alone, _) = measure(args, &cluster, None, &mut base).await?;
    for &transport in transports {
        report.step(transport.name());
        let (cpu, counts) = measure(args, &cluster, Some(transport), &mut base).await?;
        let each = |count: u64| count as f64 / counts.deliveries.max(1) as f64;
        let cpu = cpu.zip(alone).map(|(cpu, alone)| cpu.saturating_sub(alone));
        let millis = |quantile: f64| counts.latency.value_at_quantile(quantile) as f64 / 1000.0;
        report.row(json!({
            "door": transport.name(),
            "bytes": each(counts.bytes),
            "requests": each(counts.requests),
            "p50 ms": millis(0.5),
            "p99 ms": millis(0.99),
            "cpu us": cpu.map(|nanos| each(nanos) / 1000.0),
            "delivered": counts.deliveries,
            "missed": counts.missed,
        }))?;
        report.curve("by door", transport.name(), &encode(&counts.latency));
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
    args: &TransportsArgs,
    cluster: &Cluster,
    transport: Option<Transport>,
    base: &mut u64,
) -> Result<(Option<u64>, TransportCounts), BenchError> {
    let addresses = cluster.addresses();
    let name = format!("bench-{:08x}", fastrand::u32(..));
    let token = |number: usize| token(&cluster.access.credentials, &format!("{name}-{number}"));
    let mut sender = Sender::connect(addresses[0], token(args.listeners)?).await?;
    let listeners = match transport {
        Some(transport) => connect(args, transport, &addresses, token).await?,
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
    let mut listening = JoinSet::new();
    for listener in listeners {
        listening.spawn(listener.receive(load, stopped.clone()));
    }
    sender.send(load).await?;
    sleep(Duration::from_millis(args.poll_ms)).await;
    let cpu = before
        .zip(cluster.cpu()?)
        .map(|(before, after)| after.saturating_sub(before));
    sleep(SETTLE).await;
    stop.send_replace(true);
    let mut sum = TransportCounts::default();
    while let Some(counts) = listening.join_next().await {
        sum.add(&counts.map_err(io::Error::other)??);
    }
    Ok((cpu, sum))
}

/// Connects all listeners, 50 at a time.
async fn connect(
    args: &TransportsArgs,
    transport: Transport,
    addresses: &[SocketAddr],
    token: impl Fn(usize) -> Result<String, BenchError>,
) -> Result<Vec<Listener>, BenchError> {
    let poll = Duration::from_millis(args.poll_ms);
    let mut listeners = Vec::new();
    for first in (0..args.listeners).step_by(50) {
        let some = first..args.listeners.min(first + 50);
        let connecting =
            some.map(|number| {
                let host = addresses[number % addresses.len()];
                let token = token(number);
                async move {
                    Ok::<_, BenchError>(Listener::connect(transport, host, token?, poll).await?)
                }
            });
        listeners.extend(try_join_all(connecting).await?);
    }
    Ok(listeners)
}

fn token(credentials: &Credentials, user: &str) -> Result<String, BenchError> {
    let token = credentials.token(user).map_err(BenchError::Worker)?;
    token.ok_or(BenchError::Arguments(
        "bench doors needs --secret with --url: REST does not accept guests",
    ))
}
