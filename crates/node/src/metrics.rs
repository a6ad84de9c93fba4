//! The node's figures.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// One node's metrics; clones share the values.
#[derive(Debug, Clone)]
pub(crate) struct NodeMetrics {
    /// Sessions now.
    pub(crate) sessions: Gauge,
    /// Rooms with members here, now.
    pub(crate) rooms: Gauge,
    /// Sends accepted from clients.
    pub(crate) messages_in: Counter,
    /// Durable events handed to outboxes.
    pub(crate) deliveries: Counter,
    /// Rooms whose missed events were read from the stream.
    pub(crate) repairs: Counter,
    /// Joins that asked to resume, and could.
    pub(crate) resumes: Counter,
    /// Joins that asked to resume, and could not.
    pub(crate) lost_resumes: Counter,
    /// Times that a room's members were told to start over.
    pub(crate) resets: Counter,
    /// Streams that were found to be other ones under the same epoch.
    pub(crate) forks: Counter,
    pub(crate) lost_events: Counter,
    pub(crate) refused_rooms: Counter,
    /// Times that a client was too slow for live frames.
    pub(crate) lagged: Counter,
    /// Clients closed because all outboxes together were too large.
    pub(crate) shed: Counter,
    pub(crate) unpaid: Counter,
    pub(crate) reserved_bytes: Gauge,
    /// Reads of a room's stream.
    pub(crate) stream_reads: Counter,
    /// Events brought into the archive.
    pub(crate) archived: Counter,
    /// Ranges of events that were lost on their way into the archive.
    pub(crate) archive_holes: Counter,
    /// Tries to archive that failed.
    pub(crate) archive_errors: Counter,
    /// How long the events that wait the longest have waited for the archive, in seconds.
    pub(crate) archive_lag: Gauge<f64, AtomicU64>,
    /// Seconds from the broker's storing to this node's outboxes.
    pub(crate) delivery_seconds: Histogram,
}

impl Default for NodeMetrics {
    fn default() -> Self {
        Self {
            sessions: Gauge::default(),
            rooms: Gauge::default(),
            messages_in: Counter::default(),
            deliveries: Counter::default(),
            repairs: Counter::default(),
            resumes: Counter::default(),
            lost_resumes: Counter::default(),
            resets: Counter::default(),
            forks: Counter::default(),
            lost_events: Counter::default(),
            refused_rooms: Counter::default(),
            lagged: Counter::default(),
            shed: Counter::default(),
            unpaid: Counter::default(),
            reserved_bytes: Gauge::default(),
            stream_reads: Counter::default(),
            archived: Counter::default(),
            archive_holes: Counter::default(),
            archive_errors: Counter::default(),
            archive_lag: Gauge::default(),
            delivery_seconds: Histogram::new([
                0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
            ]),
        }
    }
}

impl NodeMetrics {
    /// The events that wait the longest for the archive have waited so long.
    pub(crate) fn archive_waits(&self, waited: Duration) {
        self.archive_lag.set(waited.as_secs_f64());
    }

    /// Adds the figures to `registry`, which is expected to add the product's prefix.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("sessions", "sessions now", self.sessions.clone());
        registry.register(
            "rooms",
            "rooms with members on this node",
            self.rooms.clone(),
        );
        registry.register(
            "messages_in",
            "sends accepted from clients",
            self.messages_in.clone(),
        );
        registry.register(
            "deliveries",
            "durable events handed to clients' outboxes",
            self.deliveries.clone(),
        );
        registry.register(
            "repairs",
            "rooms repaired from their stream",
            self.repairs.clone(),
        );
        registry.register(
            "resumes",
            "joins that resumed without loss",
            self.resumes.clone(),
        );
        registry.register(
            "lost_resumes",
            "joins that could not be resumed and were told so",
            self.lost_resumes.clone(),
        );
        registry.register(
            "resets",
            "rooms that had to start over",
            self.resets.clone(),
        );
        registry.register(
            "forks",
            "streams that were not what had been seen, so that a new epoch began",
            self.forks.clone(),
        );
        registry.register(
            "lost_events",
            "acked events that Redis no longer had when a new epoch began",
            self.lost_events.clone(),
        );
        registry.register(
            "refused_rooms",
            "times a room took no sends, since Redis may have lost events and the archive was away",
            self.refused_rooms.clone(),
        );
        registry.register(
            "shed",
            "clients closed because all outboxes together were too large",
            self.shed.clone(),
        );
        registry.register(
            "reserved_bytes",
            "Memory reserved for answers and bodies of clients",
            self.reserved_bytes.clone(),
        );
        registry.register(
            "reservations_refused",
            "Reads and bodies refused because the client, its address or the node had too much under way",
            self.unpaid.clone(),
        );
        registry.register(
            "lagged",
            "times a client read too slowly",
            self.lagged.clone(),
        );
        registry.register(
            "stream_reads",
            "reads of a room's stream",
            self.stream_reads.clone(),
        );
        registry.register(
            "archived",
            "events brought into the archive by this node",
            self.archived.clone(),
        );
        registry.register(
            "archive_holes",
            "ranges of events lost on their way into the archive",
            self.archive_holes.clone(),
        );
        registry.register(
            "archive_errors",
            "tries of this node to archive something that failed",
            self.archive_errors.clone(),
        );
        registry.register(
            "archive_lag_seconds",
            "how long events of this node's partitions have waited for the archive",
            self.archive_lag.clone(),
        );
        registry.register(
            "delivery_seconds",
            "end to end: from the broker's storing to this node's outboxes, by their clocks",
            self.delivery_seconds.clone(),
        );
    }
}
