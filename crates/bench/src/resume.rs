//! `hubbub bench resume`: a node is killed, and its clients reconnect to the others.

use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::args::at_least_one;
use crate::error::BenchError;
use crate::fleet::{Fleet, FleetPlan};
use crate::node::{Cluster, Target};
use crate::plan::{Load, LoadCounts};
use crate::redis::Redis;
use crate::report::{Output, Report};

const SETTLE: Duration = Duration::from_secs(5);

/// Arguments of `hubbub bench resume`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ResumeArgs {
    /// Clients of the node that is killed; the other nodes have no clients before
    #[arg(long, default_value_t = 6000, value_parser = at_least_one())]
    connections: usize,
    /// Rooms that the clients are in
    #[arg(long, default_value_t = 100, value_parser = at_least_one())]
    rooms: usize,
    /// Processes that hold the clients
    #[arg(long, default_value_t = 1, value_parser = at_least_one())]
    processes: usize,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn run(args: &ResumeArgs) -> Result<(), BenchError> {
    let mut cluster = Cluster::open(&args.target, 3).await?;
    cluster.check_is_hubbub()?;
    let addresses = cluster.addresses();
    let (dying, others) = addresses.split_first().expect("there are three nodes");
    let plan = FleetPlan {
        nodes: vec![*dying],
        access: cluster.access.clone(),
        processes: args.processes,
        members: args.connections,
        rooms: args.rooms,
        name: format!("bench-{:08x}", fastrand::u32(..)),
    };
    let mut report = Report::new("resume", &args.output, 3);
    report.step("connecting");
    let mut fleet = Fleet::connect(plan).await?;
    fleet.join().await?;
    sleep(SETTLE).await;
    report.step("one message a room");
    // Every client gets a position to resume from.
    let load = Load {
        start: 0,
        rate: args.rooms as f64 / 2.0,
        base: 0,
        count: args.rooms as u64,
        payload: 128,
        senders: 1,
    };
    fleet.run(load, None).await?.check()?;
    report.step("killed");
    let reads = |redis: &Redis| -> Result<(u64, u64), BenchError> {
        Ok((redis.calls("xrange")?, redis.calls("xrevrange")?))
    };
    let before = cluster.redis.as_ref().map(reads).transpose()?;
    let start = Instant::now();
    let (killed, seen) = {
        let [node, ..] = cluster.nodes.as_mut_slice() else {
            return Err(BenchError::Arguments("bench resume needs three nodes"));
        };
        tokio::join!(node.kill(), fleet.resume(0, others))
    };
    killed?;
    let (seen, took) = (seen?, start.elapsed());
    let after = cluster.redis.as_ref().map(reads).transpose()?;
    let read = before
        .zip(after)
        .map(|(before, after)| after.0 + after.1 - before.0 - before.1);
    report.row(json!({
        "clients": args.connections,
        "rooms": args.rooms,
        "back": seen.acked,
        "not resumed": seen.duplicates,
        "failed tries": seen.refused,
        "all back s": took.as_secs_f64(),
        "p50 s": LoadCounts::quantile(&[&seen.acks], 0.5) / 1000.0,
        "p99 s": LoadCounts::quantile(&[&seen.acks], 0.99) / 1000.0,
        "stream reads": read,
    }))?;
    report.curve("from the end to the joined", "clients", &seen.acks);
    report.note("stream reads: XRANGE and XREVRANGE calls that Redis counted meanwhile. A client first tries at a random time within 1 s.");
    report.finish()?;
    if seen.acked < args.connections as u64 {
        return Err(BenchError::Worker(format!(
            "{} clients did not come back",
            args.connections as u64 - seen.acked
        )));
    }
    Ok(())
}
