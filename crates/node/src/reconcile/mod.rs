//! Makes sure that a room's stream is what nodes and the archive have seen, before anything is stored
//! in it, and begins a new epoch where it is not.
//!
//! Redis may be restarted with less than it had, replaced by a replica that was behind, emptied, or
//! put back. Each such change begins another run ([`hubbub_broker::Run`]), and a room is compared once
//! in a run: [`mod@judge`] holds the rule, [`witnesses`] asks the archive and the other nodes, [`foreign`]
//! finds where a stream and a history part ways. ARCHITECTURE.md says why.

mod foreign;
mod judge;
#[cfg(test)]
mod model;
mod places;
mod run_record;
mod witnesses;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use hubbub_archive::{ArchiveError, Life};
use hubbub_broker::{
    BrokerError, NewEpoch, Outcome, Page, Place, Reconciliation, Span, StreamState,
};
use hubbub_outage::Outage;
use hubbub_protocol::{MessageId, Position, RoomId};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use self::foreign::Overlap;
use self::judge::{Flaw, Known, Verdict, Witness, judge};
pub(crate) use self::places::AckedPlaces;
pub(crate) use self::witnesses::{Inquiries, Testimony};
use self::witnesses::{Testimonies, end_of};
use crate::node::Node;

/// How often a stream may change while it is compared, before that counts as an outage.
const TRIES: usize = 8;
/// How long the archive has to answer while members wait for a repair.
const PATIENCE: Duration = Duration::from_millis(300);
/// Other nodes are asked for so long after a run began. Each node compares its own rooms at once
/// when it notices the run, so later there is nothing that only another node knows.
const YOUNG: Duration = Duration::from_secs(30);
/// Rooms whose stream was not what had been seen.
static CHANGED: Outage = Outage::new();
/// Between two tries to compare what is remembered.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Remembered rooms that are compared at once after a change of the run.
const ROOMS_AT_ONCE: usize = 16;

/// The purpose of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Something is to be stored in it.
    Store,
    /// It is to be followed: the room is opened or repaired.
    Follow,
    /// It is to be archived: what was compared before is compared again.
    Archive,
}

/// Everything that is known of a room beside its stream.
#[derive(Debug, Default)]
struct Evidence {
    places: Vec<Place>,
    overlap: Overlap,
    /// The room's newest epoch in the archive; `None`: it has none, or was not asked.
    life: Option<Life>,
    /// All who have to be asked have answered.
    is_complete: bool,
}

impl Node {
    /// Compares a room's stream with what was seen of it, and begins a new epoch where they differ.
    /// Returns whether anything was noted or begun.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`]: the archive is away, and no living node has followed the room
    /// since before this run. Or when Redis cannot be reached or gives no answer in time.
    pub(crate) async fn reconcile(&self, room: &RoomId, need: Need) -> Result<bool, BrokerError> {
        for _ in 0..TRIES {
            if need == Need::Store && self.stands(room).await? {
                return Ok(false);
            }
            let before = self.broker.state(room).await?;
            let mut evidence = self.evidence(room, before.is_some(), need).await?;
            // After the evidence: what is stored meanwhile must not look as if it were missing.
            let state = self.broker.state(room).await?;
            let run = self.broker.run(room);
            if let (Some(archive), Some(state)) = (&self.archive, &state)
                && evidence.life.is_some()
            {
                evidence.overlap = self.overlap(archive, room, state).await?;
            }
            let verdict = self.weigh(room, state.as_ref(), &evidence).await?;
            if verdict.flaw.is_none() && need == Need::Follow {
                return Ok(false);
            }
            let life = evidence.life.as_ref();
            // Another node has begun the stream after the archive was asked for a room without one.
            let is_begun_since = need == Need::Follow && before.is_none() && state.is_some();
            let decision = Reconciliation {
                run,
                found: state.as_ref().map(|state| state.head.epoch.clone()),
                is_final: evidence.is_complete && !is_begun_since,
                is_private: life.is_some_and(|life| life.private),
                outcome: self.completed(verdict.outcome.clone(), life),
            };
            if let Some(head) = self.broker.reconcile(room, &decision).await? {
                self.report(room, &verdict, &head.epoch);
                return Ok(true);
            }
        }
        Err(BrokerError::Unavailable(
            "the room's stream changes while it is compared".to_owned(),
        ))
    }

    /// Whether the stream was reconciled in this run, and holds what this node has seen.
    async fn stands(&self, room: &RoomId) -> Result<bool, BrokerError> {
        let seen = self.seen_of(room);
        let state = self.broker.state(room).await?;
        let Some(state) = state.filter(|state| state.reconciled.is_some()) else {
            return Ok(false);
        };
        let witnesses = self.witnesses(room, Some(&state), seen).await?;
        let verdict = judge(Some(&state), &witnesses, &Known::default());
        Ok(verdict.outcome == Outcome::Keep { mend_top: false })
    }

