//! The queues of webhooks: each has a queue of rooms, and in each room a mark up to which it received everything.
//!
//! Nothing is copied into a queue: events are read from the room's stream when their turn comes, so a
//! body that was deleted is gone from here too, and a backlog is as long as the stream. Joins and
//! leaves are in no stream, so they are kept beside it, each with the offset that it came after.

use hubbub_protocol::event::{ChangeKind, EventKind};
use hubbub_protocol::{Draft, Envelope, Epoch, RoomId, User};
use serde::{Deserialize, Serialize};

/// The kinds of events that a webhook can receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WebhookEvent {
    /// A new message.
    Message,
    /// Another body for a message.
    Edited,
    /// A message has lost its body.
    Deleted,
    /// A reaction to a message, or its end.
    Reacted,
    /// A user has come into a room: the first connection on any node.
    Joined,
    /// A user has left a room: the last connection on any node.
    Left,
}

impl WebhookEvent {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Message,
        Self::Edited,
        Self::Deleted,
        Self::Reacted,
        Self::Joined,
        Self::Left,
    ];

    /// As in settings and in what is posted.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Edited => "edited",
            Self::Deleted => "deleted",
            Self::Reacted => "reacted",
            Self::Joined => "joined",
            Self::Left => "left",
        }
    }

    fn is_attendance(self) -> bool {
        matches!(self, Self::Joined | Self::Left)
    }
}

impl From<EventKind> for WebhookEvent {
    fn from(kind: EventKind) -> Self {
        match kind {
            EventKind::Message => Self::Message,
            EventKind::Edited => Self::Edited,
            EventKind::Deleted => Self::Deleted,
            EventKind::Reacted => Self::Reacted,
        }
    }
}

/// One webhook, as far as the broker has to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookQueue {
    /// The queue's name; all nodes of a cluster must have the same ones.
    pub name: String,
    /// The events that it receives.
    pub events: Vec<WebhookEvent>,
    /// Room ids, or beginnings of them and `*`; empty: all rooms.
    pub rooms: Vec<String>,
}

impl WebhookQueue {
    /// Whether it is told of this.
    #[must_use]
    pub fn wants(&self, event: WebhookEvent) -> bool {
        self.events.contains(&event)
    }

    pub(crate) fn wants_room(&self, room: &RoomId) -> bool {
        let matches = |pattern: &String| match pattern.strip_suffix('*') {
            Some(beginning) => room.as_str().starts_with(beginning),
            None => room.as_str() == pattern,
        };
        self.rooms.is_empty() || self.rooms.iter().any(matches)
    }

    /// Whether it is told of any of these, should they be stored.
    pub(crate) fn wants_any(&self, drafts: &[Draft]) -> bool {
        let mut events = drafts.iter().filter_map(event_of);
        events.any(|event| self.wants(event))
    }

    /// Whether it is told of anything that has an offset.
    pub(crate) fn wants_events(&self) -> bool {
        self.events.iter().any(|event| !event.is_attendance())
    }

    /// Whether it is told of joins or leaves.
    pub(crate) fn wants_attendance(&self) -> bool {
        self.events.iter().any(|event| event.is_attendance())
    }
}

/// `None`: it will not be stored.
fn event_of(draft: &Draft) -> Option<WebhookEvent> {
    match draft.change.as_ref().map(|change| &change.kind) {
        None => Some(WebhookEvent::Message),
        Some(ChangeKind::Edit { .. }) => Some(WebhookEvent::Edited),
        Some(ChangeKind::Delete { .. }) => Some(WebhookEvent::Deleted),
        Some(ChangeKind::React) => Some(WebhookEvent::Reacted),
        Some(ChangeKind::TooLate) => None,
    }
}

/// Up to where a webhook was told of a room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    /// Events up to this offset.
    pub offset: u64,
    /// Joins and leaves up to this number.
    pub step: u64,
}

impl Mark {
    /// Reads `OFFSET-STEP`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (offset, step) = text.split_once('-')?;
        Some(Self {
            offset: offset.parse().ok()?,
            step: step.parse().ok()?,
        })
    }
}

