//! What webhooks wait for, in Redis: each has a queue of rooms in every partition, looked after by
//! the partition's owner, as for the archive.

use hubbub_protocol::{Draft, Epoch, RoomId, User};
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, ScriptInvocation, Value};

use super::RedisBroker;
use super::excerpt::Excerpt;
use super::keys::{Keys, RoomKeys, partition_of};
use super::values::parse_number;
use crate::webhook::Unsorted;
use crate::{Attended, BrokerError, Due, Mark, WaitingRooms, WebhookEvent, WebhookQueue};

/// Mark, epoch, top, last join or leave, entries, tombstones, whether the stream reaches back to
/// before them, joins and leaves.
type Read = (
    String,
    String,
    Value,
    Value,
    Vec<Value>,
    Vec<String>,
    u64,
    Vec<Value>,
);

/// The webhooks that scripts leave notes for.
#[derive(Debug, Clone)]
pub(super) struct Webhooks {
    queues: Vec<WebhookQueue>,
    /// The most joins and leaves that a room keeps for them.
    attendance: usize,
}

impl Webhooks {
    pub(super) fn new(queues: &[WebhookQueue], attendance: usize) -> Self {
        Self {
            queues: queues.to_vec(),
            attendance,
        }
    }

    /// Adds what the publish script needs.
    pub(super) fn add_events(
        &self,
        script: &mut ScriptInvocation<'_>,
        keys: &Keys,
        of_room: &RoomKeys,
        room: &RoomId,
        drafts: &[Draft],
    ) {
        let wanted = |queue: &&WebhookQueue| queue.wants_room(room) && queue.wants_any(drafts);
        let queues: Vec<_> = self.queues.iter().filter(wanted).collect();
        if !queues.is_empty() {
            script.key(&of_room.webhooks);
        }
        add_queues(script, keys, room, &queues);
    }

    /// Adds what the scripts need that change who is in a room.
    pub(super) fn add_attendance(
        &self,
        script: &mut ScriptInvocation<'_>,
        keys: &Keys,
        of_room: &RoomKeys,
        room: &RoomId,
    ) {
        let wanted = |queue: &&WebhookQueue| queue.wants_room(room) && queue.wants_attendance();
        let queues: Vec<_> = self.queues.iter().filter(wanted).collect();
        if !queues.is_empty() {
            script.key(&of_room.webhooks).key(&of_room.attendance);
        }
        add_queues(script, keys, room, &queues);
        script.arg(self.attendance);
    }
}

fn add_queues(
    script: &mut ScriptInvocation<'_>,
    keys: &Keys,
    room: &RoomId,
    queues: &[&WebhookQueue],
) {
    for queue in queues {
        script.key(keys.webhook(partition_of(room), &queue.name));
    }
    let names: Vec<&str> = queues.iter().map(|queue| queue.name.as_str()).collect();
    script.arg(names.join(" "));
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
        let ask = async |mut connection: MultiplexedConnection| {
            let mut script = self.0.scripts.due.prepare_invoke();
            script
                .key(&keys.meta)
                .key(&keys.stream)
                .key(&keys.tombstones);
            script.key(&keys.webhooks).key(&keys.attendance);
            script
                .arg(&webhook.name)
                .arg(limit)
                .arg(u8::from(webhook.wants_events()))
                .arg(u8::from(webhook.wants_attendance()));
            script.invoke_async::<Read>(&mut connection).await
        };
        let (mark, epoch, top, attended, entries, tombstones, reaches_back, attendance) =
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
                after: (reaches_back == 1).then_some(mark.offset),
            };
            events = excerpt.join(entries, tombstones)?;
            events.truncate(limit);
        }
        let attendance = attendance.into_iter().map(parse_attended);
        let unsorted = Unsorted {
            mark,
            top: last,
            events,
            attended: match webhook.wants_attendance() {
                true => Some(parse_number(attended)?),
                false => None,
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
        let tell = async |mut connection: MultiplexedConnection| {
            let mut script = self.0.scripts.told.prepare_invoke();
            script
                .key(&keys.meta)
                .key(&keys.webhooks)
                .key(&keys.attendance)
                .key(&queue);
            script
                .arg(&webhook.name)
                .arg(room.as_str())
                .arg(mark.offset)
                .arg(mark.step)
                .arg(u8::from(webhook.wants_events()))
                .arg(u8::from(webhook.wants_attendance()));
            script.arg(self.0.lives.meta);
            script.invoke_async::<bool>(&mut connection).await
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
