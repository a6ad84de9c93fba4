//! Finds where a stream and the archive, or a stream and this node's log, begin to differ. From
//! there on, the stream's events are foreign: other events were seen at their offsets.

use hubbub_archive::Archive;
use hubbub_broker::{BrokerError, Span, StreamState};
use hubbub_protocol::{Envelope, MessageId, RoomId};

use super::archive_error;
use crate::node::Node;
use crate::room::Room;

/// Events of one page of the comparison.
const PAGE: usize = 300;

/// The overlap of the archive with a stream's own epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Overlap {
    /// The highest offset that the archive has in that epoch. `None`: it has no event of it.
    pub(super) archived: Option<u64>,
    /// The first offset at which the two hold different events. `None`: they agree.
    pub(super) foreign_from: Option<u64>,
}

impl Node {
    /// Compares the stream with the archived events of its epoch.
    pub(super) async fn overlap(
        &self,
        archive: &Archive,
        room: &RoomId,
        state: &StreamState,
    ) -> Result<Overlap, BrokerError> {
        let epoch = &state.head.epoch;
        let archived = archive.top_of(room, epoch).await.map_err(archive_error)?;
        let Some(top) = archived else {
            return Ok(Overlap::default());
        };
        let shared = top.min(state.head.offset.max(last_offset(state)));
        let theirs = History::Archive(archive);
        Ok(Overlap {
            archived,
            foreign_from: self.first_difference(room, state, shared, &theirs).await?,
        })
    }

    /// Compares the stream with the events that this node has given to the room's members.
    pub(super) async fn foreign_to_log(
        &self,
        room: &Room,
        state: &StreamState,
    ) -> Result<Option<u64>, BrokerError> {
        let ours: Vec<(u64, MessageId)> = {
            let log = &room.state.lock().log;
            let log = log.as_ref().filter(|log| *log.epoch() == state.head.epoch);
            log.map_or_else(Vec::new, |log| log.recent().map(place_of).collect())
        };
        let Some(newest) = ours.last().map(|(newest, _)| *newest) else {
            return Ok(None);
        };
        let shared = newest.min(state.head.offset.max(last_offset(state)));
        let theirs = History::Log(ours);
        self.first_difference(&room.id, state, shared, &theirs)
            .await
    }

    /// The first offset up to `shared` at which the stream holds another event than `theirs`. Both
    /// histories share a beginning, so pages are compared from the end back to the first page with
    /// a common event. The first page is one event, because that is nearly always common.
    async fn first_difference(
        &self,
        room: &RoomId,
        state: &StreamState,
        shared: u64,
        theirs: &History<'_>,
    ) -> Result<Option<u64>, BrokerError> {
        let (mut before, mut found, mut count) = (shared + 1, None, 1);
        loop {
            let page = self.broker.peek(room, Span::Before(before), count).await?;
            let mut here = page.map_or_else(Vec::new, |page| page.events);
            here.retain(|event| event.position.epoch == state.head.epoch);
            let Some(first) = here.first().map(|event| event.position.offset) else {
                return Ok(found);
            };
            let known = theirs.places(room, state, first, here.len()).await?;
            let (is_common, difference) = compare(&here, &known);
            found = difference.or(found);
            if is_common || known.is_empty() {
                return Ok(found);
            }
            (before, count) = (first, PAGE);
        }
    }
}

/// A history to compare a stream with.
enum History<'a> {
    Archive(&'a Archive),
    /// Offsets and message IDs, in order.
    Log(Vec<(u64, MessageId)>),
}

impl History<'_> {
    /// Up to `count` places of the stream's epoch, from the offset `first` on.
    async fn places(
        &self,
        room: &RoomId,
        state: &StreamState,
        first: u64,
        count: usize,
    ) -> Result<Vec<(u64, MessageId)>, BrokerError> {
        match self {
            Self::Archive(archive) => {
                let events = archive.events_after(room, &state.head.epoch, first - 1, count);
                let events = events.await.map_err(archive_error)?;
                Ok(events.iter().map(place_of).collect())
            }
            Self::Log(places) => {
                let places = places.iter().filter(|(offset, _)| *offset >= first);
                Ok(places.take(count).cloned().collect())
            }
        }
    }
}

fn last_offset(state: &StreamState) -> u64 {
    let last = state.last.as_ref().map(|last| &last.position);
    let last = last.filter(|last| last.epoch == state.head.epoch);
    last.map_or(0, |last| last.offset)
}

fn place_of(event: &Envelope) -> (u64, MessageId) {
    (event.position.offset, event.message.clone())
}

/// Returns whether both hold a common event, and the first offset above it at which they differ.
fn compare(here: &[Envelope], known: &[(u64, MessageId)]) -> (bool, Option<u64>) {
    let (mut is_common, mut difference) = (false, None);
    for event in here.iter().rev() {
        let offset = event.position.offset;
        let there = known.iter().rev().find(|(known, _)| *known == offset);
        match there {
            // Only the offset is known here, which proves nothing.
            None => {}
            Some((_, there)) if there.is_other(&event.message) => difference = Some(offset),
            Some((_, there)) if *there == event.message && *there != MessageId::unknown() => {
                is_common = true;
                break;
            }
            Some(_) => {}
        }
    }
    (is_common, difference)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::log::tests::page;

    #[test]
    fn the_first_difference_is_found_above_the_last_common_event() {
        let here = page("e", 9, 4..=9).events;
        let known = |ids: &[(u64, &str)]| -> Vec<(u64, MessageId)> {
            let known = ids.iter();
            known
                .map(|(offset, id)| (*offset, MessageId::new(id).unwrap()))
                .collect()
        };
        let same = known(&[(7, "m7"), (8, "m8")]);
        assert_eq!(compare(&here, &same), (true, None));
        let parted = known(&[(5, "m5"), (6, "x"), (7, "-"), (8, "y")]);
        assert_eq!(compare(&here, &parted), (true, Some(6)));
        assert_eq!(
            compare(&here, &known(&[(4, "x"), (5, "y")])),
            (false, Some(4))
        );
        assert_eq!(compare(&here, &[]), (false, None));
    }
}
