//! Changes of messages since they were stored: those that the stream has and the archive
//! does not have yet.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use hubbub_broker::BrokerError;
use hubbub_protocol::fold::{MESSAGE_REACTIONS, NAMED_USERS, Reactions, fold};
use hubbub_protocol::{Envelope, EventKind, Frame, ReactionKey, RoomId, UserId};
use indexmap::{IndexMap, IndexSet};

use crate::error::CommandError;
use crate::node::Node;

/// The most reactions of one page that are taken from the stream. Those to older messages of the page
/// are skipped beyond it; edits and deletions never are.
const REACTIONS: usize = 5_000;

/// The bytes that one change counts for beside its own: each is looked up by itself, which costs Redis
/// about as much as reading so many in a row.
const LOOKUP_COST: usize = 1_024;

/// The changes of one message.
#[derive(Debug, Default)]
struct Since {
    /// The newest one.
    edit: Option<Envelope>,
    is_deleted: bool,
    /// In the order in which they came.
    reactions: Vec<(ReactionKey, UserId, bool)>,
}

impl Node {
    /// Puts into messages what the stream says of them in events above `known`: the archive has put
    /// the others into them already. Returns the bytes that this has read.
    pub(crate) async fn bring_up_to_date(
        &self,
        room: &RoomId,
        messages: &mut [Envelope],
        known: u64,
    ) -> Result<usize, CommandError> {
        let (Some(first), Some(last)) = (messages.first(), messages.last()) else {
            return Ok(0);
        };
        let all = [first.position.offset..=last.position.offset];
        let changes = self.broker.changes(room, &all, known, REACTIONS).await;
        let changes = changes.map_err(CommandError::of_read)?;
        let read = changes
            .iter()
            .map(|change| change.frame.len() + LOOKUP_COST);
        let read = read.sum();
        let mut since = gather(&changes);
        for message in messages {
            if let Some(since) = since.remove(&message.position.offset) {
                since.apply(room, message);
            }
        }
        Ok(read)
    }

    /// Takes the bodies out of events from the archive that were deleted or edited away just now, so
    /// that the archive may not know it yet. Reactions stay events of their own.
    pub(crate) async fn bring_events_up_to_date(
        &self,
        room: &RoomId,
        mut events: Vec<Envelope>,
    ) -> Result<Vec<Envelope>, BrokerError> {
        let messages: Vec<Option<u64>> = events.iter().map(message_of).collect();
        let spans = spans(&messages);
        if spans.is_empty() {
            return Ok(events);
        }
        let changes = self.broker.changes(room, &spans, 0, 0).await?;
        let since = gather(&changes);
        for (event, message) in events.iter_mut().zip(messages) {
            if let Some(since) = message.and_then(|message| since.get(&message)) {
                since.rewrite(room, event);
            }
        }
        Ok(events)
    }
}

/// The message whose fate decides over the event's body.
fn message_of(event: &Envelope) -> Option<u64> {
    match event.kind() {
        EventKind::Message => Some(event.position.offset),
        EventKind::Edited => event.read().ok()?.target,
        EventKind::Deleted | EventKind::Reacted => None,
    }
}

/// The offsets as ranges without gaps, so that nothing else is read.
fn spans(offsets: &[Option<u64>]) -> Vec<RangeInclusive<u64>> {
    let mut offsets: Vec<u64> = offsets.iter().flatten().copied().collect();
    offsets.sort_unstable();
    offsets.dedup();
    let mut spans: Vec<RangeInclusive<u64>> = Vec::new();
    for offset in offsets {
        match spans.last_mut() {
            Some(last) if *last.end() + 1 == offset => *last = *last.start()..=offset,
            _ => spans.push(offset..=offset),
        }
    }
    spans
}

/// The changes of each message, by its offset.
fn gather(changes: &[Envelope]) -> BTreeMap<u64, Since> {
    let mut all: BTreeMap<u64, Since> = BTreeMap::new();
    for change in changes {
        let Ok(event) = change.read() else { continue };
        let Some(target) = event.target else { continue };
        let since = all.entry(target).or_default();
        match event.kind {
            EventKind::Message => {}
            EventKind::Edited if event.deleted => {}
            EventKind::Edited => since.edit = Some(change.clone()),
            EventKind::Deleted => since.is_deleted = true,
            EventKind::Reacted => {
                if let (Some(key), Some(by)) = (event.key, event.from) {
                    since.reactions.push((key, by.id, event.on.unwrap_or(true)));
                }
            }
        }
    }
    all
}

impl Since {
    /// Gives a message of a history page its present form.
    fn apply(self, room: &RoomId, message: &mut Envelope) {
        let reactions = self.reactions_over(&message.frame);
        self.rewrite(room, message);
        message.frame = fold(&message.frame, None, &reactions);
    }

    /// Gives the message, or an edit of it, the body that it may have now.
    fn rewrite(&self, room: &RoomId, event: &mut Envelope) {
        let newest = self.edit.as_ref().filter(|_| !self.is_deleted);
        let done = match (event.kind(), newest.map(|edit| (edit, edit.read()))) {
            (_, None) if self.is_deleted => event.bury(room),
            (EventKind::Message, Some((_, Ok(edit)))) => event.take_edit(room, &edit),
            (EventKind::Edited, Some((edit, _)))
                if event.position.offset < edit.position.offset =>
            {
                event.bury(room)
            }
            _ => return,
        };
        if let Err(error) = done {
            tracing::error!(%room, %error, "an event cannot be read");
        }
    }

    /// The reactions that the frame has already, with what came since.
    fn reactions_over(&self, frame: &Frame) -> Vec<Reactions> {
        #[derive(serde::Deserialize)]
        struct Folded {
            #[serde(default)]
            reactions: Vec<Reactions>,
        }
        let known = serde_json::from_str::<Folded>(frame.as_str());
        let known = known.map_or_else(|_| Vec::new(), |folded| folded.reactions);
        let mut all: IndexMap<ReactionKey, Tally> = known
            .into_iter()
            .map(|reactions| (reactions.key.clone(), Tally::new(reactions)))
            .collect();
        for (key, user, on) in &self.reactions {
            all.entry(key.clone()).or_default().count(user, *on);
        }
        let all = all.into_iter().map(|(key, tally)| tally.sum_up(key));
        let all = all.filter(|reactions| reactions.count > 0);
        all.take(MESSAGE_REACTIONS).collect()
    }
}

/// The users who reacted with one key.
#[derive(Debug, Default)]
struct Tally {
    users: IndexSet<UserId>,
    /// Users whose names are not known.
    others: u64,
}

impl Tally {
    fn new(reactions: Reactions) -> Self {
        Self {
            others: reactions.count.saturating_sub(reactions.users.len() as u64),
            users: reactions.users.into_iter().collect(),
        }
    }

    fn count(&mut self, user: &UserId, on: bool) {
        if on {
            self.users.insert(user.clone());
        } else if !self.users.shift_remove(user) {
            self.others = self.others.saturating_sub(1);
        }
    }

    fn sum_up(self, key: ReactionKey) -> Reactions {
        Reactions {
            key,
            count: self.users.len() as u64 + self.others,
            users: self.users.into_iter().take(NAMED_USERS).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read_in_ranges() {
        let offsets = [Some(5), None, Some(3), Some(4), Some(9), Some(5)];
        assert_eq!(spans(&offsets), [3..=5, 9..=9]);
        assert_eq!(spans(&[None]), []);
    }
}
