//! The node's lease: a sign of life in Redis, renewed every two seconds. What a node registers
//! (who is in which room) is registered for its lease, and goes when that has expired.
//!
//! A node that could not renew in time, because it was frozen or Redis was away, or that finds
//! another Redis than before, takes a new lease under a new name and registers everybody again. A call that was on its way may still
//! register under the old name, so that is announced once more: it expires when no call can be on
//! its way any longer, and is evicted then.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hubbub_protocol::{Epoch, NodeId};
use redis::aio::MultiplexedConnection;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tracing::warn;

use super::greeting::Greeting;
use super::keys::{Key, Keys};
use super::link::Link;
use super::scripts::Scripts;
use crate::BrokerError;
use crate::inbox::InboxSender;

/// How often a lease is renewed.
const RENEWAL: Duration = Duration::from_secs(2);
/// A renewal proves for so long that Redis takes writes: a little more than until the next.
const FRESH: Duration = Duration::from_secs(3);
/// How long it lives without renewal.
const LIFE: Duration = Duration::from_secs(6);
/// Within which every living node has learnt which others live: a renewal's interval and some.
const LEARNT: Duration = Duration::from_millis(2_500);

/// The name under which this node registers now; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    node: NodeId,
    name: Arc<Mutex<Arc<str>>>,
    renewed: Arc<Mutex<Option<Instant>>>,
    living: Arc<Mutex<VecDeque<Known>>>,
}

/// Which leases lived, from a moment on.
#[derive(Debug)]
struct Known {
    since: Instant,
    leases: Arc<[String]>,
}

impl Lease {
    pub(crate) fn new(node: &NodeId) -> Self {
        Self {
            node: node.clone(),
            name: Arc::new(Mutex::new(new_name(node))),
            renewed: Arc::default(),
            living: Arc::new(Mutex::new(VecDeque::from([Known {
                since: Instant::now(),
                leases: Arc::default(),
            }]))),
        }
    }

