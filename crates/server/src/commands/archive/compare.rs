//! Whether a room's stream and its archive agree: what the stream says is archived must be there,
//! under the same id.

use std::collections::HashMap;

use hubbub_archive::{Archive, RoomCheck};
use hubbub_broker::{Broker, Head, Span};
use hubbub_protocol::{Envelope, Epoch, MessageId, Position, RoomId};

use super::{ArchiveToolError, PAGE};

/// The comparison of a stream with the archive, event by event.
#[derive(Debug)]
pub(super) struct Comparison {
    /// The stream's life.
    epoch: Epoch,
    /// Events that both should have.
    pub(super) compared: u64,
    /// Events that the archive will get yet.
    pub(super) waiting: u64,
    /// Offsets that only the stream has.
    pub(super) missing: Vec<u64>,
    /// Offsets at which the archive has an event with another id.
    pub(super) other: Vec<u64>,
    /// The stream ends at the first, below the second, which the archive has.
    pub(super) behind: Option<(u64, u64)>,
}

impl Comparison {
    fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            compared: 0,
            waiting: 0,
            missing: Vec::new(),
            other: Vec::new(),
            behind: None,
        }
    }

    /// Takes out what is missing for a known reason: it was too old, or is recorded as lost.
    pub(super) fn forgive(&mut self, check: &RoomCheck) {
        let lives = check.lives.iter();
        for life in lives.filter(|life| life.epoch == self.epoch) {
            let is_known = |offset: &u64| {
                let mut lost = life.recorded.iter();
                *offset <= life.expired
                    || lost.any(|hole| (hole.first..=hole.last).contains(offset))
            };
            self.missing.retain(|offset| !is_known(offset));
        }
    }

    pub(super) fn agrees(&self) -> bool {
        self.missing.is_empty() && self.other.is_empty() && self.behind.is_none()
    }

    fn take(&mut self, event: &Envelope, known: Option<&MessageId>) {
        let offset = event.position.offset;
        self.compared += 1;
        match known {
            None => self.missing.push(offset),
            Some(message) if message.is_other(&event.message) => self.other.push(offset),
            Some(_) => {}
        }
    }
}

/// `None`: the room has no stream, or it began a new life meanwhile.
pub(super) async fn compare(
    archive: &Archive,
    broker: &Broker,
    room: &RoomId,
) -> Result<Option<Comparison>, ArchiveToolError> {
    // The archive first: it only ever has what the stream had before.
    let life = archive.incarnation(room).await?;
    let Some(page) = broker.peek(room, Span::Newest, 0).await? else {
        return Ok(None);
    };
    let head = page.head;
    let mut found = Comparison::new(head.epoch.clone());
    if let Some(life) = life.filter(|life| life.epoch.as_ref() == Some(&head.epoch))
        && head.offset < life.top
    {
        found.behind = Some((head.offset, life.top));
    }
    let archived = page.archived.unwrap_or(page.base);
    found.waiting = head.offset.saturating_sub(archived.max(page.base));
    let is_same = walk(archive, broker, room, &head, archived, &mut found).await?;
    Ok(is_same.then_some(found))
}

/// Goes through the stream up to what is archived. `false`: it is another stream now.
async fn walk(
    archive: &Archive,
    broker: &Broker,
    room: &RoomId,
    head: &Head,
    archived: u64,
    found: &mut Comparison,
) -> Result<bool, ArchiveToolError> {
    let mut after = 0;
    while after < archived {
        let page = broker.peek(room, Span::After(after), PAGE).await?;
        let Some(page) = page.filter(|page| page.head.epoch == head.epoch) else {
            return Ok(false);
        };
        let (Some(first), Some(last)) = (page.events.first(), page.events.last()) else {
            break;
        };
        let (first, last) = (first.position.offset, last.position.offset.min(archived));
        let known = archived_ids(archive, room, &head.epoch, first, last).await?;
        let of_life = |event: &&Envelope| {
            event.position.epoch == head.epoch && event.position.offset <= archived
        };
        for event in page.events.iter().filter(of_life) {
            found.take(event, known.get(&event.position.offset));
        }
        after = last.max(after + 1);
    }
    Ok(true)
}

/// The ids that the archive has from `first` to `last`.
async fn archived_ids(
    archive: &Archive,
    room: &RoomId,
    epoch: &Epoch,
    first: u64,
    last: u64,
) -> Result<HashMap<u64, MessageId>, ArchiveToolError> {
    let mut ids = HashMap::new();
    let mut after = Position {
        epoch: epoch.clone(),
        offset: first.saturating_sub(1),
    };
    while after.offset < last {
        let page = archive.export(room, Some(&after), PAGE).await?;
        let Some(newest) = page.last() else { break };
        after = newest.position.clone();
        let of_life = page
            .into_iter()
            .filter(|event| event.position.epoch == *epoch);
        ids.extend(of_life.map(|event| (event.position.offset, event.message)));
    }
    Ok(ids)
}
