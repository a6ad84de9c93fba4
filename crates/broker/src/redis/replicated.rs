//! Waits for a replica. WAIT blocks its connection, so it has a connection of its own. WAIT also
//! confirms falsely on a connection that has not written, so a small write goes before it. A
//! replica that confirms that write also has everything that was written before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{Client, RedisResult};
use tokio::sync::Mutex;
use tokio::time::timeout_at;
use tracing::debug;

use super::link::connection_config;

/// Life of the key of the small write, in seconds.
const KEY_LIFE_SECONDS: u64 = 60;
/// The limit of one WAIT, in milliseconds. A caller with more time waits again.
const LONGEST_WAIT_MS: u64 = 500;

/// Confirms writes. Clones share the connection, and one WAIT answers all callers that asked before
/// it began.
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
    /// Callers with this number or a lower one are confirmed.
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

    /// Whether a replica confirmed, by the deadline, everything that was written before this call.
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

    /// Returns how many replicas have the small write.
    async fn wait(&self, line: &mut Line, key: &str) -> RedisResult<u64> {
        // Taken out while it is used: if this future is dropped, the connection may still hold the
        // answer.
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
