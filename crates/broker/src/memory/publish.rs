//! Publishing in memory. Events are planned, committed if there is a journal, then stored and
//! handed to the nodes, one publish at a time in each room.

use std::time::{Duration, Instant};

use hubbub_outage::Outage;
use hubbub_protocol::{Draft, EpochOrder, Packet, Position, RoomId};
use tokio::time::{sleep, timeout_at};

use super::journal::{Journal, JournalError, UsedNonce};
use super::stream::{NONCE_GENERATION, Plan};
use super::{MemoryBroker, State, now_ms};
use crate::digest::DigestKey;
use crate::{BrokerError, Published, Seen};

/// The pause before a commit with an uncertain result is retried.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// The rooms that one user or one address has begun may take one part in so many of
/// `limits.embedded_bytes`.
const PAYER_SHARE: usize = 8;
/// Commits whose answer does not say whether they were done.
static UNCERTAIN: Outage = Outage::new();

impl MemoryBroker {
    pub(crate) async fn publish(
        &self,
        room: &RoomId,
        drafts: &[Draft],
        seen: Seen<'_>,
        deadline: Instant,
    ) -> Result<Vec<Published>, BrokerError> {
        let began = Instant::now();
        let seen = seen();
        let published = match &self.cluster.0.journal {
            None => {
                // Under one lock, so no other publish takes the planned offsets.
                let mut state = self.cluster.lock();
                is_reliable(&state, room, seen.as_ref())?;
                let plan = self.plan(&state, room, drafts)?;
                Ok(self.apply(&mut state, room, plan))
            }
            Some(journal) => {
                is_reliable(&self.cluster.lock(), room, seen.as_ref())?;
                // A task of its own: committed events are stored even if the caller has given up.
                let (broker, journal) = (self.clone(), journal.clone());
                let (room, drafts) = (room.clone(), drafts.to_vec());
                let publish = async move {
                    let seen = seen.as_ref();
                    broker.commit(&journal, &room, &drafts, seen).await
                };
                let publish = self.cluster.0.tasks.spawn(publish);
                match timeout_at(deadline.into(), publish).await {
                    Ok(Ok(published)) => published,
                    Ok(Err(_)) => Err(BrokerError::Unknown("the commit failed".to_owned())),
                    Err(_) => Err(BrokerError::Unknown("the commit takes long".to_owned())),
                }
            }
        };
        self.metrics.observe_publish(began.elapsed());
        published
    }

    fn plan(&self, state: &State, room: &RoomId, drafts: &[Draft]) -> Result<Plan, BrokerError> {
        let key = DigestKey::derive(&self.cluster.0.secret);
        Ok(state.stream(room)?.plan(drafts, &key, now_ms()))
    }

    /// Stores the planned events and hands them to all nodes.
    fn apply(&self, state: &mut State, room: &RoomId, mut plan: Plan) -> Vec<Published> {
        let config = &self.cluster.0.config;
        let (outcomes, events) = (
            std::mem::take(&mut plan.outcomes),
            std::mem::take(&mut plan.events),
        );
        let here = state.room(room);
        let Some(stream) = here.stream.as_mut() else {
            return outcomes;
        };
        let added = stream.apply(plan, &config.history);
        let Some(ts) = outcomes.iter().find_map(|outcome| match outcome {
            Published::Stored { ts, .. } => Some(*ts),
            Published::Duplicate { .. } | Published::Gone | Published::Crowded => None,
        }) else {
            return outcomes;
        };
        here.change();
        state.settle(room);
        for event in &events {
            let place = (room.clone(), event.position.offset);
            state.stored.push_back(place);
        }
        state.note_events(config, room, &events);
        let packet = Packet::Events { ts, events };
        state.broadcast(room, &packet, added, &self.metrics);
        let most = usize::try_from(config.embedded_bytes.as_u64()).unwrap_or(usize::MAX);
        state.keep_share(room, most / PAYER_SHARE);
        state.shed(most);
        state.sweep(config);
        let bytes = state.ledger.total() as u64;
        self.metrics.set_streams(bytes, Some(most as u64));
        outcomes
    }

