//! Standing: whether this node has joined the cluster, and why it has not.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::Declaration;

/// A node's standing in its cluster; clones share it. A node that has joined stays joined.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    declaration: watch::Sender<Option<Arc<Declaration>>>,
    /// Why the node has not joined. `None`: it has joined.
    obstacle: watch::Sender<Option<String>>,
}

impl Standing {
    pub(crate) fn new() -> Self {
        let obstacle = "this node has not compared its settings with the cluster's yet";
        Self {
            declaration: watch::Sender::new(None),
            obstacle: watch::Sender::new(Some(obstacle.to_owned())),
        }
    }

    pub(crate) fn declare(&self, declaration: Declaration) {
        self.declaration.send_replace(Some(Arc::new(declaration)));
    }

    /// This node's declaration. `None`: it has declared nothing yet.
    pub(crate) fn declared(&self) -> Option<Arc<Declaration>> {
        self.declaration.borrow().clone()
    }

    /// Waits until the node has declared its settings.
    pub(crate) async fn declaration(&self) -> Arc<Declaration> {
        let mut declaration = self.declaration.subscribe();
        loop {
            if let Some(declaration) = &*declaration.borrow_and_update() {
                return Arc::clone(declaration);
            }
            // The sender is `self`, so a change always comes first.
            drop(declaration.changed().await);
        }
    }

    pub(crate) fn has_joined(&self) -> bool {
        self.obstacle.borrow().is_none()
    }

    pub(crate) fn obstacle(&self) -> Option<String> {
        self.obstacle.borrow().clone()
    }

    /// Notes why the node has not joined yet, and logs the reason if it is a new one.
    pub(crate) fn wait_for(&self, obstacle: String) {
        let is_new = self.obstacle.send_if_modified(|known| {
            let is_new = known.as_ref().is_some_and(|known| *known != obstacle);
            if is_new {
                *known = Some(obstacle.clone());
            }
            is_new
        });
        if is_new {
            warn!(%obstacle, "this node cannot join the cluster yet");
        }
    }

    pub(crate) fn join(&self) {
        info!("this node has joined the cluster");
        self.obstacle.send_replace(None);
    }

    /// Waits at most `patience` until the node has joined.
    pub(crate) async fn joined(&self, patience: Duration) -> bool {
        let mut obstacle = self.obstacle.subscribe();
        let joined = obstacle.wait_for(Option::is_none);
        timeout(patience, joined).await.is_ok_and(|it| it.is_ok())
    }
}
