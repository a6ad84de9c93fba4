//! The webhooks' queues in Redis: each webhook has a queue of rooms in every partition. The
//! partition's owner serves it, as for the archive.

use hubbub_protocol::{Draft, Epoch, RoomId, User};
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, Value};

use super::RedisBroker;
use super::excerpt::{End, Excerpt};
use super::keys::{Key, Keys, partition_of};
use super::values::parse_number;
use crate::webhook::Unsorted;
use crate::{Attended, BrokerError, Due, Mark, WaitingRooms, WebhookEvent, WebhookQueue};

/// The answer of `due.lua`: mark, epoch, top, last join or leave, entries, tombstones, the offset
/// from which on nothing is missing, the epoch before it, the base of the epoch, joins and leaves.
type Read = (
    String,
    String,
    Value,
    Value,
    Vec<Value>,
    Vec<String>,
    u64,
    String,
    u64,
    Vec<Value>,
);

/// The webhooks for which scripts queue rooms.
#[derive(Debug, Clone)]
pub(super) struct Webhooks {
    queues: Vec<WebhookQueue>,
    /// The most joins and leaves that a room stores for them.
    pub(super) attendance: usize,
}

/// The webhooks that want something of one room.
pub(super) struct Noted {
    /// Their names as scripts read them: separated by spaces.
    pub(super) names: String,
    /// For each webhook, the key of its waiting rooms.
    queues: Vec<String>,
}

impl Noted {
    fn new<'a>(keys: &Keys, room: &RoomId, queues: impl Iterator<Item = &'a WebhookQueue>) -> Self {
        let (names, queues): (Vec<_>, Vec<_>) = queues
            .map(|queue| {
                let key = keys.webhook(partition_of(room), &queue.name);
                (queue.name.as_str(), key)
            })
            .unzip();
        Self {
            names: names.join(" "),
            queues,
        }
    }

    /// Adds the keys that a script needs for them after its own, if there are any webhooks:
    /// `of_room`, then their queues.
    pub(super) fn add_keys<'a>(&'a self, keys: &mut Vec<Key<'a>>, of_room: &[Key<'a>]) {
        if !self.queues.is_empty() {
            keys.extend(of_room);
            keys.extend(self.queues.iter().map(Key::from));
        }
    }
}

impl Webhooks {
    pub(super) fn new(queues: &[WebhookQueue], attendance: usize) -> Self {
        Self {
            queues: queues.to_vec(),
            attendance,
        }
    }

    /// The webhooks that want any of these events.
    pub(super) fn of_events(&self, keys: &Keys, room: &RoomId, drafts: &[Draft]) -> Noted {
        let wanted = |queue: &&WebhookQueue| queue.wants_room(room) && queue.wants_any(drafts);
        Noted::new(keys, room, self.queues.iter().filter(wanted))
    }

    /// The webhooks that want joins and leaves.
    pub(super) fn of_attendance(&self, keys: &Keys, room: &RoomId) -> Noted {
        let wanted = |queue: &&WebhookQueue| queue.wants_room(room) && queue.wants_attendance();
        Noted::new(keys, room, self.queues.iter().filter(wanted))
    }
}

impl RedisBroker {
    pub(crate) async fn waiting_for(
        &self,
        webhook: &WebhookQueue,
        limit: usize,
    ) -> Result<WaitingRooms, BrokerError> {
        let owned = self.settled();
        if owned.is_empty() {
            return Ok(WaitingRooms::default());
        }
        let last = isize::try_from(limit).unwrap_or(isize::MAX) - 1;
        let ask = async |mut connection: MultiplexedConnection| {
            let mut pipe = redis::pipe();
            for partition in &owned {
                let queue = self.0.keys.webhook(*partition, &webhook.name);
                pipe.zcard(&queue).zrange_withscores(&queue, 0, last);
            }
            pipe.query_async::<Vec<Value>>(&mut connection).await
        };
        let answers = self.0.link.call(self.deadline(), ask).await?;
        let mut waiting = WaitingRooms::default();
        let mut answers = answers.into_iter();
        while let (Some(count), Some(rooms)) = (answers.next(), answers.next()) {
            waiting.count += parse_number(count)?;
            let rooms = Vec::<(String, u64)>::from_redis_value(rooms)
                .map_err(|error| BrokerError::Unexpected(error.to_string()))?;
            let rooms = rooms.into_iter();
            let rooms = rooms.filter_map(|(room, since)| Some((RoomId::new(&room).ok()?, since)));
            waiting.rooms.extend(rooms);
        }
        waiting.rooms.sort_by_key(|(_, since)| *since);
        waiting.rooms.truncate(limit);
        Ok(waiting)
    }

