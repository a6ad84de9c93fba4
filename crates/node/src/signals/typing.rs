//! `typing`: passed on at most once in [`INTERVAL`], whatever it says; the last word is always passed on.
//!
//! Typing ends by itself. The typist's node says `off` when the connection leaves the room, however it
//! does. Every node ends it for its own members after a message of the user, and after 6 s without a
//! renewal (`room/typists.rs`), so that it ends although the typist's node has died.

use std::sync::Arc;
use std::time::Instant;

use hubbub_protocol::frame::ServerFrame;
use hubbub_protocol::{ConnectionId, Frame, RoomId, User};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::time::sleep_until;

use super::{Counts, INTERVAL, Turn, Voice};
use crate::Identity;
use crate::error::CommandError;
use crate::node::Node;
use crate::room::{Room, TYPING_TIMEOUT};

/// How every typing frame of a node begins.
const FRAME_START: &str = r#"{"type":"typing","#;

/// The newest state, and the one that was passed on.
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
    /// The connection that has said `on` last; `None`: it came over REST.
    by: Option<ConnectionId>,
}

/// The fields of a typing frame that count.
#[derive(Deserialize)]
struct TypingFrame {
    user: User,
    on: bool,
}

impl Typing {
    /// A message: it says that its sender has stopped typing.
    pub(crate) fn end(&self) {
        self.0.lock().is_over = true;
    }

    /// The connection of `voice` leaves the room: passes on that the user has stopped, if that connection,
    /// or nobody's, has said of late that the user types.
    pub(crate) fn leave(&self, voice: Voice) {
        if self.0.lock().leave(&voice.connection, Instant::now()) {
            let node = Arc::clone(&voice.node);
            node.spawn(async move { tell(&voice, false).await });
        }
    }

    /// Passes it on now, at the interval's end, or not at all. `by` is the connection that says so.
    pub(crate) fn say(self: Arc<Self>, voice: Voice, by: Option<&ConnectionId>, on: bool) {
        let turn = {
            let mut state = self.0.lock();
            state.by = by.cloned();
            state.say(on, Instant::now())
        };
        let node = Arc::clone(&voice.node);
        match turn {
            Turn::Nothing => {}
            Turn::Tell => node.spawn(async move { tell(&voice, on).await }),
            Turn::Wait(until) => node.spawn(async move {
                sleep_until(until.into()).await;
                let wanted = self.0.lock().end_wait(Instant::now());
                if let Some(on) = wanted {
                    tell(&voice, on).await;
                }
            }),
        }
    }
}

async fn tell(voice: &Voice, on: bool) {
    let (room, user) = (&voice.room, &voice.user);
    voice.tell(&ServerFrame::Typing { room, user, on }).await;
}

impl Counts for Typing {
    fn counts(&self, now: Instant) -> bool {
        let told = self.0.lock().told;
        // Until the others have ended it by themselves.
        told.is_some_and(|(on, at)| now < at + if on { TYPING_TIMEOUT } else { INTERVAL })
    }
}

impl TypingState {
    /// Returns whether the others are told that the user has stopped.
    fn leave(&mut self, connection: &ConnectionId, now: Instant) -> bool {
        let is_its = self.by.as_ref().is_none_or(|by| by == connection);
        let is_on = |(on, at): (bool, Instant)| on && now < at + TYPING_TIMEOUT && !self.is_over;
        let is_coming = self.is_waiting && self.wanted;
        if !is_its || !(is_coming || self.told.is_some_and(is_on)) {
            return false;
        }
        // The task that waits for the interval's end then finds no news.
        self.wanted = false;
        self.tell(false, now);
        true
    }

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
        let typing = self.signals.typing.of(&user.id, room);
        typing.say(self.voice_without(user, room), None, on);
        Ok(())
    }

    /// Passes a signal on to the members of a room here.
    pub(crate) fn hear_signal(&self, room: &Arc<Room>, origin: &ConnectionId, frame: &Frame) {
        let is_typing = frame.as_str().starts_with(FRAME_START);
        let typing = is_typing.then(|| serde_json::from_str(frame.as_str()));
        let Some(Ok(TypingFrame { user, on })) = typing else {
            return room.push_to_all(frame, Some(origin));
        };
        if room.hear_typing(user, on, origin, frame) {
            self.watch_typing(room);
        }
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
        let say = |on| typing.0.lock().say(on, start);
        assert_eq!(say(true), Turn::Tell);
        assert_eq!(say(false), Turn::Wait(start + INTERVAL));
        typing.end();
        assert_eq!(say(true), Turn::Nothing);
        let told = typing.0.lock().end_wait(start + INTERVAL);
        assert_eq!(told, Some(true));
    }

    #[test]
    fn a_connection_that_leaves_has_stopped_typing() {
        let (connection, other) = (ConnectionId::generate(), ConnectionId::generate());
        let start = Instant::now();
        let typing = |by: Option<&ConnectionId>| {
            let mut typing = TypingState {
                by: by.cloned(),
                ..TypingState::default()
            };
            assert_eq!(typing.say(true, start), Turn::Tell);
            typing
        };
        let mut mine = typing(Some(&connection));
        assert!(!mine.leave(&other, start), "another connection has gone");
        assert!(mine.leave(&connection, start));
        assert!(!mine.leave(&connection, start), "told already");
        assert!(typing(None).leave(&other, start), "typing over REST");
        let late = start + TYPING_TIMEOUT;
        assert!(!typing(None).leave(&other, late), "ended already");
    }

    #[test]
    fn a_word_that_waits_ends_with_its_connection() {
        let (mut typing, start) = (TypingState::default(), Instant::now());
        assert_eq!(typing.say(false, start), Turn::Tell);
        assert_eq!(typing.say(true, start), Turn::Wait(start + INTERVAL));
        assert!(typing.leave(&ConnectionId::generate(), start));
        assert_eq!(typing.end_wait(start + INTERVAL), None);
    }

    #[test]
    fn typing_frames_are_known_by_their_start() {
        let room = RoomId::new("lobby").unwrap();
        let user = User {
            id: hubbub_protocol::UserId::new("ann").unwrap(),
            name: "Ann".into(),
        };
        let (room, on) = (&room, true);
        let frame = Frame::encode(&ServerFrame::Typing {
            room,
            user: &user,
            on,
        });
        assert!(frame.as_str().starts_with(FRAME_START), "{frame:?}");
        let read: TypingFrame = serde_json::from_str(frame.as_str()).unwrap();
        assert_eq!((read.user, read.on), (user, true));
    }

    #[test]
    fn a_word_after_a_message_is_passed_on_too() {
        let (typing, start) = (Typing::default(), Instant::now());
        let say = |on| typing.0.lock().say(on, start);
        assert_eq!(say(true), Turn::Tell);
        typing.end();
        assert_eq!(say(false), Turn::Wait(start + INTERVAL));
        let told = typing.0.lock().end_wait(start + INTERVAL);
        assert_eq!(told, Some(false));
    }
}
