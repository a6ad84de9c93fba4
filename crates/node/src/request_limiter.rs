//! How fast a user, or an address, may ask this node for something over transports that hold no session.

use std::net::IpAddr;

use std::time::{Duration, Instant};

use hubbub_protocol::UserId;
use parking_lot::Mutex;

use crate::Identity;
use crate::address::ClientNetwork;
use crate::error::CommandError;
use crate::expiring_map::ExpiringMap;
use crate::node::Node;
use crate::token_bucket::{TokenBucket, Verdict};

/// Reads of one user a second, kept up, and at once.
const READS_PER_SECOND: u32 = 50;
const READS_BURST: u32 = 200;
/// Tickets of one user a second, kept up, and at once: each is kept for a minute.
const TICKETS_PER_SECOND: u32 = 1;
const TICKETS_BURST: u32 = 20;
/// An address may do as much as so many users.
const USERS: u32 = 10;
const MINUTE: Duration = Duration::from_secs(60);

/// The buckets of users and networks.
#[derive(Debug, Default)]
pub(crate) struct RequestLimiter(Mutex<ExpiringMap<(Holder, Pace), TokenBucket>>);

/// The holder of a bucket.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Holder {
    User(UserId),
    Network(ClientNetwork),
}

/// The kinds of requests that have a limit of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pace {
    /// Nothing is stored.
    Reads,
    /// As fast as one connection sends: `limits.sends_per_second`.
    Writes,
    /// Tickets are made.
    Tickets,
    /// Rooms are begun: `limits.user_new_rooms_per_minute`. Only addresses have this bucket: the users' is
    /// one of the whole cluster.
    NewRooms,
}

impl Node {
    /// Counts one more request of a user who has no session here.
    ///
    /// # Errors
    /// [`CommandError::RateLimited`].
    pub fn keep_pace(&self, identity: &Identity, pace: Pace) -> Result<(), CommandError> {
        let holder = Holder::User(identity.user.id.clone());
        self.take_one(holder, pace, 1)
    }

    /// Counts one more request of an address, which may do as much as ten users. Of an IPv6 address each of
    /// its networks is asked. Without `limits.connections_per_address` addresses have no limit here either.
    ///
    /// # Errors
    /// [`CommandError::RateLimited`].
    pub fn keep_address_pace(&self, address: IpAddr, pace: Pace) -> Result<(), CommandError> {
        if self.config.limits.connections_per_address == 0 {
            return Ok(());
        }
        let mut networks = ClientNetwork::all_of(address);
        networks.try_for_each(|network| {
            self.take_one(Holder::Network(network), pace, USERS * network.shares())
        })
    }

    /// Takes one from a bucket as large as those of so many users.
    fn take_one(&self, holder: Holder, pace: Pace, users: u32) -> Result<(), CommandError> {
        let (limits, now) = (&self.config.limits, Instant::now());
        let (period, count, burst) = match pace {
            Pace::Reads => (Duration::from_secs(1), READS_PER_SECOND, READS_BURST),
            Pace::Writes => {
                let second = Duration::from_secs(1);
                (second, limits.sends_per_second, limits.sends_burst)
            }
            Pace::Tickets => (Duration::from_secs(1), TICKETS_PER_SECOND, TICKETS_BURST),
            Pace::NewRooms => {
                let count = limits.user_new_rooms_per_minute;
                (MINUTE, count, count)
            }
        };
        let (count, burst) = (count.saturating_mul(users), burst.saturating_mul(users));
        let mut paces = self.request_limiter.0.lock();
        let rate = paces.get_or_insert_with((holder, pace), now, || {
            TokenBucket::within(period, count, burst, now)
        });
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