    pub(crate) async fn due(
        &self,
        webhook: &WebhookQueue,
        room: &RoomId,
        limit: usize,
    ) -> Result<Option<Due>, BrokerError> {
        let keys = self.0.keys.room(room);
        let ask = async |connection: MultiplexedConnection| {
            let mut call = self.0.scripts.due.call(&[
                keys.meta(),
                keys.stream(),
                keys.tombstones(),
                keys.webhooks(),
                keys.attendance(),
            ]);
            call.arg(&webhook.name)
                .arg(limit)
                .arg(u8::from(webhook.wants_events()))
                .arg(u8::from(webhook.wants_attendance()));
            call.invoke::<Read>(connection).await
        };
        let (mark, epoch, top, attended, entries, tombstones, low, before, base, attendance) =
            self.0.link.call(self.deadline(), ask).await?;
        if mark.is_empty() {
            return Ok(None);
        }
        let mark = Mark::parse(&mark).ok_or_else(|| unexpected("a mark"))?;
        let (mut last, mut events) = (None, Vec::new());
        if webhook.wants_events() && !epoch.is_empty() {
            last = Some(parse_number(top)?);
            let epoch = Epoch::new(&epoch).map_err(|_| unexpected("an epoch"))?;
            let excerpt = Excerpt {
                room,
                epoch: &epoch,
                base,
                low,
                before: Epoch::new(&before).ok(),
            };
            events = excerpt.join(entries, &tombstones, End::Oldest, limit)?;
        }
        let attendance = attendance.into_iter().map(parse_attended);
        let unsorted = Unsorted {
            mark,
            top: last,
            events,
            attended: if webhook.wants_attendance() {
                Some(parse_number(attended)?)
            } else {
                None
            },
            attendance: attendance.collect::<Result<_, _>>()?,
            limit,
        };
        Ok(Some(unsorted.sort()))
    }

    pub(crate) async fn told(
        &self,
        webhook: &WebhookQueue,
        room: &RoomId,
        mark: Mark,
    ) -> Result<bool, BrokerError> {
        let keys = self.0.keys.room(room);
        let queue = self.0.keys.webhook(partition_of(room), &webhook.name);
        let tell = async |connection: MultiplexedConnection| {
            let mut call = self.0.scripts.told.call(&[
                keys.meta(),
                keys.webhooks(),
                keys.attendance(),
                Key::from(&queue),
            ]);
            call.arg(&webhook.name)
                .arg(room.as_str())
                .arg(mark.offset)
                .arg(mark.step)
                .arg(u8::from(webhook.wants_events()))
                .arg(u8::from(webhook.wants_attendance()));
            call.arg(self.0.lives.meta);
            call.invoke::<bool>(connection).await
        };
        self.0.link.call(self.deadline(), tell).await
    }
}

fn unexpected(what: &str) -> BrokerError {
    BrokerError::Unexpected(format!("webhooks: {what} cannot be read"))
}

/// Reads `[STEP-0, [o, OFFSET, e, EPOCH, t, MS, k, KIND, u, USER]]`.
fn parse_attended(value: Value) -> Result<Attended, BrokerError> {
    let bad = || unexpected("a join or leave");
    let (id, fields): (String, Vec<(String, String)>) =
        FromRedisValue::from_redis_value(value).map_err(|_| bad())?;
    let field = |name: &str| {
        let mut fields = fields.iter();
        let found = fields.find(|(field, _)| field == name);
        found.map(|(_, text)| text.as_str()).ok_or_else(bad)
    };
    let user: User = serde_json::from_str(field("u")?).map_err(|_| bad())?;
    let step = id.strip_suffix("-0").ok_or_else(bad)?;
    Ok(Attended {
        step: step.parse().map_err(|_| bad())?,
        offset: field("o")?.parse().map_err(|_| bad())?,
        epoch: Epoch::new(field("e")?).ok(),
        ts: field("t")?.parse().map_err(|_| bad())?,
        event: match field("k")? {
            "joined" => WebhookEvent::Joined,
            _ => WebhookEvent::Left,
        },
        user,
    })
}
