//! How fast a user may ask this node for something over doors that hold no session: one bucket for
//! what reads and one for what writes.

use std::sync::Mutex;
use std::time::Instant;

use hubbub_protocol::UserId;

use crate::Identity;
use crate::error::CommandError;
use crate::expiring_map::ExpiringMap;
use crate::lock::lock;
use crate::node::Node;
use crate::rate::{Rate, Verdict};

/// Reads of one user a second, kept up, and at once.
const READS_PER_SECOND: u32 = 50;
const READS_BURST: u32 = 200;
/// Tickets of one user a second, kept up, and at once: each is kept for a minute.
const TICKETS_PER_SECOND: u32 = 1;
const TICKETS_BURST: u32 = 20;

/// The users' buckets.
#[derive(Debug, Default)]
pub(crate) struct UserPaces(Mutex<ExpiringMap<(UserId, Pace), Rate>>);

/// The kinds of requests that have a limit of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pace {
    /// Nothing is stored.
    Reads,
    /// As fast as one connection sends: `limits.sends_per_second`.
    Writes,
    /// Tickets are made.
    Tickets,
}

impl Node {
    /// Counts one more request of a user who has no session here.
    ///
    /// # Errors
    /// [`CommandError::RateLimited`].
    pub fn keep_pace(&self, identity: &Identity, pace: Pace) -> Result<(), CommandError> {
        let (limits, now) = (&self.config.limits, Instant::now());
        let (per_second, burst) = match pace {
            Pace::Reads => (READS_PER_SECOND, READS_BURST),
            Pace::Writes => (limits.sends_per_second, limits.sends_burst),
            Pace::Tickets => (TICKETS_PER_SECOND, TICKETS_BURST),
        };
        let mut paces = lock(&self.paces.0);
        let key = (identity.user.id.clone(), pace);
        let rate = paces.get_or_insert_with(key, now, || Rate::new(per_second, burst, now));
        match rate.take(now) {
            Verdict::Allowed => Ok(()),
            Verdict::TooFast(wait) => Err(CommandError::RateLimited {
                retry_after_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            }),
            // There is no connection to close: who does not listen waits longer.
            Verdict::Flooding => Err(CommandError::RateLimited {
                retry_after_ms: 10_000,
            }),
        }
    }
}
