//! `read`: how far a user has read a room. Marks only go forward; they are kept with the archive and
//! told to the others, at most once in [`INTERVAL`].

use std::sync::Arc;
use std::time::Instant;

use hubbub_protocol::RoomId;
use hubbub_protocol::frame::ServerFrame;
use parking_lot::Mutex;
use tokio::time::sleep_until;

use super::{Counts, INTERVAL, Turn, Voice};
use crate::Identity;
use crate::error::CommandError;
use crate::node::Node;

/// The newest mark, and the one that was passed on.
#[derive(Debug, Default)]
pub(crate) struct Reading(Mutex<ReadingState>);

#[derive(Debug, Default)]
struct ReadingState {
    wanted: u64,
    told: Option<(u64, Instant)>,
    /// Somebody waits for the interval's end, to pass on what is wanted then.
    is_waiting: bool,
}

impl Reading {
    /// Passes it on now, at the interval's end, or not at all.
    pub(crate) fn say(self: Arc<Self>, voice: Voice, offset: u64) {
        let turn = self.0.lock().say(offset, Instant::now());
        let node = Arc::clone(&voice.node);
        let tell = async move |offset| {
            let (room, user) = (&voice.room, &voice.user);
            voice.tell(&ServerFrame::Read { room, user, offset }).await;
        };
        match turn {
            Turn::Nothing => {}
            Turn::Tell => node.spawn(async move { tell(offset).await }),
            Turn::Wait(until) => node.spawn(async move {
                sleep_until(until.into()).await;
                let wanted = self.0.lock().end_wait(Instant::now());
                tell(wanted).await;
            }),
        }
    }
}

impl Counts for Reading {
    fn counts(&self, now: Instant) -> bool {
        let told = self.0.lock().told;
        told.is_some_and(|(_, at)| now < at + INTERVAL)
    }
}

impl ReadingState {
    fn say(&mut self, offset: u64, now: Instant) -> Turn {
        if offset <= self.wanted {
            return Turn::Nothing;
        }
        self.wanted = offset;
        match self.told {
            Some((_, at)) if now < at + INTERVAL => {
                if std::mem::replace(&mut self.is_waiting, true) {
                    return Turn::Nothing;
                }
                Turn::Wait(at + INTERVAL)
            }
            Some(_) | None => {
                self.told = Some((offset, now));
                Turn::Tell
            }
        }
    }

    /// The interval is over: what to pass on.
    fn end_wait(&mut self, now: Instant) -> u64 {
        self.is_waiting = false;
        self.told = Some((self.wanted, now));
        self.wanted
    }
}

impl Node {
    /// The user has read the room up to `offset`, without a connection. Marks only go forward.
    ///
    /// # Errors
    /// [`CommandError::Forbidden`], or what the broker cannot do now.
    pub async fn mark_read(
        self: &Arc<Self>,
        identity: &Identity,
        room: &RoomId,
        offset: u64,
    ) -> Result<(), CommandError> {
        self.may_read(identity, room).await?;
        let summaries = self.broker.summaries(vec![room.clone()]).await;
        let summaries = summaries.map_err(CommandError::of_read)?;
        let head = summaries.first().map_or(0, |summary| summary.offset);
        let (user, offset) = (&identity.user, offset.min(head));
        if offset > 0 {
            self.note_read(&user.id, room, offset, false);
            let reading = self.signals.reading.of(&user.id, room);
            reading.say(self.voice_without(user, room), offset);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_go_forward_and_the_last_is_passed_on() {
        let (mut reading, start) = (ReadingState::default(), Instant::now());
        assert_eq!(reading.say(5, start), Turn::Tell);
        assert_eq!(reading.say(5, start), Turn::Nothing);
        assert_eq!(reading.say(3, start), Turn::Nothing);
        assert_eq!(reading.say(6, start), Turn::Wait(start + INTERVAL));
        assert_eq!(reading.say(9, start), Turn::Nothing);
        assert_eq!(reading.end_wait(start + INTERVAL), 9);
        let later = start + INTERVAL + INTERVAL / 2;
        assert_eq!(reading.say(10, later), Turn::Wait(start + 2 * INTERVAL));
    }
}
