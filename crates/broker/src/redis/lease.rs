//! The node's lease: a sign of life in Redis, renewed every two seconds. A node registers the users
//! in its rooms under its lease; they are removed when the lease has expired.
//!
//! A node takes a new lease under a new name, and registers all its users again, if it could not
//! renew in time (it was frozen, or Redis was away) or if another Redis answers than before. A call
//! that was on its way may still register under the old name. So the old name is renewed once more:
//! it expires, and is evicted, when no such call can be on its way any longer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hubbub_outage::Outage;
use hubbub_protocol::{NodeId, random_name};
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use super::greeting::Greeting;
use super::keys::{Key, Keys};
use super::link::Link;
use super::neighbours::Neighbours;
use super::runs::Runs;
use super::scripts::Scripts;
use super::standing::Standing;
use crate::agreement::{ClusterIdentity, Difference, join};
use crate::inbox::InboxSender;
use crate::{BrokerError, Declaration};

/// How often a lease is renewed.
const RENEWAL: Duration = Duration::from_secs(2);
/// For how long a renewal proves that Redis takes writes: a little longer than until the next
/// renewal.
const FRESH: Duration = Duration::from_secs(3);
/// How long a lease lives without renewal.
const LIFE: Duration = Duration::from_secs(6);
/// How often a node that may not join yet compares its settings again.
const JOIN_RETRY: Duration = Duration::from_secs(1);
/// The time after which every living node knows which leases live: a renewal's interval and a
/// margin.
const LEARNT: Duration = Duration::from_millis(2_500);

/// The name under which this node registers at present; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    node: NodeId,
    name: Arc<Mutex<Arc<str>>>,
    renewed: Arc<Mutex<Option<Instant>>>,
    living: Arc<Mutex<VecDeque<Known>>>,
}

/// The leases that lived from one moment on.
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
        Arc::clone(&self.name.lock())
    }

    /// Whether a script of this node has written to Redis within the last [`FRESH`].
    pub(crate) fn is_fresh(&self) -> bool {
        let renewed = *self.renewed.lock();
        renewed.is_some_and(|renewed| renewed.elapsed() < FRESH)
    }

    /// All leases that lived when this one was last renewed. The list is kept while a full Redis
    /// refuses renewals, because the rooms that wait for the archive must still be served.
    pub(crate) fn living(&self) -> Arc<[String]> {
        let living = self.living.lock();
        living
            .back()
            .map_or_else(Arc::default, |known| Arc::clone(&known.leases))
    }

    /// All values of [`Lease::living`] within the last [`LEARNT`]. A conclusion that follows from
    /// each of them holds on the other nodes too. In the beginning the list of leases is empty.
    pub(crate) fn lately_living(&self) -> Vec<Arc<[String]>> {
        let living = self.living.lock();
        let old = living
            .iter()
            .skip(1)
            .take_while(|next| next.since.elapsed() >= LEARNT);
        let old = old.count();
        let lately = living.iter().skip(old);
        lately.map(|known| Arc::clone(&known.leases)).collect()
    }

    fn set_living(&self, leases: Vec<String>) {
        let mut living = self.living.lock();
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
        *self.renewed.lock() = Some(now);
    }

    fn take_another(&self) {
        *self.name.lock() = new_name(&self.node);
    }
}

/// A random part makes every start and every new lease another name.
fn new_name(node: &NodeId) -> Arc<str> {
    format!("{node}.{}", random_name(8)).into()
}

/// The node's configured name, read from its lease's name. The parts of the start and of the lease
/// follow it.
pub(crate) fn node_of(lease: &str) -> &str {
    let start = lease.rsplit_once('.').map_or(lease, |(start, _)| start);
    start.rsplit_once(':').map_or(start, |(node, _)| node)
}

/// The task that keeps the lease.
pub(crate) struct LeaseKeeper {
    pub(crate) lease: Lease,
    pub(crate) link: Link,
    pub(crate) keys: Keys,
    pub(crate) scripts: Arc<Scripts>,
    pub(crate) inbox: InboxSender,
    /// Tells whether another Redis answers than before.
    pub(crate) greeting: Greeting,
    /// Whether this node has joined, and the settings that it has declared.
    pub(crate) standing: Standing,
    /// Expired leases, for the eviction. They are dropped while the eviction is busy: the next
    /// renewal names them again.
    pub(crate) expired: mpsc::Sender<Vec<String>>,
    pub(super) runs: Runs,
}

/// The condition on which a renewal takes the lease.
enum Entry<'a> {
    /// The node has joined before.
    Member,
    /// The node joins if every living lease is one of these, with which it agrees.
    AgreedWith(&'a [String]),
}

/// The result of a renewal.
struct Renewal {
    /// Whether this node's lease was alive.
    is_known: bool,
    has_joined: bool,
    /// Redis has an older renewal than this node has made: Redis was put back to an earlier state.
    has_gone_back: bool,
    expired: Vec<String>,
    /// The leases of the nodes that wait to join.
    waiting: Vec<String>,
    identity: Option<ClusterIdentity>,
}

