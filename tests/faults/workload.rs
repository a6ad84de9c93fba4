//! The load during a fault: rooms full of clients on all nodes, some of which send; bare
//! connections that show what the nodes wrote; and probers.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use hubbub_tests::deadline::eventually;
use hubbub_tests::ledger::Ledger;
use hubbub_tests::raw::{Heard, Raw};
use hubbub_tests::recorder::Recorder;
use hubbub_verify::Start;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::arena::{Arena, NODES};
use crate::prober::{Answers, PROBE_ROOM, probe};
use crate::publisher::{Publisher, Room, Tally};
use crate::scale::Scale;

/// The time for all clients to be at the head after the fault is over: five times the goal of 3 s.
pub(crate) const TO_HEAD: Duration = Duration::from_secs(15);
/// Clients that start at one time.
const AT_ONCE: usize = 32;

/// A client that receives a room.
pub(crate) struct Member {
    pub(crate) recorder: Arc<Recorder>,
    /// The index of the room; `None` for the probers' room.
    room: Option<usize>,
    /// The node on which it began.
    pub(crate) home: usize,
    /// Whether it is a bare connection. Its log is what the node sent, and it does not reconnect.
    pub(crate) is_bare: bool,
}

impl Member {
    /// A bare connection that has ended receives nothing more.
    fn is_listening(&self) -> bool {
        !self.is_bare || self.recorder.notes().disconnects.is_empty()
    }
}

/// All clients, and the outcomes of their sends.
pub(crate) struct Workload {
    pub(crate) ledger: Ledger,
    rooms: Vec<Arc<Room>>,
    pub(crate) members: Vec<Member>,
    publishers: JoinSet<Tally>,
    probers: JoinSet<()>,
    /// The answers to the probers, by node.
    pub(crate) answers: Vec<Answers>,
    stop: CancellationToken,
}

impl Workload {
    /// Starts all clients. They begin to send at once.
    pub(crate) async fn start(arena: &Arena, scale: &Scale) -> Self {
        let rooms = (0..scale.rooms).map(|number| Arc::new(Room::new(&format!("room-{number}"))));
        let mut workload = Self {
            ledger: Ledger::default(),
            rooms: rooms.collect(),
            members: Vec::new(),
            publishers: JoinSet::new(),
            probers: JoinSet::new(),
            answers: (0..NODES).map(|_| Answers::default()).collect(),
            stop: CancellationToken::new(),
        };
        workload.seat_clients(arena, scale).await;
        workload.seat_bare(arena, scale).await;
        workload.send(arena, scale);
        workload
    }

    async fn seat_clients(&mut self, arena: &Arena, scale: &Scale) {
        let seat = |number: usize| {
            let (room, home) = (number % scale.rooms, number / scale.rooms % NODES);
            let (ledger, config) = (self.ledger.clone(), arena.client(home));
            let id = self.rooms[room].id.clone();
            async move {
                let name = format!("client-{number}@{home}");
                let recorder = Recorder::resuming_into(&ledger, &name, config, id.as_str()).await;
                Member {
                    recorder: Arc::new(recorder),
                    room: Some(room),
                    home,
                    is_bare: false,
                }
            }
        };
        let seats = stream::iter((0..scale.rooms * scale.clients).map(seat));
        let members: Vec<Member> = seats.buffered(AT_ONCE).collect().await;
        self.members.extend(members);
    }

    async fn seat_bare(&mut self, arena: &Arena, scale: &Scale) {
        for home in 0..NODES {
            let rooms = (0..scale.bare).map(|number| Some(number % scale.rooms));
            for room in rooms.chain([None]) {
                let id = room.map_or(PROBE_ROOM, |room| self.rooms[room].id.as_str());
                let name = format!("bare-{id}@{home}");
                let door = arena.doors[home];
                let recorder = Recorder::raw_into(&self.ledger, &name, door, id).await;
                self.members.push(Member {
                    recorder: Arc::new(recorder),
                    room,
                    home,
                    is_bare: true,
                });
            }
        }
    }

    fn send(&mut self, arena: &Arena, scale: &Scale) {
        let share = scale.rate / u32::try_from(scale.publishers).expect("the number is small");
        for (number, member) in self.members.iter().enumerate().take(scale.publishers) {
            let room = member.room.expect("clients are the first members");
            let publisher = Publisher {
                name: format!("p{number}"),
                recorder: Arc::clone(&member.recorder),
                room: Arc::clone(&self.rooms[room]),
                every: Duration::from_secs(1) / share.max(1),
                body: scale.body,
                waits: (number / scale.rooms).is_multiple_of(2),
            };
            self.publishers.spawn(publisher.run(self.stop.clone()));
        }
        for (home, answers) in self.answers.iter().enumerate() {
            self.probers.spawn(probe(
                format!("prober@{home}"),
                arena.doors[home],
                self.ledger.clone(),
                answers.clone(),
                self.stop.clone(),
            ));
        }
    }

