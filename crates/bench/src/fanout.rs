//! `hubbub bench fanout`: one room, many members, a steady rate.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::Attach;
use crate::error::BenchError;
use crate::member::{Member, Place, join_all};
use crate::node::{self, Node};
use crate::procfs;
use crate::tally::{Schedule, Tally, body};

/// For presence frames to settle before the first message.
const SETTLE: Duration = Duration::from_secs(3);
/// For the last deliveries after the last message.
const PATIENCE: Duration = Duration::from_secs(10);
const ROOM: &str = "bench";

/// Arguments of `hubbub bench fanout`.
#[derive(Debug, Clone, Args)]
pub(crate) struct FanoutArgs {
    /// Members of the room, spread over the nodes
    #[arg(long, default_value_t = 1000)]
    members: usize,
    /// Messages a second, in all
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// For how long
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Bytes of each message's body
    #[arg(long, default_value_t = 128)]
    payload: usize,
    /// Nodes to start
    #[arg(long, default_value_t = 1, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=8))]
    nodes: usize,
    /// Redis for the nodes to start; without it one node on the embedded broker
    #[arg(long, value_name = "URL")]
    redis_url: Option<String>,
    #[command(flatten)]
    attach: Attach,
}

/// What the receivers share.
#[derive(Debug)]
struct Shared {
    schedule: Schedule,
    deliveries: AtomicU64,
    acked: AtomicU64,
}

/// How it went.
struct Outcome {
    sent: u64,
    expected: u64,
    acked: u64,
    cpu: Duration,
    took: Duration,
    sum: Tally,
}

pub(crate) async fn run(args: &FanoutArgs) -> Result<(), BenchError> {
    procfs::check_open_files(args.members + 1)?;
    let nodes = node::open(&args.attach, args.nodes, args.redis_url.as_deref()).await?;
    let place = |number: usize| Place {
        number,
        authority: nodes[number % nodes.len()].authority.clone(),
        room: ROOM.to_owned(),
    };
    let mut members = join_all((0..args.members + 1).map(place).collect()).await?;
    // Whoever came last sends, and hears like all others.
    let sender = members.pop().ok_or(BenchError::Arguments("--members"))?;
    sleep(SETTLE).await;
    let result = measure(args, &nodes, members, sender).await?;
    report(args, nodes.len(), &result)?;
    let lost = result.expected.saturating_sub(result.sum.deliveries);
    let Tally {
        duplicates,
        disordered,
        ..
    } = result.sum;
    if lost + duplicates + disordered > 0 {
        return Err(BenchError::Broken {
            lost,
            duplicates,
            disordered,
        });
    }
    Ok(())
}

async fn measure(
    args: &FanoutArgs,
    nodes: &[Node],
    members: Vec<Member>,
    mut sender: Member,
) -> Result<Outcome, BenchError> {
    let sent = u64::from(args.rate) * u64::from(args.seconds);
    let expected = sent * members.len() as u64;
    let (stop, stopped) = watch::channel(false);
    let before = node::cpu(nodes)?;
    let start = Instant::now() + Duration::from_millis(10);
    let shared = Arc::new(Shared {
        schedule: Schedule {
            start,
            rate: args.rate,
        },
        deliveries: AtomicU64::new(0),
        acked: AtomicU64::new(0),
    });
    let mut receivers = JoinSet::new();
    for member in members {
        receivers.spawn(receive(member, Arc::clone(&shared), stopped.clone()));
    }
    send_all(&mut sender, sent, args.payload, &shared).await?;
    let deadline = Instant::now() + PATIENCE;
    let is_open = || {
        shared.deliveries.load(Ordering::Relaxed) < expected
            || shared.acked.load(Ordering::Relaxed) < sent
    };
    while is_open() && Instant::now() < deadline {
        listen(
            &mut sender,
            &shared,
            Instant::now() + Duration::from_millis(5),
        )
        .await;
    }
    let (cpu, took) = (node::cpu(nodes)?.saturating_sub(before), start.elapsed());
    stop.send_replace(true);
    let mut sum = Tally::new();
    while let Some(tally) = receivers.join_next().await {
        sum.add(&tally.expect("a receiver does not panic"));
    }
    let acked = shared.acked.load(Ordering::Relaxed);
    Ok(Outcome {
        sent,
        expected,
        acked,
        cpu,
        took,
        sum,
    })
}

async fn receive(
    mut member: Member,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) -> Tally {
    let mut tally = Tally::new();
    loop {
        let frame = tokio::select! {
            frame = member.next() => frame,
            _ = stop.wait_for(|stop| *stop) => return tally,
        };
        let Some(frame) = frame else { return tally };
        let before = tally.deliveries;
        tally.hear(frame.as_str(), &shared.schedule, Instant::now());
        shared
            .deliveries
            .fetch_add(tally.deliveries - before, Ordering::Relaxed);
    }
}

/// Sends by the clock, and reads what comes to the sender in between.
async fn send_all(
    sender: &mut Member,
    count: u64,
    payload: usize,
    shared: &Shared,
) -> Result<(), BenchError> {
    for number in 0..count {
        listen(sender, shared, shared.schedule.at(number)).await;
        let body = body(number, payload);
        let frame = format!(
            r#"{{"type":"send","id":{number},"room":"{ROOM}","nonce":"bench-{number}","body":{body}}}"#
        );
        sender.send(frame).await?;
    }
    Ok(())
}

/// Counts the sender's acks until a time.
async fn listen(sender: &mut Member, shared: &Shared, until: Instant) {
    loop {
        tokio::select! {
            biased;
            () = sleep_until(until) => return,
            frame = sender.next() => match frame {
                Some(frame) if frame.starts_with(r#"{"type":"sent""#) => {
                    shared.acked.fetch_add(1, Ordering::Relaxed);
                }
                Some(_) => {}
                None => return sleep_until(until).await,
            },
        }
    }
}

fn report(args: &FanoutArgs, nodes: usize, result: &Outcome) -> std::io::Result<()> {
    let Outcome {
        sent,
        expected,
        acked,
        cpu,
        took,
        sum,
    } = result;
    let FanoutArgs {
        members,
        rate,
        payload,
        ..
    } = args;
    let each = cpu.as_secs_f64() * 1e6 / sum.deliveries.max(1) as f64;
    let share = 100.0 * cpu.as_secs_f64() / took.as_secs_f64();
    let millis = |micros: u64| micros as f64 / 1000.0;
    let latency = &sum.latency;
    let (p50, p99) = (
        latency.value_at_quantile(0.5),
        latency.value_at_quantile(0.99),
    );
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "fan-out               1 room, {members} members, {rate}/s, {payload} B, {nodes} nodes"
    )?;
    writeln!(out, "sent, acked           {sent}, {acked}")?;
    writeln!(
        out,
        "deliveries            {} of {expected}",
        sum.deliveries
    )?;
    writeln!(
        out,
        "doubled, out of order {}, {}",
        sum.duplicates, sum.disordered
    )?;
    writeln!(
        out,
        "node CPU a delivery   {each:.2} us ({share:.0} % of one core)"
    )?;
    writeln!(
        out,
        "latency p50/p99/max   {:.2} / {:.2} / {:.2} ms",
        millis(p50),
        millis(p99),
        millis(latency.max())
    )
}
