//! Pages of messages as they stand now, from the room's stream and the archive.
//!
//! The stream has the newest events, the archive those of long ago, and both have what lies between.
//! A page walks along the offsets: it takes messages from the stream and asks the archive for every
//! part that the stream does not have. That is what left the stream, and what Redis lost before a new
//! epoch began. Nothing is counted on between two reads: a stream that is trimmed meanwhile shows a
//! part more that is missing.

use hubbub_archive::HistorySpan as ArchiveSpan;
use hubbub_broker::{Page, Span};
use hubbub_protocol::command::HistorySpan;
use hubbub_protocol::{Envelope, EventKind, RoomId};

use crate::Identity;
use crate::error::CommandError;
use crate::node::Node;

/// The factor by which each step along the stream reads more events than the one before.
const STEP_GROWTH: usize = 4;

/// Messages in their order, and whether there are further ones.
#[derive(Debug, Default)]
pub struct HistoryPage {
    /// Folded: with their newest body and their reactions.
    pub events: Vec<Envelope>,
    /// There are further ones in the direction that was asked for.
    pub more: bool,
    /// The bytes that were read from the stream and the archive for this page. It may be far more than
    /// the page has, where many changes stand between few messages.
    pub read: usize,
}

impl HistoryPage {
    /// The bytes that were read beside those of the page's own messages.
    #[must_use]
    pub fn read_beside(&self) -> usize {
        let own: usize = self.events.iter().map(|event| event.frame.len()).sum();
        self.read.saturating_sub(own)
    }
}

/// A walk along a room's messages in one direction.
struct Walk<'a> {
    room: &'a RoomId,
    /// The walk ends when it has found so many.
    wanted: usize,
    /// In the order of the walk.
    found: Vec<Envelope>,
    /// The bytes that were read so far.
    read: usize,
}

impl<'a> Walk<'a> {
    fn new(room: &'a RoomId, wanted: usize) -> Self {
        Self {
            room,
            wanted,
            found: Vec::new(),
            read: 0,
        }
    }

    fn count(&mut self, events: &[Envelope]) {
        self.read += events.iter().map(|event| event.frame.len()).sum::<usize>();
    }

    fn left(&self) -> usize {
        self.wanted.saturating_sub(self.found.len())
    }

    fn is_done(&self) -> bool {
        self.left() == 0
    }

