//! `hubbub bench churn`: connections come and go, and the nodes' memory should not grow.

use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::args::at_least_one;
use crate::error::BenchError;
use crate::fleet::{Fleet, FleetPlan};
use crate::node::{Cluster, Target};
use crate::plan::LoadCounts;
use crate::report::{Output, Report};
use crate::usage;

/// The wait before memory is read: leaves are announced after 5 s, and rooms close 5 s after their
/// last member.
const SETTLE: Duration = Duration::from_secs(12);

/// Arguments of `hubbub bench churn`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ChurnArgs {
    /// Connections to open, in all
    #[arg(long, default_value_t = 100_000)]
    connections: u64,
    /// Connections per second. Each is ended by a reset, so that no port stays in TIME_WAIT
    #[arg(long, default_value_t = 1000.0)]
    rate: f64,
    /// How often memory is read; growth is counted from the first reading
    #[arg(long, default_value_t = 10, value_parser = at_least_one())]
    looks: usize,
    /// Rooms that the connections join
    #[arg(long, default_value_t = 100, value_parser = at_least_one())]
    rooms: usize,
    /// Processes that make the load, each with up to 500 connections at a time
    #[arg(long, default_value_t = 1, value_parser = at_least_one())]
    processes: usize,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn run(args: &ChurnArgs) -> Result<(), BenchError> {
    let cluster = Cluster::open(&args.target, 1).await?;
    let plan = FleetPlan {
        nodes: cluster.addresses(),
        access: cluster.access.clone(),
        processes: args.processes,
        members: 500 * args.processes,
        rooms: args.rooms,
        name: format!("bench-{:08x}", fastrand::u32(..)),
    };
    let mut fleet = Fleet::connect(plan).await?;
    let mut report = Report::new("churn", &args.output, args.looks);
    let count = args.connections / args.looks as u64;
    let mut first = None;
    for look in 1..=args.looks as u64 {
        report.step(format!("{} connections", look * count));
        let (before, start) = (cluster.cpu()?, Instant::now());
        let seen = fleet.churn(args.rate, count).await?;
        let (cpu, took) = (cluster.cpu()?, start.elapsed());
        sleep(SETTLE).await;
        let memory = memory(&cluster)?;
        let base = *first.get_or_insert(memory);
        let cpu = before
            .zip(cpu)
            .map(|(before, after)| after.saturating_sub(before));
        report.row(json!({
            "connections": look * count,
            "failed": seen.refused,
            "a second": seen.acked as f64 / took.as_secs_f64(),
            "joined p50 ms": LoadCounts::quantile(&[&seen.acks], 0.5),
            "joined p99 ms": LoadCounts::quantile(&[&seen.acks], 0.99),
            "cpu s/1000": cpu.map(|cpu| cpu as f64 / 1e6 / seen.acked.max(1) as f64),
            "PSS KiB": memory.map(|bytes| bytes / 1024),
            "% of first": base.zip(memory).map(|(base, now)| 100.0 * now as f64 / base as f64),
        }))?;
    }
    report.note(
        "cpu s/1000: CPU seconds of the nodes for 1,000 cycles of connect, token, join, reset. PSS: read 12 s after the last of them.",
    );
    report.finish()?;
    Ok(())
}

fn memory(cluster: &Cluster) -> Result<Option<u64>, BenchError> {
    let Some(pids) = cluster.pids() else {
        return Ok(None);
    };
    pids.iter()
        .map(|&pid| usage::pss(pid))
        .sum::<Result<u64, _>>()
        .map(Some)
}
