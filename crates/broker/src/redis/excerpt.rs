//! A part of a stream without holes: what was deleted left the stream, and its tombstone takes its
//! place.

use hubbub_protocol::{Envelope, Epoch, Frame, MessageId, Position, RoomId};
use redis::Value;

use super::values::parse_entry;
use crate::BrokerError;

/// Whose part it is.
pub(super) struct Excerpt<'a> {
    pub(super) room: &'a RoomId,
    pub(super) epoch: &'a Epoch,
    /// The stream reaches back to here: what is missing after it was deleted.
    pub(super) after: Option<u64>,
}

impl Excerpt<'_> {
    /// Joins a stream's entries, in any order, with the tombstones beside them. A hole between two
    /// entries is a deleted event, even where nothing else is left of it. Tombstones from before
    /// the stream's beginning are of no use and left out.
    pub(super) fn join(
        &self,
        entries: Vec<Value>,
        tombstones: Vec<String>,
    ) -> Result<Vec<Envelope>, BrokerError> {
        let mut events = entries
            .into_iter()
            .map(parse_entry)
            .collect::<Result<Vec<_>, _>>()?;
        let first = events.iter().map(|event| event.position.offset).min();
        for tombstone in tombstones.chunks_exact(2) {
            events.push(self.tombstone(&tombstone[0], &tombstone[1])?);
        }
        events.sort_by_key(|event| event.position.offset);
        events.dedup_by_key(|event| event.position.offset);
        Ok(self.without_holes(events, first))
    }

    /// Backwards from the end: down to the first entry a hole is filled, below it it ends the part.
    fn without_holes(&self, events: Vec<Envelope>, first: Option<u64>) -> Vec<Envelope> {
        let known = self.after.map(|after| after + 1).or(first);
        let mut whole: Vec<Envelope> = Vec::with_capacity(events.len());
        for event in events.into_iter().rev() {
            let offset = event.position.offset;
            while let Some(next) = whole.last().map(|next| next.position.offset)
                && next > offset + 1
            {
                if known.is_none_or(|known| next <= known) {
                    whole.reverse();
                    return whole;
                }
                whole.push(self.vanished(next - 1));
            }
            whole.push(event);
        }
        while let (Some(after), Some(next)) = (self.after, whole.last())
            && next.position.offset > after + 1
        {
            whole.push(self.vanished(next.position.offset - 1));
        }
        whole.reverse();
        whole
    }

    fn vanished(&self, offset: u64) -> Envelope {
        Envelope::vanished(self.room, self.place(offset))
    }

    fn place(&self, offset: u64) -> Position {
        Position {
            epoch: self.epoch.clone(),
            offset,
        }
    }

    /// Reads `MESSAGE FRAME` and the offset.
    fn tombstone(&self, text: &str, offset: &str) -> Result<Envelope, BrokerError> {
        let unexpected = || BrokerError::Unexpected("a tombstone cannot be read".to_owned());
        let (message, frame) = text.split_once(' ').ok_or_else(unexpected)?;
        Ok(Envelope {
            position: self.place(offset.parse().map_err(|_| unexpected())?),
            message: MessageId::new(message).map_err(|_| unexpected())?,
            previous: None,
            frame: Frame::from_json(frame.to_owned().into()).ok_or_else(unexpected)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(offset: u64) -> Value {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let frame = format!(r#"{{"type":"message","offset":{offset}}}"#);
        let fields = [
            text("e"),
            text("k"),
            text("m"),
            text("M"),
            text("f"),
            text(&frame),
        ];
        Value::Array(vec![
            text(&format!("{offset}-0")),
            Value::Array(fields.to_vec()),
        ])
    }

    fn joined(after: Option<u64>, entries: &[u64], tombstones: &[u64]) -> Vec<String> {
        let (room, epoch) = (RoomId::new("r").unwrap(), Epoch::new("k").unwrap());
        let excerpt = Excerpt {
            room: &room,
            epoch: &epoch,
            after,
        };
        let tombstones = tombstones
            .iter()
            .flat_map(|offset| ["T {}".to_owned(), offset.to_string()]);
        let events = excerpt
            .join(
                entries.iter().copied().map(entry).collect(),
                tombstones.collect(),
            )
            .unwrap();
        let show = |event: Envelope| format!("{}{}", event.message, event.position.offset);
        events.into_iter().map(show).collect()
    }

    #[test]
    fn tombstones_stand_where_events_stood() {
        assert_eq!(joined(None, &[4, 2], &[3]), ["M2", "T3", "M4"]);
        assert_eq!(joined(None, &[4], &[5, 6]), ["M4", "T5", "T6"]);
        assert_eq!(joined(None, &[], &[5, 6]), ["T5", "T6"]);
    }

    #[test]
    fn a_hole_between_entries_is_a_deleted_event() {
        assert_eq!(joined(None, &[2, 5], &[4]), ["M2", "-3", "T4", "M5"]);
        assert_eq!(joined(Some(1), &[4], &[]), ["-2", "-3", "M4"]);
    }

    #[test]
    fn what_is_older_than_the_stream_is_left_out() {
        assert_eq!(joined(None, &[7, 8], &[3, 6]), ["T6", "M7", "M8"]);
        assert_eq!(joined(None, &[], &[3, 6]), ["T6"]);
    }
}