    fn take(&mut self, messages: impl Iterator<Item = Envelope>) {
        let left = self.left();
        self.found.extend(messages.take(left));
    }
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
                let mut page = self.page_before(room, Some(offset), older).await?;
                let from = offset.saturating_sub(1);
                let newer = self.page_above(room, from, limit - older).await?;
                page.events.extend(newer.events);
                page.read += newer.read;
                Ok(page)
            }
        }
    }

    /// The newest messages below `before`, or of all. The archive may be away: then the page has what
    /// the stream has.
    async fn page_before(
        &self,
        room: &RoomId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<HistoryPage, CommandError> {
        // One more than asked for shows whether there is more.
        let mut walk = Walk::new(room, limit + 1);
        let is_cut = match self.walk_down(&mut walk, before).await {
            Ok(()) => false,
            Err(CommandError::Unavailable) if !walk.found.is_empty() => true,
            Err(error) => return Err(error),
        };
        let Walk {
            found: mut events,
            read,
            ..
        } = walk;
        let more = is_cut || events.len() > limit;
        events.truncate(limit);
        events.reverse();
        Ok(HistoryPage { events, more, read })
    }

    async fn walk_down(
        &self,
        walk: &mut Walk<'_>,
        before: Option<u64>,
    ) -> Result<(), CommandError> {
        let mut at = before;
        // Changes stand between the messages, so a walk that finds too few reads on in larger steps.
        let mut limit = walk.wanted;
        loop {
            let page = self.peek(walk.room, at.map_or(Span::Newest, Span::Before), limit);
            let Some(page) = page.await? else { break };
            walk.count(&page.events);
            // Nothing of the stream is above its head.
            let above = page.head.offset + 1;
            let mut next = at.map_or(above, |at| at.min(above));
            let is_last = page.events.len() < limit;
            for run in runs(page.events).into_iter().rev() {
                let (first, last) = ends(&run);
                self.archived_down(walk, last, Some(next)).await?;
                if walk.is_done() {
                    return Ok(());
                }
                match self.streamed(walk, run).await? {
                    Some(messages) => walk.take(messages.into_iter().rev()),
                    None => {
                        let below = Some(last + 1);
                        self.archived_down(walk, first - 1, below).await?;
                    }
                }
                next = first;
            }
            at = Some(next);
            if walk.is_done() || next <= 1 {
                return Ok(());
            }
            if is_last {
                break;
            }
            limit = self.next_step(limit);
        }
        self.archived_down(walk, 0, at).await
    }

    /// Goes on through the messages above `low` and below `high` that only the archive has.
    async fn archived_down(
        &self,
        walk: &mut Walk<'_>,
        low: u64,
        high: Option<u64>,
    ) -> Result<(), CommandError> {
        if walk.is_done() || high.is_some_and(|high| high <= low + 1) {
            return Ok(());
        }
        let span = ArchiveSpan::Before(high);
        let older = self.archived_messages(walk, span).await?;
        let older = older.into_iter().rev();
        walk.take(older.take_while(|event| event.position.offset > low));
        Ok(())
    }

    /// The oldest messages above `after`.
    async fn page_above(
        &self,
        room: &RoomId,
        after: u64,
        limit: usize,
    ) -> Result<HistoryPage, CommandError> {
        let mut walk = Walk::new(room, limit + 1);
        self.walk_up(&mut walk, after).await?;
        let Walk {
            found: mut events,
            read,
            ..
        } = walk;
        let more = events.len() > limit;
        events.truncate(limit);
        Ok(HistoryPage { events, more, read })
    }

    async fn walk_up(&self, walk: &mut Walk<'_>, after: u64) -> Result<(), CommandError> {
        let mut at = after;
        // A first look: where the stream goes on. Most of a page of long ago is not there.
        let (mut limit, mut next) = (1, walk.wanted);
        while !walk.is_done() {
            let page = self.peek(walk.room, Span::After(at), limit).await?;
            (limit, next) = (next, self.next_step(next));
            let events = page.map_or_else(Vec::new, |page| page.events);
            walk.count(&events);
            if events.is_empty() {
                return self.archived_up(walk, at, u64::MAX).await;
            }
            for run in runs(events) {
                let (first, last) = ends(&run);
                self.archived_up(walk, at, first).await?;
                if walk.is_done() {
                    return Ok(());
                }
                match self.streamed(walk, run).await? {
                    Some(messages) => walk.take(messages.into_iter()),
                    None => self.archived_up(walk, first - 1, last + 1).await?,
                }
                at = last;
            }
        }
        Ok(())
    }

    /// Goes on through the messages above `low` and below `high` that only the archive has.
    async fn archived_up(
        &self,
        walk: &mut Walk<'_>,
        low: u64,
        high: u64,
    ) -> Result<(), CommandError> {
        if walk.is_done() || high <= low + 1 {
            return Ok(());
        }
        let span = ArchiveSpan::After(low);
        let newer = self.archived_messages(walk, span).await?;
        let newer = newer.into_iter();
        walk.take(newer.take_while(|event| event.position.offset < high));
        Ok(())
    }

    /// Returns how many events to read after a step that has read `limit`.
    fn next_step(&self, limit: usize) -> usize {
        (limit * STEP_GROWTH).min(limit.max(self.config.limits.resume_page))
    }

    /// The messages of a part of the stream as they stand now. `None`: the part has left the stream
    /// for the archive meanwhile, so changes of its messages may have left too.
    async fn streamed(
        &self,
        walk: &mut Walk<'_>,
        run: Vec<Envelope>,
    ) -> Result<Option<Vec<Envelope>>, CommandError> {
        let room = walk.room;
        let (first, _) = ends(&run);
        let mut messages = messages_of(run);
        walk.read += self.bring_up_to_date(room, &mut messages, 0).await?;
        if messages.is_empty() || self.archive.is_none() || self.broker.is_archived() {
            return Ok(Some(messages));
        }
        let oldest = self.peek(room, Span::After(first - 1), 1).await?;
        let oldest = oldest.and_then(|page| page.events.into_iter().next());
        let is_there = oldest.is_some_and(|oldest| oldest.position.offset == first);
        Ok(is_there.then_some(messages))
    }

    async fn peek(
        &self,
        room: &RoomId,
        span: Span,
        limit: usize,
    ) -> Result<Option<Page>, CommandError> {
        let page = self.broker.peek(room, span, limit).await;
        page.map_err(CommandError::of_read)
    }

    /// Messages from the archive, oldest first, with what the stream says of them since.
    async fn archived_messages(
        &self,
        walk: &mut Walk<'_>,
        span: ArchiveSpan,
    ) -> Result<Vec<Envelope>, CommandError> {
        let (room, wanted) = (walk.room, walk.left());
        let Some(archive) = &self.archive else {
            return Ok(Vec::new());
        };
        // Asked first: what the archive gets meanwhile is put in twice, which is harmless.
        let known = self.archived_up_to(room).await?;
        let messages = archive.history(room, span, wanted).await;
        let mut messages = messages.map_err(CommandError::of_archive)?;
        walk.count(&messages);
        walk.read += self.bring_up_to_date(room, &mut messages, known).await?;
        Ok(messages)
    }

    /// Up to where the archive had the room when it was asked.
    pub(crate) async fn archived_up_to(&self, room: &RoomId) -> Result<u64, CommandError> {
        if self.broker.is_archived() {
            return Ok(u64::MAX);
        }
        let head = self.peek(room, Span::Newest, 0).await?;
        Ok(head.and_then(|page| page.archived).unwrap_or(0))
    }
}

/// The parts of a page in which no offset is missing.
fn runs(events: Vec<Envelope>) -> Vec<Vec<Envelope>> {
    let mut runs: Vec<Vec<Envelope>> = Vec::new();
    for event in events {
        let offset = event.position.offset;
        let last = runs.last_mut().filter(|run| ends(run).1 + 1 == offset);
        match last {
            Some(run) => run.push(event),
            None => runs.push(vec![event]),
        }
    }
    runs
}

/// The first and the last offset of a part.
fn ends(run: &[Envelope]) -> (u64, u64) {
    let offset = |event: Option<&Envelope>| event.map_or(0, |event| event.position.offset);
    (offset(run.first()), offset(run.last()))
}

fn messages_of(mut run: Vec<Envelope>) -> Vec<Envelope> {
    run.retain(|event| event.kind() == EventKind::Message);
    run
}
