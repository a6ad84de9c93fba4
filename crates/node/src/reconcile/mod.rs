//! Reconciles a room's stream with the places that nodes and the archive have seen, before anything
//! is stored in it. If they differ, a new epoch begins.
//!
//! Redis may be restarted with less than it had, replaced by a replica that was behind, emptied, or
//! put back. Each such change begins another run ([`hubbub_broker::Run`]), and a room is compared
//! once per run. [`mod@judge`] holds the rule, [`witnesses`] asks the archive and the other nodes,
//! and [`foreign`] finds where a stream and a history begin to differ. ARCHITECTURE.md gives the
//! reasons.

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
use hubbub_archive::{ArchiveError, Incarnation};
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
pub(crate) use self::witnesses::{Inquiries, InquiryQueues, Testimony};
use self::witnesses::{Testimonies, end_of};
use crate::node::Node;

/// How often a stream may change during its comparison before that counts as an outage.
const TRIES: usize = 8;
/// How long the archive has to answer while members wait for a repair.
const PATIENCE: Duration = Duration::from_millis(300);
/// For how long after the beginning of a run the other nodes are asked. Each node compares its own
/// rooms as soon as it notices the run, so later no place is known to another node only.
const YOUNG: Duration = Duration::from_secs(30);
/// Rooms whose stream differed from the seen places.
static CHANGED: Outage = Outage::new();
/// The pause before the comparison of remembered rooms is retried.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Remembered rooms that are compared at the same time after a change of the run.
const ROOMS_AT_ONCE: usize = 16;

/// The purpose of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// An event is to be stored in the stream.
    Store,
    /// The stream is to be followed: the room is opened or repaired.
    Follow,
    /// The stream is to be archived. An earlier comparison is repeated.
    Archive,
}

/// The facts about a room in addition to its stream.
#[derive(Debug, Default)]
struct Evidence {
    places: Vec<Place>,
    overlap: Overlap,
    /// The room's newest epoch in the archive. `None`: there is none, or the archive was not asked.
    incarnation: Option<Incarnation>,
    /// Whether every party that had to be asked has answered.
    is_complete: bool,
}

impl Node {
    /// Compares a room's stream with the places that were seen of it, and begins a new epoch if
    /// they differ. Returns whether anything was noted or begun.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`]: the archive is away, and no living node has followed the room
    /// since before this run. The same error if Redis cannot be reached or does not answer in time.
    pub(crate) async fn reconcile(&self, room: &RoomId, need: Need) -> Result<bool, BrokerError> {
        for _ in 0..TRIES {
            if need == Need::Store && self.stands(room).await? {
                return Ok(false);
            }
            let before = self.broker.state(room).await?;
            let mut evidence = self.evidence(room, before.is_some(), need).await?;
            // Read after the evidence, so that events stored meanwhile do not seem to be missing.
            let state = self.broker.state(room).await?;
            let run = self.broker.run(room);
            if let (Some(archive), Some(state)) = (&self.archive, &state)
                && evidence.incarnation.is_some()
            {
                evidence.overlap = self.overlap(archive, room, state).await?;
            }
            let verdict = self.weigh(room, state.as_ref(), &evidence).await?;
            if verdict.flaw.is_none() && need == Need::Follow {
                return Ok(false);
            }
            let incarnation = evidence.incarnation.as_ref();
            // Another node has begun the stream after the archive was asked about a room without
            // one.
            let is_begun_since = need == Need::Follow && before.is_none() && state.is_some();
            let decision = Reconciliation {
                run,
                found: state.as_ref().map(|state| state.head.epoch.clone()),
                is_final: evidence.is_complete && !is_begun_since,
                is_private: incarnation.is_some_and(|incarnation| incarnation.private),
                outcome: self.completed(verdict.outcome.clone(), incarnation),
            };
            if let Some(head) = self.broker.reconcile(room, &decision).await? {
                self.report(room, &verdict, &head.epoch);
                return Ok(true);
            }
        }
        Err(BrokerError::Unavailable(
            "the room's stream keeps changing while it is compared".to_owned(),
        ))
    }

    /// Whether the stream was reconciled in this run and holds the places that this node has seen.
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

