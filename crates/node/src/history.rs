//! Pages of messages as they stand now: from the room's stream as far as it reaches back, then from
//! the archive, with everything in them that has been changed since.

use std::collections::BTreeMap;

use hubbub_broker::Span;
use hubbub_protocol::command::HistorySpan;
use hubbub_protocol::fold::{NAMED_USERS, Reactions, fold};
use hubbub_protocol::{Envelope, EventKind, Frame, ReactionKey, RoomId, UserId};

use indexmap::{IndexMap, IndexSet};

use crate::Identity;
use crate::error::CommandError;
use crate::node::Node;

/// Changes of one page that are taken from the stream; older ones of them are passed over.
const CHANGES: usize = 5_000;

/// Messages in their order, and whether there are further ones.
#[derive(Debug, Default)]
pub struct HistoryPage {
    /// Folded: with their newest body and their reactions.
    pub events: Vec<Envelope>,
    /// There are further ones in the direction that was asked for.
    pub more: bool,
}

/// Messages from the stream.
struct Streamed {
    events: Vec<Envelope>,
    /// There is nothing before them: the first event of all is among what was looked at.
    is_whole: bool,
}

/// What has become of one message since.
#[derive(Debug, Default)]
struct Since {
    edit: Option<Frame>,
    tombstone: bool,
    /// In the order in which they came.
    reactions: Vec<(ReactionKey, UserId, bool)>,
}

impl Node {
    /// A page of a room's messages, oldest first; `limit` is clamped to `limits.resume_page`.
    ///
    /// # Errors
    /// [`CommandError::Forbidden`], or what the broker or the archive cannot do now.
    pub async fn history(
        &self,
        identity: &Identity,
        room: &RoomId,
        span: HistorySpan,
        limit: usize,
    ) -> Result<HistoryPage, CommandError> {
        self.may_read(identity, room).await?;
        let limit = limit.clamp(1, self.config.limits.resume_page);
        match span {
            HistorySpan::Before(before) => self.page_before(room, before, limit).await,
            HistorySpan::After(after) => self.page_above(room, after, limit).await,
            HistorySpan::Around(offset) => {
                let older = limit / 2;
                let mut page = HistoryPage::default();
                if older > 0 {
                    page = self.page_before(room, Some(offset), older).await?;
                }
                let from = offset.saturating_sub(1);
                let newer = self.page_above(room, from, limit - older).await?;
                page.events.extend(newer.events);
                Ok(page)
            }
        }
    }

