//! A part of a stream: its entries, and the tombstones of the entries that left it.

use std::ops::Range;

use hubbub_protocol::{Envelope, Epoch, Frame, MessageId, Position, RoomId};
use redis::Value;

use super::values::parse_entry;
use crate::BrokerError;

/// Facts about the part, in addition to its events.
pub(super) struct Excerpt<'a> {
    pub(super) room: &'a RoomId,
    /// The stream's present epoch.
    pub(super) epoch: &'a Epoch,
    /// The offset above which the present epoch began. Older epochs may be below it.
    pub(super) base: u64,
    /// The lowest offset from which on the stream is complete. A missing event above it has
    /// vanished.
    pub(super) low: u64,
    /// The epoch of the event before `low`, if it is known.
    pub(super) before: Option<Epoch>,
}

/// Which end of an excerpt is kept when there are more events than the caller asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Oldest,
    Newest,
}

impl Excerpt<'_> {
    /// Joins a stream's entries, in any order, with the tombstones between them. Returns at most
    /// `limit` events. Within an epoch the result has no holes. Events that Redis lost between two
    /// epochs are not filled in.
    pub(super) fn join(
        &self,
        entries: Vec<Value>,
        tombstones: &[String],
        end: End,
        limit: usize,
    ) -> Result<Vec<Envelope>, BrokerError> {
        let mut events = Vec::with_capacity(entries.len() + tombstones.len() / 2);
        for tombstone in tombstones.chunks_exact(2) {
            events.push(tombstone_event(&tombstone[0], &tombstone[1])?);
        }
        // A node of an older version leaves two tombstones for one event. The one without a body
        // counts.
        events.sort_by_key(|(event, deleted)| (event.position.offset, !deleted));
        let mut events: Vec<_> = events.into_iter().map(|(event, _)| event).collect();
        for entry in entries {
            events.push(parse_entry(entry)?);
        }
        events.sort_by_key(|event| event.position.offset);
        events.dedup_by_key(|event| event.position.offset);
        Ok(match end {
            End::Oldest => self.oldest(events, limit),
            End::Newest => self.newest(events, limit),
        })
    }

    fn oldest(&self, events: Vec<Envelope>, limit: usize) -> Vec<Envelope> {
        let mut whole: Vec<Envelope> = Vec::with_capacity(limit.min(events.len()));
        for event in events {
            let hole = self.hole(whole.last(), &event);
            let left = limit.saturating_sub(whole.len());
            whole.extend(hole.take(left).map(|offset| self.vanished(&event, offset)));
            if whole.len() >= limit {
                break;
            }
            whole.push(event);
        }
        whole
    }

    fn newest(&self, mut events: Vec<Envelope>, limit: usize) -> Vec<Envelope> {
        let mut whole: Vec<Envelope> = Vec::with_capacity(limit.min(events.len()));
        while let Some(event) = events.pop().filter(|_| whole.len() < limit) {
            let hole = self.hole(events.last(), &event).rev();
            let left = limit - whole.len() - 1;
            let vanished: Vec<_> = hole
                .take(left)
                .map(|offset| self.vanished(&event, offset))
                .collect();
            whole.push(event);
            whole.extend(vanished);
        }
        whole.reverse();
        whole
    }

    /// The offsets between two neighbours that belong to the epoch of the second one.
    fn hole(&self, previous: Option<&Envelope>, next: &Envelope) -> Range<u64> {
        let (known, epoch) = match previous {
            Some(previous) => (previous.position.offset, Some(&previous.position.epoch)),
            None => (self.low.saturating_sub(1), self.before.as_ref()),
        };
        let Position { epoch: own, offset } = &next.position;
        let from = if epoch == Some(own) {
            known + 1
        } else if own == self.epoch {
            known.max(self.base) + 1
        } else {
            *offset
        };
        from..*offset
    }

    /// Builds the event that stands for one whose content is gone: only its position is known.
    fn vanished(&self, next: &Envelope, offset: u64) -> Envelope {
        let epoch = next.position.epoch.clone();
        Envelope::vanished(self.room, Position { epoch, offset })
    }
}