/// The answer of `renew.lua`.
type Renewed = (
    bool,
    bool,
    Vec<String>,
    Vec<String>,
    Vec<String>,
    String,
    String,
    String,
);

impl LeaseKeeper {
    /// Runs as long as the node. Joins once this node's settings agree with those of every living
    /// node, and from then on renews the lease.
    pub(crate) async fn run(self) {
        let mut declaration = self.standing.declaration().await;
        let mut neighbours = Neighbours::new(Arc::clone(&declaration));
        self.join(&mut declaration, &mut neighbours).await;
        self.keep(declaration, neighbours).await;
    }

    /// Takes over a declaration that was made anew, as when the secret changes with which settings are
    /// digested. Returns whether there is one.
    fn declares_anew(
        &self,
        declaration: &mut Arc<Declaration>,
        neighbours: &mut Neighbours,
    ) -> bool {
        match self.standing.declared() {
            Some(new) if !Arc::ptr_eq(&new, declaration) => {
                *neighbours = Neighbours::new(Arc::clone(&new));
                *declaration = new;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Returns when the node has joined. The script joins only if the nodes that live at that
    /// moment are those that were compared. So if two nodes start together and differ, one of them
    /// waits.
    async fn join(&self, declaration: &mut Arc<Declaration>, neighbours: &mut Neighbours) {
        let (mut agreed, mut written) = (Vec::new(), String::new());
        loop {
            if self.declares_anew(declaration, neighbours) {
                agreed.clear();
            }
            let entry = Entry::AgreedWith(&agreed);
            match self.renew(declaration, entry, &mut written).await {
                Ok(renewal) => {
                    self.lease.set_renewed(Instant::now());
                    if renewal.has_joined {
                        return self.standing.join();
                    }
                    agreed = self.compare(neighbours).await;
                    if !agreed.is_empty() {
                        continue;
                    }
                }
                Err(error) => warn!(%error, "cannot join the cluster yet"),
            }
            tokio::time::sleep(JOIN_RETRY).await;
        }
    }

    /// The living leases, if this node agrees with all of them. Otherwise none, and `/readyz` says
    /// why.
    async fn compare(&self, neighbours: &mut Neighbours) -> Vec<String> {
        let living = self.lease.living().to_vec();
        let settings = match self.settings_of(&living).await {
            Ok(settings) => settings,
            Err(error) => {
                warn!(%error, "cannot read the other nodes' settings yet");
                return Vec::new();
            }
        };
        let differences = living.iter().zip(&settings);
        let differences: Vec<Difference> = differences
            .flat_map(|(lease, settings)| neighbours.compare(lease, settings.as_deref()))
            .filter(|difference| difference.is_blocking)
            .collect();
        if !differences.is_empty() {
            self.standing.wait_for(join(&differences));
            return Vec::new();
        }
        for (lease, settings) in living.iter().zip(&settings) {
            neighbours.note(lease, settings.as_deref(), true);
        }
        living
    }

    /// Renews the lease every [`RENEWAL`].
    ///
    /// A node lets others be evicted only after it has itself renewed without a break for the life
    /// of a lease. So after a fault of Redis, every node has had that time to come back.
    async fn keep(&self, mut declaration: Arc<Declaration>, mut neighbours: Neighbours) {
        let mut renewed: Option<Instant> = None;
        let mut written = String::new();
        let mut unbroken_since = Instant::now();
        let outage = Outage::new();
        let mut due = tokio::time::interval(RENEWAL);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            self.declares_anew(&mut declaration, &mut neighbours);
            // Taken before the call: the answer proves this time.
            let now = Instant::now();
            match self.renew(&declaration, Entry::Member, &mut written).await {
                Ok(renewal) => {
                    // A lease that was renewed a moment ago cannot have expired.
                    let is_gone = !renewal.is_known
                        && renewed.is_some_and(|last| now.duration_since(last) < LIFE / 2);
                    if renewal.has_gone_back || is_gone {
                        warn!("redis went back to an older state, all rooms are reconciled again");
                        self.runs.end_all(0);
                        self.inbox.resync_run();
                    }
                    let is_late = renewed.is_some_and(|last| now.duration_since(last) > LIFE);
                    // The new server may lack what the one before had acked.
                    let is_other = self.greeting.take_change();
                    if is_late || is_other || (renewed.is_some() && !renewal.is_known) {
                        self.begin_again(&declaration, &mut written).await;
                        unbroken_since = now;
                    }
                    renewed = Some(now);
                    self.lease.set_renewed(now);
                    if let Some(over) = outage.end() {
                        info!(failures = over.failures, lasted = ?over.lasted, "the lease is renewed again");
                    }
                    self.look_around(&declaration, &renewal, &mut neighbours)
                        .await;
                    if !renewal.expired.is_empty() && now.duration_since(unbroken_since) >= LIFE {
                        // If the queue is full, the eviction is busy with earlier leases.
                        drop(self.expired.try_send(renewal.expired));
                    }
                }
                Err(error) => {
                    if let Some(now) = outage.fail(&error) {
                        warn!(%error, failures = now.failures, lasted = ?now.lasted, "cannot renew the lease");
                    }
                    unbroken_since = Instant::now();
                }
            }
        }
    }

    /// Compares the nodes that were not compared yet, and logs their differences.
    async fn look_around(
        &self,
        declaration: &Declaration,
        renewal: &Renewal,
        neighbours: &mut Neighbours,
    ) {
        if let (Some(own), Some(found)) = (&declaration.identity, &renewal.identity)
            && own != found
        {
            warn!(%own, %found, "redis has the identity of another cluster, restart this node");
        }
        let (living, own) = (self.lease.living(), self.lease.name());
        let leases = living.iter().chain(&renewal.waiting);
        let unknown = neighbours.unknown(&own, leases);
        if unknown.is_empty() {
            return;
        }
        match self.settings_of(&unknown).await {
            Ok(settings) => {
                for (lease, settings) in unknown.iter().zip(settings) {
                    let has_joined = living.contains(lease);
                    neighbours.note(lease, settings.as_deref(), has_joined);
                }
            }
            Err(error) => warn!(%error, "cannot read the other nodes' settings yet"),
        }
    }

    /// Takes a new lease, because all registrations are gone or will be. The old name, renewed a
    /// moment ago, is left to expire.
    async fn begin_again(&self, declaration: &Declaration, written: &mut String) {
        self.lease.take_another();
        written.clear();
        if let Err(error) = self.renew(declaration, Entry::Member, written).await {
            warn!(%error, "cannot announce the new lease, the next renewal will");
        }
        warn!(lease = %self.lease.name(), "the lease was lost, registering all users again");
        self.inbox.resync_registrations();
    }

    /// Renews the lease. `written` is the time of its last renewal by the clock of Redis.
    async fn renew(
        &self,
        declaration: &Declaration,
        entry: Entry<'_>,
        written: &mut String,
    ) -> Result<Renewal, BrokerError> {
        let (nodes, waiting) = (self.keys.nodes(), self.keys.waiting_nodes());
        let (settings, identity) = (self.keys.node_settings(), self.keys.identity());
        let keys = [&nodes, &waiting, &settings, &identity].map(Key::from);
        let declared = declaration.to_json();
        let own = declaration.identity.as_ref().map(ToString::to_string);
        let renew = async |connection: MultiplexedConnection| {
            let mut call = self.scripts.renew.call(&keys);
            call.arg(&*self.lease.name());
            call.arg(u64::try_from(LIFE.as_millis()).unwrap_or(u64::MAX));
            call.arg(&declared).arg(own.as_deref().unwrap_or_default());
            match entry {
                Entry::Member => call.arg(1),
                Entry::AgreedWith(leases) => call.arg(0).arg(leases),
            };
            call.invoke::<Renewed>(connection).await
        };
        let answer = self.link.call(Instant::now() + RENEWAL, renew).await?;
        let (is_known, has_joined, expired, living, waiting, identity, before, now) = answer;
        self.lease.set_living(living);
        // An answer may have been lost, so Redis may know a later renewal than this node.
        let is_older = |before: &str| before.parse::<u64>().ok() < written.parse::<u64>().ok();
        let has_gone_back = !before.is_empty() && is_older(&before);
        *written = now;
        Ok(Renewal {
            is_known,
            has_joined,
            has_gone_back,
            expired,
            waiting,
            identity: ClusterIdentity::parse(&identity),
        })
    }

    /// The settings that these leases have declared. `None`: a node of a version that declares
    /// nothing.
    async fn settings_of(&self, leases: &[String]) -> Result<Vec<Option<String>>, BrokerError> {
        read_settings(&self.link, &self.keys, leases).await
    }
}

/// The settings that these leases have declared, in the same order.
pub(super) async fn read_settings(
    link: &Link,
    keys: &Keys,
    leases: &[String],
) -> Result<Vec<Option<String>>, BrokerError> {
    if leases.is_empty() {
        return Ok(Vec::new());
    }
    let key = keys.node_settings();
    let read = async |mut connection: MultiplexedConnection| {
        let mut read = redis::cmd("HMGET");
        read.arg(&key).arg(leases);
        read.query_async::<Vec<Option<String>>>(&mut connection)
            .await
    };
    link.call(Instant::now() + RENEWAL, read).await
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
        for known in lease.living.lock().iter_mut() {
            known.since = known.since.checked_sub(2 * LEARNT).unwrap();
        }
        assert_eq!(lately(&lease), [1]);
        lease.set_living(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!((lately(&lease), lease.living().len()), (vec![1, 2], 2));
        assert_eq!(lease.living.lock().len(), 2);
    }
}
