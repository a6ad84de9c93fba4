//! Waiting for a replica. WAIT holds up its connection, so it has one of its own; and it confirms
//! falsely on a connection that has not written, so a small write goes before it. What comes after
//! that write, all replicas that confirm it have everything that was written before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{Client, RedisResult};
use tokio::sync::Mutex;
use tokio::time::timeout_at;
use tracing::debug;

use super::link::connection_config;

/// The small write's life.
const KEY_LIFE_SECONDS: u64 = 60;
/// One WAIT, in milliseconds; whoever has more time waits again.
const LONGEST_WAIT_MS: u64 = 500;

/// Clones share the connection, and one WAIT answers all who asked before it began.
#[derive(Debug, Clone)]
pub(super) struct Replication(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    client: Client,
    asked: AtomicU64,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    connection: Option<MultiplexedConnection>,
    /// Whoever asked with this number or a lower one has been confirmed.
    confirmed: u64,
}

impl Replication {
    pub(super) fn new(client: Client) -> Self {
        Self(Arc::new(Shared {
            client,
            asked: AtomicU64::new(0),
            line: Mutex::default(),
        }))
    }

    /// Whether a replica has confirmed all that was written before this call, by the deadline.
    pub(super) async fn confirm(&self, key: &str, deadline: Instant) -> bool {
        let mine = self.0.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let confirm = async {
            loop {
                let mut line = self.0.line.lock().await;
                if line.confirmed >= mine {
                    return;
                }
                let asked = self.0.asked.load(Ordering::SeqCst);
                match self.wait(&mut line, key).await {
                    Ok(0) => {}
                    Ok(_) => line.confirmed = asked,
                    Err(error) => {
                        debug!(%error, "cannot wait for a replica");
                        line.connection = None;
                        drop(line);
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        };
        timeout_at(deadline.into(), confirm).await.is_ok()
    }

    /// How many replicas have it.
    async fn wait(&self, line: &mut Line, key: &str) -> RedisResult<u64> {
        // Taken out while it is used: cut short, it may still hold the answer.
        let mut connection = match line.connection.take() {
            Some(connection) => connection,
            None => {
                let config = connection_config();
                let client = &self.0.client;
                client
                    .get_multiplexed_async_connection_with_config(&config)
                    .await?
            }
        };
        redis::cmd("SET")
            .arg(key)
            .arg(1)
            .arg("EX")
            .arg(KEY_LIFE_SECONDS)
            .exec_async(&mut connection)
            .await?;
        let replicas = redis::cmd("WAIT")
            .arg(1)
            .arg(LONGEST_WAIT_MS)
            .query_async(&mut connection)
            .await?;
        line.connection = Some(connection);
        Ok(replicas)
    }
}
