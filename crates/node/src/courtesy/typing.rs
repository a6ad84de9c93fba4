//! `typing`: passed on at most once in [`INTERVAL`], whatever it says; the last word is always passed on.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use hubbub_protocol::RoomId;
use hubbub_protocol::frame::ServerFrame;
use tokio::time::sleep_until;

use super::{Counts, INTERVAL, Turn, Voice};
use crate::Identity;
use crate::error::CommandError;
use crate::lock::lock;
use crate::node::Node;

/// What was said and what was passed on.
#[derive(Debug, Default)]
pub(crate) struct Typing(Mutex<TypingState>);

#[derive(Debug, Default)]
struct TypingState {
    told: Option<(bool, Instant)>,
    wanted: bool,
    /// There was a message since: who types on is told again.
    is_over: bool,
    /// Somebody waits for the interval's end, to pass on what is wanted then.
    is_waiting: bool,
}

impl Typing {
    /// A message: to some clients it says that its sender has stopped typing.
    pub(crate) fn end(&self) {
        lock(&self.0).is_over = true;
    }

    /// Passes it on now, at the interval's end, or not at all.
    pub(crate) fn say(self: Arc<Self>, voice: Voice, on: bool) {
        let turn = lock(&self.0).say(on, Instant::now());
        let node = Arc::clone(&voice.node);
        let tell = async move |on| {
            let (room, user) = (&voice.room, &voice.user);
            voice.tell(&ServerFrame::Typing { room, user, on }).await;
        };
        match turn {
            Turn::Nothing => {}
            Turn::Tell => node.spawn(async move { tell(on).await }),
            Turn::Wait(until) => node.spawn(async move {
                sleep_until(until.into()).await;
                let wanted = lock(&self.0).end_wait(Instant::now());
                if let Some(on) = wanted {
                    tell(on).await;
                }
            }),
        }
    }
}

impl Counts for Typing {
    fn counts(&self, now: Instant) -> bool {
        let told = lock(&self.0).told;
        told.is_some_and(|(_, at)| now < at + INTERVAL)
    }
}

impl TypingState {
    fn say(&mut self, on: bool, now: Instant) -> Turn {
        self.wanted = on;
        match self.told {
            Some((told, at)) if now < at + INTERVAL => {
                if self.is_waiting || !self.is_news(told, on) {
                    return Turn::Nothing;
                }
                self.is_waiting = true;
                Turn::Wait(at + INTERVAL)
            }
            Some(_) | None => {
                self.tell(on, now);
                Turn::Tell
            }
        }
    }

    fn is_news(&self, told: bool, on: bool) -> bool {
        told != on || (on && self.is_over)
    }

    fn tell(&mut self, on: bool, now: Instant) {
        self.told = Some((on, now));
        self.is_over = false;
    }

    /// The interval is over: what to pass on, if it is still another word.
    fn end_wait(&mut self, now: Instant) -> Option<bool> {
        self.is_waiting = false;
        let wanted = self.wanted;
        let is_news = self.told.is_none_or(|(told, _)| self.is_news(told, wanted));
        if is_news {
            self.tell(wanted, now);
        }
        is_news.then_some(wanted)
    }
}

impl Node {
    /// The user types, or has stopped to, without a connection.
    ///
    /// # Errors
    /// [`CommandError::Forbidden`], [`CommandError::Muted`], or what the archive cannot do now.
    pub async fn mark_typing(
        self: &Arc<Self>,
        identity: &Identity,
        room: &RoomId,
        on: bool,
    ) -> Result<(), CommandError> {
        if !self.rights(identity, room).await?.write {
            return Err(CommandError::Forbidden);
        }
        let user = &identity.user;
        self.check_mute(&user.id, room)?;
        let typing = self.courtesies.typing.of(&user.id, room);
        typing.say(self.voice_without(user, room), on);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_word_are_passed_on() {
        let (mut typing, start) = (TypingState::default(), Instant::now());
        assert_eq!(typing.say(true, start), Turn::Tell);
        assert_eq!(typing.say(true, start), Turn::Nothing);
        assert_eq!(typing.say(false, start), Turn::Wait(start + INTERVAL));
        assert_eq!(typing.say(true, start), Turn::Nothing);
        assert_eq!(typing.end_wait(start + INTERVAL), None, "as it was told");
        assert_eq!(typing.say(false, start + INTERVAL), Turn::Tell);
        let later = start + INTERVAL + INTERVAL / 2;
        assert_eq!(typing.say(true, later), Turn::Wait(start + 2 * INTERVAL));
        assert_eq!(typing.end_wait(start + 2 * INTERVAL), Some(true));
    }

    #[test]
    fn who_types_again_after_a_message_is_told() {
        let (typing, start) = (Typing::default(), Instant::now());
        let say = |on| lock(&typing.0).say(on, start);
        assert_eq!(say(true), Turn::Tell);
        assert_eq!(say(false), Turn::Wait(start + INTERVAL));
        typing.end();
        assert_eq!(say(true), Turn::Nothing);
        let told = lock(&typing.0).end_wait(start + INTERVAL);
        assert_eq!(told, Some(true));
    }

    #[test]
    fn a_word_after_a_message_is_passed_on_too() {
        let (typing, start) = (Typing::default(), Instant::now());
        let say = |on| lock(&typing.0).say(on, start);
        assert_eq!(say(true), Turn::Tell);
        typing.end();
        assert_eq!(say(false), Turn::Wait(start + INTERVAL));
        let told = lock(&typing.0).end_wait(start + INTERVAL);
        assert_eq!(told, Some(false));
    }
}
