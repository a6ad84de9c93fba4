//! Asks the archive and the other nodes which places they have seen in rooms. One call asks for
//! many rooms.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hubbub_archive::{Archive, ArchiveError, Incarnation};
use hubbub_broker::{Place, Run};
use hubbub_protocol::{Epoch, MessageId, Position, RoomId};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::places::is_later;
use crate::node::Node;

/// Rooms that wait to be asked for. While the queue is full, callers wait.
const QUEUE: usize = 1_024;
/// Rooms of one call.
const ROOMS: usize = 200;
/// How long the other nodes have to answer. A dead node is silent until its lease ends.
const PATIENCE: Duration = Duration::from_millis(700);

/// A place that a node has seen in a room, as it tells another node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Testimony {
    room: RoomId,
    position: Position,
    message: Option<MessageId>,
    /// Whether the node has followed the room without a break since before the present run began.
    has_followed: bool,
}

/// The places that other nodes have seen in a room.
#[derive(Debug, Clone, Default)]
pub(crate) struct Testimonies {
    pub(crate) places: Vec<Place>,
    /// Whether a living node has followed the room without a break since before the present run
    /// began.
    pub(crate) has_follower: bool,
}

/// One room, and the receiver of the answer.
#[derive(Debug)]
pub(crate) struct Inquiry<T> {
    room: RoomId,
    answer: oneshot::Sender<T>,
}

impl<T> Inquiry<T> {
    /// Whether the answer is still awaited.
    fn is_wanted(&self) -> bool {
        !self.answer.is_closed()
    }
}

/// The archive's answer: its newest epoch of the room, or why it cannot answer.
type Archived = Result<Option<Incarnation>, String>;

/// The sending ends of both queues.
#[derive(Debug)]
pub(crate) struct Inquiries {
    archive: mpsc::Sender<Inquiry<Archived>>,
    nodes: mpsc::Sender<Inquiry<Testimonies>>,
}

/// The receiving ends of both queues.
#[derive(Debug)]
pub(crate) struct InquiryQueues {
    archive: mpsc::Receiver<Inquiry<Archived>>,
    nodes: mpsc::Receiver<Inquiry<Testimonies>>,
}

impl Inquiries {
    pub(crate) fn new() -> (Self, InquiryQueues) {
        let (archive, of_archive) = mpsc::channel(QUEUE);
        let (nodes, of_nodes) = mpsc::channel(QUEUE);
        let queues = InquiryQueues {
            archive: of_archive,
            nodes: of_nodes,
        };
        (Self { archive, nodes }, queues)
    }

    /// Asks where the room ends in the archive. From this answer on, the archive accepts nothing
    /// that was read from the room's stream in an earlier run.
    pub(super) async fn ask_archive(&self, room: &RoomId) -> Archived {
        let answer = ask(&self.archive, room).await;
        answer.unwrap_or_else(|| Err("the node stops".to_owned()))
    }

    /// Asks for the places that other nodes have seen in the room.
    pub(super) async fn ask_nodes(&self, room: &RoomId) -> Testimonies {
        ask(&self.nodes, room).await.unwrap_or_default()
    }
}

/// Asks and waits. `None`: the queue is no longer served.
async fn ask<T>(queue: &mpsc::Sender<Inquiry<T>>, room: &RoomId) -> Option<T> {
    let (answer, answered) = oneshot::channel();
    let room = room.clone();
    queue.send(Inquiry { room, answer }).await.ok()?;
    answered.await.ok()
}

impl Node {
    /// Answers the waiting inquiries, many at once. Runs as long as the node.
    pub(crate) async fn keep_inquiries(self: Arc<Self>, queues: InquiryQueues) {
        let InquiryQueues { archive, nodes } = queues;
        tokio::join!(
            self.keep_archive_inquiries(archive),
            self.keep_node_inquiries(nodes)
        );
    }

