//! The subscription. It has its own loop, because the crate's loop ends after a few tries and its
//! queue has no bound.
//!
//! It is a separate connection with RESP3 pushes: each message goes straight from the socket into
//! the bounded inbox. After every new connection all rooms are subscribed again and then read
//! again, since packets may have been missed. The node also publishes a probe to itself once a
//! second. If no probe comes back for three seconds, the subscription is dead, whatever the socket
//! says.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hubbub_outage::Outage;
use hubbub_protocol::{Packet, RoomId};
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Client, PushInfo, PushKind, RedisResult, Value};
use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use tracing::{info, warn};

use super::link::{Backoff, Link, connection_config, within};
use crate::inbox::InboxSender;
use crate::{BrokerError, BrokerMetrics};

/// How often the node publishes a probe to itself.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// The subscription is dead after so long without a probe.
const PROBE_SILENCE: Duration = Duration::from_secs(3);
/// How long Redis may take to confirm.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(2);
/// Channels in one SUBSCRIBE.
const CHUNK: usize = 500;
/// Packets that this version cannot read.
static UNREADABLE: Outage = Outage::new();
/// Subscriptions that could not be ended.
static UNSUBSCRIBE: Outage = Outage::new();

/// The rooms to which the node subscribes, and the live connection; clones share it.
#[derive(Clone)]
pub(crate) struct Subscriber {
    shared: Arc<Shared>,
    live: watch::Receiver<Option<MultiplexedConnection>>,
}

impl std::fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscriber").finish_non_exhaustive()
    }
}

/// Channels that are subscribed beside those of rooms.
pub(crate) struct Channels {
    /// The node's own channel, for probes.
    pub(crate) probe: String,
    /// The channel of all nodes, for orders and questions.
    pub(crate) control: String,
}

struct Shared {
    /// Channel → room: the subscriptions that the node wants.
    rooms: Mutex<HashMap<String, RoomId>>,
    channels: Channels,
    /// When the last probe came back. `None`: never on this connection.
    probe_heard: Mutex<Option<Instant>>,
    /// Probes sent since then.
    unanswered: AtomicU32,
    inbox: InboxSender,
    metrics: BrokerMetrics,
}

impl Subscriber {
    /// Returns the subscriber and the loop that keeps it connected. The caller must hold and run
    /// the loop.
    pub(crate) fn new(
        client: Client,
        link: Link,
        channels: Channels,
        inbox: InboxSender,
        metrics: BrokerMetrics,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, live) = watch::channel(None);
        let shared = Arc::new(Shared {
            rooms: Mutex::default(),
            channels,
            probe_heard: Mutex::default(),
            unanswered: AtomicU32::new(0),
            inbox,
            metrics,
        });
        let subscriber = Self {
            shared: Arc::clone(&shared),
            live,
        };
        (subscriber, keep(client, link, shared, sender))
    }

    /// Subscribes to a room. Returns once Redis has confirmed. A connection that is being made
    /// subscribes to the room by itself, so waiting for it is enough.
    pub(crate) async fn subscribe(
        &self,
        channel: String,
        room: &RoomId,
        deadline: Instant,
    ) -> Result<(), BrokerError> {
        self.shared.rooms().insert(channel.clone(), room.clone());
        let mut live = self.live.clone();
        let confirmed = async {
            loop {
                let connection = live.wait_for(Option::is_some).await.ok()?.clone();
                let mut connection = connection.expect("wait_for returned a connection");
                if connection.subscribe(&channel).await.is_ok() {
                    return Some(());
                }
                live.changed().await.ok()?;
            }
        };
        match tokio::time::timeout_at(deadline.into(), confirmed).await {
            Ok(Some(())) => {
                self.shared.count_subscriptions();
                Ok(())
            }
            Ok(None) | Err(_) => {
                self.shared.rooms().remove(&channel);
                Err(BrokerError::Unavailable(
                    "no subscription to redis".to_owned(),
                ))
            }
        }
    }

    pub(crate) async fn unsubscribe(&self, channel: String) {
        self.shared.rooms().remove(&channel);
        self.shared.count_subscriptions();
        let connection = self.live.borrow().clone();
        if let Some(mut connection) = connection
            && let Err(error) = within(CONFIRM_TIMEOUT, connection.unsubscribe(&channel)).await
            && let Some(now) = UNSUBSCRIBE.fail(&error)
        {
            warn!(%error, failures = now.failures, "cannot unsubscribe, packets of the room are ignored");
        }
    }

    /// The rooms to which the node subscribes.
    pub(crate) fn subscribed(&self) -> HashSet<RoomId> {
        self.shared.rooms().values().cloned().collect()
    }

    /// Whether a probe came back within the last [`PROBE_SILENCE`].
    pub(crate) fn is_alive(&self) -> bool {
        self.shared
            .probe_age()
            .is_some_and(|age| age < PROBE_SILENCE)
    }
}

