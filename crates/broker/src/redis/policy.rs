//! Redis' `maxmemory-policy` while the node runs: a policy that evicts takes rooms in use away as soon
//! as the memory is full, and an operator can switch it on at any time.

use std::sync::Arc;

use parking_lot::Mutex;
use tracing::{info, warn};

/// The evicting policy that Redis reported last; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Policy(Arc<Mutex<Option<String>>>);

impl Policy {
    /// The problem, for operators. `None`: Redis evicts nothing.
    pub(crate) fn problem(&self) -> Option<String> {
        let policy = self.0.lock();
        let policy = policy.as_ref()?;
        Some(format!(
            "redis may evict rooms in use: set its maxmemory-policy from {policy} back to noeviction"
        ))
    }

    /// Takes the policy that Redis reports now, and logs a change.
    pub(crate) fn learn(&self, now: Option<String>) {
        let mut known = self.0.lock();
        if *known == now {
            return;
        }
        match &now {
            Some(policy) => warn!(
                policy,
                "redis may evict rooms in use when its memory is full, set its maxmemory-policy to noeviction"
            ),
            None => info!("redis evicts nothing any more"),
        }
        *known = now;
    }
}

#[cfg(test)]
mod tests {
    use super::super::greeting::evicting_policy;
    use super::*;

    #[test]
    fn a_policy_that_evicts_is_a_problem_until_it_is_healed() {
        let policy = Policy::default();
        let learn = |info: &str| policy.learn(evicting_policy(info).map(str::to_owned));
        learn("# Memory\r\nmaxmemory_policy:noeviction\r\n");
        assert_eq!(policy.problem(), None);
        learn("# Memory\r\nmaxmemory_policy:allkeys-lru\r\n");
        assert!(
            policy
                .problem()
                .is_some_and(|why| why.contains("allkeys-lru"))
        );
        learn("");
        assert_eq!(
            policy.problem(),
            None,
            "a Redis that reports no policy counts as fit"
        );
    }
}
