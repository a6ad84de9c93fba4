//! Rights in a room: those of the token, and in private rooms and direct messages only for
//! their members. A room that is not there and one that is not allowed look the same.
//!
//! Answers of the archive are remembered for a short time. A change of access is told to all nodes, which
//! forget what they remember of the room and look again at who is in it. A node hears of changes in a
//! room since it has subscribed to it, so a join looks twice: before it subscribes with any answer that is
//! remembered, and after with answers only that were asked for since then. What is missed on the way is
//! noticed by the room's count of changes, or by a lost connection, and then everybody in the room is
//! looked at again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hubbub_archive::Archive;
use hubbub_broker::Span;
use hubbub_outage::Outage;
use hubbub_protocol::frame::ServerFrame;
use hubbub_protocol::{CloseCode, ConnectionId, Frame, RoomId, UserId};
use parking_lot::Mutex;

use tokio::time::{sleep, timeout};

use crate::error::CommandError;
use crate::expiring_map::{Expires, ExpiringMap};
use crate::node::Node;
use crate::room::Room;
use crate::{Identity, Rights};

/// Answers of the archive are asked for again after this; besides, all nodes are told of changes.
const TRUST: Duration = Duration::from_secs(2);
/// The broker's word about a room that is open on this node is trusted for so long where there is no
/// archive: an open room hears of changes at once.
const OPEN_TRUST: Duration = Duration::from_secs(30);
/// How long a question to the archive may take: somebody waits.
const PATIENCE: Duration = Duration::from_millis(300);
/// Before the archive is asked again who may be in a room.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Looks that failed at who may be in a room.
static UNKNOWN: Outage = Outage::new();

/// The archive's answers about rooms and their members.
#[derive(Debug, Default)]
pub(crate) struct AccessCache(Mutex<Answers>);

#[derive(Debug, Default)]
struct Answers {
    /// Counts what was forgotten: an answer that was asked for before is not remembered after.
    forgotten: u64,
    private: ExpiringMap<RoomId, Answer>,
    members: ExpiringMap<(RoomId, UserId), Answer>,
}

/// An answer, and the time of its question.
#[derive(Debug, Clone, Copy)]
struct Answer {
    said: bool,
    asked: Instant,
}

impl Answer {
    fn is_younger_than(self, age: Duration) -> bool {
        self.asked.elapsed() < age
    }
}

impl Expires for Answer {
    fn expires(&self) -> Instant {
        self.asked + OPEN_TRUST
    }
}

/// Which remembered answers count.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Known {
    /// All: the next look, or a change that is told, puts a wrong one right.
    Any,
    /// Those that were asked for since this moment: the node has heard of all changes since then.
    Since(Instant),
}

impl Known {
    fn counts(self, answer: &Answer) -> bool {
        match self {
            Self::Any => true,
            Self::Since(moment) => answer.asked >= moment,
        }
    }
}

impl AccessCache {
    /// Forgets what is known of a room.
    pub(crate) fn forget(&self, room: &RoomId) {
        let mut answers = self.0.lock();
        answers.forgotten += 1;
        answers.private.remove(room);
        answers.members.retain(|(of, _), _| of != room);
    }
}

impl AccessCache {
    /// The known answer whether a room is private, and how often an answer was forgotten until now.
    fn private(&self, room: &RoomId, known: Known) -> (Option<Answer>, u64) {
        let answers = self.0.lock();
        let answer = answers.private.get(room).copied();
        (answer.filter(|it| known.counts(it)), answers.forgotten)
    }

    /// The same for a user's membership.
    fn member(&self, key: &(RoomId, UserId), known: Known) -> (Option<Answer>, u64) {
        let answers = self.0.lock();
        let answer = answers.members.get(key).copied();
        (answer.filter(|it| known.counts(it)), answers.forgotten)
    }

    /// Remembers an answer, unless something was forgotten since it was asked for.
    fn remember_private(&self, room: &RoomId, answer: Answer, forgotten: u64) {
        let answers = &mut self.0.lock();
        if answers.forgotten != forgotten {
            return;
        }
        answers.private.insert(room.clone(), answer, Instant::now());
    }