    /// Asks everybody who may know more of the room than its stream.
    async fn evidence(
        &self,
        room: &RoomId,
        has_stream: bool,
        need: Need,
    ) -> Result<Evidence, BrokerError> {
        let others = self.others(room).await;
        let mut evidence = Evidence {
            places: others.places,
            ..Evidence::default()
        };
        evidence.places.extend(self.seen_of(room));
        let is_followed = others.has_follower || self.has_followed(room);
        let may_go_on = match need {
            Need::Store => is_followed,
            Need::Follow => is_followed || has_stream,
            Need::Archive => false,
        };
        match self.archived(room, need, has_stream, may_go_on).await {
            Ok(life) => {
                let is_only_read = need == Need::Follow && has_stream;
                evidence.is_complete = !is_only_read || self.archive.is_none();
                let end = life.as_ref().and_then(end_of);
                evidence.places.extend(end.map(|(epoch, offset)| Place {
                    position: Position { epoch, offset },
                    message: None,
                }));
                evidence.life = life;
            }
            Err(why) => {
                if !may_go_on {
                    self.metrics.refused_rooms.inc();
                    return Err(BrokerError::Unavailable(format!(
                        "redis may have lost events of the room, and the archive cannot tell: {why}"
                    )));
                }
                evidence.is_complete = need == Need::Store;
            }
        }
        Ok(evidence)
    }

    /// The places that other nodes have seen, while those may be more than Redis has.
    async fn others(&self, room: &RoomId) -> Testimonies {
        let is_asked = self.broker.living_nodes() > 1 && self.broker.run_age() < YOUNG;
        match is_asked {
            true => self.inquiries.ask_nodes(room).await,
            false => Testimonies::default(),
        }
    }

    /// Where the room ends in the archive. From then on the archive takes nothing from earlier runs any
    /// more, unless the stream is only read. The call waits for a silent archive only where nothing
    /// goes on without it.
    async fn archived(
        &self,
        room: &RoomId,
        need: Need,
        has_stream: bool,
        may_go_on: bool,
    ) -> Result<Option<Life>, String> {
        let Some(archive) = &self.archive else {
            return Ok(None);
        };
        let ask = async {
            if need == Need::Follow || self.broker.is_archived() {
                let life = archive
                    .life(room)
                    .await
                    .map_err(|error| error.to_string())?;
                // A room that the archive has never heard of gets no row before its first event.
                if has_stream || life.is_none() || self.broker.is_archived() {
                    return Ok(life);
                }
            }
            self.inquiries.ask_archive(room).await
        };
        match may_go_on {
            false => ask.await,
            true => {
                let answer = timeout(PATIENCE, ask).await;
                answer.unwrap_or_else(|_| Err("no answer in time".to_owned()))
            }
        }
    }

    /// Judges the stream; where it has a flaw, this node's own log may show from where on.
    async fn weigh(
        &self,
        room: &RoomId,
        state: Option<&StreamState>,
        evidence: &Evidence,
    ) -> Result<Verdict, BrokerError> {
        let Overlap {
            archived,
            foreign_from,
        } = evidence.overlap;
        let known = Known {
            foreign_from,
            archived,
            archive_end: evidence.life.as_ref().map(|life| life.top),
        };
        let witnesses = self.witnesses(room, state, evidence.places.clone()).await?;
        let verdict = judge(state, &witnesses, &known);
        let (Some(_), Some(state), Some(here)) = (verdict.flaw, state, self.hub.room(room)) else {
            return Ok(verdict);
        };
        let own = self.foreign_to_log(&here, state).await?;
        let known = Known {
            foreign_from: own.into_iter().chain(foreign_from).min(),
            ..known
        };
        Ok(judge(Some(state), &witnesses, &known))
    }

    /// Puts beside each place which event the stream holds there.
    async fn witnesses(
        &self,
        room: &RoomId,
        state: Option<&StreamState>,
        places: Vec<Place>,
    ) -> Result<Vec<Witness>, BrokerError> {
        let mut witnesses = Vec::with_capacity(places.len());
        for place in places {
            let here = match state {
                Some(state) if place.message.is_some() => {
                    self.event_at(room, state, &place.position).await?
                }
                Some(_) | None => None,
            };
            witnesses.push(Witness { place, here });
        }
        Ok(witnesses)
    }

    async fn event_at(
        &self,
        room: &RoomId,
        state: &StreamState,
        position: &Position,
    ) -> Result<Option<MessageId>, BrokerError> {
        if position.epoch != state.head.epoch || position.offset == 0 {
            return Ok(None);
        }
        let last = state.last.as_ref();
        if let Some(last) = last.filter(|last| last.position == *position) {
            return Ok(last.message.clone());
        }
        let page = self
            .broker
            .peek(room, Span::After(position.offset - 1), 1)
            .await?;
        let first = page.and_then(|page| page.events.into_iter().next());
        let same = first.filter(|first| first.position == *position);
        Ok(same.map(|event| event.message))
    }

