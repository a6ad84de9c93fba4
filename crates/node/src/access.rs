//! Who may do what in a room: what the token allows, and in private rooms and direct messages only
//! their members. A room that is not there and one that is not allowed look the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hubbub_archive::Archive;
use hubbub_broker::Span;
use hubbub_outage::Outage;
use hubbub_protocol::frame::ServerFrame;
use hubbub_protocol::{CloseCode, ConnectionId, Frame, RoomId, UserId};

use tokio::time::{sleep, timeout};

use crate::error::CommandError;
use crate::lock::lock;
use crate::node::Node;
use crate::room::Room;
use crate::{Identity, Rights};

/// What the archive said is asked for again after this; changes are told to all nodes besides.
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
/// Answers that are remembered; beyond, all are asked for again.
const REMEMBERED: usize = 50_000;

/// What the archive said of rooms and their members.
#[derive(Debug, Default)]
pub(crate) struct AccessCache(Mutex<Answers>);

#[derive(Debug, Default)]
struct Answers {
    /// Counts what was forgotten: an answer that was asked for before is not remembered after.
    forgotten: u64,
    private: HashMap<RoomId, (bool, Instant)>,
    members: HashMap<(RoomId, UserId), (bool, Instant)>,
}

impl AccessCache {
    fn forget(&self, room: &RoomId) {
        let mut answers = lock(&self.0);
        answers.forgotten += 1;
        answers.private.remove(room);
        answers.members.retain(|(of, _), _| of != room);
    }
}

impl AccessCache {
    /// Remembers an answer, unless something was forgotten since it was asked for.
    fn remember(&self, room: &RoomId, private: bool, forgotten: u64) {
        let answers = &mut lock(&self.0);
        if answers.forgotten != forgotten {
            return;
        }
        if answers.private.len() >= REMEMBERED {
            answers.private.clear();
        }
        let answer = (private, Instant::now());
        answers.private.insert(room.clone(), answer);
    }
}

impl Node {
    /// What this identity may do in a room now; an error where it may nothing.
    pub(crate) async fn rights(
        &self,
        identity: &Identity,
        room: &RoomId,
    ) -> Result<Rights, CommandError> {
        if !self.may_ever(identity, room) || !self.is_admitted(&identity.user.id, room).await? {
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
        match self.rights(identity, room).await?.read {
            true => Ok(()),
            false => Err(CommandError::Forbidden),
        }
    }

    async fn is_admitted(&self, user: &UserId, room: &RoomId) -> Result<bool, CommandError> {
        if room.is_direct() {
            return Ok(room
                .pair()
                .is_some_and(|pair| pair.contains(&user.as_str())));
        }
        let Some(archive) = &self.archive else {
            // Only an archive knows the members: without one nobody is known to be one.
            return Ok(!self.is_private_by_broker(room).await?);
        };
        Ok(!self.is_private(archive, room).await? || self.is_member(archive, room, user).await?)
    }

    /// While the archive is away or slow the broker's word counts: it was told when the room's life
    /// began.
    pub(crate) async fn is_private(
        &self,
        archive: &Archive,
        room: &RoomId,
    ) -> Result<bool, CommandError> {
        let (known, forgotten) = {
            let answers = lock(&self.access.0);
            (answers.private.get(room).copied(), answers.forgotten)
        };
        if let Some((private, at)) = known
            && at.elapsed() < TRUST
        {
            return Ok(private);
        }
        let asked = timeout(PATIENCE, archive.life(room)).await;
        let private = match asked {
            Ok(Ok(Some(life))) => life.private,
            // An archive that does not know the room cannot say that it is open to all.
            Ok(Ok(None)) => {
                self.ask_broker_soon(room, known.map(|(known, _)| known))
                    .await?
            }
            Ok(Err(error)) if !error.is_retryable() => return Err(CommandError::of_archive(error)),
            Ok(Err(_)) | Err(_) => {
                let told = self.ask_broker(room).await?;
                let known = known.map(|(private, _)| private);
                told.or(known).ok_or(CommandError::Unavailable)?
            }
        };
        self.access.remember(room, private, forgotten);
        Ok(private)
    }

    /// Whether the broker holds the room for private: the only word where there is no archive. While the
    /// broker is away or slow, what it said last counts.
    async fn is_private_by_broker(&self, room: &RoomId) -> Result<bool, CommandError> {
        let (known, forgotten) = {
            let answers = lock(&self.access.0);
            (answers.private.get(room).copied(), answers.forgotten)
        };
        if let Some((private, at)) = known {
            let is_open = at.elapsed() >= TRUST && self.hub.room(room).is_some();
            if at.elapsed() < if is_open { OPEN_TRUST } else { TRUST } {
                return Ok(private);
            }
        }
        let known = known.map(|(private, _)| private);
        let private = self.ask_broker_soon(room, known).await?;
        self.access.remember(room, private, forgotten);
        Ok(private)
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
    ) -> Result<bool, CommandError> {
        let key = (room.clone(), user.clone());
        let (known, forgotten) = {
            let answers = lock(&self.access.0);
            (answers.members.get(&key).copied(), answers.forgotten)
        };
        if let Some((member, at)) = known
            && at.elapsed() < TRUST
        {
            return Ok(member);
        }
        let asked = timeout(PATIENCE, archive.is_member(room, user)).await;
        let member = match asked {
            Ok(Ok(member)) => member,
            Ok(Err(error)) if !error.is_retryable() => return Err(CommandError::of_archive(error)),
            Ok(Err(_)) | Err(_) => {
                let known = known.map(|(member, _)| member);
                return known.ok_or(CommandError::Unavailable);
            }
        };
        let answers = &mut lock(&self.access.0);
        if answers.forgotten == forgotten {
            if answers.members.len() >= REMEMBERED {
                answers.members.clear();
            }
            answers.members.insert(key, (member, Instant::now()));
        }
        Ok(member)
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

    /// Who may be in the room has changed: who may not any more is told so, and has to come back
    /// without it.
    pub(crate) fn recheck_access(self: &Arc<Self>, room: Arc<Room>) {
        self.access.forget(&room.id);
        let node = Arc::clone(self);
        self.spawn(async move {
            for (connection, user) in node.hub.users_of(&room.connections()) {
                loop {
                    match node.is_admitted(&user, &room.id).await {
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
        lock(&room.state).members.remove(room, connection);
        let (id, room) = (None, &room.id);
        outbox.push(Frame::encode(&ServerFrame::Left { id, room }));
        outbox.close(CloseCode::StateLost);
    }
}