/// A user who came or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attended {
    /// The room's joins and leaves are numbered one after the other.
    pub step: u64,
    /// The event after which it was.
    pub offset: u64,
    /// The room's life at that time; `None`: it had none.
    pub epoch: Option<Epoch>,
    /// Milliseconds since 1970, by the broker's clock.
    pub ts: u64,
    /// [`WebhookEvent::Joined`] or [`WebhookEvent::Left`].
    pub event: WebhookEvent,
    /// The user.
    pub user: User,
}

/// One entry of a webhook's queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// An event that has an offset.
    Event(Envelope),
    /// A user joined or left.
    Attended(Attended),
}

impl Item {
    /// The kind of event.
    #[must_use]
    pub fn event(&self) -> WebhookEvent {
        match self {
            Self::Event(event) => event.kind().into(),
            Self::Attended(attended) => attended.event,
        }
    }
}

/// The next items for a webhook in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// In order; more than the webhook wants.
    pub items: Vec<Item>,
    /// How many are gone before they were told: they have left the stream, or the broker lost them.
    pub lost: u64,
    /// Where the mark stands before all of it.
    pub from: Mark,
    /// Where it stands after all of it.
    pub through: Mark,
}

/// Rooms in which a webhook has something to be told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WaitingRooms {
    /// Those that wait the longest, with milliseconds since 1970 by the broker's clock.
    pub rooms: Vec<(RoomId, u64)>,
    /// How many there are in all.
    pub count: u64,
}

/// Items that were read of a room, before they are put in order.
#[derive(Debug)]
pub(crate) struct Unsorted {
    pub(crate) mark: Mark,
    /// Where the stream ends; `None`: events are not wanted, or there is no stream.
    pub(crate) top: Option<u64>,
    pub(crate) events: Vec<Envelope>,
    /// The last number of a join or leave; `None`: they are not wanted.
    pub(crate) attended: Option<u64>,
    pub(crate) attendance: Vec<Attended>,
    /// The most of each that were read: as many means that there may be more.
    pub(crate) limit: usize,
}

impl Unsorted {
    /// Puts both in one order. Where one of them goes on beyond what was read, the other ends there.
    pub(crate) fn sort(mut self) -> Due {
        let from = self.mark;
        let are_all_events = self.events.len() < self.limit;
        if let Some(last) = self.events.last().filter(|_| !are_all_events) {
            let last = last.position.offset;
            self.attendance.retain(|attended| attended.offset <= last);
        }
        let is_all_attendance = self.attendance.len() < self.limit;
        let first = self.events.first().map(|event| event.position.offset);
        if let Some(last) = self.attendance.last().filter(|_| !is_all_attendance) {
            let last = last.offset;
            self.events.retain(|event| event.position.offset <= last);
        }
        let last_event = self.events.last().map(|event| event.position.offset);
        let end = self.top.filter(|_| are_all_events && is_all_attendance);
        let last_step = self.attendance.last().map(|attended| attended.step);
        let through = Mark {
            offset: end.or(last_event).unwrap_or(0).max(from.offset),
            step: last_step.or(self.attended).unwrap_or(0).max(from.step),
        };
        Due {
            lost: self.lost(first, through),
            items: merge(self.events, self.attendance),
            from,
            through,
        }
    }

    /// Both are numbered without holes.
    fn lost(&self, first_event: Option<u64>, through: Mark) -> u64 {
        // Events that wait behind a page of joins are looked at when their turn comes.
        let are_events_next = first_event.is_none() || !self.events.is_empty();
        let next_event = first_event.unwrap_or(through.offset + 1);
        let lost_events = match (self.top, are_events_next) {
            (Some(_), true) => next_event.saturating_sub(self.mark.offset + 1),
            (Some(_) | None, _) => 0,
        };
        let next_step = self.attendance.first().map(|attended| attended.step);
        let next_step = next_step.unwrap_or(through.step + 1);
        let lost_steps = match self.attended {
            Some(_) => next_step.saturating_sub(self.mark.step + 1),
            None => 0,
        };
        lost_events + lost_steps
    }
}

