//! Which rooms there are, what is new in those of a user, and who is in one.

use std::time::Duration;

use futures_util::future::try_join_all;
use hubbub_archive::InboxEntry;
use hubbub_broker::{Presence, Span};
use hubbub_protocol::frame::{MyRoom, RoomEntry, RoomSummary};
use hubbub_protocol::{Envelope, EventKind, Frame, RoomId, UserId};
use tokio::time::sleep;

use crate::Identity;
use crate::error::CommandError;
use crate::node::Node;
use crate::reservation::{Amount, Reservation};

/// The most rooms that are listed, public ones and one's own each.
const LISTED: usize = 1_000;
/// Direct messages that are listed without an archive, and the newest events of each in which its last
/// message is looked for.
const DIRECT: usize = 100;
const LAST: usize = 10;
/// How often, and after which pause, the archive is asked again while it is behind the broker.
const ATTEMPTS: usize = 3;
const PAUSE: Duration = Duration::from_millis(50);

/// The most bytes that a list of rooms has, about: newest messages are left out where they would make it
/// longer, and then the last rooms.
const LIST_BYTES: usize = 512 * 1024;
/// The bytes of the list that are for newest messages.
const LAST_BYTES: usize = 256 * 1024;
/// The bytes of an entry beside its texts.
const ENTRY_BYTES: usize = 160;
/// The bytes that one room counts for which Redis is asked about: some commands.
const LOOKUP_COST: usize = 512;

impl Node {
    /// The cost of making a list of rooms, or of the members of one: many rows with long messages.
    #[must_use]
    pub fn cost_of_list(&self) -> Amount {
        Amount::read(8 << 20)
    }

    /// The rooms of a user with what is new in them, then at most 100 invitations to rooms that the user
    /// has not joined yet, then the public rooms, each most recently active first. The rooms that are
    /// looked at are charged to `paid`, whichever the user may see.
    ///
    /// # Errors
    /// The broker's failure. Without an archive, or while it is away, only direct messages are
    /// known of one's own rooms.
    pub async fn rooms(
        &self,
        identity: &Identity,
        paid: &Reservation,
    ) -> Result<Vec<RoomEntry>, CommandError> {
        let public = self.broker.rooms(LISTED).await;
        let mut public = public.map_err(CommandError::of_read)?;
        // As for a full list: private rooms are looked at too, and are not in it.
        paid.charge_read(LISTED * LOOKUP_COST);
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
            let is_mine = |mine: &Listed| mine.entry.summary.room == summary.room;
            !summary.room.is_direct() && !mine.iter().any(is_mine)
        });
        let public = public.into_iter().map(|summary| Listed {
            standing: Standing::Public,
            entry: RoomEntry {
                summary,
                mine: None,
            },
        });
        let may_read = |listed: &Listed| {
            let room = &listed.entry.summary.room;
            self.config.granted(identity, room).read && !self.rules.keeps_out(user, room)
        };
        Ok(cut(mine.into_iter().chain(public).filter(may_read)))
    }

    /// One's own rooms, which the direct messages `with_me` belong to.
    async fn rooms_of(
        &self,
        user: &UserId,
        with_me: &[&RoomSummary],
    ) -> Result<Vec<Listed>, CommandError> {
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
                // A new direct message that the archive does not have yet is listed all the same.
                let missing: Vec<&RoomSummary> = with_me
                    .iter()
                    .filter(|summary| !is_there(&summary.room))
                    .copied()
                    .collect();
                let mut rooms = self.direct_rooms(&missing).await?;
                rooms.extend(inbox.into_iter().zip(summaries).map(join));
                return Ok(rooms);
            }
            sleep(PAUSE).await;
        }
        Ok(Vec::new())
    }

    /// The newest direct messages, from the broker alone: without the archive nothing says how far they are
    /// read.
    async fn direct_rooms(&self, with_me: &[&RoomSummary]) -> Result<Vec<Listed>, CommandError> {
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
            Ok(Listed {
                standing: Standing::Unopened,
                entry: RoomEntry {
                    summary: (*summary).clone(),
                    mine: Some(mine),
                },
            })
        });
        try_join_all(rooms).await.map_err(CommandError::of_read)
    }

    /// Returns the users in a room; their names only up to `limits.presence_list`.
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

/// A room in a list, and how the user stands to it.
struct Listed {
    standing: Standing,
    entry: RoomEntry,
}

/// How a user stands to a listed room. Where a list has no room for all, the first of these stay: nothing
/// that others begin pushes out what is the user's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// The user has joined or made it.
    Own,
    /// A direct message that the user has not opened, as far as it is known.
    Unopened,
    Invited,
    Public,
}