    async fn keep_archive_inquiries(&self, mut queue: mpsc::Receiver<Inquiry<Archived>>) {
        let mut some = Vec::with_capacity(ROOMS);
        while queue.recv_many(&mut some, ROOMS).await > 0 {
            some.retain(Inquiry::is_wanted);
            let Some(archive) = &self.archive else {
                some.drain(..)
                    .for_each(|inquiry| tell(inquiry.answer, Ok(None)));
                continue;
            };
            let rooms = some.iter().map(|inquiry| {
                let run = self.broker.run(&inquiry.room);
                (inquiry.room.clone(), run)
            });
            match fence(archive, rooms.collect()).await {
                Ok(lives) => some.drain(..).for_each(|inquiry| {
                    tell(inquiry.answer, Ok(lives.get(&inquiry.room).cloned()));
                }),
                Err(error) => some.drain(..).for_each(|inquiry| {
                    tell(inquiry.answer, Err(error.to_string()));
                }),
            }
        }
    }

    async fn keep_node_inquiries(&self, mut queue: mpsc::Receiver<Inquiry<Testimonies>>) {
        let mut some = Vec::with_capacity(ROOMS);
        while queue.recv_many(&mut some, ROOMS).await > 0 {
            some.retain(Inquiry::is_wanted);
            let rooms: Vec<RoomId> = some.iter().map(|inquiry| inquiry.room.clone()).collect();
            let mut heard: HashMap<RoomId, Testimonies> = HashMap::new();
            for testimony in self.testimonies_of_all(rooms, PATIENCE).await {
                let known = heard.entry(testimony.room).or_default();
                known.has_follower |= testimony.has_followed;
                known.places.push(Place {
                    position: testimony.position,
                    message: testimony.message,
                });
            }
            some.drain(..).for_each(|inquiry| {
                tell(
                    inquiry.answer,
                    heard.get(&inquiry.room).cloned().unwrap_or_default(),
                );
            });
        }
    }

    /// The places that this node has seen in these rooms.
    pub(crate) fn testify(&self, rooms: &[RoomId]) -> Vec<Testimony> {
        let testify = |room: &RoomId| {
            let (room, has_followed) = (room.clone(), self.has_followed(room));
            let places = self.seen_of(&room).into_iter();
            places.map(move |place| Testimony {
                room: room.clone(),
                position: place.position,
                message: place.message,
                has_followed,
            })
        };
        rooms.iter().flat_map(testify).collect()
    }

    /// The places that this node has seen in a room: the newest that it got for a send, the newest
    /// that it has given to members, and the newest that waits for a repair.
    pub(super) fn seen_of(&self, room: &RoomId) -> Vec<Place> {
        let heard = self.hub.room(room).map(|here| here.places());
        let mut places = heard.unwrap_or_default();
        places.extend(self.places.get(room));
        places
    }

    /// The newest of these places.
    pub(crate) fn newest_seen(&self, room: &RoomId) -> Option<Position> {
        let places = self.seen_of(room).into_iter();
        let newest = places.reduce(|newest, place| {
            if is_later(&place, &newest) {
                place
            } else {
                newest
            }
        });
        newest.map(|place| place.position)
    }

    /// Whether this node has followed the room since before the present run began, in a stream that
    /// was reconciled then.
    pub(super) fn has_followed(&self, room: &RoomId) -> bool {
        let proven = self.hub.room(room).and_then(|here| here.proven_in());
        proven.is_some_and(|proven| proven < self.broker.run_number())
    }
}

fn tell<T>(answer: oneshot::Sender<T>, what: T) {
    // The caller has given up.
    drop(answer.send(what));
}

async fn fence(
    archive: &Archive,
    rooms: Vec<(RoomId, Run)>,
) -> Result<HashMap<RoomId, Incarnation>, ArchiveError> {
    let lives = archive.fence(&rooms).await?;
    Ok(lives.into_iter().collect())
}

/// Where the archive's newest epoch of a room ends.
pub(super) fn end_of(incarnation: &Incarnation) -> Option<(Epoch, u64)> {
    incarnation
        .epoch
        .clone()
        .map(|epoch| (epoch, incarnation.top))
}
