//! Operators' orders. One script issues an order, and every node looks for new orders once a
//! second, so that none is missed. A message on the control channel makes the nodes look at once.
//!
//! Each entry names the sequence before its own. A node that finds another previous sequence than
//! the last it has seen, or other rules without an order, has missed something: it reads all rules
//! again. If Redis has lost orders, the node is told so.

use std::time::{Duration, Instant};

use hubbub_protocol::Issued;
use hubbub_protocol::order::Effect;
use hubbub_protocol::{Order, RoomId};
use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use tokio::time::sleep;
use tracing::{debug, warn};

use super::RedisBroker;
use super::keys::{Key, Keys};
use super::lease::node_of;
use super::link::Link;
use crate::control::{Control, ControlSender, Question};
use crate::{Answers, BrokerError};

const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Orders that Redis keeps. A node that was away for more than these misses the ones that leave no
/// rule.
const KEPT_ORDERS: usize = 5_000;
/// A sequence above all orders. A node that starts wants the rules only, not the orders before its
/// start.
const NONE: u64 = (1 << 53) - 1;
/// Orders that are read in one call.
const PAGE: usize = 500;
/// Rules that are read in one call.
const SCAN: usize = 1_000;
/// The pause between two looks for answers.
const ANSWER_PAUSE: Duration = Duration::from_millis(25);
/// For how long an answer waits for the node that asked, in seconds. Whole seconds, because
/// SECURITY.md grants EXPIRE only.
const ANSWER_LIFE_SECONDS: i64 = 10;
/// The word for "there are new orders"; everything else begins with another letter.
const NEW_ORDERS: &str = "o";
/// Begins the word that who may be in a room has changed; after it comes the room.
const ACCESS: &str = "a ";

/// The task that looks for orders.
pub(super) struct OrderWatch {
    pub(super) link: Link,
    pub(super) keys: Keys,
    pub(super) control: ControlSender,
}

/// The orders that this node has seen.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// All orders up to this one were seen.
    sequence: u64,
    /// The number of rules in Redis at that time.
    rules: u64,
}

/// The orders in Redis after a given one.
struct Orders {
    next: Vec<Entry>,
    /// The sequence of the newest order.
    last: u64,
    /// The number of rules.
    rules: u64,
    /// Whether Redis has forgotten orders that it had given: it was emptied, or went back to an
    /// older copy.
    has_lost: bool,
}

/// An order as it stands in Redis.
struct Entry {
    previous: u64,
    sequence: u64,
    /// `None`: this version cannot read it.
    issued: Option<Issued>,
}

impl OrderWatch {
    /// Runs as long as the node.
    pub(super) async fn run(self) {
        let mut seen = None;
        loop {
            match self.look(seen).await {
                Ok(now) => seen = Some(now),
                Err(error) => debug!(%error, "cannot look for orders"),
            }
            tokio::select! {
                () = sleep(LOOK_INTERVAL) => {}
                () = self.control.woken() => {}
            }
        }
    }

    async fn look(&self, seen: Option<Seen>) -> Result<Seen, BrokerError> {
        let Some(mut seen) = seen else {
            let orders = self.read(NONE).await?;
            return self.load(orders, false).await;
        };
        loop {
            let orders = self.read(seen.sequence).await?;
            let is_next = match orders.next.first() {
                Some(first) => first.previous == seen.sequence,
                // Another node may have restored rules that were lost.
                None => orders.last == seen.sequence && orders.rules == seen.rules,
            };
            if !is_next {
                let has_lost = orders.has_lost;
                warn!(has_lost, "orders were missed, reading all rules again");
                return self.load(orders, has_lost).await;
            }
            let is_full = orders.next.len() >= PAGE;
            seen.rules = orders.rules;
            for entry in orders.next {
                seen.sequence = entry.sequence;
                if let Some(issued) = entry.issued {
                    self.control.tell(Control::Order(issued)).await;
                }
            }
            if !is_full {
                return Ok(seen);
            }
        }
    }

