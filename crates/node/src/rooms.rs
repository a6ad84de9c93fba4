//! Which rooms there are, what is new in those of a user, and who is in one.

use std::time::Duration;

use futures_util::future::try_join_all;
use hubbub_archive::InboxEntry;
use hubbub_broker::{Presence, Span};
use hubbub_protocol::frame::{MyRoom, RoomEntry, RoomSummary};
use hubbub_protocol::{Envelope, EventKind, RoomId, UserId};
use tokio::time::sleep;

use crate::Identity;
use crate::error::CommandError;
use crate::node::Node;

/// The most rooms that are listed, public ones and one's own each.
const LISTED: usize = 1_000;
/// Direct messages that are listed without an archive, and the newest events of each in which its last
/// message is looked for.
const DIRECT: usize = 100;
const LAST: usize = 10;
/// How often, and after which pause, the archive is asked again while it is behind the broker.
const ATTEMPTS: usize = 3;
const PAUSE: Duration = Duration::from_millis(50);

impl Node {
    /// The rooms of a user with what is new in them, then at most 100 invitations to rooms that the user
    /// has not joined yet, then the public rooms, each most recently active first.
    ///
    /// # Errors
    /// The broker's failure. Without an archive, or while it is away, only direct messages are
    /// known of one's own rooms.
    pub async fn rooms(&self, identity: &Identity) -> Result<Vec<RoomEntry>, CommandError> {
        let public = self.broker.rooms(LISTED).await;
        let mut public = public.map_err(CommandError::of_read)?;
        let user = &identity.user.id;
        let is_between = |room: &RoomId| {
            room.pair()
                .is_some_and(|pair| pair.contains(&user.as_str()))
        };
        let with_me: Vec<&RoomSummary> = public
            .iter()
            .filter(|summary| summary.offset > 0 && is_between(&summary.room))
            .collect();
        let mine = self.rooms_of(user, &with_me).await?;
        public.retain(|summary| {
            !summary.room.is_direct() && !mine.iter().any(|(mine, _)| mine.room == summary.room)
        });
        let public = public.into_iter().map(|summary| RoomEntry {
            summary,
            mine: None,
        });
        let mine = mine.into_iter().map(|(summary, mine)| RoomEntry {
            summary,
            mine: Some(mine),
        });
        let may_read = |entry: &RoomEntry| {
            let room = &entry.summary.room;
            self.config.granted(identity, room).read && !self.rules.keeps_out(user, room)
        };
        Ok(mine.chain(public).filter(may_read).collect())
    }

    /// One's own rooms, which the direct messages `with_me` belong to.
    async fn rooms_of(
        &self,
        user: &UserId,
        with_me: &[&RoomSummary],
    ) -> Result<Vec<(RoomSummary, MyRoom)>, CommandError> {
        let Some(archive) = &self.archive else {
            return self.direct_rooms(with_me).await;
        };
        self.save_marks(archive, Some(user)).await;
        for attempt in 1.. {
            let inbox = match archive.inbox(user, LISTED).await {
                Ok(inbox) => inbox,
                Err(error) if error.is_retryable() => {
                    tracing::debug!(%error, "archive unavailable, unread counts omitted");
                    return self.direct_rooms(with_me).await;
                }
                Err(error) => return Err(CommandError::of_archive(error)),
            };
            let rooms: Vec<RoomId> = inbox.iter().map(|entry| entry.room.clone()).collect();
            let summaries = self.broker.summaries(rooms).await;
            let summaries = summaries.map_err(CommandError::of_read)?;
            let mut entries = inbox.iter().zip(&summaries);
            let is_behind = entries.any(|(entry, summary)| entry.top < summary.offset);
            let is_there = |room: &RoomId| inbox.iter().any(|entry| entry.room == *room);
            let is_behind = is_behind || !with_me.iter().all(|summary| is_there(&summary.room));
            if !is_behind || attempt == ATTEMPTS {
                return Ok(inbox.into_iter().zip(summaries).map(join).collect());
            }
            sleep(PAUSE).await;
        }
        Ok(Vec::new())
    }

    /// The newest direct messages, from the broker alone: without the archive nothing says how far they are
    /// read.
    async fn direct_rooms(
        &self,
        with_me: &[&RoomSummary],
    ) -> Result<Vec<(RoomSummary, MyRoom)>, CommandError> {
        let rooms = with_me.iter().take(DIRECT).map(async |summary| {
            let last = self.broker.peek(&summary.room, Span::Newest, LAST).await?;
            let events = last.map(|page| page.events).unwrap_or_default();
            let mut messages = events.into_iter().rev().filter(is_message);
            let mine = MyRoom {
                mine: true,
                title: None,
                topic: None,
                private: true,
                last: messages.next().map(|message| message.frame),
                read: 0,
                unread: 0,
                mentions: 0,
                invited: false,
            };
            Ok(((*summary).clone(), mine))
        });
        try_join_all(rooms).await.map_err(CommandError::of_read)
    }

    /// Who is in a room; names only up to `limits.presence_list`.
    ///
    /// # Errors
    /// [`CommandError::Forbidden`], or what the broker cannot do now.
    pub async fn members(
        &self,
        identity: &Identity,
        room: &RoomId,
    ) -> Result<Presence, CommandError> {
        self.may_read(identity, room).await?;
        let limit = self.config.limits.presence_list;
        let presence = self.broker.presence(room, limit).await;
        presence.map_err(CommandError::of_read)
    }
}

fn is_message(event: &Envelope) -> bool {
    event.kind() == EventKind::Message
}

fn join((entry, summary): (InboxEntry, RoomSummary)) -> (RoomSummary, MyRoom) {
    let summary = RoomSummary {
        offset: summary.offset.max(entry.top),
        ..summary
    };
    let mine = MyRoom {
        mine: true,
        title: entry.title,
        topic: entry.topic,
        private: entry.private,
        last: entry.last.map(|last| last.frame),
        read: entry.read,
        unread: entry.unread,
        mentions: entry.mentions,
        invited: entry.is_invitation,
    };
    (summary, mine)
}