/// Reads `MESSAGE FRAME` and the offset. The second result says whether the frame has no body.
fn tombstone_event(text: &str, offset: &str) -> Result<(Envelope, bool), BrokerError> {
    let unexpected = || BrokerError::Unexpected("a tombstone cannot be read".to_owned());
    let (message, frame) = text.split_once(' ').ok_or_else(unexpected)?;
    let frame = Frame::from_json(frame.to_owned().into()).ok_or_else(unexpected)?;
    let event = hubbub_protocol::StoredEvent::parse(frame.as_str()).map_err(|_| unexpected())?;
    let (epoch, deleted) = (event.epoch, event.deleted);
    let envelope = Envelope {
        position: Position {
            epoch,
            offset: offset.parse().map_err(|_| unexpected())?,
        },
        message: MessageId::new(message).map_err(|_| unexpected())?,
        previous: None,
        frame,
    };
    Ok((envelope, deleted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch_of(offset: u64) -> &'static str {
        if offset > BASE { "k" } else { "j" }
    }

    /// The present epoch `k` began above this offset, after `j`.
    const BASE: u64 = 100;

    fn entry(offset: u64) -> Value {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let frame = format!(r#"{{"type":"message","offset":{offset}}}"#);
        let fields = ["e", epoch_of(offset), "m", "M", "f", &frame].map(text);
        Value::Array(vec![
            text(&format!("{offset}-0")),
            Value::Array(fields.to_vec()),
        ])
    }

    fn tombstone(offset: u64) -> [String; 2] {
        let epoch = epoch_of(offset);
        let frame = format!(
            r#"T {{"type":"message","message":"T","ts":1,"epoch":"{epoch}","offset":{offset}}}"#
        );
        [frame, offset.to_string()]
    }

    fn joined(
        (low, before): (u64, Option<&str>),
        entries: &[u64],
        tombstones: &[u64],
        (end, limit): (End, usize),
    ) -> Vec<String> {
        let (room, epoch) = (RoomId::new("r").unwrap(), Epoch::new("k").unwrap());
        let excerpt = Excerpt {
            room: &room,
            epoch: &epoch,
            base: BASE,
            low,
            before: before.map(|epoch| Epoch::new(epoch).unwrap()),
        };
        let entries = entries.iter().copied().map(entry).collect();
        let tombstones: Vec<_> = tombstones.iter().flat_map(|o| tombstone(*o)).collect();
        let events = excerpt.join(entries, &tombstones, end, limit).unwrap();
        let show = |event: Envelope| {
            let Position { epoch, offset } = event.position;
            format!("{}{offset}{epoch}", event.message)
        };
        events.into_iter().map(show).collect()
    }

    const ALL: (End, usize) = (End::Newest, 99);

    #[test]
    fn tombstones_stand_where_events_stood() {
        let whole = joined((102, None), &[104, 102], &[103], ALL);
        assert_eq!(whole, ["M102k", "T103k", "M104k"]);
        assert_eq!(
            joined((105, None), &[], &[105, 106], ALL),
            ["T105k", "T106k"]
        );
    }

    #[test]
    fn a_hole_within_an_epoch_is_an_event_without_anything_left() {
        let whole = joined((102, None), &[102, 105], &[104], ALL);
        assert_eq!(whole, ["M102k", "-103k", "T104k", "M105k"]);
        let whole = joined((102, Some("k")), &[104], &[], ALL);
        assert_eq!(whole, ["-102k", "-103k", "M104k"]);
        let whole = joined((2, Some("j")), &[4], &[], (End::Oldest, 99));
        assert_eq!(whole, ["-2j", "-3j", "M4j"]);
    }

    #[test]
    fn what_was_lost_between_two_epochs_is_not_made_up() {
        for end in [End::Newest, End::Oldest] {
            let whole = joined((97, None), &[97, 103], &[], (end, 99));
            assert_eq!(whole, ["M97j", "-101k", "-102k", "M103k"]);
            let whole = joined((98, Some("j")), &[101], &[99], (end, 99));
            assert_eq!(whole, ["-98j", "T99j", "M101k"]);
        }
    }

    #[test]
    fn the_asked_end_is_kept() {
        let entries = [101, 105, 109];
        let oldest = joined((101, None), &entries, &[], (End::Oldest, 3));
        assert_eq!(oldest, ["M101k", "-102k", "-103k"]);
        let newest = joined((101, None), &entries, &[], (End::Newest, 3));
        assert_eq!(newest, ["-107k", "-108k", "M109k"]);
    }
}
