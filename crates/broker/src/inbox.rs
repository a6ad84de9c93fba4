//! The broker's deliveries to one node: packets by room, in order, in bounded queues, and the rooms that
//! have to be read again.
//!
//! A room's packets always go to the same queue, so one worker sees them in order. A full queue
//! loses the packet but not the message: the room is marked for a resync, and the node reads what it
//! missed from the stream.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hubbub_protocol::{Epoch, Packet, RoomId};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use crate::control::{ControlReceiver, ControlSender, control};

/// Packets that one worker's queue holds; beyond, the room is marked for a resync.
const QUEUE_PACKETS: usize = 8_192;
/// Bytes that all queues of a node hold; beyond, the room is marked for a resync.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// Rooms marked for a resync before all are taken to be.
const RESYNC_ROOMS: usize = 10_000;

/// News of one room.
#[derive(Debug)]
pub struct Delivery {
    /// Which room.
    pub room: RoomId,
    /// The news.
    pub news: News,
    /// Bytes that it holds in the queue.
    cost: usize,
}

/// An item of a queue.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// To hand on to members.
    Packet(Packet),
    /// Where the room stood a moment ago. Packets that led there may still be on their way, so
    /// it takes two of these to prove that some were lost.
    Head(RoomHead),
}

/// Where a room stands in the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomHead {
    /// Its life; `None`: it has none.
    pub epoch: Option<Epoch>,
    /// Its newest event's number.
    pub offset: u64,
    /// Its presence version.
    pub presence: u64,
    /// How often who may be in it has changed.
    pub access: u64,
}

/// State that the broker is no longer sure of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resync {
    /// Whether Redis still has what it was given: it is another run ([`crate::Run`]).
    Run,
    /// This node's users in these rooms: all of them have to be registered again.
    Registrations(Missed),
    /// Which rooms may have missed something.
    Missed(Missed),
}

/// The rooms to read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missed {
    /// Every room of this node.
    All,
    /// These.
    Rooms(HashSet<RoomId>),
}

/// The node's end: one queue a worker, and the rooms to read again.
#[derive(Debug)]
pub struct Inbox {
    /// One for each delivery worker.
    pub workers: Vec<WorkerQueue>,
    /// Rooms to repair.
    pub resyncs: ResyncReceiver,
    /// Operators' messages.
    pub control: ControlReceiver,
}

/// The queue of one delivery worker.
#[derive(Debug)]
pub struct WorkerQueue {
    receiver: mpsc::Receiver<Delivery>,
    queued_bytes: Arc<AtomicUsize>,
}

impl WorkerQueue {
    /// The next packet; `None` when the broker has ended. Cancel safe.
    pub async fn next(&mut self) -> Option<Delivery> {
        let delivery = self.receiver.recv().await?;
        self.queued_bytes
            .fetch_sub(delivery.cost, Ordering::Relaxed);
        Some(delivery)
    }
}

#[derive(Debug, Default)]
struct Resyncs {
    open: Mutex<PendingResyncs>,
    raised: Notify,
}

#[derive(Debug, Default)]
struct PendingResyncs {
    run: bool,
    registrations: Option<Missed>,
    missed: Option<Missed>,
}

impl PendingResyncs {
    fn take(&mut self) -> Option<Resync> {
        if std::mem::take(&mut self.run) {
            return Some(Resync::Run);
        }
        if let Some(rooms) = self.registrations.take() {
            return Some(Resync::Registrations(rooms));
        }
        self.missed.take().map(Resync::Missed)
    }
}

impl Resyncs {
    fn raise(&self, change: impl FnOnce(&mut PendingResyncs)) {
        change(&mut self.open.lock());
        self.raised.notify_one();
    }
}

/// Where the node learns which rooms to repair.
#[derive(Debug, Clone)]
pub struct ResyncReceiver(Arc<Resyncs>);

impl ResyncReceiver {
    /// Waits for rooms to read again and takes them. Cancel safe.
    pub async fn next(&mut self) -> Resync {
        loop {
            let raised = self.0.raised.notified();
            let taken = self.0.open.lock().take();
            if let Some(resync) = taken {
                return resync;
            }
            raised.await;
        }
    }
}

/// The broker's end. Never waits, but for a node that does not take its orders.
#[derive(Debug, Clone)]
pub(crate) struct InboxSender {
    workers: Arc<[mpsc::Sender<Delivery>]>,
    queued_bytes: Arc<AtomicUsize>,
    resyncs: Arc<Resyncs>,
    pub(crate) control: ControlSender,
    hasher: BuildHasherDefault<DefaultHasher>,
}