    /// Asks every party that may know more of the room than its stream.
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
            Ok(incarnation) => {
                let is_only_read = need == Need::Follow && has_stream;
                evidence.is_complete = !is_only_read || self.archive.is_none();
                let end = incarnation.as_ref().and_then(end_of);
                evidence.places.extend(end.map(|(epoch, offset)| Place {
                    position: Position { epoch, offset },
                    message: None,
                }));
                evidence.incarnation = incarnation;
            }
            Err(why) => {
                if !may_go_on {
                    self.metrics.refused_rooms.inc();
                    return Err(BrokerError::Unavailable(format!(
                        "redis may have lost events of the room, and the archive cannot be asked: {why}"
                    )));
                }
                evidence.is_complete = need == Need::Store;
            }
        }
        Ok(evidence)
    }

    /// The places that other nodes have seen, while these may be more than Redis has.
    async fn others(&self, room: &RoomId) -> Testimonies {
        let is_asked = self.broker.living_nodes() > 1 && self.broker.run_age() < YOUNG;
        if is_asked {
            self.inquiries.ask_nodes(room).await
        } else {
            Testimonies::default()
        }
    }

    /// Reads where the room ends in the archive. From then on the archive accepts nothing of
    /// earlier runs, unless the stream is only read. The call waits for a silent archive only if
    /// nothing can go on without it.
    async fn archived(
        &self,
        room: &RoomId,
        need: Need,
        has_stream: bool,
        may_go_on: bool,
    ) -> Result<Option<Incarnation>, String> {
        let Some(archive) = &self.archive else {
            return Ok(None);
        };
        let ask = async {
            if need == Need::Follow || self.broker.is_archived() {
                let incarnation = archive
                    .incarnation(room)
                    .await
                    .map_err(|error| error.to_string())?;
                // A room that the archive does not know gets no row before its first event.
                if has_stream || incarnation.is_none() || self.broker.is_archived() {
                    return Ok(incarnation);
                }
            }
            self.inquiries.ask_archive(room).await
        };
        if may_go_on {
            let answer = timeout(PATIENCE, ask).await;
            answer.unwrap_or_else(|_| Err("no answer in time".to_owned()))
        } else {
            ask.await
        }
    }

    /// Judges the stream. If it has a flaw, this node's own log may show from where on.
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
            archive_end: evidence
                .incarnation
                .as_ref()
                .map(|incarnation| incarnation.top),
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

    /// Looks up the stream's event at each place.
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

    /// Raises the new epoch above everything that the archive has. The embedded broker resumes the
    /// epoch that it has committed.
    fn completed(&self, outcome: Outcome, incarnation: Option<&Incarnation>) -> Outcome {
        match (outcome, incarnation) {
            (Outcome::Begin(begin), Some(incarnation)) => {
                let may_resume = self.broker.is_archived() && incarnation.top >= begin.above;
                Outcome::Begin(NewEpoch {
                    above: begin.above.max(incarnation.top),
                    resume: incarnation.epoch.clone().filter(|_| may_resume),
                    ..begin
                })
            }
            (outcome, _) => outcome,
        }
    }

    fn report(&self, room: &RoomId, verdict: &Verdict, epoch: &hubbub_protocol::Epoch) {
        match (&verdict.outcome, verdict.flaw) {
            (Outcome::Keep { mend_top: true }, _) => {
                warn!(%room, "the stream ended above its noted top, the top is corrected");
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
                        "the stream in redis differs from the seen events, a new epoch begins");
                }
            }
            (Outcome::Keep { mend_top: false } | Outcome::Begin(_), _) => {}
        }
    }

    /// Reads from a room's stream. Begins the stream if there is none.
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

    /// Compares the remembered places with Redis after a change of its run. Open rooms are
    /// repaired; closed rooms are compared in a task of their own, [`ROOMS_AT_ONCE`] at a time.
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

    /// Compares all remembered closed rooms. Returns whether all could be compared.
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
                "redis is in another run, the remembered rooms were compared"
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

/// An archive that may answer later counts as unavailable.
fn archive_error(error: ArchiveError) -> BrokerError {
    if error.is_retryable() {
        BrokerError::Unavailable(error.to_string())
    } else {
        BrokerError::Unexpected(error.to_string())
    }
}
