//! The webhooks' queues in memory: as in Redis, but lost with the process.

use std::collections::{HashMap, VecDeque};

use hubbub_protocol::{Envelope, PresenceDelta, RoomId, User};

use super::{MemoryBroker, State, now_ms};
use crate::webhook::Unsorted;
use crate::{
    Attended, BrokerConfig, BrokerError, Due, Mark, Span, WaitingRooms, WebhookEvent, WebhookQueue,
};

/// The events of one room that webhooks have not received yet.
#[derive(Debug, Default)]
pub(super) struct RoomQueues {
    /// How far each webhook that the room waits for has been served.
    marks: HashMap<String, Mark>,
    /// The number of the last join or leave that any webhook wanted.
    attended: u64,
    attendance: VecDeque<Attended>,
}

impl RoomQueues {
    pub(super) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Drops the joins and leaves that every webhook has received.
    fn trim(&mut self) {
        let needed = self.marks.values().map(|mark| mark.step).min();
        let is_told = |attended: &Attended| needed.is_none_or(|needed| attended.step <= needed);
        while self.attendance.front().is_some_and(is_told) {
            self.attendance.pop_front();
        }
    }
}

impl State {
    /// Makes the room wait for the webhooks that want these events, which have just been stored.
    pub(super) fn note_events(
        &mut self,
        config: &BrokerConfig,
        room: &RoomId,
        events: &[Envelope],
    ) {
        let Some(first) = events.first() else {
            return;
        };
        let wants = |queue: &&WebhookQueue| {
            let mut kinds = events.iter().map(|event| event.kind().into());
            queue.wants_room(room) && kinds.any(|kind| queue.wants(kind))
        };
        let mark = Mark {
            offset: first.position.offset - 1,
            step: self.room(room).webhooks.attended,
        };
        for queue in config.webhooks.iter().filter(wants) {
            self.note(queue, room, mark);
        }
    }

    /// Records joins and leaves, if a webhook wants them.
    pub(super) fn note_attendance(
        &mut self,
        config: &BrokerConfig,
        room: &RoomId,
        delta: &PresenceDelta,
    ) {
        let wants = |queue: &&WebhookQueue| queue.wants_room(room) && queue.wants_attendance();
        let queues: Vec<_> = config.webhooks.iter().filter(wants).collect();
        if queues.is_empty() {
            return;
        }
        let here = self.room(room);
        let head = here.stream.as_ref().map(|stream| stream.head());
        let offset = head.as_ref().map_or(0, |head| head.offset);
        let mark = Mark {
            offset,
            step: here.webhooks.attended,
        };
        let left = delta.left.iter().map(|user| (WebhookEvent::Left, user));
        let joined = delta.joined.iter().map(|user| (WebhookEvent::Joined, user));
        let mut add = |(event, user): (WebhookEvent, &User)| {
            let webhooks = &mut here.webhooks;
            webhooks.attended += 1;
            webhooks.attendance.push_back(Attended {
                step: webhooks.attended,
                offset,
                epoch: head.as_ref().map(|head| head.epoch.clone()),
                ts: now_ms(),
                event,
                user: user.clone(),
            });
            if webhooks.attendance.len() > config.history.stream_len {
                webhooks.attendance.pop_front();
            }
        };
        left.chain(joined).for_each(&mut add);
        for queue in queues {
            self.note(queue, room, mark);
        }
    }

    fn note(&mut self, queue: &WebhookQueue, room: &RoomId, mark: Mark) {
        let waiting = self.waiting.entry(queue.name.clone()).or_default();
        if !waiting.contains_key(room) {
            waiting.insert(room.clone(), now_ms());
        }
        let marks = &mut self.room(room).webhooks.marks;
        marks.entry(queue.name.clone()).or_insert(mark);
    }
}

impl MemoryBroker {
    /// Returns the rooms that wait for this webhook, oldest first. One node of the process serves
    /// all rooms; the others get none.
    #[expect(clippy::unused_async, reason = "the Redis broker waits here")]
    pub(crate) async fn waiting_for(
        &self,
        webhook: &WebhookQueue,
        limit: usize,
    ) -> Result<WaitingRooms, BrokerError> {
        let state = self.cluster.lock();
        let is_owner = state.nodes.keys().min() == Some(&self.node);
        let Some(waiting) = state.waiting.get(&webhook.name).filter(|_| is_owner) else {
            return Ok(WaitingRooms::default());
        };
        let rooms = waiting.iter().map(|(room, since)| (room.clone(), *since));
        let mut rooms: Vec<_> = rooms.collect();
        rooms.sort_unstable_by_key(|(_, since)| *since);
        rooms.truncate(limit);
        Ok(WaitingRooms {
            rooms,
            count: waiting.len() as u64,
        })
    }

    #[expect(clippy::unused_async, reason = "the Redis broker waits here")]
    pub(crate) async fn due(
        &self,
        webhook: &WebhookQueue,
        room: &RoomId,
        limit: usize,
    ) -> Result<Option<Due>, BrokerError> {
        let state = self.cluster.lock();
        let Some(here) = state.rooms.get(room) else {
            return Ok(None);
        };
        let Some(mark) = here.webhooks.marks.get(&webhook.name).copied() else {
            return Ok(None);
        };
        let stream = here.stream.as_ref().filter(|_| webhook.wants_events());
        let page = stream.map(|stream| stream.read(Span::After(mark.offset), limit));
        let is_due = |attended: &&Attended| attended.step > mark.step;
        let attendance = here.webhooks.attendance.iter().filter(is_due);
        let wants_attendance = webhook.wants_attendance();
        let unsorted = Unsorted {
            mark,
            top: page.as_ref().map(|page| page.head.offset),
            events: page.map_or_else(Vec::new, |page| page.events),
            attended: wants_attendance.then_some(here.webhooks.attended),
            attendance: if wants_attendance {
                attendance.take(limit).cloned().collect()
            } else {
                Vec::new()
            },
            limit,
        };
        Ok(Some(unsorted.sort()))
    }

    #[expect(clippy::unused_async, reason = "the Redis broker waits here")]
    pub(crate) async fn told(
        &self,
        webhook: &WebhookQueue,
        room: &RoomId,
        mark: Mark,
    ) -> Result<bool, BrokerError> {
        let mut state = self.cluster.lock();
        let more = state.rooms.get_mut(room).is_some_and(|here| {
            let stream = here.stream.as_ref().filter(|_| webhook.wants_events());
            let top = stream.map_or(0, |stream| stream.head().offset);
            let queues = &mut here.webhooks;
            let attended = if webhook.wants_attendance() {
                queues.attended
            } else {
                0
            };
            let Some(known) = queues.marks.get_mut(&webhook.name) else {
                return false;
            };
            known.offset = known.offset.max(mark.offset);
            known.step = known.step.max(mark.step);
            let more = top > known.offset || attended > known.step;
            if !more {
                queues.marks.remove(&webhook.name);
            }
            queues.trim();
            more
        });
        let waiting = state.waiting.entry(webhook.name.clone()).or_default();
        if more {
            // Requeued behind the others: a busy room must not delay them.
            waiting.insert(room.clone(), now_ms())
        } else {
            waiting.remove(room)
        };
        Ok(more)
    }
}
