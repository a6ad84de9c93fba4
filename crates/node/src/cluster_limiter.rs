//! How much a user may do over the whole cluster.
//!
//! A node looks first at what it knows itself: who is too fast here needs nobody else's word. Within
//! the node's share of the burst it gives without asking, so that people who write as people do cost
//! Redis nothing; beyond it one script counts for all nodes. Without Redis each node keeps to its
//! part of the limit.

use std::net::IpAddr;

use std::time::{Duration, Instant};

use hubbub_broker::{Claim, PaceKind};
use hubbub_protocol::UserId;
use parking_lot::Mutex;

use crate::error::CommandError;
use crate::expiring_map::{Expires, ExpiringMap};
use crate::node::Node;
use crate::request_limiter::Pace;

/// How long the broker may take to count.
const PATIENCE: Duration = Duration::from_millis(250);
/// After the broker has not counted, it is asked again.
const RETRY: Duration = Duration::from_secs(1);
/// A user's burst is that of one connection, but what comes free in one second at least and in so many
/// at most.
const SEND_BURST: u32 = 3;
/// All nodes together give one part in so many of a burst before they ask.
const SHARE: u32 = 8;

/// The users' shares of the limits.
#[derive(Debug, Default)]
pub(crate) struct ClusterLimiter(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    taken: ExpiringMap<(PaceKind, UserId), Usage>,
    /// Until then this node counts alone.
    alone_until: Option<Instant>,
}

/// How far a user is ahead.
#[derive(Debug, Clone, Copy)]
struct Usage {
    /// On all nodes, as far as it is known here.
    free_at: Instant,
    /// How often it was given here and not told.
    untold: u32,
    /// Forgotten then: the node's own part of the limit has come free for all of it.
    untold_until: Instant,
}

impl Usage {
    /// A user who is not ahead.
    fn none(now: Instant) -> Self {
        Self {
            free_at: now,
            untold: 0,
            untold_until: now,
        }
    }
}

impl Expires for Usage {
    fn expires(&self) -> Instant {
        self.free_at.max(self.untold_until)
    }
}

/// A limit: the time between two, and how many may come at once.
#[derive(Debug, Clone, Copy)]
struct Limit {
    cost: Duration,
    burst: Duration,
}

impl Limit {
    /// The part that one of so many nodes may grant.
    fn part(self, nodes: u32) -> Self {
        Self {
            cost: self.cost * nodes,
            // One at least, at its higher cost.
            burst: self.burst.max(self.cost * nodes),
        }
    }
}

enum Local {
    Given,
    TooFast(Duration),
    Ask(Duration),
}

impl State {
    fn take(&mut self, key: (PaceKind, UserId), limit: Limit, nodes: u32, now: Instant) -> Local {
        let is_alone = self.alone_until.is_some_and(|until| until > now);
        let (share, untold_cost) = (limit.burst / SHARE, limit.cost * nodes);
        let limit = if is_alone { limit.part(nodes) } else { limit };
        let taken = self.taken.get_or_insert_with(key, now, || Usage::none(now));
        let free_at = taken.free_at.max(now) + limit.cost;
        if free_at > now + limit.burst {
            return Local::TooFast(free_at - now - limit.burst);
        }
        if taken.untold_until <= now {
            taken.untold = 0;
        }
        let untold_until = taken.untold_until.max(now) + untold_cost;
        if !is_alone && untold_until > now + share {
            let given = limit.cost * std::mem::take(&mut taken.untold);
            taken.untold_until = now;
            return Local::Ask(given);
        }
        taken.free_at = free_at;
        taken.untold += 1;
        taken.untold_until = untold_until;
        Local::Given
    }

    /// Notes the count of the cluster, beside the share that was granted here meanwhile.
    fn learn(&mut self, key: (PaceKind, UserId), limit: Limit, ahead: Duration, now: Instant) {
        let taken = self.taken.get_or_insert_with(key, now, || Usage::none(now));
        taken.free_at = now + ahead + limit.cost * taken.untold;
    }
}

impl Node {
    /// One more send of a user, by whatever transport.
    ///
    /// # Errors
    /// [`CommandError::RateLimited`].
    pub async fn allow_send(&self, user: &UserId) -> Result<(), CommandError> {
        let rate = self.config.limits.user_sends_per_second;
        let Some(cost) = Duration::from_secs(1).checked_div(rate) else {
            return Ok(());
        };
        let burst = cost * burst_of(rate, self.config.limits.sends_burst);
        self.allow(PaceKind::Sends, user, Limit { cost, burst })
            .await
    }

    /// One more room that a user begins. The user's address pays too, on this node alone: guests cost
    /// nothing.
    ///
    /// # Errors
    /// [`CommandError::RateLimited`].
    pub(crate) async fn allow_new_room(
        &self,
        user: &UserId,
        address: Option<IpAddr>,
    ) -> Result<(), CommandError> {
        if let Some(address) = address {
            self.keep_address_pace(address, Pace::NewRooms)?;
        }
        let rate = self.config.limits.user_new_rooms_per_minute;
        let Some(cost) = Duration::from_secs(60).checked_div(rate) else {
            return Ok(());
        };
        let burst = cost * rate;
        self.allow(PaceKind::NewRooms, user, Limit { cost, burst })
            .await
    }