    /// The same for a user's membership.
    fn remember_member(&self, key: (RoomId, UserId), answer: Answer, forgotten: u64) {
        let answers = &mut self.0.lock();
        if answers.forgotten != forgotten {
            return;
        }
        answers.members.insert(key, answer, Instant::now());
    }
}

impl Node {
    /// An identity's rights in a room now; an error if it has none.
    pub(crate) async fn rights(
        &self,
        identity: &Identity,
        room: &RoomId,
    ) -> Result<Rights, CommandError> {
        self.rights_by(identity, room, Known::Any).await
    }

    /// The same, by these of the answers that are remembered.
    pub(crate) async fn rights_by(
        &self,
        identity: &Identity,
        room: &RoomId,
        known: Known,
    ) -> Result<Rights, CommandError> {
        let user = &identity.user.id;
        if !self.may_ever(identity, room) || !self.is_admitted(user, room, known).await? {
            return Err(CommandError::Forbidden);
        }
        Ok(self.config.granted(identity, room))
    }

    /// Whether this identity could have rights in a room, if the room is not private.
    pub(crate) fn may_ever(&self, identity: &Identity, room: &RoomId) -> bool {
        let granted = self.config.granted(identity, room);
        granted != Rights::NONE && !self.rules.keeps_out(&identity.user.id, room)
    }

    /// Refuses who may not read there.
    pub(crate) async fn may_read(
        &self,
        identity: &Identity,
        room: &RoomId,
    ) -> Result<(), CommandError> {
        if self.rights(identity, room).await?.read {
            Ok(())
        } else {
            Err(CommandError::Forbidden)
        }
    }

    async fn is_admitted(
        &self,
        user: &UserId,
        room: &RoomId,
        known: Known,
    ) -> Result<bool, CommandError> {
        if room.is_direct() {
            return Ok(room
                .pair()
                .is_some_and(|pair| pair.contains(&user.as_str())));
        }
        let Some(archive) = &self.archive else {
            // Only an archive knows the members: without one nobody is known to be one.
            return Ok(!self.is_private_by_broker(room, known).await?);
        };
        Ok(!self.is_private_by(archive, room, known).await?
            || self.is_member(archive, room, user, known).await?)
    }

    /// Whether only its members may be in a room.
    pub(crate) async fn is_private(
        &self,
        archive: &Archive,
        room: &RoomId,
    ) -> Result<bool, CommandError> {
        self.is_private_by(archive, room, Known::Any).await
    }

    /// While the archive is away or slow the broker's word counts: it was told when the room's life
    /// began.
    async fn is_private_by(
        &self,
        archive: &Archive,
        room: &RoomId,
        known: Known,
    ) -> Result<bool, CommandError> {
        let (known, forgotten) = self.access.private(room, known);
        if let Some(answer) = known
            && answer.is_younger_than(TRUST)
        {
            return Ok(answer.said);
        }
        let known = known.map(|answer| answer.said);
        let moment = Instant::now();
        let asked = timeout(PATIENCE, archive.incarnation(room)).await;
        let private = match asked {
            Ok(Ok(Some(life))) => life.private,
            // An archive that does not know the room cannot say that it is open to all.
            Ok(Ok(None)) => self.ask_broker_soon(room, known).await?,
            Ok(Err(error)) if !error.is_retryable() => return Err(CommandError::of_archive(error)),
            Ok(Err(_)) | Err(_) => {
                let told = self.ask_broker(room).await?;
                told.or(known).ok_or(CommandError::Unavailable)?
            }
        };
        let answer = Answer {
            said: private,
            asked: moment,
        };
        self.access.remember_private(room, answer, forgotten);
        Ok(private)
    }

