//! A load process. It holds a part of the members and runs its parent's orders, one per line.

mod churn;
mod member;
mod members;
mod poller;
mod protocol;
mod resume;
pub(crate) mod wire;

use std::io::{BufRead, Write};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::Duration;

use self::members::{Event, IDLE, Members, turn};
pub(crate) use self::poller::Poller;
pub(crate) use self::protocol::hubbub;
use crate::clock;
use crate::error::BenchError;
use crate::plan::{Load, LoadCounts, Order, Plan, Reply};
use crate::tally::Tally;

/// Handshakes, or joins, at one time.
const AT_ONCE: usize = 128;
/// How long a wait may go on without any progress.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(30);
/// The wait for the last deliveries after the last message.
const LAST: Duration = Duration::from_secs(10);

/// Serves its parent until the parent closes the pipe.
///
/// # Errors
/// [`BenchError`] if the operating system refuses something.
pub(crate) fn run() -> Result<(), BenchError> {
    let orders = orders();
    let mut members: Option<Members> = None;
    loop {
        match orders.try_recv() {
            Ok(order) => {
                let reply = execute(&mut members, order).unwrap_or_else(Reply::Failed);
                let mut out = std::io::stdout().lock();
                serde_json::to_writer(&mut out, &reply).map_err(std::io::Error::from)?;
                writeln!(out)?;
                out.flush()?;
            }
            Err(TryRecvError::Disconnected) => return Ok(()),
            // The turn answers pings meanwhile.
            Err(TryRecvError::Empty) => match &mut members {
                Some(members) => members.turn(IDLE)?,
                None => std::thread::sleep(IDLE),
            },
        }
    }
}

/// The orders of the parent, one at a time. The thread ends with the pipe.
fn orders() -> Receiver<Order> {
    let (sender, orders) = sync_channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            let Ok(order) = serde_json::from_str(&line) else {
                return;
            };
            if sender.send(order).is_err() {
                return;
            }
        }
    });
    orders
}

fn execute(members: &mut Option<Members>, order: Order) -> Result<Reply, String> {
    let start = clock::now();
    let took = || Reply::Done {
        took: clock::now() - start,
    };
    match (order, members.as_mut()) {
        (Order::Connect(plan), _) => {
            connect(members.insert(open(plan)?))?;
            Ok(took())
        }
        (_, None) => Err("nothing is connected yet".to_owned()),
        (Order::Join, Some(members)) => {
            join(members)?;
            Ok(took())
        }
        (Order::Run(load), Some(members)) => {
            Ok(Reply::LoadCounts(Box::new(run_load(members, load)?)))
        }
        (Order::Churn(churn), Some(members)) => {
            Ok(Reply::LoadCounts(Box::new(churn::run(members, churn)?)))
        }
        (Order::Resume { ended, nodes }, Some(members)) => Ok(Reply::LoadCounts(Box::new(
            resume::run(members, ended, &nodes)?,
        ))),
    }
}

fn open(plan: Plan) -> Result<Members, String> {
    Members::new(plan).map_err(|error| error.to_string())
}

/// Connects all members, [`AT_ONCE`] at a time.
fn connect(members: &mut Members) -> Result<(), String> {
    let is_done = |event| matches!(event, Event::Welcome(_));
    all(members, |members, key| members.connect(key, None), is_done)
}

/// Lets all members join, [`AT_ONCE`] at a time.
fn join(members: &mut Members) -> Result<(), String> {
    let is_done = |event| matches!(event, Event::Joined { .. });
    all(members, Members::join, is_done)
}

/// Does something for each member, [`AT_ONCE`] at a time. The first failure ends it.
fn all(
    members: &mut Members,
    begin: impl Fn(&mut Members, usize),
    is_done: impl Fn(Event) -> bool,
) -> Result<(), String> {
    let total = members.list.len();
    let (mut begun, mut done) = (0, 0);
    let mut deadline = clock::now() + PROGRESS_TIMEOUT.as_nanos() as u64;
    while done < total {
        while begun < total && begun - done < AT_ONCE {
            begin(members, begun);
            begun += 1;
        }
        turn(members, IDLE)?;
        for event in std::mem::take(&mut members.events) {
            if let Event::Disconnected(key) = event {
                let reason = members.last_error.take().unwrap_or_default();
                return Err(format!("connection {key}: {reason}"));
            }
            if is_done(event) {
                done += 1;
                deadline = clock::now() + PROGRESS_TIMEOUT.as_nanos() as u64;
            }
        }
        if clock::now() > deadline {
            return Err(format!(
                "only {done} of {total} finished before the deadline"
            ));
        }
    }
    Ok(())
}

/// Sends messages when they are due and counts the deliveries.
fn run_load(members: &mut Members, load: Load) -> Result<LoadCounts, String> {
    let Plan { rooms, .. } = members.plan;
    let mut tally = Tally::new(load, rooms, members.plan.nodes.len());
    let list = members.list.iter();
    tally.seen.expected = list
        .map(|member| load.of_room(member.number % rooms, rooms))
        .sum();
    members.tally = Some(tally);
    members.reads = 0;
    let mut next = load.base;
    let last = load.due(load.end()) + LAST.as_nanos() as u64;
    loop {
        let now = clock::now();
        while load.senders > 0 && next < load.end() && load.due(next) <= now {
            members.send(next);
            next += 1;
        }
        let all_sent = load.senders == 0 || next == load.end();
        let is_complete = members.tally.as_ref().is_none_or(Tally::is_complete);
        if (all_sent && is_complete) || now > last {
            break;
        }
        let wait = if all_sent {
            IDLE
        } else {
            clock::until(load.due(next)).min(IDLE)
        };
        turn(members, wait)?;
        members.events.clear();
    }
    let tally = members.tally.take().expect("the tally was set above");
    let mut seen = tally.finish();
    seen.reads = members.reads;
    Ok(seen)
}
