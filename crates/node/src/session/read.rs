//! `read`: how far a user has read a room. Marks only go forward; they are kept with the archive and
//! told to the others, at most once a second for a connection and room.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use hubbub_protocol::RoomId;
use hubbub_protocol::frame::ServerFrame;
use tokio::time::sleep_until;

use super::Session;
use super::courtesy::{INTERVAL, Turn};
use crate::error::CommandError;
use crate::lock::lock;

/// What was said and what was passed on.
#[derive(Debug, Default)]
pub(super) struct Reading(Mutex<ReadingState>);

#[derive(Debug, Default)]
struct ReadingState {
    wanted: u64,
    told: Option<(u64, Instant)>,
    /// Somebody waits for the interval's end, to pass on what is wanted then.
    is_waiting: bool,
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

impl Session {
    pub(super) fn read(&mut self, room: &RoomId, offset: u64) -> Result<(), CommandError> {
        let membership = self.membership(room)?;
        let offset = offset.min(membership.room.head());
        let reading = Arc::clone(membership.reading.get_or_insert_default());
        let turn = lock(&reading.0).say(offset, Instant::now());
        self.node
            .note_read(&self.identity.user.id, room, offset, false);
        let voice = self.voice(room);
        let tell = async move |offset| {
            let (room, user) = (&voice.room, &voice.user);
            voice.tell(&ServerFrame::Read { room, user, offset }).await;
        };
        match turn {
            Turn::Nothing => {}
            Turn::Tell => self.node.spawn(async move { tell(offset).await }),
            Turn::Wait(until) => self.node.spawn(async move {
                sleep_until(until.into()).await;
                let wanted = lock(&reading.0).end_wait(Instant::now());
                tell(wanted).await;
            }),
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