    /// Reads all rules, then passes on the orders that leave no rule.
    async fn load(&self, orders: Orders, has_lost: bool) -> Result<Seen, BrokerError> {
        let mut rules = Vec::new();
        let mut cursor = 0;
        loop {
            let key = self.keys.rules();
            let scan = async |mut connection: MultiplexedConnection| {
                let mut scan = redis::cmd("HSCAN");
                scan.arg(&key).arg(cursor).arg("COUNT").arg(SCAN);
                let page: (u64, Vec<String>) = scan.query_async(&mut connection).await?;
                Ok(page)
            };
            let (next, page) = self.link.call(Instant::now() + LOOK_INTERVAL, scan).await?;
            let values = page.into_iter().skip(1).step_by(2);
            rules.extend(values.filter_map(|entry| Entry::read(&entry)?.issued));
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        let rules = if has_lost {
            Control::Remains(rules)
        } else {
            Control::Rules(rules)
        };
        self.control.tell(rules).await;
        for issued in orders.next.into_iter().filter_map(|entry| entry.issued) {
            if issued.order.effect() == Effect::Passing {
                self.control.tell(Control::Order(issued)).await;
            }
        }
        Ok(Seen {
            sequence: orders.last,
            rules: orders.rules,
        })
    }

    /// Reads the next orders after `seen`.
    async fn read(&self, seen: u64) -> Result<Orders, BrokerError> {
        let (orders, rules) = (self.keys.orders(), self.keys.rules());
        let ask = async |mut connection: MultiplexedConnection| {
            let mut pipe = redis::pipe();
            pipe.zrangebyscore_limit(&orders, format!("({seen}"), "+inf", 0, PAGE as isize);
            pipe.zrevrange(&orders, 0, 0).zrange(&orders, 0, 0);
            pipe.zcount(&orders, seen, seen).hlen(&rules);
            let read: (Vec<String>, Vec<String>, Vec<String>, u64, u64) =
                pipe.query_async(&mut connection).await?;
            Ok(read)
        };
        let read = self.link.call(Instant::now() + LOOK_INTERVAL, ask).await?;
        let (next, last, oldest, known, rules) = read;
        let entry = |texts: &[String]| texts.first().and_then(|text| Entry::read(text));
        // If the oldest orders were dropped because there were too many, the first remaining one
        // names a predecessor.
        let reaches_back =
            entry(&oldest).is_none_or(|oldest| oldest.previous == 0 || oldest.sequence < seen);
        Ok(Orders {
            next: next.iter().filter_map(|text| Entry::read(text)).collect(),
            last: entry(&last).map_or(0, |last| last.sequence),
            rules,
            has_lost: seen > 0 && known == 0 && reaches_back,
        })
    }
}

impl Entry {
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, ' ');
        let sequence = parts.next()?.parse().ok()?;
        let previous = parts.next()?.parse().ok()?;
        let until = match parts.next()? {
            "-" => None,
            until => Some(until.parse().ok()?),
        };
        let order = serde_json::from_str::<Order>(parts.next()?);
        let order =
            order.inspect_err(|error| warn!(%error, "an order cannot be read by this version"));
        let issue = |order| Issued {
            sequence,
            until,
            order,
        };
        Some(Self {
            previous,
            sequence,
            issued: order.ok().map(issue),
        })
    }
}

/// Handles a message on the control channel.
pub(super) fn hear(payload: &[u8], control: &ControlSender) {
    let Ok(text) = std::str::from_utf8(payload) else {
        return;
    };
    if text == NEW_ORDERS {
        return control.wake();
    }
    if let Some(room) = text.strip_prefix(ACCESS) {
        if let Ok(room) = RoomId::new(room) {
            control.change_access(room);
        }
        return;
    }
    let question = text
        .strip_prefix("q ")
        .and_then(|rest| rest.split_once(' '));
    if let Some((id, text)) = question {
        let (id, text) = (id.to_owned(), text.to_owned());
        control.ask(Question { id, text });
    }
}