    async fn page_before(
        &self,
        room: &RoomId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<HistoryPage, CommandError> {
        // One more than asked for shows whether there is more.
        let wanted = limit + 1;
        let archived = self.archived_up_to(room).await?;
        let Streamed {
            mut events,
            is_whole,
        } = self.streamed_before(room, before, wanted).await?;
        let first = events.first().map(|first| first.position.offset);
        self.bring_up_to_date(room, &mut events, 0).await?;
        if events.len() < wanted && !is_whole && self.archive.is_some() {
            let missing = wanted - events.len();
            let span = hubbub_archive::HistorySpan::Before(first.or(before));
            let mut older = match self.archived_history(room, span, missing).await {
                // What there is, is worth more than nothing: the rest can be asked for later.
                Err(CommandError::Unavailable) if !events.is_empty() => {
                    let events = events.split_off(events.len().saturating_sub(limit));
                    return Ok(HistoryPage { events, more: true });
                }
                older => older?,
            };
            self.bring_up_to_date(room, &mut older, archived).await?;
            older.append(&mut events);
            events = older;
        }
        let more = events.len() > limit;
        let events = events.split_off(events.len().saturating_sub(limit));
        Ok(HistoryPage { events, more })
    }

    /// The newest messages below `before` in the stream, oldest first.
    async fn streamed_before(
        &self,
        room: &RoomId,
        before: Option<u64>,
        wanted: usize,
    ) -> Result<Streamed, CommandError> {
        let (mut found, mut before) = (Vec::new(), before);
        loop {
            let span = before.map_or(Span::Newest, Span::Before);
            let limit = wanted.max(self.config.limits.resume_page);
            let page = self.broker.peek(room, span, limit).await;
            let page = page.map_err(CommandError::of_read)?;
            let events = page.map_or_else(Vec::new, |page| page.events);
            before = events.first().map(|first| first.position.offset).or(before);
            let is_last = events.len() < limit;
            let mut messages: Vec<_> = events.into_iter().filter(is_message).collect();
            messages.append(&mut found);
            found = messages;
            if found.len() >= wanted || is_last {
                return Ok(Streamed {
                    events: found.split_off(found.len().saturating_sub(wanted)),
                    is_whole: before.is_some_and(|first| first <= 1),
                });
            }
        }
    }

    async fn page_above(
        &self,
        room: &RoomId,
        after: u64,
        limit: usize,
    ) -> Result<HistoryPage, CommandError> {
        let wanted = limit + 1;
        let archived = self.archived_up_to(room).await?;
        let floor = self.stream_floor(room).await?;
        let mut events = Vec::new();
        if floor.is_none_or(|floor| after + 1 < floor) && self.archive.is_some() {
            let span = hubbub_archive::HistorySpan::After(after);
            events = self.archived_history(room, span, wanted).await?;
            // From the stream's first event on, the stream knows better.
            events.retain(|event| floor.is_none_or(|floor| event.position.offset < floor));
            self.bring_up_to_date(room, &mut events, archived).await?;
        }
        if let Some(floor) = floor.filter(|_| events.len() < wanted) {
            let missing = wanted - events.len();
            let after = after.max(floor - 1);
            let mut newer = self.streamed_above(room, after, missing).await?;
            self.bring_up_to_date(room, &mut newer, 0).await?;
            events.append(&mut newer);
        }
        let more = events.len() > limit;
        events.truncate(limit);
        Ok(HistoryPage { events, more })
    }

    /// Up to where the archive had the room when it was asked.
    async fn archived_up_to(&self, room: &RoomId) -> Result<u64, CommandError> {
        if self.broker.is_archived() || self.archive.is_none() {
            return Ok(u64::MAX);
        }
        let head = self.broker.peek(room, Span::Newest, 0).await;
        let head = head.map_err(CommandError::of_read)?;
        Ok(head.and_then(|page| page.archived).unwrap_or(0))
    }

    /// The offset of the oldest event that the stream still has.
    async fn stream_floor(&self, room: &RoomId) -> Result<Option<u64>, CommandError> {
        let oldest = self.broker.peek(room, Span::After(0), 1).await;
        let oldest = oldest.map_err(CommandError::of_read)?;
        Ok(oldest.and_then(|page| Some(page.events.first()?.position.offset)))
    }

    /// The oldest messages after `after` in the stream.
    async fn streamed_above(
        &self,
        room: &RoomId,
        after: u64,
        wanted: usize,
    ) -> Result<Vec<Envelope>, CommandError> {
        let (mut found, mut after) = (Vec::new(), after);
        let limit = wanted.max(self.config.limits.resume_page);
        loop {
            let page = self.broker.peek(room, Span::After(after), limit).await;
            let events = page
                .map_err(CommandError::of_read)?
                .map_or_else(Vec::new, |page| page.events);
            let Some(last) = events.last() else {
                return Ok(found);
            };
            after = last.position.offset;
            found.extend(events.into_iter().filter(is_message));
            if found.len() >= wanted {
                found.truncate(wanted);
                return Ok(found);
            }
        }
    }

    async fn archived_history(
        &self,
        room: &RoomId,
        span: hubbub_archive::HistorySpan,
        wanted: usize,
    ) -> Result<Vec<Envelope>, CommandError> {
        match &self.archive {
            None => Ok(Vec::new()),
            Some(archive) => archive
                .history(room, span, wanted)
                .await
                .map_err(CommandError::of_archive),
        }
    }

    /// Puts into messages what the stream says of them in events above `known`: the archive has put
    /// the others into them already.
    async fn bring_up_to_date(
        &self,
        room: &RoomId,
        messages: &mut [Envelope],
        known: u64,
    ) -> Result<(), CommandError> {
        let (Some(first), Some(last)) = (messages.first(), messages.last()) else {
            return Ok(());
        };
        let (first, last) = (first.position.offset, last.position.offset);
        let changes = self.broker.changes(room, first, last, CHANGES).await;
        let mut changes = changes.map_err(CommandError::of_read)?;
        changes.retain(|change| change.position.offset > known);
        let mut since = gather(&changes);
        for message in messages {
            if let Some(since) = since.remove(&message.position.offset) {
                since.apply(room, message);
            }
        }
        Ok(())
    }
}

fn is_message(event: &Envelope) -> bool {
    event.kind() == EventKind::Message
}

/// What has become of each message, by its offset.
fn gather(changes: &[Envelope]) -> BTreeMap<u64, Since> {
    let mut all: BTreeMap<u64, Since> = BTreeMap::new();
    for change in changes {
        let Ok(event) = change.read() else { continue };
        let Some(target) = event.target else { continue };
        let since = all.entry(target).or_default();
        match event.kind {
            EventKind::Message => {}
            EventKind::Edited => since.edit = Some(change.frame.clone()),
            EventKind::Deleted => since.tombstone = true,
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
    fn apply(self, room: &RoomId, event: &mut Envelope) {
        if self.tombstone {
            // Read before it was deleted: it holds the body still.
            if event.bury(room).is_err() {
                tracing::error!(%room, "a message cannot be read");
            }
            return;
        }
        let reactions = self.reactions_over(&event.frame);
        event.frame = fold(&event.frame, self.edit.as_ref(), &reactions);
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
        all.filter(|reactions| reactions.count > 0).collect()
    }
}

/// Who reacted with one key.
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
