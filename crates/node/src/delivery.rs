//! From the broker to the members: one worker for each of the inbox's queues, so that a room's
//! packets stay in order. Nothing here waits for a client, for Redis, or for another room.

use std::sync::Arc;
use std::time::SystemTime;

use hubbub_broker::{Delivery, Missed, News, Resync, ResyncReceiver, RoomHead, WorkerQueue};
use hubbub_protocol::{Envelope, Packet};
use tokio::sync::Mutex;

use crate::node::Node;
use crate::outbox::Due;
use crate::room::{Missing, Room};

/// Delivers what comes out of one queue, until the broker ends.
pub(crate) async fn deliver_from(queue: Arc<Mutex<WorkerQueue>>, node: Arc<Node>) {
    let mut queue = queue.lock().await;
    if node.supervisor.has_problem("delivery") {
        // The packet that was at work when this panicked is lost.
        node.repair_all(node.hub.rooms());
    }
    while let Some(delivery) = queue.next().await {
        node.deliver(delivery);
        // A long run of ready packets must not starve the connections on this thread.
        tokio::task::coop::consume_budget().await;
    }
}

/// Repairs rooms that the broker is not sure about.
pub(crate) async fn resync_rooms(mut resyncs: ResyncReceiver, node: Arc<Node>) {
    loop {
        match resyncs.next().await {
            Resync::Run => {
                node.repair_all(node.hub.rooms());
                node.compare_remembered_soon();
            }
            Resync::Registrations(Missed::All) => node.register_again(node.hub.rooms()),
            Resync::Registrations(Missed::Rooms(rooms)) => {
                node.register_again(rooms.iter().filter_map(|id| node.hub.room(id)));
            }
            Resync::Missed(Missed::All) => node.repair_all(node.hub.rooms()),
            Resync::Missed(Missed::Rooms(rooms)) => {
                node.repair_all(rooms.iter().filter_map(|id| node.hub.room(id)));
            }
        }
    }
}

impl Node {
    fn deliver(self: &Arc<Self>, delivery: Delivery) {
        self.beat();
        // A packet for a room that was left a moment ago.
        let Some(room) = self.hub.room(&delivery.room) else {
            return;
        };
        let packet = match delivery.news {
            News::Packet(packet) => packet,
            News::Head(head) => return self.compare(&room, head),
        };
        match packet {
            Packet::Events { ts, events } => self.deliver_events(&room, ts, events),
            Packet::Presence(delta) => self.hear_presence(&room, delta),
            Packet::Signal { origin, frame } => self.hear_signal(&room, &origin, &frame),
            Packet::Access => self.recheck_access(room),
            Packet::Reset(_) => {
                if room.begin_repair() {
                    self.repair(room);
                }
            }
        }
    }

    /// Finds what was lost without a sign: a last message followed by silence, a change of presence or
    /// of access.
    fn compare(self: &Arc<Self>, room: &Arc<Room>, head: RoomHead) {
        if room.is_access_changed(head.access) {
            self.recheck_access(Arc::clone(room));
        }
        let Missing { events, presence } = room.compare(head);
        if events && room.begin_repair() {
            self.repair(Arc::clone(room));
        }
        if presence {
            self.refresh_presence_soon(room);
        }
    }

    fn deliver_events(self: &Arc<Self>, room: &Arc<Room>, ts: u64, events: Vec<Envelope>) {
        // Nothing is stored in a stream that was not reconciled.
        room.prove_in(|| self.broker.run_number());
        let (is_missing, due) = room.take_live(events);
        if is_missing {
            self.repair(Arc::clone(room));
        } else {
            self.metrics.delivery_seconds.observe(seconds_since(ts));
        }
        self.flush(due);
    }

    /// Writes to a few sockets here; many are shared out, so that all cores have a part. Each
    /// outbox keeps its own order, whoever flushes it.
    fn flush(&self, mut due: Due) {
        while let Some(part) = due.split() {
            self.spawn(async move { part.flush() });
        }
        due.flush();
    }
}

/// Seconds from `ts` (milliseconds since 1970, by the broker's clock) to now, by ours.
#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds since 1970 fit into 2^53"
)]
fn seconds_since(ts: u64) -> f64 {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    (now.as_secs_f64() - ts as f64 / 1_000.0).max(0.0)
}
