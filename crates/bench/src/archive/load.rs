//! The content of the archive: one large room with realistic messages, and small rooms beside it.

use std::time::Duration;

use hdrhistogram::Histogram;
use hubbub_archive::{Archive, ArchiveError, HistorySpan, ReadMark, RoomBatch};
use hubbub_protocol::command::Body;
use hubbub_protocol::event::seal;
use hubbub_protocol::{Draft, Envelope, Epoch, Nonce, Position, ReactionKey, RoomId, User, UserId};
use tokio::time::Instant;

use super::timing::histogram;

/// A word in every second message.
pub(super) const COMMON: &str = "hello";
/// A word in one of 50,000 messages.
pub(super) const RARE: &str = "needle";
/// The user whose inbox is read.
pub(super) const READER: &str = "bench-reader";
/// The number of rooms, the large one included.
pub(super) const ROOMS: u64 = 100;
const SIDE_MESSAGES: u64 = 50;
const BATCH: usize = 500;
const WORDS: u64 = 20_000;

/// The time that filling the archive took.
pub(super) struct Filled {
    pub(super) rows: u64,
    took: Duration,
    /// Microseconds of each full batch.
    pub(super) batches: Histogram<u64>,
}

impl Filled {
    pub(super) fn rate(&self) -> f64 {
        self.rows as f64 / self.took.as_secs_f64().max(1e-9)
    }
}

/// Appends to `room` until it has `messages` events. It continues where an earlier run ended.
pub(super) async fn fill(
    archive: &Archive,
    room: &RoomId,
    messages: u64,
) -> Result<Filled, ArchiveError> {
    let life = archive.incarnation(room).await?;
    let mut writer = Writer {
        room: room.clone(),
        top: life.map_or(0, |life| life.top),
    };
    let start = Instant::now();
    let mut filled = Filled {
        rows: 0,
        took: Duration::ZERO,
        batches: histogram(),
    };
    // Edits and reactions take offsets too, so the top offset says how far an earlier run got.
    while writer.top < messages {
        let events = (0..BATCH).map(|_| writer.next()).collect();
        let before = Instant::now();
        writer.append(archive, events).await?;
        filled
            .batches
            .saturating_record(before.elapsed().as_micros() as u64);
        filled.rows += BATCH as u64;
    }
    filled.took = start.elapsed();
    Ok(filled)
}

/// Fills the small rooms. The reader has joined all of them.
pub(super) async fn side_rooms(archive: &Archive) -> Result<(), ArchiveError> {
    for number in 1..ROOMS {
        let room = RoomId::new(&format!("bench-side-{number}")).expect("a valid id");
        let newest = archive.history(&room, HistorySpan::Before(None), 1).await?;
        if newest.is_empty() {
            let mut writer = Writer {
                room: room.clone(),
                top: 0,
            };
            let events = (0..SIDE_MESSAGES).map(|_| writer.next()).collect();
            writer.append(archive, events).await?;
        }
        let mark = ReadMark {
            user: UserId::new(READER).expect("a valid id"),
            room,
            offset: 20,
            is_join: false,
        };
        archive.save_reads(&[mark]).await?;
    }
    Ok(())
}

/// Writes a room's events. They are the same in every run.
struct Writer {
    room: RoomId,
    top: u64,
}

impl Writer {
    async fn append(&self, archive: &Archive, events: Vec<Envelope>) -> Result<(), ArchiveError> {
        let batch = RoomBatch {
            room: self.room.clone(),
            base: Some(0),
            events,
            holes: Vec::new(),
            run: None,
        };
        archive.append(&[batch]).await
    }

    /// An edit for the archive alone, which reads the original from its own row.
    fn edit(&self, from: &User, nonce: Option<Nonce>, target: u64, body: &Body) -> Draft {
        let position = Position {
            epoch: Epoch::new("bench").expect("a valid epoch"),
            offset: target,
        };
        let original = Envelope::vanished(&self.room, position);
        let original = original.read().expect("a tombstone can be read");
        Draft::edit(&self.room, from, nonce, target, &original, body)
    }

    /// Returns the next event: one in 50 is an edit, one in 20 a reaction, the others are messages.
    fn next(&mut self) -> Envelope {
        self.top += 1;
        let number = self.top;
        let id = UserId::new(&format!("user-{}", mix(number) % 500)).expect("a valid id");
        let from = User {
            name: id.as_str().into(),
            id,
        };
        let target = number.saturating_sub(1 + mix(number) % 40).max(1);
        let body = Body::from(&serde_json::json!({"text": text(number)}));
        let nonce = Nonce::new(&format!("bench-{number}")).ok();
        let draft = match number {
            _ if number % 50 == 7 => self.edit(&from, nonce, target, &body),
            _ if number % 20 == 3 => {
                let key = ReactionKey::new("👍").expect("a valid key");
                Draft::react(&self.room, &from, nonce, target, &key, true)
            }
            _ => Draft::message(&self.room, &from, nonce, &body),
        };
        let position = Position {
            epoch: Epoch::new("bench").expect("a valid epoch"),
            offset: number,
        };
        Envelope {
            frame: seal(&draft.open, 1_700_000_000_000 + number, &position),
            position,
            message: draft.message,
            previous: None,
        }
    }
}

/// Twelve words, some much more frequent than others.
fn text(number: u64) -> String {
    let mut words: Vec<String> = (0..12)
        .map(|place| {
            let random = mix(number * 12 + place);
            format!("w{}", (random % WORDS) * ((random >> 32) % WORDS) / WORDS)
        })
        .collect();
    if number.is_multiple_of(2) {
        words[3] = COMMON.to_owned();
    }
    if number % 50_000 == 1_000 || number == 10 {
        words[5] = RARE.to_owned();
    }
    words.join(" ")
}

/// Returns numbers that look random and are the same in every run (splitmix64).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