/// Makes both ends, with one queue for each core.
pub(crate) fn inbox() -> (InboxSender, Inbox) {
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let queued_bytes = Arc::new(AtomicUsize::new(0));
    let resyncs = Arc::new(Resyncs::default());
    let (senders, queues): (Vec<_>, Vec<_>) = (0..workers)
        .map(|_| {
            let (sender, receiver) = mpsc::channel(QUEUE_PACKETS);
            (
                sender,
                WorkerQueue {
                    receiver,
                    queued_bytes: Arc::clone(&queued_bytes),
                },
            )
        })
        .unzip();
    let (control_sender, control) = control();
    let sender = InboxSender {
        control: control_sender,
        workers: senders.into(),
        queued_bytes,
        resyncs: Arc::clone(&resyncs),
        hasher: BuildHasherDefault::default(),
    };
    (
        sender,
        Inbox {
            workers: queues,
            resyncs: ResyncReceiver(resyncs),
            control,
        },
    )
}

impl InboxSender {
    /// Queues a packet of `cost` bytes. Returns whether it was taken; if not, the room is
    /// marked for a resync now.
    pub(crate) fn deliver(&self, room: &RoomId, packet: Packet, cost: usize) -> bool {
        let taken = self.queue(Delivery {
            room: room.clone(),
            news: News::Packet(packet),
            cost,
        });
        if !taken {
            self.resync(room);
        }
        taken
    }

    /// Queues where a room stands, behind the packets that have come before. A full queue has
    /// marked rooms for a resync already, and there is another look in a second.
    pub(crate) fn head(&self, room: &RoomId, head: RoomHead) {
        self.queue(Delivery {
            room: room.clone(),
            news: News::Head(head),
            cost: 0,
        });
    }

    fn queue(&self, delivery: Delivery) -> bool {
        let index = self.hasher.hash_one(&delivery.room) % self.workers.len() as u64;
        let worker = &self.workers[usize::try_from(index).expect("an index below a usize")];
        let cost = delivery.cost;
        let queued = self.queued_bytes.fetch_add(cost, Ordering::Relaxed);
        let taken = queued + cost <= QUEUE_BYTES && worker.try_send(delivery).is_ok();
        if !taken {
            self.queued_bytes.fetch_sub(cost, Ordering::Relaxed);
        }
        taken
    }

    /// The room may have missed something.
    pub(crate) fn resync(&self, room: &RoomId) {
        self.resyncs.raise(|open| add(&mut open.missed, room));
    }

    /// Every room may have missed something.
    pub(crate) fn resync_all(&self) {
        self.resyncs.raise(|open| open.missed = Some(Missed::All));
    }

    /// Redis may have lost anything.
    pub(crate) fn resync_run(&self) {
        self.resyncs.raise(|open| open.run = true);
    }

    /// The registrations of this node are gone, or will be.
    pub(crate) fn resync_registrations(&self) {
        self.resyncs
            .raise(|open| open.registrations = Some(Missed::All));
    }

    /// This node's registrations in the room are gone.
    pub(crate) fn resync_registrations_in(&self, room: &RoomId) {
        self.resyncs
            .raise(|open| add(&mut open.registrations, room));
    }
}

/// Adds a room to those to read again. Beyond [`RESYNC_ROOMS`] these are all rooms.
fn add(missed: &mut Option<Missed>, room: &RoomId) {
    let missed = missed.get_or_insert(Missed::Rooms(HashSet::new()));
    match missed {
        Missed::All => {}
        Missed::Rooms(rooms) if rooms.len() >= RESYNC_ROOMS => *missed = Missed::All,
        Missed::Rooms(rooms) => {
            rooms.insert(room.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hubbub_protocol::{ConnectionId, Frame};

    use super::*;

    fn packet() -> Packet {
        let frame = Frame::from_json(Bytes::from_static(b"{}")).unwrap();
        Packet::Signal {
            origin: ConnectionId::generate(),
            frame,
        }
    }

    #[tokio::test]
    async fn a_full_queue_makes_the_room_read_again() {
        let (sender, mut inbox) = inbox();
        let room = RoomId::new("busy").unwrap();
        let taken = (0..=QUEUE_PACKETS)
            .filter(|_| sender.deliver(&room, packet(), 1))
            .count();
        assert_eq!(taken, QUEUE_PACKETS);
        assert_eq!(
            inbox.resyncs.next().await,
            Resync::Missed(Missed::Rooms(HashSet::from([room])))
        );
    }

    #[tokio::test]
    async fn bytes_are_bounded_and_given_back() {
        let (sender, mut inbox) = inbox();
        let room = RoomId::new("large").unwrap();
        assert!(sender.deliver(&room, packet(), QUEUE_BYTES));
        assert!(!sender.deliver(&room, packet(), 1));
        let taken = inbox
            .workers
            .iter_mut()
            .map(|worker| worker.receiver.try_recv().is_ok());
        assert_eq!(taken.filter(|taken| *taken).count(), 1);
        sender.queued_bytes.store(0, Ordering::Relaxed);
        assert!(sender.deliver(&room, packet(), 1));
    }

    #[tokio::test]
    async fn reading_all_again_includes_reading_one_again() {
        let (sender, mut inbox) = inbox();
        sender.resync_all();
        sender.resync(&RoomId::new("one").unwrap());
        assert_eq!(inbox.resyncs.next().await, Resync::Missed(Missed::All));
    }
}
