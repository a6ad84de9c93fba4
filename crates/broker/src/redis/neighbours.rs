//! Neighbours: what this node knows and has logged of the other nodes' settings.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tracing::warn;

use super::lease::node_of;
use crate::Declaration;
use crate::agreement::{Difference, Values, join};

/// The other nodes' settings. Bounded by the leases in Redis.
pub(crate) struct Neighbours {
    declaration: Arc<Declaration>,
    /// The leases whose settings have been compared.
    compared: HashSet<String>,
    /// The differences that were last logged for a node, so that they are logged once.
    logged: HashMap<String, String>,
}

impl Neighbours {
    pub(crate) fn new(declaration: Arc<Declaration>) -> Self {
        Self {
            declaration,
            compared: HashSet::new(),
            logged: HashMap::new(),
        }
    }

    /// Returns the leases that were not compared yet, and forgets the leases that are gone.
    pub(crate) fn unknown<'a>(
        &mut self,
        own: &str,
        leases: impl Iterator<Item = &'a String> + Clone,
    ) -> Vec<String> {
        let present: HashSet<&str> = leases.clone().map(String::as_str).collect();
        self.compared.retain(|lease| present.contains(&**lease));
        self.logged
            .retain(|node, _| present.iter().any(|lease| node_of(lease) == node));
        let is_new = |lease: &&String| **lease != own && !self.compared.contains(*lease);
        leases.filter(is_new).cloned().collect()
    }

    /// Compares the settings of another node with this one's.
    pub(crate) fn compare(&self, lease: &str, settings: Option<&str>) -> Vec<Difference> {
        let values = settings.and_then(|json| serde_json::from_str::<Values>(json).ok());
        let values = values.unwrap_or_default();
        self.declaration.compare(node_of(lease), &values)
    }

    /// Notes that a node was compared, and logs its differences unless they were logged before.
    pub(crate) fn note(&mut self, lease: &str, settings: Option<&str>, has_joined: bool) {
        self.compared.insert(lease.to_owned());
        let node = node_of(lease);
        let text = match settings {
            None => "it declares no settings, its version is older".to_owned(),
            Some(_) => join(&self.compare(lease, settings)),
        };
        if text.is_empty() || self.logged.get(node) == Some(&text) {
            return;
        }
        if has_joined {
            warn!(node, differences = %text, "a node of the cluster has other settings")
        } else {
            warn!(node, differences = %text, "a node with other settings waits to join")
        }
        self.logged.insert(node.to_owned(), text);
    }
}
