//! The connection for commands. It is reconnected without end, and no call waits longer than its
//! deadline.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hubbub_outage::Outage;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, PushInfo, PushKind, RedisError, RedisResult,
    ServerErrorKind,
};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout, timeout_at};
use tracing::{info, warn};

use crate::{BrokerError, BrokerMetrics};

/// The time limit for making a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How often an idle connection is probed.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// How long the answer to a probe may take before the connection is given up.
const PING_TIMEOUT: Duration = Duration::from_millis(1_500);
/// The pause before a call is retried that Redis cannot take yet, for example while it loads its
/// data.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_LAST: Duration = Duration::from_secs(2);

/// The calls have their own deadlines, so the crate's response timeout (500 ms) is turned off.
pub(crate) fn connection_config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(None)
}

/// Pauses between retries with full jitter, without end.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    pub(crate) fn new() -> Self {
        Self(BACKOFF_FIRST)
    }

    pub(crate) fn next_pause(&mut self) -> Duration {
        let longest = self.0;
        self.0 = (longest * 2).min(BACKOFF_LAST);
        longest.mul_f64(fastrand::f64())
    }
}

/// The reason why a call failed.
enum Failure {
    /// Redis refused before the call began, and will refuse for a while.
    Refused,
    /// This Redis has become a replica: another one takes the writes now.
    Demoted,
    /// Redis refused before the call began. It may accept soon.
    NotYet,
    /// The connection ended before the answer.
    Lost,
    /// The call began and failed: a defect, or foreign data.
    Broken,
}

fn classify(error: &RedisError) -> Failure {
    match error.kind() {
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::TryAgain
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ClusterDown,
        ) => Failure::NotYet,
        ErrorKind::Server(ServerErrorKind::ReadOnly) => Failure::Demoted,
        // The scripts were flushed, and once more after the crate had loaded them again.
        ErrorKind::Server(ServerErrorKind::NoScript) => Failure::NotYet,
        ErrorKind::Server(ServerErrorKind::NoPerm) => Failure::Refused,
        _ if error.is_unrecoverable_error() || error.is_io_error() => Failure::Lost,
        _ => match error.code() {
            Some("BUSY") => Failure::NotYet,
            Some("OOM" | "MISCONF" | "NOREPLICAS" | "NOAUTH") => Failure::Refused,
            _ => Failure::Broken,
        },
    }
}

/// A live connection, with a number that tells it from the one before.
#[derive(Clone)]
struct Live {
    connection: MultiplexedConnection,
    number: u64,
}

/// The command connection; clones share it.
#[derive(Clone)]
pub(crate) struct Link {
    live: watch::Receiver<Option<Live>>,
    resyncs: Arc<LinkResyncs>,
}

/// Findings of the calls about the connection.
#[derive(Debug, Default)]
struct LinkResyncs {
    raised: Notify,
    /// The number of a connection that answers but must be given up all the same.
    condemned: AtomicU64,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("up", &self.is_up())
            .finish_non_exhaustive()
    }
}

impl Link {
    /// Returns the link and the loop that keeps it connected. The caller must hold and run the
    /// loop. `greet` is called on each new connection before anyone else may use it.
    pub(crate) fn new<G, F>(
        client: Client,
        metrics: BrokerMetrics,
        greet: G,
    ) -> (Self, impl Future<Output = ()> + Send)
    where
        G: Fn(MultiplexedConnection) -> F + Send + Sync,
        F: Future<Output = RedisResult<()>> + Send,
    {
        let (sender, live) = watch::channel(None);
        let resyncs = Arc::<LinkResyncs>::default();
        let link = Self {
            live,
            resyncs: Arc::clone(&resyncs),
        };
        let keeper = Keeper {
            client,
            metrics,
            greet,
            live: Arc::new(sender),
            resyncs,
            losses: Outage::new(),
        };
        (link, keeper.run())
    }

    pub(crate) fn is_up(&self) -> bool {
        self.live.borrow().is_some()
    }

    /// Repeats `call` until it succeeds, is refused for good, or `deadline` has passed. A call that
    /// may have reached Redis is repeated too, so calls must be idempotent.
    pub(crate) async fn call<T, C, F>(&self, deadline: Instant, call: C) -> Result<T, BrokerError>
    where
        C: Fn(MultiplexedConnection) -> F,
        F: Future<Output = RedisResult<T>>,
    {
        let mut live = self.live.clone();
        let mut may_be_done = false;
        let mut why = "no connection to Redis".to_owned();
        let attempts = async {
            loop {
                let Some(Live { connection, number }) = wait_for_live(&mut live).await else {
                    return Err(BrokerError::Unavailable("the broker is closed".to_owned()));
                };
                let may_be_done_before = std::mem::replace(&mut may_be_done, true);
                let error = match call(connection).await {
                    Ok(value) => return Ok(value),
                    Err(error) => error,
                };
                why = error.to_string();
                match classify(&error) {
                    Failure::Lost => self.wait_for_another(&mut live, number).await,
                    Failure::Demoted => {
                        may_be_done = may_be_done_before;
                        self.resyncs.condemned.store(number, Ordering::Relaxed);
                        self.wait_for_another(&mut live, number).await;
                    }
                    Failure::NotYet => {
                        may_be_done = may_be_done_before;
                        sleep(RETRY_PAUSE).await;
                    }
                    Failure::Refused if may_be_done_before => {
                        return Err(BrokerError::Unknown(why.clone()));
                    }
                    Failure::Refused => return Err(BrokerError::Unavailable(why.clone())),
                    Failure::Broken => return Err(BrokerError::Unexpected(why.clone())),
                }
            }
        };
        match timeout_at(deadline.into(), attempts).await {
            Ok(result) => result,
            Err(_) if may_be_done => Err(BrokerError::Unknown(why)),
            Err(_) => Err(BrokerError::Unavailable(why)),
        }
    }