    pub(crate) fn room_ids(&self) -> Vec<String> {
        self.rooms.iter().map(|room| room.id.to_string()).collect()
    }

    /// The highest offset acked so far in each room.
    pub(crate) fn heads(&self) -> Vec<u64> {
        self.rooms.iter().map(|room| room.head()).collect()
    }

    /// Waits until all members that `of` selects have received something beyond these heads.
    /// Returns how long that took.
    pub(crate) async fn wait_beyond(
        &self,
        heads: &[u64],
        deadline: Duration,
        of: impl Fn(&Member) -> bool,
    ) -> Duration {
        let start = Instant::now();
        for member in self.members.iter().filter(|member| of(member)) {
            if let Some(room) = member.room
                && member.is_listening()
            {
                let left = deadline.saturating_sub(start.elapsed());
                member.recorder.wait_offset(heads[room] + 1, left).await;
            }
        }
        start.elapsed()
    }

    /// Ends all sending and waits for every answer.
    pub(crate) async fn hush(&mut self) -> Tally {
        self.stop.cancel();
        let mut tally = Tally::default();
        while let Some(one) = self.publishers.join_next().await {
            tally.add(one.expect("a publisher does not panic"));
        }
        while let Some(ended) = self.probers.join_next().await {
            ended.expect("a prober does not panic");
        }
        tally
    }

    /// Waits until all members of each room have received as much as the member that has received
    /// most.
    pub(crate) async fn wait_level(&self) -> Duration {
        let level = async || {
            let listening = self.members.iter().filter(|member| member.is_listening());
            let tops = listening.map(|member| (member.room, member.recorder.top()));
            let mut highest = std::collections::BTreeMap::new();
            for (room, top) in tops.clone() {
                let entry = highest.entry(room).or_insert(top);
                *entry = top.max(*entry);
            }
            let heads = self.heads();
            let is_acked = |(room, top): (&Option<usize>, &u64)| match room {
                Some(room) => *top >= heads[*room],
                None => true,
            };
            let is_level = tops.into_iter().all(|(room, top)| highest[&room] == top);
            (is_level && highest.iter().all(is_acked)).then_some(())
        };
        let ((), took) = eventually("everyone has received everything", TO_HEAD, level).await;
        took
    }

    /// Reads the newest epoch of every room from its stream through this node, as another client
    /// that must agree with all others.
    pub(crate) async fn read_back(&self, arena: &Arena, node: usize) {
        for (number, room) in self.rooms.iter().enumerate() {
            let tops = self
                .members
                .iter()
                .filter(|member| member.room == Some(number));
            let top = tops.map(|member| member.recorder.top()).max().unwrap_or(0);
            let life = self.ledger.open().newest_life(room.id.as_str());
            let Some((epoch, after)) = life else { continue };
            let name = format!("stream-of-{}@{node}", room.id);
            let page = self.ledger.client(&name);
            page.write(|ledger, me| {
                ledger.joined(me, room.id.as_str(), &epoch, after, Start::After);
            });
            let mut raw = Raw::connect(arena.doors[node]).await;
            let since = json!({"epoch": epoch, "offset": after});
            let join = json!({"type": "join", "id": 1, "room": room.id.as_str(), "since": since});
            raw.write(join.to_string()).await;
            let mut heard = after;
            while heard < top {
                let Heard::Text(text) = raw.hear().await else {
                    panic!("{name}: the connection ended")
                };
                heard = heard.max(last_offset(&name, &text));
                page.line(&text);
            }
        }
    }
}

/// The offset of the last event in a frame, 0 if there is none.
fn last_offset(name: &str, text: &str) -> u64 {
    let frame: Value = serde_json::from_str(text).expect("a frame is JSON");
    let offset = |event: &Value| event["offset"].as_u64().unwrap_or(0);
    match frame["type"].as_str() {
        Some("message") => offset(&frame),
        Some("joined") => {
            assert_eq!(frame["recovered"], true, "{name}: {text:.300}");
            frame["events"]
                .as_array()
                .and_then(|events| events.last())
                .map_or(0, offset)
        }
        _ => 0,
    }
}