    async fn allow(&self, kind: PaceKind, user: &UserId, limit: Limit) -> Result<(), CommandError> {
        let nodes = u32::try_from(self.broker.living_nodes()).unwrap_or(u32::MAX);
        let key = (kind, user.clone());
        let local = self
            .cluster_limiter
            .0
            .lock()
            .take(key.clone(), limit, nodes, Instant::now());
        let given = match local {
            Local::Given => return Ok(()),
            Local::TooFast(wait) => return Err(too_fast(wait)),
            Local::Ask(given) => given,
        };
        let claim = Claim {
            kind,
            user: user.clone(),
            given,
            cost: limit.cost,
            burst: limit.burst,
        };
        let granted = self.broker.claim(&claim, Instant::now() + PATIENCE).await;
        let mut state = self.cluster_limiter.0.lock();
        let now = Instant::now();
        let grant = match granted {
            Ok(grant) => grant,
            Err(error) => {
                tracing::debug!(%error, "limits are counted by this node alone");
                state.alone_until = Some(now + RETRY);
                return match state.take(key, limit, nodes, now) {
                    Local::Given | Local::Ask(_) => Ok(()),
                    Local::TooFast(wait) => Err(too_fast(wait)),
                };
            }
        };
        state.learn(key, limit, grant.ahead, now);
        if grant.is_allowed {
            Ok(())
        } else {
            Err(too_fast(
                (grant.ahead + limit.cost).saturating_sub(limit.burst),
            ))
        }
    }
}

/// How many a user may send at once; a burst of 0 is none of a connection's.
fn burst_of(rate: u32, of_connection: u32) -> u32 {
    let most = rate.saturating_mul(SEND_BURST);
    match of_connection {
        0 => most,
        burst => burst.clamp(rate, most),
    }
}

fn too_fast(wait: Duration) -> CommandError {
    let retry_after_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
    CommandError::RateLimited { retry_after_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit {
        cost: Duration::from_millis(50),
        burst: Duration::from_secs(3),
    };

    fn key() -> (PaceKind, UserId) {
        (PaceKind::Sends, UserId::new("alice").unwrap())
    }

    fn given(state: &mut State, nodes: u32, now: Instant) -> usize {
        let take = |_| matches!(state.take(key(), LIMIT, nodes, now), Local::Given);
        (0..1_000).map(take).take_while(|given| *given).count()
    }

    #[test]
    fn a_users_burst_is_that_of_a_connection_within_reason() {
        let bursts = [30, 0, 5, 1_000].map(|of_connection| burst_of(20, of_connection));
        assert_eq!(bursts, [30, 60, 20, 60]);
    }

    #[test]
    fn a_node_gives_its_share_and_asks_for_more() {
        let (mut state, now) = (State::default(), Instant::now());
        for number in 1..=2 {
            let given = state.take(key(), LIMIT, 3, now);
            assert!(
                matches!(given, Local::Given),
                "a part of the burst: {number}"
            );
        }
        let Local::Ask(untold) = state.take(key(), LIMIT, 3, now) else {
            panic!("not asked")
        };
        assert_eq!(untold, LIMIT.cost * 2);
    }

    #[test]
    fn who_is_faster_than_a_nodes_part_is_told_of() {
        let (mut state, start) = (State::default(), Instant::now());
        let mut told = Duration::ZERO;
        for number in 0..100_u32 {
            let taken = state.take(key(), LIMIT, 3, start + LIMIT.cost * number);
            if let Local::Ask(given) = taken {
                told += given + LIMIT.cost;
            }
        }
        assert!(told > LIMIT.cost * 90, "all but the last few: {told:?}");
    }

    #[test]
    fn what_the_cluster_counts_holds_here_too() {
        let (mut state, now) = (State::default(), Instant::now());
        state.learn(key(), LIMIT, LIMIT.burst, now);
        let Local::TooFast(wait) = state.take(key(), LIMIT, 3, now) else {
            panic!("allowed")
        };
        assert_eq!(wait, LIMIT.cost);
        let later = now + LIMIT.cost;
        assert!(matches!(state.take(key(), LIMIT, 3, later), Local::Given));
    }

    #[test]
    fn alone_a_node_keeps_to_its_part() {
        let (mut state, now) = (State::default(), Instant::now());
        state.alone_until = Some(now + Duration::from_secs(60));
        assert_eq!(given(&mut state, 3, now), 20, "a third of the burst");
        let second = now + Duration::from_secs(1);
        let more = given(&mut state, 3, second);
        assert!((6..=7).contains(&more), "a third of the rate: {more}");
    }
}
