//! Runs: whether Redis is still the one that this node has known, with everything that was stored
//! in it.
//!
//! Each partition has a key that names its run, `SERVER.EPOCH`, so runs are ordered like epochs. A
//! room notes the run in which it was reconciled, and a publish names the run that its node knows.
//! If they differ, the room is reconciled first. A new run begins when the server's run ID is
//! another one (a restart, a failover), when the key is gone (an emptied Redis), and when an older
//! run than a known one comes back (a failover and back, a restored copy).

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hubbub_protocol::Epoch;
use parking_lot::{Mutex, MutexGuard};
use redis::RedisResult;
use redis::aio::MultiplexedConnection;

use super::keys::{Key, Keys, PARTITIONS};
use super::scripts::Scripts;
use crate::{Run, run_order};

/// Characters of the server's run ID at the beginning of a run's name.
const SERVER_CHARS: usize = 12;

/// The runs that this node knows; clones share them.
#[derive(Debug, Clone)]
pub(super) struct Runs {
    keys: Keys,
    scripts: Arc<Scripts>,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug)]
struct Known {
    /// The run of each partition. Empty: not known yet.
    current: Vec<Run>,
    /// The newest run of each partition that any node has told of, as its number in the order of
    /// runs.
    newest: Vec<u64>,
    /// The server that answers at present.
    server: String,
    /// Grows with each change of a run.
    number: u64,
    /// When a run changed last, or the node began.
    changed: Instant,
}

impl Runs {
    pub(super) fn new(keys: &Keys, scripts: &Arc<Scripts>) -> Self {
        Self {
            keys: keys.clone(),
            scripts: Arc::clone(scripts),
            known: Arc::new(Mutex::new(Known::new(""))),
        }
    }

    /// The run of a partition. Empty: Redis has not answered yet, or takes no writes.
    pub(super) fn of(&self, partition: usize) -> Run {
        Arc::clone(&self.lock().current[partition])
    }

    /// Grows with each change of a run.
    pub(super) fn number(&self) -> u64 {
        self.lock().number
    }

    /// How long ago a run changed last.
    pub(super) fn age(&self) -> Duration {
        self.lock().changed.elapsed()
    }

    /// Notes that a new connection leads to the server with this run ID. Returns whether it is
    /// another server: then all runs have ended, and nothing is stored until the new ones are
    /// known.
    pub(super) fn see_server(&self, run_id: &str) -> bool {
        let server: String = run_id.chars().take(SERVER_CHARS).collect();
        let mut known = self.lock();
        if known.server == server {
            return false;
        }
        known.server = server;
        let ended = (0..PARTITIONS).map(|partition| known.adopt(partition, &Run::from("")));
        ended.fold(false, |any, ended| any | ended)
    }

    /// Ends the runs of all partitions, and all runs up to `newest`, because stored events may be
    /// gone.
    pub(super) fn end_all(&self, newest: u64) {
        let mut known = self.lock();
        for partition in 0..PARTITIONS {
            known.adopt(partition, &Run::from(""));
            known.newest[partition] = known.newest[partition].max(newest);
        }
    }

    /// Reads all runs and begins new ones where they have ended. Returns whether any run differs
    /// from the one that this node knew.
    pub(super) async fn check(&self, connection: &mut MultiplexedConnection) -> RedisResult<bool> {
        let mut pipe = redis::pipe();
        for partition in 0..PARTITIONS {
            pipe.get(self.keys.run(partition));
        }
        let found: Vec<Option<String>> = pipe.query_async(connection).await?;
        let mut is_changed = false;
        for (partition, found) in found.into_iter().enumerate() {
            let mut run = Run::from(found.unwrap_or_default());
            let fresh = self.lock().successor(partition, &run);
            if let Some(fresh) = fresh {
                run = self.begin(connection, partition, &run, &fresh).await?;
            }
            is_changed |= self.lock().adopt(partition, &run);
        }
        Ok(is_changed)
    }

    async fn begin(
        &self,
        connection: &MultiplexedConnection,
        partition: usize,
        found: &str,
        fresh: &str,
    ) -> RedisResult<Run> {
        let key = self.keys.run(partition);
        let mut call = self.scripts.run.call(&[Key::from(&key)]);
        call.arg(found).arg(fresh);
        let run = call.invoke::<String>(connection.clone()).await?;
        Ok(run.into())
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock()
    }
}

impl Known {
    fn new(server: &str) -> Self {
        Self {
            current: vec![Run::from(""); PARTITIONS],
            newest: vec![0; PARTITIONS],
            server: server.to_owned(),
            number: 1,
            changed: Instant::now(),
        }
    }

    /// The run that has to replace the found one. `None`: the found run goes on.
    fn successor(&self, partition: usize, found: &Run) -> Option<Run> {
        let (order, newest) = (run_order(found), self.newest[partition]);
        let is_current = self.current[partition] == *found;
        let is_ours = found.split_once('.').map(|(server, _)| server) == Some(&self.server);
        if is_ours && (order > newest || order == newest && is_current) {
            return None;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
        let epoch = Epoch::begin(now, newest.max(order));
        Some(format!("{}.{epoch}", self.server).into())
    }

    /// Makes `run` the partition's current run. Returns whether it replaces another.
    fn adopt(&mut self, partition: usize, run: &Run) -> bool {
        let before = std::mem::replace(&mut self.current[partition], Arc::clone(run));
        self.newest[partition] = self.newest[partition].max(run_order(run));
        if before == *run || before.is_empty() {
            return false;
        }
        self.number += 1;
        self.changed = Instant::now();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goes_on(known: &Known, run: &str) -> bool {
        known.successor(0, &run.into()).is_none()
    }

    #[test]
    fn a_run_ends_with_its_server_and_never_comes_back() {
        let mut known = Known::new("a");
        let (first, second) = ("a.000000001-aaaa", "a.000000002-aaaa");
        assert!(!goes_on(&known, ""), "an emptied Redis");
        assert!(!goes_on(&known, "b.000000001-aaaa"), "another server");
        assert!(goes_on(&known, first));
        assert!(
            !known.adopt(0, &first.into()),
            "the first run replaces no other"
        );
        assert!(goes_on(&known, first));
        assert!(!goes_on(&known, "a.000000001-bbbb"), "a rival");
        assert!(known.adopt(0, &second.into()));
        assert!(!goes_on(&known, first), "a restored copy");
        let third = known.successor(0, &first.into()).unwrap();
        assert!(run_order(&third) > run_order(&second.into()));
        known.adopt(0, &"".into());
        assert!(!goes_on(&known, second), "it was ended");
    }
}