    /// Whether the broker holds the room for private: the only word where there is no archive. While the
    /// broker is away or slow, what it said last counts.
    async fn is_private_by_broker(
        &self,
        room: &RoomId,
        known: Known,
    ) -> Result<bool, CommandError> {
        let (known, forgotten) = self.access.private(room, known);
        if let Some(answer) = known {
            let is_open = !answer.is_younger_than(TRUST) && self.hub.room(room).is_some();
            if answer.is_younger_than(if is_open { OPEN_TRUST } else { TRUST }) {
                return Ok(answer.said);
            }
        }
        let asked = Instant::now();
        let known = known.map(|answer| answer.said);
        let said = self.ask_broker_soon(room, known).await?;
        self.access
            .remember_private(room, Answer { said, asked }, forgotten);
        Ok(said)
    }

    /// Whether the broker holds the room for private, or what was `known` before where the broker does
    /// not answer soon. A room without a stream is not private.
    async fn ask_broker_soon(
        &self,
        room: &RoomId,
        known: Option<bool>,
    ) -> Result<bool, CommandError> {
        match timeout(PATIENCE, self.ask_broker(room)).await {
            Ok(Ok(told)) => Ok(told.unwrap_or(false)),
            Ok(Err(error)) => known.ok_or(error),
            Err(_) => known.ok_or(CommandError::Unavailable),
        }
    }

    /// Whether the broker was told that the room is private; `None`: the room has no stream.
    async fn ask_broker(&self, room: &RoomId) -> Result<Option<bool>, CommandError> {
        let page = self.broker.peek(room, Span::Newest, 0).await;
        let page = page.map_err(CommandError::of_read)?;
        Ok(page.map(|page| page.is_private))
    }

    async fn is_member(
        &self,
        archive: &Archive,
        room: &RoomId,
        user: &UserId,
        known: Known,
    ) -> Result<bool, CommandError> {
        let key = (room.clone(), user.clone());
        let (known, forgotten) = self.access.member(&key, known);
        if let Some(answer) = known
            && answer.is_younger_than(TRUST)
        {
            return Ok(answer.said);
        }
        let asked = Instant::now();
        let said = match timeout(PATIENCE, archive.is_member(room, user)).await {
            Ok(Ok(member)) => member,
            Ok(Err(error)) if !error.is_retryable() => return Err(CommandError::of_archive(error)),
            Ok(Err(_)) | Err(_) => {
                let known = known.map(|answer| answer.said);
                return known.ok_or(CommandError::Unavailable);
            }
        };
        self.access
            .remember_member(key, Answer { said, asked }, forgotten);
        Ok(said)
    }

    /// Tells all nodes that who may be in a room has changed.
    pub(crate) async fn announce_access(
        &self,
        room: &RoomId,
        is_private: Option<bool>,
    ) -> Result<(), CommandError> {
        self.access.forget(room);
        let told = self.broker.set_private(room, is_private).await;
        told.map_err(CommandError::of_read)
    }

    /// Looks again at everybody in the room, since who may be in it has changed, or may have while this
    /// node heard nothing. A session that may not any more is told so, and has to come back without it.
    pub(crate) fn recheck_access(self: &Arc<Self>, room: Arc<Room>) {
        self.access.forget(&room.id);
        let node = Arc::clone(self);
        self.spawn(async move {
            for (connection, user) in node.hub.users_of(&room.connections()) {
                loop {
                    let admitted = {
                        let _turn = node.looks.acquire().await;
                        node.is_admitted(&user, &room.id, Known::Any).await
                    };
                    match admitted {
                        Ok(true) => break,
                        Ok(false) => {
                            node.expel(&room, &connection);
                            break;
                        }
                        Err(error) => {
                            if let Some(now) = UNKNOWN.fail(&error) {
                                tracing::warn!(room = %room.id, %error, failures = now.failures,
                                    lasted = ?now.lasted, "cannot look up who may be in a room, trying again");
                            }
                            sleep(RETRY_PAUSE).await;
                        }
                    }
                }
            }
        });
    }

    pub(crate) fn expel(&self, room: &Arc<Room>, connection: &ConnectionId) {
        let Some(outbox) = self.hub.outbox(connection) else {
            return;
        };
        room.state.lock().members.remove(room, connection);
        let (id, room) = (None, &room.id);
        outbox.push(Frame::encode(&ServerFrame::Left { id, room }));
        outbox.close(CloseCode::StateLost);
    }
}
