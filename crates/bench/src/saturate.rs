//! `hubbub bench saturate`: the highest rate at which all members still receive in time, and the
//! latency well below it.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::args::at_least_one;
use crate::error::BenchError;
use crate::fleet::{Fleet, FleetPlan};
use crate::node::{Cluster, Target};
use crate::plan::{Load, LoadCounts};
use crate::report::{Output, Report};

const SETTLE: Duration = Duration::from_secs(3);
/// The search ends when the ratio of the bounds is below this.
const PRECISION: f64 = 1.06;
/// The share of the highest rate at which latency is measured.
const QUIET: f64 = 0.3;

/// Arguments of `hubbub bench saturate`.
#[derive(Debug, Clone, Args)]
pub(crate) struct SaturateArgs {
    /// Rooms
    #[arg(long, default_value_t = 1, value_parser = at_least_one())]
    rooms: usize,
    /// Members of each room
    #[arg(long, default_value_t = 1000, value_parser = at_least_one())]
    members: usize,
    /// Messages per second to begin with; doubled until the rate is too high
    #[arg(long, default_value_t = 25.0)]
    rate: f64,
    /// Seconds that each rate is kept up
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// A rate is too high if its 99th percentile is above this many milliseconds, or if anything is
    /// lost
    #[arg(long, default_value_t = 250.0)]
    p99: f64,
    /// Bytes of each message's body
    #[arg(long, default_value_t = 128)]
    payload: usize,
    /// Members of each room that send, in turn
    #[arg(long, default_value_t = 2, value_parser = at_least_one())]
    senders: usize,
    /// Processes that make the load
    #[arg(long, default_value_t = 1, value_parser = at_least_one())]
    processes: usize,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn run(args: &SaturateArgs) -> Result<(), BenchError> {
    let cluster = Cluster::open(&args.target, 1).await?;
    let plan = FleetPlan {
        nodes: cluster.addresses(),
        access: cluster.access.clone(),
        processes: args.processes,
        members: args.rooms * args.members,
        rooms: args.rooms,
        name: format!("bench-{:08x}", fastrand::u32(..)),
    };
    let mut fleet = Fleet::connect(plan).await?;
    fleet.join().await?;
    sleep(SETTLE).await;
    let mut report = Report::new("saturate", &args.output, 12);
    let (mut good, mut bad) = (0.0, f64::INFINITY);
    let mut rate = args.rate.max(1.0);
    while bad / f64::max(good, 1.0) > PRECISION {
        if try_rate(args, &cluster, &mut fleet, rate, &mut report).await? {
            good = rate;
        } else {
            bad = rate;
        }
        if good == 0.0 && bad <= 1.0 {
            break;
        }
        rate = match (good, bad) {
            (0.0, bad) => bad / 2.0,
            (good, f64::INFINITY) => good * 2.0,
            (good, bad) => f64::midpoint(good, bad),
        };
    }
    report.note(format!(
        "highest rate: {good:.0} messages/s, {:.0} deliveries/s; the last line is {:.0} % of it",
        good * args.members as f64,
        QUIET * 100.0
    ));
    try_rate(args, &cluster, &mut fleet, good * QUIET, &mut report).await?;
    report.finish()?;
    Ok(())
}

/// Returns whether the cluster sustains this rate.
async fn try_rate(
    args: &SaturateArgs,
    cluster: &Cluster,
    fleet: &mut Fleet,
    rate: f64,
    report: &mut Report,
) -> Result<bool, BenchError> {
    report.step(format!("{rate:.0}/s"));
    let load = Load {
        start: 0,
        rate,
        base: 0,
        count: (rate * f64::from(args.seconds)).max(1.0) as u64,
        payload: args.payload,
        senders: args.senders.min(args.members),
    };
    let before = cluster.cpu()?;
    let seen = fleet.run(load, None).await?;
    let cpu = before
        .zip(cluster.cpu()?)
        .map(|(before, after)| after.saturating_sub(before));
    let p99 = LoadCounts::quantile(&[&seen.same, &seen.cross], 0.99);
    let holds = p99 <= args.p99 && seen.check().is_ok();
    report.row(row(rate, &seen, cpu, holds))?;
    let name = format!("{rate:.0}/s");
    report.curve("same node", &name, &seen.same);
    report.curve("across nodes", &name, &seen.cross);
    Ok(holds)
}

fn row(rate: f64, seen: &LoadCounts, cpu: Option<u64>, holds: bool) -> Value {
    let cpu = cpu.map(|cpu| cpu as f64 / 1000.0 / seen.deliveries.max(1) as f64);
    json!({
        "rate": rate,
        "holds": if holds { "yes" } else { "no" },
        "cpu us": cpu,
        "p50": LoadCounts::quantile(&[&seen.same, &seen.cross], 0.5),
        "p99 same": LoadCounts::quantile(&[&seen.same], 0.99),
        "p99 cross": (!seen.cross.is_empty()).then(|| LoadCounts::quantile(&[&seen.cross], 0.99)),
        "ack p99": (!seen.acks.is_empty()).then(|| LoadCounts::quantile(&[&seen.acks], 0.99)),
        "joined": seen.deliveries as f64 / seen.reads.max(1) as f64,
        "lost": seen.lost(),
        "twice": seen.duplicates,
        "disorder": seen.disordered,
        "lagged": seen.lagged,
        "refused": seen.refused,
    })
}
