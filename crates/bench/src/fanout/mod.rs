//! `hubbub bench fanout`: steady loads, each measured beside the floor and beside a bare PUBLISH.

mod args;
mod system;

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::sleep;

pub(crate) use self::args::FanoutArgs;
use self::args::Form;
use self::system::System;
use crate::error::BenchError;
use crate::node::Cluster;
use crate::report::Report;

/// The wait for presence frames before the first message.
const SETTLE: Duration = Duration::from_secs(3);
const NOTE: &str = "cpu us: CPU of all nodes per delivery. Latency in ms from when a message was due; same, \
cross: sender and receiver on one node or on two. joined: deliveries per read of the client. redis us: CPU of \
Redis per message, without its idle load; x publish: relative to a bare PUBLISH at this rate.";

pub(crate) async fn run(args: &FanoutArgs) -> Result<(), BenchError> {
    let cluster = Cluster::open(&args.target, 1).await?;
    let mut clusters = vec![(cluster.access.protocol.name(), cluster)];
    for other in &args.against {
        let (name, program) = other
            .split_once('=')
            .ok_or(BenchError::Arguments("--against needs NAME=FILE"))?;
        let cluster = Cluster::open_other(&args.target, PathBuf::from(program)).await?;
        clusters.push((name, cluster));
    }
    let forms = forms(args);
    let systems = clusters.len() + floors(args).len() + usize::from(args.relay);
    let steps = forms.len() * args.rounds * systems;
    let mut report = Report::new("fanout", &args.output, steps);
    report.bars("cpu us");
    let mut broken = None;
    for form in &forms {
        let systems = compare(args, form, &clusters, &report).await?;
        let floor = systems.iter().find(|system| system.is_floor());
        let floor_cpu = floor.and_then(System::cpu_micros);
        for system in &systems {
            report.row(system.row(form, floor_cpu))?;
            system.add_curves(form, &mut report);
            broken = broken.or(system.check().err());
        }
    }
    report.note(NOTE);
    report.finish()?;
    broken.map_or(Ok(()), Err)
}

fn forms(args: &FanoutArgs) -> Vec<Form> {
    if args.shape.is_empty() {
        return vec![Form {
            name: "own",
            rooms: args.rooms,
            members: args.members,
            rate: args.rate,
        }];
    }
    args.shape.iter().map(|shape| shape.form()).collect()
}

/// The join times of the floors to measure, in milliseconds.
fn floors(args: &FanoutArgs) -> Vec<u64> {
    if args.no_floor {
        return Vec::new();
    }
    let joined = args.floor_join.iter().copied();
    std::iter::once(0).chain(joined).collect()
}

/// Connects everyone, then measures one system after the other in each round, so that a disturbance
/// of the machine affects all alike. Each round has a random order, because a system can affect the
/// one measured after it.
async fn compare<'a>(
    args: &FanoutArgs,
    form: &Form,
    clusters: &'a [(&str, Cluster)],
    report: &Report,
) -> Result<Vec<System<'a>>, BenchError> {
    let mut systems = Vec::new();
    for (name, cluster) in clusters {
        systems.push(System::of_cluster(args, form, name, cluster).await?);
    }
    let redis = clusters[0].1.redis.as_ref();
    if let Some(redis) = redis.filter(|_| args.relay) {
        systems.push(System::of_relay(args, form, redis).await?);
    }
    for join in floors(args) {
        systems.push(System::of_floor(args, form, join).await?);
    }
    sleep(SETTLE).await;
    let mut order: Vec<usize> = (0..systems.len()).collect();
    for _ in 0..args.rounds {
        fastrand::shuffle(&mut order);
        for &at in &order {
            let system = &mut systems[at];
            report.step(format!("{} {}", form.name, system.name()));
            system.measure(args, form).await?;
        }
    }
    Ok(systems)
}