    /// Begins above everything that the archive has. The embedded broker goes on with the epoch that
    /// it has committed.
    fn completed(&self, outcome: Outcome, life: Option<&Life>) -> Outcome {
        match (outcome, life) {
            (Outcome::Begin(begin), Some(life)) => {
                let may_resume = self.broker.is_archived() && life.top >= begin.above;
                Outcome::Begin(NewEpoch {
                    above: begin.above.max(life.top),
                    resume: life.epoch.clone().filter(|_| may_resume),
                    ..begin
                })
            }
            (outcome, _) => outcome,
        }
    }

    fn report(&self, room: &RoomId, verdict: &Verdict, epoch: &hubbub_protocol::Epoch) {
        match (&verdict.outcome, verdict.flaw) {
            (Outcome::Keep { mend_top: true }, _) => {
                warn!(%room, "the stream ended above what was noted of it, the note is corrected");
            }
            (Outcome::Begin(begin), Some(Flaw::Absent)) if begin.above == 0 => {
                debug!(%room, %epoch, "an epoch begins");
            }
            (Outcome::Begin(begin), Some(flaw)) => {
                self.metrics.forks.inc();
                let lost = begin.lost.as_ref().map_or(0, |lost| lost.count());
                self.metrics.lost_events.inc_by(lost);
                if let Some(now) = CHANGED.fail(&format!("{flaw:?}")) {
                    warn!(%room, ?flaw, %epoch, lost, rooms = now.failures,
                        "redis came back with another stream, a new epoch begins");
                }
            }
            (Outcome::Keep { mend_top: false } | Outcome::Begin(_), _) => {}
        }
    }

    /// Reads from a room's stream, which begins if there is none.
    pub(crate) async fn read_stream(
        &self,
        room: &RoomId,
        span: Span,
        limit: usize,
    ) -> Result<Page, BrokerError> {
        if let Some(page) = self.broker.peek(room, span, limit).await? {
            return Ok(page);
        }
        self.reconcile(room, Need::Follow).await?;
        let page = self.broker.peek(room, span, limit).await?;
        page.ok_or(BrokerError::Unreconciled)
    }

    /// Redis is in another run: compares what this node remembers with what Redis has now. Open rooms
    /// are repaired; the others are looked at in a task of their own, one at a time.
    pub(crate) fn compare_remembered_soon(self: &Arc<Self>) {
        if self.is_comparing.swap(true, Ordering::AcqRel) {
            return;
        }
        let node = Arc::clone(self);
        self.spawn(async move {
            loop {
                let run = node.broker.run_number();
                let is_done = node.compare_remembered().await;
                node.is_comparing.store(false, Ordering::Release);
                if is_done && run == node.broker.run_number() {
                    return;
                }
                sleep(RETRY_PAUSE).await;
                if node.is_comparing.swap(true, Ordering::AcqRel) {
                    return;
                }
            }
        });
    }

    /// Returns whether all rooms could be compared.
    async fn compare_remembered(self: &Arc<Self>) -> bool {
        let rooms = self.places.rooms();
        let closed = rooms
            .into_iter()
            .filter(|room| self.hub.room(room).is_none());
        let compared = stream::iter(closed).map(|room| {
            let node = Arc::clone(self);
            async move { node.compare_closed(&room).await }
        });
        let mut compared = compared.buffer_unordered(ROOMS_AT_ONCE);
        let (mut rooms, mut failed) = (0_u64, None);
        while let Some(outcome) = compared.next().await {
            rooms += 1;
            failed = failed.or(outcome.err());
        }
        match &failed {
            None => info!(
                rooms,
                "redis is in another run, remembered rooms were compared"
            ),
            Some(error) => debug!(rooms, %error, "some remembered rooms cannot be compared yet"),
        }
        failed.is_none()
    }

    async fn compare_closed(&self, room: &RoomId) -> Result<(), BrokerError> {
        let seen = self.seen_of(room);
        let state = self.broker.state(room).await?;
        let witnesses = self.witnesses(room, state.as_ref(), seen).await?;
        let verdict = judge(state.as_ref(), &witnesses, &Known::default());
        if verdict.flaw.is_some() {
            self.reconcile(room, Need::Follow).await?;
        }
        Ok(())
    }
}

/// An archive that may answer later is away.
fn archive_error(error: ArchiveError) -> BrokerError {
    match error.is_retryable() {
        true => BrokerError::Unavailable(error.to_string()),
        false => BrokerError::Unexpected(error.to_string()),
    }
}