/// The part of a list that has at most [`LIST_BYTES`], in its order, with the newest messages of as many
/// rooms as [`LAST_BYTES`] has room for.
fn cut(list: impl Iterator<Item = Listed>) -> Vec<RoomEntry> {
    let mut list: Vec<Listed> = list.collect();
    let mut by_standing: Vec<usize> = (0..list.len()).collect();
    by_standing.sort_by_key(|index| list[*index].standing);
    let (mut left, mut last) = (LIST_BYTES, LAST_BYTES);
    let mut fits = vec![false; list.len()];
    for index in by_standing {
        let bytes = shorten(&mut list[index].entry, &mut last);
        let Some(rest) = left.checked_sub(bytes) else {
            break;
        };
        left = rest;
        fits[index] = true;
    }
    let kept = list.into_iter().zip(fits).filter(|(_, fits)| *fits);
    kept.map(|(listed, _)| listed.entry).collect()
}

/// Takes an entry's newest message out of the bytes that are left for them, or leaves it out. Returns the
/// bytes of the entry.
fn shorten(entry: &mut RoomEntry, last: &mut usize) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let bytes = ENTRY_BYTES + entry.summary.room.as_str().len();
    let Some(mine) = &mut entry.mine else {
        return bytes;
    };
    let bytes = bytes + text(&mine.title) + text(&mine.topic);
    let frame = mine.last.as_ref().map_or(0, Frame::len);
    match last.checked_sub(frame) {
        Some(left) => {
            *last = left;
            bytes + frame
        }
        None => {
            mine.last = None;
            bytes
        }
    }
}

fn is_message(event: &Envelope) -> bool {
    event.kind() == EventKind::Message
}

fn join((entry, summary): (InboxEntry, RoomSummary)) -> Listed {
    let standing = match (entry.is_own, entry.is_invitation) {
        (true, _) => Standing::Own,
        (false, false) => Standing::Unopened,
        (false, true) => Standing::Invited,
    };
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
    Listed {
        standing,
        entry: RoomEntry {
            summary,
            mine: Some(mine),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(standing: Standing, number: usize, last: usize, topic: usize) -> Listed {
        let entry = RoomEntry {
            summary: RoomSummary {
                room: RoomId::new(&format!("room-{number}")).unwrap(),
                members: 0,
                offset: 1,
            },
            mine: Some(MyRoom {
                mine: true,
                title: None,
                topic: Some("t".repeat(topic)),
                private: false,
                last: Frame::from_json(format!("\"{}\"", "x".repeat(last)).into_bytes().into()),
                read: 0,
                unread: 0,
                mentions: 0,
                invited: false,
            }),
        };
        Listed { standing, entry }
    }

    fn entry(number: usize, last: usize, topic: usize) -> Listed {
        listed(Standing::Own, number, last, topic)
    }

    fn size(list: &[RoomEntry]) -> usize {
        serde_json::to_vec(list).unwrap().len()
    }

    #[test]
    fn a_list_of_rooms_has_a_bound() {
        let short = cut((0..LISTED).map(|number| entry(number, 50, 0)));
        assert_eq!(short.len(), LISTED);
        let long = cut((0..LISTED).map(|number| entry(number, 16_000, 0)));
        let with_last = |entry: &&RoomEntry| entry.mine.as_ref().unwrap().last.is_some();
        assert_eq!(
            (long.len(), long.iter().filter(with_last).count()),
            (LISTED, 16)
        );
        assert!(size(&long) <= LIST_BYTES + LAST_BYTES, "{}", size(&long));
        let wordy = cut((0..LISTED).map(|number| entry(number, 0, 1_000)));
        assert!(wordy.len() < LISTED && size(&wordy) <= LIST_BYTES);
    }

    #[test]
    fn messages_of_strangers_push_nothing_of_ones_own_out() {
        // Newer than all that is the user's own, and as long as they can be.
        let strangers = (0..950).map(|number| listed(Standing::Unopened, number, 16_000, 0));
        let own = (950..1_000).map(|number| listed(Standing::Own, number, 1_000, 4_000));
        let list = cut(strangers.chain(own));
        let is_own = |entry: &&RoomEntry| {
            let mine = entry.mine.as_ref().unwrap();
            mine.last.is_some() && mine.topic.as_ref().unwrap().len() == 4_000
        };
        assert_eq!(
            list.iter().filter(is_own).count(),
            50,
            "with their messages"
        );
        assert!(list.len() < LISTED && size(&list) <= LIST_BYTES + LAST_BYTES);
        assert_eq!(list[0].summary.room.as_str(), "room-0", "in the same order");
    }
}