    /// Tells the loop that connection `number` is dead, and waits until the loop has noticed.
    async fn wait_for_another(&self, live: &mut watch::Receiver<Option<Live>>, number: u64) {
        self.resyncs.raised.notify_one();
        let is_other = |live: &Option<Live>| live.as_ref().is_none_or(|live| live.number != number);
        if live.wait_for(is_other).await.is_err() {
            sleep(RETRY_PAUSE).await;
        }
    }
}

/// Waits for a connection. `None`: the loop that connects has ended.
async fn wait_for_live(live: &mut watch::Receiver<Option<Live>>) -> Option<Live> {
    live.wait_for(Option::is_some).await.ok()?.clone()
}

/// The loop that reconnects.
struct Keeper<G> {
    client: Client,
    metrics: BrokerMetrics,
    greet: G,
    live: Arc<watch::Sender<Option<Live>>>,
    resyncs: Arc<LinkResyncs>,
    /// Lost connections. A connection that flaps must not fill the log.
    losses: Outage,
}

impl<G, F> Keeper<G>
where
    G: Fn(MultiplexedConnection) -> F + Send + Sync,
    F: Future<Output = RedisResult<()>> + Send,
{
    async fn run(self) {
        let (mut backoff, outage) = (Backoff::new(), Outage::new());
        for number in 1.. {
            match within(2 * CONNECT_TIMEOUT, self.connect(number)).await {
                Ok(connection) => {
                    self.metrics.redis_up.set(1);
                    if number > 1 {
                        self.metrics.reconnects.inc();
                    }
                    match outage.end() {
                        Some(over) => {
                            info!(number, failures = over.failures, lasted = ?over.lasted, "connected to redis again");
                        }
                        None => info!(number, "connected to redis"),
                    }
                    backoff = Backoff::new();
                    self.live.send_replace(Some(Live {
                        connection: connection.clone(),
                        number,
                    }));
                    let why = wait_until_dead(connection, number, &self.resyncs).await;
                    self.live.send_replace(None);
                    self.metrics.redis_up.set(0);
                    if let Some(now) = self.losses.fail(&why) {
                        warn!(number, %why, losses = now.failures, "lost the connection to redis");
                    }
                }
                Err(error) => {
                    if let Some(now) = outage.fail(&error) {
                        warn!(%error, failures = now.failures, lasted = ?now.lasted,
                            "cannot connect to redis, trying again");
                    }
                }
            }
            sleep(backoff.next_pause()).await;
        }
    }

    /// Connects. The connection's own task reports its end at once. Later calls find no connection,
    /// so they know that they were not sent.
    async fn connect(&self, number: u64) -> RedisResult<MultiplexedConnection> {
        let (live, resyncs) = (Arc::clone(&self.live), Arc::clone(&self.resyncs));
        let config = connection_config().set_push_sender(move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                live.send_if_modified(|live| live.take_if(|live| live.number == number).is_some());
                resyncs.raised.notify_one();
            }
            Ok::<(), std::convert::Infallible>(())
        });
        let connection = self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        (self.greet)(connection.clone()).await?;
        Ok(connection)
    }
}

/// Probes the connection each second, and at once when a call on it has failed.
async fn wait_until_dead(
    mut connection: MultiplexedConnection,
    number: u64,
    resyncs: &LinkResyncs,
) -> RedisError {
    loop {
        tokio::select! {
            () = sleep(PING_INTERVAL) => {}
            () = resyncs.raised.notified() => {}
        }
        if resyncs.condemned.load(Ordering::Relaxed) == number {
            return (
                ErrorKind::Server(ServerErrorKind::ReadOnly),
                "redis takes no writes",
            )
                .into();
        }
        let ping = redis::cmd("PING");
        let ping = ping.exec_async(&mut connection);
        // A Redis whose disk is full refuses even a PING, but can be read.
        if let Err(error) = within(PING_TIMEOUT, ping).await
            && !matches!(classify(&error), Failure::NotYet)
            && error.code() != Some("MISCONF")
        {
            return error;
        }
    }
}

/// Waits at most `limit`; no answer is an I/O error.
pub(crate) async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = RedisResult<T>>,
) -> RedisResult<T> {
    match timeout(limit, answer).await {
        Ok(result) => result,
        Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit() {
        let mut backoff = Backoff::new();
        for _ in 0..50 {
            assert!(backoff.next_pause() <= BACKOFF_LAST);
        }
        assert_eq!(backoff.0, BACKOFF_LAST);
    }
}