    pub(crate) fn name(&self) -> Arc<str> {
        Arc::clone(&self.name.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a script of ours has written to Redis within the last [`FRESH`].
    pub(crate) fn is_fresh(&self) -> bool {
        let renewed = *self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        renewed.is_some_and(|renewed| renewed.elapsed() < FRESH)
    }

    /// All leases that lived when this one was last renewed. A Redis that is full renews nothing,
    /// and what waits for the archive has to leave it all the same.
    pub(crate) fn living(&self) -> Arc<[String]> {
        let living = self.living.lock().unwrap_or_else(PoisonError::into_inner);
        living
            .back()
            .map_or_else(Arc::default, |known| Arc::clone(&known.leases))
    }

    /// What [`Lease::living`] was at any time within the last [`LEARNT`]: who follows from all of it
    /// follows for the other nodes too. At first nobody does.
    pub(crate) fn lately_living(&self) -> Vec<Arc<[String]>> {
        let living = self.living.lock().unwrap_or_else(PoisonError::into_inner);
        let old = living
            .iter()
            .skip(1)
            .take_while(|next| next.since.elapsed() >= LEARNT);
        let old = old.count();
        let lately = living.iter().skip(old);
        lately.map(|known| Arc::clone(&known.leases)).collect()
    }

    fn set_living(&self, leases: Vec<String>) {
        let mut living = self.living.lock().unwrap_or_else(PoisonError::into_inner);
        if living.back().is_some_and(|known| *known.leases == *leases) {
            return;
        }
        while living
            .get(1)
            .is_some_and(|next| next.since.elapsed() >= LEARNT)
        {
            living.pop_front();
        }
        living.push_back(Known {
            since: Instant::now(),
            leases: leases.into(),
        });
    }

    fn set_renewed(&self, now: Instant) {
        *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    fn take_another(&self) {
        *self.name.lock().unwrap_or_else(PoisonError::into_inner) = new_name(&self.node);
    }
}

/// A random part, so that a restart or a new lease is another node.
fn new_name(node: &NodeId) -> Arc<str> {
    format!("{node}.{}", Epoch::generate()).into()
}

/// The name that people gave the node, out of its lease's: after it come a start's and a lease's own
/// parts.
pub(crate) fn node_of(lease: &str) -> &str {
    let start = lease.rsplit_once('.').map_or(lease, |(start, _)| start);
    start.rsplit_once(':').map_or(start, |(node, _)| node)
}

/// What keeps the lease.
pub(crate) struct LeaseKeeper {
    pub(crate) lease: Lease,
    pub(crate) link: Link,
    pub(crate) keys: Keys,
    pub(crate) scripts: Arc<Scripts>,
    pub(crate) inbox: InboxSender,
    /// Tells when another Redis answers than before.
    pub(crate) greeting: Greeting,
    /// Expired leases, for whoever takes back what they have left. Not taken while it is busy:
    /// the next renewal names them again.
    pub(crate) expired: mpsc::Sender<Vec<String>>,
}

impl LeaseKeeper {
    /// Runs for as long as the node.
    ///
    /// A node has others evicted only after it has itself renewed without a break for the life of
    /// a lease: after a fault of Redis everyone has had that time to come back.
    pub(crate) async fn run(self) {
        let mut renewed: Option<Instant> = None;
        let mut unbroken_since = Instant::now();
        let mut due = tokio::time::interval(RENEWAL);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            // Before the call: that is the time which the answer proves.
            let now = Instant::now();
            match self.renew().await {
                Ok((is_known, expired)) => {
                    let is_late = renewed.is_some_and(|last| now.duration_since(last) > LIFE);
                    // What the one before had acked, this one may lack.
                    let is_other = self.greeting.take_change();
                    if is_late || is_other || (renewed.is_some() && !is_known) {
                        self.begin_again().await;
                        unbroken_since = now;
                    }
                    renewed = Some(now);
                    self.lease.set_renewed(now);
                    if !expired.is_empty() && now.duration_since(unbroken_since) >= LIFE {
                        // Full: it is at work on earlier ones.
                        drop(self.expired.try_send(expired));
                    }
                }
                Err(error) => {
                    warn!(%error, "cannot renew the lease");
                    unbroken_since = Instant::now();
                }
            }
        }
    }

    /// Everything that was registered is gone, or will be: the old name, renewed a moment ago, is
    /// left to expire.
    async fn begin_again(&self) {
        self.lease.take_another();
        if let Err(error) = self.renew().await {
            warn!(%error, "cannot announce the new lease, the next renewal does");
        }
        warn!(lease = %self.lease.name(), "the lease was lost, registering everybody again");
        self.inbox.doubt_registrations();
    }

    /// Whether the lease was known, and which ones have expired.
    async fn renew(&self) -> Result<(bool, Vec<String>), BrokerError> {
        let nodes = self.keys.nodes();
        let renew = async |connection: MultiplexedConnection| {
            let mut call = self.scripts.renew.call(&[Key::from(&nodes)]);
            call.arg(&*self.lease.name());
            call.arg(u64::try_from(LIFE.as_millis()).unwrap_or(u64::MAX));
            call.invoke::<(bool, Vec<String>, Vec<String>)>(connection)
                .await
        };
        let (is_known, expired, living) = self.link.call(Instant::now() + RENEWAL, renew).await?;
        self.lease.set_living(living);
        Ok((is_known, expired))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lived_lately_is_remembered() {
        let lease = Lease::new(&NodeId::new("a").unwrap());
        let lately = |lease: &Lease| -> Vec<usize> {
            lease
                .lately_living()
                .iter()
                .map(|leases| leases.len())
                .collect()
        };
        lease.set_living(vec!["a".to_owned()]);
        lease.set_living(vec!["a".to_owned()]);
        assert_eq!((lately(&lease), lease.living().len()), (vec![0, 1], 1));
        for known in lease.living.lock().unwrap().iter_mut() {
            known.since = known.since.checked_sub(2 * LEARNT).unwrap();
        }
        assert_eq!(lately(&lease), [1]);
        lease.set_living(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!((lately(&lease), lease.living().len()), (vec![1, 2], 2));
        assert_eq!(lease.living.lock().unwrap().len(), 2);
    }
}