impl RedisBroker {
    pub(crate) async fn issue(
        &self,
        order: &Order,
        life: Option<Duration>,
    ) -> Result<Issued, BrokerError> {
        let json = serde_json::to_string(order).expect("plain enums always serialize");
        let life = life.map(|life| life.as_millis().to_string());
        let (key, effect) = (order.key().unwrap_or_default(), order.effect());
        let keys = &self.0.keys;
        let (orders, rules, ends) = (keys.orders(), keys.rules(), keys.rule_ends());
        let names = [Key::from(&orders), Key::from(&rules), Key::from(&ends)];
        let issue = async |connection: MultiplexedConnection| {
            let mut call = self.0.scripts.order.call(&names);
            call.arg(&json).arg(&key);
            call.arg(if effect == Effect::Lasting { "1" } else { "0" });
            call.arg(life.as_deref().unwrap_or_default());
            call.arg(KEPT_ORDERS).arg(crate::Broker::MAX_RULES);
            call.arg(keys.control()).arg(NEW_ORDERS);
            call.invoke::<(String, String)>(connection).await
        };
        let (sequence, until) = self.0.link.call(self.deadline(), issue).await?;
        if sequence.is_empty() {
            return Err(BrokerError::TooManyRules);
        }
        let odd = || BrokerError::Unexpected("the order script".to_owned());
        Ok(Issued {
            sequence: sequence.parse().map_err(|_| odd())?,
            until: match until.as_str() {
                "" => None,
                until => Some(until.parse().map_err(|_| odd())?),
            },
            order: order.clone(),
        })
    }

    /// Tells all nodes that who may be in a room has changed.
    pub(super) async fn tell_of_access(
        &self,
        mut connection: MultiplexedConnection,
        room: &RoomId,
    ) -> RedisResult<()> {
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(self.0.keys.control());
        publish.arg(format!("{ACCESS}{}", room.as_str()));
        publish.exec_async(&mut connection).await
    }

    pub(crate) async fn restore_rules(&self, rules: &[Issued]) -> Result<(), BrokerError> {
        let (key, ends) = (self.0.keys.rules(), self.0.keys.rule_ends());
        let restore = async |mut connection: MultiplexedConnection| {
            let mut pipe = redis::pipe();
            pipe.atomic();
            for issued in rules {
                let Some(name) = issued.order.key() else {
                    continue;
                };
                let order = serde_json::to_string(&issued.order).expect("plain enums serialize");
                let until = issued
                    .until
                    .map_or("-".to_owned(), |until| until.to_string());
                let entry = format!("{} 0 {until} {order}", issued.sequence);
                pipe.hset_nx(&key, &name, entry).ignore();
                if let Some(until) = issued.until {
                    pipe.zadd(&ends, &name, until).ignore();
                }
            }
            pipe.exec_async(&mut connection).await
        };
        self.0.link.call(self.deadline(), restore).await
    }

    pub(crate) async fn ask(&self, text: &str, patience: Duration) -> Result<Answers, BrokerError> {
        let deadline = Instant::now() + patience;
        let id = format!("{:016x}", fastrand::u64(..));
        let question = format!("q {id} {text}");
        let (channel, key) = (self.0.keys.control(), self.0.keys.answers(&id));
        let publish = async |mut connection: MultiplexedConnection| {
            let mut publish = redis::cmd("PUBLISH");
            publish.arg(&channel).arg(&question);
            publish.exec_async(&mut connection).await
        };
        self.0.link.call(deadline, publish).await?;
        let living = self.0.lease.living();
        loop {
            sleep(ANSWER_PAUSE).await;
            let read = async |mut connection: MultiplexedConnection| {
                let answers: Vec<(String, String)> = redis::cmd("HGETALL")
                    .arg(&key)
                    .query_async(&mut connection)
                    .await?;
                Ok(answers)
            };
            // The last look may come a little after the deadline.
            let answers = self.0.link.call(deadline + 10 * ANSWER_PAUSE, read).await?;
            let has = |lease: &String| answers.iter().any(|(from, _)| from == lease);
            if living.iter().all(has) || Instant::now() >= deadline {
                let silent = living.iter().filter(|lease| !has(lease));
                return Ok(Answers {
                    silent: silent.map(|lease| node_of(lease).to_owned()).collect(),
                    heard: answers.into_iter().map(|(_, text)| text).collect(),
                });
            }
        }
    }

    pub(crate) async fn answer(&self, question: &Question, text: &str) -> Result<(), BrokerError> {
        let (key, lease) = (self.0.keys.answers(&question.id), self.0.lease.name());
        let answer = async |connection: MultiplexedConnection| {
            let mut call = self.0.scripts.answer.call(&[Key::from(&key)]);
            call.arg(&*lease).arg(text).arg(ANSWER_LIFE_SECONDS);
            call.invoke::<()>(connection).await
        };
        self.0.link.call(self.deadline(), answer).await
    }

    /// How many nodes live, including this one.
    pub(crate) fn living_nodes(&self) -> usize {
        self.0.lease.living().len().max(1)
    }
}