impl Shared {
    fn rooms(&self) -> parking_lot::MutexGuard<'_, HashMap<String, RoomId>> {
        self.rooms.lock()
    }

    fn probe(&self) -> parking_lot::MutexGuard<'_, Option<Instant>> {
        self.probe_heard.lock()
    }

    fn probe_age(&self) -> Option<Duration> {
        self.probe().map(|heard| heard.elapsed())
    }

    fn count_subscriptions(&self) {
        let rooms = self.rooms().len();
        self.metrics
            .subscriptions
            .set(i64::try_from(rooms).unwrap_or(i64::MAX));
    }

    fn hear_probe(&self) {
        *self.probe() = Some(Instant::now());
        self.unanswered.store(0, Ordering::Relaxed);
    }

    /// Handles a push. Runs on the connection's task and never waits. `lost` is notified when the
    /// connection ends.
    fn take(&self, push: PushInfo, lost: &Notify) {
        match push.kind {
            PushKind::Message => {
                let mut parts = push.data.into_iter();
                if let (Some(Value::BulkString(channel)), Some(Value::BulkString(payload))) =
                    (parts.next(), parts.next())
                {
                    self.take_message(&channel, payload);
                }
            }
            PushKind::Disconnection => lost.notify_one(),
            // Confirmations are awaited by their callers; other pushes do not matter here.
            _ => {}
        }
    }

    fn take_message(&self, channel: &[u8], payload: Vec<u8>) {
        if channel == self.channels.probe.as_bytes() {
            self.hear_probe();
            self.metrics.subscription_up.set(1);
            return;
        }
        if channel == self.channels.control.as_bytes() {
            return super::orders::hear(&payload, &self.inbox.control);
        }
        let Ok(channel) = std::str::from_utf8(channel) else {
            return;
        };
        let Some(room) = self.rooms().get(channel).cloned() else {
            return;
        };
        let payload = Bytes::from(payload);
        match Packet::decode(&payload) {
            Ok(packet) => {
                if !self.inbox.deliver(&room, packet, payload.len()) {
                    self.metrics.overflows.inc();
                }
            }
            Err(error) => {
                if let Some(now) = UNREADABLE.fail(&error) {
                    warn!(%room, %error, packets = now.failures,
                        "this version cannot read a packet, its room is read from the stream");
                }
                self.inbox.resync(&room);
            }
        }
    }
}

async fn keep(
    client: Client,
    link: Link,
    shared: Arc<Shared>,
    live: watch::Sender<Option<MultiplexedConnection>>,
) {
    let (mut backoff, outage, losses) = (Backoff::new(), Outage::new(), Outage::new());
    loop {
        match within(Duration::from_secs(10), connect(&client, &shared)).await {
            Ok((connection, lost)) => {
                match outage.end() {
                    Some(over) => {
                        info!(failures = over.failures, lasted = ?over.lasted, "subscribed to redis again");
                    }
                    None => info!("subscribed to redis"),
                }
                backoff = Backoff::new();
                live.send_replace(Some(connection));
                shared.inbox.resync_all();
                let why = wait_until_dead(&link, &shared, &lost).await;
                live.send_replace(None);
                *shared.probe() = None;
                shared.metrics.subscription_up.set(0);
                shared.metrics.reconnects.inc();
                if let Some(now) = losses.fail(why) {
                    warn!(why, losses = now.failures, "lost the subscription to redis");
                }
            }
            Err(error) => {
                if let Some(now) = outage.fail(&error) {
                    warn!(%error, failures = now.failures, lasted = ?now.lasted,
                        "cannot subscribe to redis, trying again");
                }
            }
        }
        sleep(backoff.next_pause()).await;
    }
}

/// Makes a connection that is subscribed to all wanted rooms, the probe and the control channel.
/// Returns it, and the signal of its end.
///
/// A room that is added while this runs may miss the batches. `Subscriber::subscribe` waits for the
/// returned connection and subscribes on it itself.
async fn connect(
    client: &Client,
    shared: &Arc<Shared>,
) -> RedisResult<(MultiplexedConnection, Arc<Notify>)> {
    let lost = Arc::new(Notify::new());
    let (taker, loser) = (Arc::clone(shared), Arc::clone(&lost));
    let config = connection_config().set_push_sender(move |push| {
        taker.take(push, &loser);
        Ok::<(), Infallible>(())
    });
    let mut connection = client
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    let mut channels: Vec<String> = shared.rooms().keys().cloned().collect();
    channels.push(shared.channels.probe.clone());
    channels.push(shared.channels.control.clone());
    for chunk in channels.chunks(CHUNK) {
        connection.subscribe(chunk).await?;
    }
    shared.hear_probe();
    // Control messages may have been missed meanwhile; looking finds the orders.
    shared.inbox.control.wake();
    Ok((connection, lost))
}

/// Publishes a probe each second and watches for its return. Returns why the connection is dead.
async fn wait_until_dead(link: &Link, shared: &Shared, lost: &Notify) -> &'static str {
    loop {
        tokio::select! {
            () = lost.notified() => return "the connection ended",
            () = sleep(PROBE_INTERVAL) => {}
        }
        let probe = link.call(Instant::now() + PROBE_INTERVAL, async |mut connection| {
            redis::cmd("PUBLISH")
                .arg(&shared.channels.probe)
                .arg("")
                .exec_async(&mut connection)
                .await
        });
        // If probes cannot be sent, none can come back, and the link reports its own trouble. So
        // only probes count that were sent and did not come back, beyond the one just sent.
        if probe.await.is_err() {
            continue;
        }
        let unanswered = shared.unanswered.fetch_add(1, Ordering::Relaxed) + 1;
        let is_silent = shared.probe_age().is_none_or(|age| age > PROBE_SILENCE);
        if is_silent && unanswered > 1 {
            return "the node's own probes do not come back";
        }
    }
}
