//! A user's rooms with unread counts and newest messages.

use hubbub_protocol::{Envelope, RoomId, UserId};

use crate::history::MessageColumns;
use crate::value::{to_u64, values};
use crate::{Archive, ArchiveError};

/// A room of a user's: one that was joined before, or that the user is a member of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxEntry {
    /// Which room.
    pub room: RoomId,
    /// The highest offset that is archived.
    pub top: u64,
    /// For people.
    pub title: Option<String>,
    /// For people.
    pub topic: Option<String>,
    /// Only its members may join.
    pub private: bool,
    /// The newest message as it stands now, or its tombstone.
    pub last: Option<Envelope>,
    /// Up to where the user has read; 0: nothing.
    pub read: u64,
    /// Messages of others after that which are not deleted, at most 100. Of a very long backlog only the
    /// first 2,000 messages are looked at.
    pub unread: u64,
    /// Those among them that name the user, at most 100.
    pub mentions: u64,
    /// The user has joined or made the room. `false`: others have begun it, as an invitation or as a direct
    /// message that the user has not opened.
    pub is_own: bool,
    /// Somebody has made the user a member, who has not joined the room yet.
    pub is_invitation: bool,
}

/// Invitations that are listed beside one's own rooms.
const INVITATIONS: usize = 100;
/// The rooms with the newest message first, then the invitations; counts only for those that are given.
/// `rank`: 0 a room that the user has joined or made, 1 a direct message that the user has not opened,
/// 2 an invitation. A higher rank never pushes a lower one out of the list.
const INBOX: &str = "WITH mine AS ( \
        SELECT room_id, 0 AS rank FROM reads WHERE user_id = $1 \
        UNION ALL SELECT m.room_id, CASE WHEN m.added_by IS NULL THEN 1 \
                WHEN m.added_by = $1 THEN 0 ELSE 2 END AS rank \
            FROM members m WHERE m.user_id = $1 AND NOT EXISTS ( \
                SELECT 1 FROM reads d WHERE d.user_id = $1 AND d.room_id = m.room_id)), \
    candidates AS ( \
        SELECT r.id, r.room, r.top, r.title, r.topic, r.private, mine.rank, \
            COALESCE((SELECT number FROM reads WHERE user_id = $1 AND room_id = r.id), 0) AS mark, \
            COALESCE((SELECT e.id FROM events e WHERE e.room_id = r.id AND e.kind = 0 \
                ORDER BY e.number DESC LIMIT 1), 0) AS last_id \
        FROM mine JOIN rooms r ON r.id = mine.room_id \
        WHERE NOT r.private OR EXISTS ( \
            SELECT 1 FROM members m WHERE m.room_id = r.id AND m.user_id = $1)), \
    newest AS ( \
        SELECT * FROM (SELECT * FROM candidates WHERE rank < 2 \
            ORDER BY rank, last_id DESC, id LIMIT $2) AS own \
        UNION ALL SELECT * FROM (SELECT * FROM candidates WHERE rank = 2 \
            ORDER BY last_id DESC, id LIMIT $3) AS invitations) \
    SELECT n.id, n.room, n.top, n.title, n.topic, n.private, n.mark, \
        (SELECT count(*) FROM (SELECT 1 FROM ( \
                SELECT e.deleted, e.sender FROM events e \
                WHERE e.room_id = n.id AND e.kind = 0 AND e.number > n.mark \
                ORDER BY e.number LIMIT 2000) AS later \
            WHERE NOT later.deleted AND later.sender <> $1 LIMIT 100) AS counted), \
        (SELECT count(*) FROM (SELECT 1 FROM mentions m \
            WHERE m.room_id = n.id AND m.user_id = $1 AND m.number > n.mark LIMIT 100) AS counted), \
        l.epoch, l.number, l.message, l.frame, e.frame, CAST(n.rank AS BIGINT) \
    FROM newest n LEFT JOIN events l ON l.id = n.last_id LEFT JOIN events e ON e.id = l.edit_id \
    ORDER BY n.rank = 2, n.last_id DESC, n.id";
type Columns = (
    i64,
    String,
    i64,
    Option<String>,
    Option<String>,
    bool,
    i64,
    i64,
    i64,
    Option<String>,
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<String>,
    i64,
);

impl Archive {
    /// The rooms of `user`, those with the newest messages first, at most `limit`, and then at most 100
    /// invitations: rooms that somebody has made the user a member of, and that the user has not joined.
    ///
    /// # Errors
    /// [`ArchiveError`] when the database does not answer.
    pub async fn inbox(
        &self,
        user: &UserId,
        limit: usize,
    ) -> Result<Vec<InboxEntry>, ArchiveError> {
        let read = async {
            let rows: Vec<Columns> = self
                .rows(INBOX, values![user.as_str(), limit, INVITATIONS])
                .await?;
            let last = rows.iter().filter_map(last).collect();
            let mut last = self.fold_all(last).await?.into_iter();
            rows.into_iter()
                .map(|row: Columns| {
                    let last = if row.10.is_some() { last.next() } else { None };
                    entry(row, last)
                })
                .collect()
        };
        self.state().watch(read).await
    }
}

/// The newest message of a room, where there is one.
fn last(row: &Columns) -> Option<MessageColumns> {
    let (room, .., epoch, number, message, frame, edit, _) = row.clone();
    Some((room, epoch?, number?, message?, frame?, edit))
}

fn entry(row: Columns, last: Option<Envelope>) -> Result<InboxEntry, ArchiveError> {
    let (_, room, top, title, topic, private, read, unread, mentions, .., rank) = row;
    Ok(InboxEntry {
        room: RoomId::new(&room).map_err(|_| ArchiveError::BadRow("a room id"))?,
        top: to_u64(top),
        title,
        topic,
        private,
        last,
        read: to_u64(read),
        unread: to_u64(unread),
        mentions: to_u64(mentions),
        is_own: rank == 0,
        is_invitation: rank == 2,
    })
}
