//! The broker's deliveries to one node: packets by room, in order, in bounded queues, and doubts.
//!
//! A room's packets always go to the same queue, so one worker sees them in order. A full queue
//! loses the packet but not the message: the room is put in doubt, and the node reads what it
//! missed from the stream.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hubbub_protocol::{Epoch, Packet, RoomId};
use tokio::sync::{Notify, mpsc};

use crate::control::{ControlReceiver, ControlSender, control};

/// Packets that one worker's queue holds; beyond, the room is put in doubt.
const QUEUE_PACKETS: usize = 8_192;
/// Bytes that all queues of a node hold; beyond, the room is put in doubt.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// Rooms in doubt before all are taken to be.
const DOUBTED_ROOMS: usize = 10_000;

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
pub enum Doubt {
    /// Whether Redis still has what it was given: it is another run ([`crate::Run`]).
    Run,
    /// This node's users in these rooms: all of them have to be registered again.
    Registrations(Missed),
    /// Which rooms may have missed something.
    Missed(Missed),
}

/// Which rooms are in doubt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missed {
    /// Every room of this node.
    All,
    /// These.
    Rooms(HashSet<RoomId>),
}

/// The node's end: one queue a worker, and the doubts.
#[derive(Debug)]
pub struct Inbox {
    /// One for each delivery worker.
    pub workers: Vec<WorkerQueue>,
    /// Rooms to repair.
    pub doubts: DoubtReceiver,
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
struct Doubts {
    open: Mutex<OpenDoubts>,
    raised: Notify,
}

#[derive(Debug, Default)]
struct OpenDoubts {
    run: bool,
    registrations: Option<Missed>,
    missed: Option<Missed>,
}

impl OpenDoubts {
    fn take(&mut self) -> Option<Doubt> {
        if std::mem::take(&mut self.run) {
            return Some(Doubt::Run);
        }
        if let Some(rooms) = self.registrations.take() {
            return Some(Doubt::Registrations(rooms));
        }
        self.missed.take().map(Doubt::Missed)
    }
}

impl Doubts {
    fn raise(&self, change: impl FnOnce(&mut OpenDoubts)) {
        change(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner));
        self.raised.notify_one();
    }
}

/// Where the node learns which rooms to repair.
#[derive(Debug, Clone)]
pub struct DoubtReceiver(Arc<Doubts>);

impl DoubtReceiver {
    /// Waits for doubts and takes them. Cancel safe.
    pub async fn next(&mut self) -> Doubt {
        loop {
            let raised = self.0.raised.notified();
            let taken = self.0.open.lock();
            let taken = taken.unwrap_or_else(PoisonError::into_inner).take();
            if let Some(doubt) = taken {
                return doubt;
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
    doubts: Arc<Doubts>,
    pub(crate) control: ControlSender,
    hasher: BuildHasherDefault<DefaultHasher>,
}

/// Makes both ends, with one queue for each core.
pub(crate) fn inbox() -> (InboxSender, Inbox) {
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let queued_bytes = Arc::new(AtomicUsize::new(0));
    let doubts = Arc::new(Doubts::default());
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
        doubts: Arc::clone(&doubts),
        hasher: BuildHasherDefault::default(),
    };
    (
        sender,
        Inbox {
            workers: queues,
            doubts: DoubtReceiver(doubts),
            control,
        },
    )
}

impl InboxSender {
    /// Queues a packet of `cost` bytes. Returns whether it was taken; if not, the room is in
    /// doubt now.
    pub(crate) fn deliver(&self, room: &RoomId, packet: Packet, cost: usize) -> bool {
        let taken = self.queue(Delivery {
            room: room.clone(),
            news: News::Packet(packet),
            cost,
        });
        if !taken {
            self.doubt(room);
        }
        taken
    }

    /// Queues where a room stands, behind the packets that have come before. A full queue has put
    /// rooms in doubt already, and there is another look in a second.
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
    pub(crate) fn doubt(&self, room: &RoomId) {
        self.doubts.raise(|open| add(&mut open.missed, room));
    }

    /// Every room may have missed something.
    pub(crate) fn doubt_all(&self) {
        self.doubts.raise(|open| open.missed = Some(Missed::All));
    }

    /// Redis may have lost anything.
    pub(crate) fn doubt_run(&self) {
        self.doubts.raise(|open| open.run = true);
    }

    /// The registrations of this node are gone, or will be.
    pub(crate) fn doubt_registrations(&self) {
        self.doubts
            .raise(|open| open.registrations = Some(Missed::All));
    }

    /// This node's registrations in the room are gone.
    pub(crate) fn doubt_registrations_in(&self, room: &RoomId) {
        self.doubts.raise(|open| add(&mut open.registrations, room));
    }
}

/// Adds a room to those in doubt. Beyond [`DOUBTED_ROOMS`] all rooms are in doubt.
fn add(missed: &mut Option<Missed>, room: &RoomId) {
    let missed = missed.get_or_insert(Missed::Rooms(HashSet::new()));
    match missed {
        Missed::All => {}
        Missed::Rooms(rooms) if rooms.len() >= DOUBTED_ROOMS => *missed = Missed::All,
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
    async fn a_full_queue_puts_the_room_in_doubt() {
        let (sender, mut inbox) = inbox();
        let room = RoomId::new("busy").unwrap();
        let taken = (0..=QUEUE_PACKETS)
            .filter(|_| sender.deliver(&room, packet(), 1))
            .count();
        assert_eq!(taken, QUEUE_PACKETS);
        assert_eq!(
            inbox.doubts.next().await,
            Doubt::Missed(Missed::Rooms(HashSet::from([room])))
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
    async fn doubt_in_all_swallows_doubt_in_one() {
        let (sender, mut inbox) = inbox();
        sender.doubt_all();
        sender.doubt(&RoomId::new("one").unwrap());
        assert_eq!(inbox.doubts.next().await, Doubt::Missed(Missed::All));
    }
}