    /// Plans, commits and stores. Nothing else is planned in the room meanwhile, so the stored
    /// events are exactly the committed ones.
    async fn commit(
        &self,
        journal: &Journal,
        room: &RoomId,
        drafts: &[Draft],
        seen: Option<&Position>,
    ) -> Result<Vec<Published>, BrokerError> {
        let writing = {
            let state = self.cluster.lock();
            let here = state.rooms.get(room).ok_or(BrokerError::Unreconciled)?;
            std::sync::Arc::clone(&here.writing)
        };
        let _one_at_a_time = writing.lock_owned().await;
        self.learn_nonces(journal, room, drafts).await?;
        let (plan, base) = {
            let state = self.cluster.lock();
            is_reliable(&state, room, seen)?;
            let base = state.stream(room)?.base();
            (self.plan(&state, room, drafts)?, base)
        };
        if !plan.events.is_empty() {
            let mut may_be_there = false;
            loop {
                match journal.commit(room, base, &plan.events).await {
                    Ok(()) => {
                        if may_be_there && let Some(over) = UNCERTAIN.end() {
                            tracing::info!(%room, failures = over.failures, lasted = ?over.lasted,
                                "commits to the archive have an answer again");
                        }
                        break;
                    }
                    Err(JournalError::Refused(why)) if !may_be_there => {
                        return Err(BrokerError::Unavailable(why));
                    }
                    // Retried until it is certain: another event must not take this offset.
                    Err(JournalError::Refused(why) | JournalError::Unknown(why)) => {
                        may_be_there = true;
                        if let Some(now) = UNCERTAIN.fail(&why) {
                            tracing::warn!(%room, why, failures = now.failures, lasted = ?now.lasted,
                                "a commit to the archive had no clear answer, trying it again");
                        }
                        sleep(RETRY_PAUSE).await;
                    }
                }
            }
        }
        Ok(self.apply(&mut self.cluster.lock(), room, plan))
    }

    /// Looks up unknown nonces in the archive. After a restart, the nonces of the last quarter of
    /// an hour are only there.
    async fn learn_nonces(
        &self,
        journal: &Journal,
        room: &RoomId,
        drafts: &[Draft],
    ) -> Result<(), BrokerError> {
        if self.cluster.0.started.elapsed() > 2 * NONCE_GENERATION {
            return Ok(());
        }
        let key = DigestKey::derive(&self.cluster.0.secret);
        let unknown: Vec<UsedNonce> = {
            let state = self.cluster.lock();
            let stream = state.stream(room)?;
            // A nonce that a node made up is the event's own new ID, so it is never in the archive.
            let is_clients = |draft: &&Draft| draft.nonce.as_str() != draft.message.as_str();
            let unknown = stream.unknown(drafts, &key).filter(is_clients);
            let ask = |draft: &Draft| UsedNonce {
                from: draft.from.clone(),
                nonce: draft.nonce.clone(),
                position: None,
            };
            unknown.map(ask).collect()
        };
        if unknown.is_empty() {
            return Ok(());
        }
        let refused = |error: JournalError| BrokerError::Unavailable(error.to_string());
        let found = journal.find_nonces(room, unknown).await.map_err(refused)?;
        let mut state = self.cluster.lock();
        let stream = state.room(room).stream.as_mut();
        let stream = stream.ok_or(BrokerError::Unreconciled)?;
        let epoch = stream.head().epoch;
        for used in found {
            if let Some(position) = used.position.filter(|position| position.epoch == epoch) {
                let digest = key.digest_of(&used.from, &used.nonce);
                stream.learn(digest, position.offset);
            }
        }
        Ok(())
    }
}

/// Fails unless the room has a stream that ends at or above the position `seen`.
fn is_reliable(state: &State, room: &RoomId, seen: Option<&Position>) -> Result<(), BrokerError> {
    let head = state.stream(room)?.head();
    let is_behind = seen.is_some_and(|seen| match head.epoch.order(&seen.epoch) {
        EpochOrder::Same | EpochOrder::Newer => head.offset < seen.offset,
        EpochOrder::Older | EpochOrder::Rival => true,
    });
    if is_behind {
        Err(BrokerError::Unreconciled)
    } else {
        Ok(())
    }
}