/// A join or leave comes after the event that was the last one when it happened.
fn merge(events: Vec<Envelope>, attendance: Vec<Attended>) -> Vec<Item> {
    let mut items = Vec::with_capacity(events.len() + attendance.len());
    let mut attendance = attendance.into_iter().peekable();
    for event in events {
        let offset = event.position.offset;
        while let Some(attended) = attendance.next_if(|attended| attended.offset < offset) {
            items.push(Item::Attended(attended));
        }
        items.push(Item::Event(event));
    }
    items.extend(attendance.map(Item::Attended));
    items
}

#[cfg(test)]
mod tests {
    use hubbub_protocol::{Position, UserId};

    use super::*;

    fn event(offset: u64) -> Envelope {
        let position = Position {
            epoch: Epoch::new("k").unwrap(),
            offset,
        };
        Envelope::vanished(&RoomId::new("r").unwrap(), position)
    }

    fn attended(offset: u64, step: u64) -> Attended {
        Attended {
            step,
            offset,
            epoch: None,
            ts: 0,
            event: WebhookEvent::Joined,
            user: User {
                id: UserId::new("a").unwrap(),
                name: "".into(),
            },
        }
    }

    fn sorted(mark: (u64, u64), top: u64, events: &[u64], steps: &[(u64, u64)]) -> Due {
        let attended_so_far = steps.last().map_or(mark.1, |last| last.1);
        Unsorted {
            mark: Mark {
                offset: mark.0,
                step: mark.1,
            },
            top: Some(top),
            events: events.iter().copied().map(event).collect(),
            attended: Some(attended_so_far),
            attendance: steps.iter().map(|(o, s)| attended(*o, *s)).collect(),
            limit: 3,
        }
        .sort()
    }

    fn shown(due: &Due) -> String {
        let show = |item: &Item| match item {
            Item::Event(event) => format!("{}", event.position.offset),
            Item::Attended(attended) => format!("s{}", attended.step),
        };
        let items: Vec<String> = due.items.iter().map(show).collect();
        let Mark { offset, step } = due.through;
        format!("{} → {offset}-{step}, lost {}", items.join(" "), due.lost)
    }

    #[test]
    fn joins_stand_between_the_events_where_they_happened() {
        let due = sorted((4, 7), 6, &[5, 6], &[(4, 8), (5, 9)]);
        assert_eq!(shown(&due), "s8 5 s9 6 → 6-9, lost 0");
    }

    #[test]
    fn a_page_ends_where_the_shorter_of_both_ends() {
        let due = sorted((0, 0), 9, &[1, 2, 3], &[(2, 1), (3, 2), (4, 3)]);
        assert_eq!(shown(&due), "1 2 s1 3 s2 → 3-2, lost 0");
        let due = sorted((0, 0), 2, &[1, 2], &[(0, 1), (0, 2), (0, 3)]);
        assert_eq!(shown(&due), "s1 s2 s3 → 0-3, lost 0");
        let due = sorted((0, 0), 2, &[1, 2], &[(0, 1), (1, 2), (1, 3)]);
        assert_eq!(shown(&due), "s1 1 s2 s3 → 1-3, lost 0");
    }

    #[test]
    fn what_is_gone_is_counted_once() {
        let due = sorted((4, 7), 9, &[8, 9], &[(9, 10)]);
        assert_eq!(shown(&due), "8 9 s10 → 9-10, lost 5");
        assert_eq!(shown(&sorted((4, 7), 9, &[], &[])), " → 9-7, lost 5");
        // They are counted when they come.
        let due = sorted((0, 0), 6, &[5, 6], &[(0, 1), (0, 2), (0, 3)]);
        assert_eq!(shown(&due), "s1 s2 s3 → 0-3, lost 0");
    }

    #[test]
    fn rooms_are_named_or_begin_alike() {
        let queue = |rooms: &[&str]| WebhookQueue {
            name: "a".to_owned(),
            events: WebhookEvent::ALL.to_vec(),
            rooms: rooms.iter().map(|room| (*room).to_owned()).collect(),
        };
        let wants = |rooms, room: &str| queue(rooms).wants_room(&RoomId::new(room).unwrap());
        assert!(wants(&[], "lobby") && wants(&["x", "team-*"], "team-a") && wants(&["*"], "a"));
        assert!(!wants(&["team-*"], "lobby") && !wants(&["lobby"], "lobby2"));
    }
}
