//! A load process. It holds a part of the members and runs its parent's orders, one per line.

mod churn;
mod crowd;
mod member;
mod poller;
mod protocol;
mod resume;
pub(crate) mod wire;

use std::io::{BufRead, Write};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::Duration;

use self::crowd::{Crowd, Event, IDLE, turn};
pub(crate) use self::poller::Poller;
pub(crate) use self::protocol::hubbub;
use crate::clock;
use crate::error::BenchError;
use crate::plan::{Load, Order, Plan, Reply, Seen};
use crate::tally::Tally;

/// Handshakes, or joins, at one time.
const AT_ONCE: usize = 128;
/// How long a wait may go on without any progress.
const PATIENCE: Duration = Duration::from_secs(30);
/// The wait for the last deliveries after the last message.
const LAST: Duration = Duration::from_secs(10);

/// Serves its parent until the parent closes the pipe.
///
/// # Errors
/// [`BenchError`] if the operating system refuses something.
pub(crate) fn run() -> Result<(), BenchError> {
    let orders = orders();
    let mut crowd: Option<Crowd> = None;
    loop {
        match orders.try_recv() {
            Ok(order) => {
                let reply = obey(&mut crowd, order).unwrap_or_else(Reply::Failed);
                let mut out = std::io::stdout().lock();
                serde_json::to_writer(&mut out, &reply).map_err(std::io::Error::from)?;
                writeln!(out)?;
                out.flush()?;
            }
            Err(TryRecvError::Disconnected) => return Ok(()),
            // The turn answers pings meanwhile.
            Err(TryRecvError::Empty) => match &mut crowd {
                Some(crowd) => crowd.turn(IDLE)?,
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

fn obey(crowd: &mut Option<Crowd>, order: Order) -> Result<Reply, String> {
    let start = clock::now();
    let took = || Reply::Done {
        took: clock::now() - start,
    };
    match (order, crowd.as_mut()) {
        (Order::Connect(plan), _) => {
            connect(crowd.insert(begin(plan)?))?;
            Ok(took())
        }
        (_, None) => Err("nothing is connected yet".to_owned()),
        (Order::Join, Some(crowd)) => {
            join(crowd)?;
            Ok(took())
        }
        (Order::Run(load), Some(crowd)) => Ok(Reply::Seen(Box::new(bear(crowd, load)?))),
        (Order::Churn(churn), Some(crowd)) => Ok(Reply::Seen(Box::new(churn::run(crowd, churn)?))),
        (Order::Resume { ended, nodes }, Some(crowd)) => {
            Ok(Reply::Seen(Box::new(resume::run(crowd, ended, &nodes)?)))
        }
    }
}

fn begin(plan: Plan) -> Result<Crowd, String> {
    Crowd::new(plan).map_err(|error| error.to_string())
}

/// Connects all members, [`AT_ONCE`] at a time.
fn connect(crowd: &mut Crowd) -> Result<(), String> {
    let is_done = |event| matches!(event, Event::Welcome(_));
    all(crowd, |crowd, key| crowd.connect(key, None), is_done)
}

/// Lets all members join, [`AT_ONCE`] at a time.
fn join(crowd: &mut Crowd) -> Result<(), String> {
    let is_done = |event| matches!(event, Event::Joined { .. });
    all(crowd, Crowd::join, is_done)
}

/// Does something for each member, [`AT_ONCE`] at a time. The first failure ends it.
fn all(
    crowd: &mut Crowd,
    begin: impl Fn(&mut Crowd, usize),
    is_done: impl Fn(Event) -> bool,
) -> Result<(), String> {
    let total = crowd.members.len();
    let (mut begun, mut done) = (0, 0);
    let mut deadline = clock::now() + PATIENCE.as_nanos() as u64;
    while done < total {
        while begun < total && begun - done < AT_ONCE {
            begin(crowd, begun);
            begun += 1;
        }
        turn(crowd, IDLE)?;
        for event in std::mem::take(&mut crowd.events) {
            if let Event::Gone(key) = event {
                let reason = crowd.complaint.take().unwrap_or_default();
                return Err(format!("connection {key}: {reason}"));
            }
            if is_done(event) {
                done += 1;
                deadline = clock::now() + PATIENCE.as_nanos() as u64;
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
fn bear(crowd: &mut Crowd, load: Load) -> Result<Seen, String> {
    let Plan { rooms, .. } = crowd.plan;
    let mut tally = Tally::new(load, rooms, crowd.plan.nodes.len());
    let members = crowd.members.iter();
    tally.seen.expected = members
        .map(|member| load.of_room(member.number % rooms, rooms))
        .sum();
    crowd.tally = Some(tally);
    crowd.reads = 0;
    let mut next = load.base;
    let last = load.due(load.end()) + LAST.as_nanos() as u64;
    loop {
        let now = clock::now();
        while load.senders > 0 && next < load.end() && load.due(next) <= now {
            crowd.send(next);
            next += 1;
        }
        let all_sent = load.senders == 0 || next == load.end();
        let is_complete = crowd.tally.as_ref().is_none_or(Tally::is_complete);
        if (all_sent && is_complete) || now > last {
            break;
        }
        let wait = if all_sent {
            IDLE
        } else {
            clock::until(load.due(next)).min(IDLE)
        };
        turn(crowd, wait)?;
        crowd.events.clear();
    }
    let tally = crowd.tally.take().expect("the tally was set above");
    let mut seen = tally.finish();
    seen.reads = crowd.reads;
    Ok(seen)
}
