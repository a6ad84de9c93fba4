//! Records of rooms, and the members of private ones.

use hubbub_protocol::{RoomId, User, UserId};
use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::append::enter_rooms;
use crate::archive::{Tx, json};
use crate::value::{now, to_u64, values, without_zero};
use crate::{Archive, ArchiveError};

/// A room's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Which room.
    pub room: RoomId,
    /// For people.
    pub title: Option<String>,
    /// For people.
    pub topic: Option<String>,
    /// Only its members may join.
    pub private: bool,
    /// The user who made it.
    pub created_by: User,
    /// When, in milliseconds since 1970.
    pub created: u64,
    /// The room's own settings.
    pub settings: Map<String, Json>,
}

/// A room that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRoom {
    /// Which room.
    pub room: RoomId,
    /// For people; an empty one is none.
    pub title: Option<String>,
    /// For people; an empty one is none.
    pub topic: Option<String>,
    /// Only its members may join.
    pub private: bool,
    /// The user who makes it and is its first member.
    pub created_by: User,
    /// The other members.
    pub members: Vec<UserId>,
    /// The room's own settings.
    pub settings: Map<String, Json>,
}

/// A change of a record; `None` leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomChange {
    /// An empty one is none.
    pub title: Option<String>,
    /// An empty one is none.
    pub topic: Option<String>,
    /// When a room becomes private, whoever made it becomes a member if need be.
    pub private: Option<bool>,
    /// All of them.
    pub settings: Option<Map<String, Json>>,
}

/// Why something was not done with a record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// There is a record, or a direct message; or the room is to be private, but people had spoken in
    /// it before it had a record.
    #[error("the room exists already")]
    Exists,
    /// There is no record of this room.
    #[error("there is no record of this room")]
    NotFound,
    /// The archive's own trouble.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

type Columns = (
    String,
    Option<String>,
    Option<String>,
    bool,
    Option<String>,
    Option<String>,
    Option<i64>,
    String,
);

#[derive(Serialize)]
struct MemberRow<'a> {
    room: i64,
    user: &'a UserId,
    by: &'a UserId,
    now: u64,
}

const CREATE: &str = "UPDATE rooms SET recorded = TRUE, title = $2, topic = $3, private = $4, \
        created_by = $5, created_by_name = $6, created = $7, settings = $8 \
    WHERE id = $1 AND NOT recorded AND NOT private AND (epoch IS NULL OR NOT $4) \
    RETURNING room, title, topic, private, created_by, created_by_name, created, settings";
const SELECT: &str = "SELECT room, title, topic, private, created_by, created_by_name, created, \
        settings FROM rooms WHERE room = $1 AND recorded";
/// A room was spoken in before it had a record if one of its lives or events is older: the events may be
/// gone for their age, or have come later. Of the events the oldest tell; one without a time tells nothing.
const UPDATE: &str = "UPDATE rooms SET title = CASE WHEN $2 THEN $3 ELSE title END, \
        topic = CASE WHEN $4 THEN $5 ELSE topic END, \
        private = CASE WHEN $6 THEN $7 ELSE private END, \
        settings = CASE WHEN $8 THEN $9 ELSE settings END \
    WHERE room = $1 AND recorded AND (private OR NOT $10 OR NOT ( \
        EXISTS (SELECT 1 FROM lives WHERE room_id = rooms.id AND first_seen < rooms.created) \
        OR EXISTS (SELECT 1 FROM (SELECT ts FROM events WHERE room_id = rooms.id \
            ORDER BY number LIMIT 100) AS oldest WHERE ts > 0 AND ts < rooms.created))) \
    RETURNING room, title, topic, private, created_by, created_by_name, created, settings";
const OWNER: &str = "INSERT INTO members (room_id, user_id, added_by, added) \
    SELECT id, created_by, created_by, $2 FROM rooms WHERE room = $1 \
    ON CONFLICT (room_id, user_id) DO NOTHING";
const INVITE: &str = "INSERT INTO members (room_id, user_id, added_by, added) \
    SELECT CAST(value->>'room' AS BIGINT), value->>'user', value->>'by', \
        CAST(value->>'now' AS BIGINT) \
    FROM json_each($1) WHERE TRUE ON CONFLICT (room_id, user_id) DO NOTHING";

impl Archive {
    /// Makes a record. A public room in which people have spoken already gets one too.
    ///
    /// # Errors
    /// [`RecordError::Exists`], or what the archive says.
    pub async fn create_room(&self, new: &NewRoom) -> Result<Record, RecordError> {
        let create = async {
            let mut tx = self.begin().await?;
            let record = create(&mut tx, new).await?;
            tx.commit().await?;
            Ok(record)
        };
        self.state().watch(create).await?.ok_or(RecordError::Exists)
    }

    /// The record of a room; `None`: it has none.
    ///
    /// # Errors
    /// [`ArchiveError`] when the database does not answer.
    pub async fn record(&self, room: &RoomId) -> Result<Option<Record>, ArchiveError> {
        let rows = self.rows::<Columns>(SELECT, values![room.as_str()]);
        let row = self.state().watch(rows).await?.pop();
        row.map(record).transpose()
    }

    /// Changes a record. Only a moderator makes a room private in which people had spoken before it had
    /// a record: who finds a room does not lock others out of what they have said.
    ///
    /// # Errors
    /// [`RecordError::NotFound`], [`RecordError::Exists`], or what the archive says.
    pub async fn update_room(
        &self,
        room: &RoomId,
        change: &RoomChange,
        is_moderator: bool,
    ) -> Result<Record, RecordError> {
        let update = async {
            let mut tx = self.begin().await?;
            let values = changes(room, change, is_moderator);
            let row = tx.rows::<Columns>(UPDATE, values).await?.pop();
            if change.private == Some(true) && row.is_some() {
                tx.run(OWNER, values![room.as_str(), now()]).await?;
            }
            tx.commit().await?;
            row.map(record).transpose()
        };
        if let Some(record) = self.state().watch(update).await? {
            return Ok(record);
        }
        Err(match self.record(room).await? {
            Some(_) => RecordError::Exists,
            None => RecordError::NotFound,
        })
    }

    /// Makes a user a member of a room with a record; false: they were one already.
    ///
    /// # Errors
    /// [`RecordError::NotFound`], or what the archive says.
    pub async fn add_member(
        &self,
        room: &RoomId,
        user: &UserId,
        added_by: &UserId,
    ) -> Result<bool, RecordError> {
        let find = "SELECT id FROM rooms WHERE room = $1 AND recorded";
        let insert = async {
            let mut tx = self.begin().await?;
            let Some((room,)) = tx.rows::<(i64,)>(find, values![room.as_str()]).await?.pop() else {
                return Ok(None);
            };
            let (by, now) = (added_by, now());
            let row = json(&[MemberRow {
                room,
                user,
                by,
                now,
            }]);
            let is_new = tx.run(INVITE, values![row]).await? > 0;
            tx.commit().await?;
            Ok(Some(is_new))
        };
        self.state()
            .watch(insert)
            .await?
            .ok_or(RecordError::NotFound)
    }

    /// Ends a membership; false: there was none. Nobody leaves a direct message.
    ///
    /// # Errors
    /// [`ArchiveError`] when the database does not answer.
    pub async fn remove_member(&self, room: &RoomId, user: &UserId) -> Result<bool, ArchiveError> {
        let sql = "DELETE FROM members WHERE user_id = $2 \
            AND room_id = (SELECT id FROM rooms WHERE room = $1 AND recorded)";
        let delete = async {
            let mut tx = self.begin().await?;
            let gone = tx.run(sql, values![room.as_str(), user.as_str()]).await? > 0;
            tx.commit().await?;
            Ok(gone)
        };
        self.state().watch(delete).await
    }

    /// The members of a room in the order of their ids, at most `limit`.
    ///
    /// # Errors
    /// [`ArchiveError`] when the database does not answer.
    pub async fn members(&self, room: &RoomId, limit: usize) -> Result<Vec<UserId>, ArchiveError> {
        let sql = "SELECT user_id FROM members \
            WHERE room_id = (SELECT id FROM rooms WHERE room = $1) ORDER BY user_id LIMIT $2";
        let rows = self.rows::<(String,)>(sql, values![room.as_str(), limit]);
        let rows = self.state().watch(rows).await?.into_iter();
        rows.map(|(user,)| UserId::new(&user).map_err(|_| ArchiveError::BadRow("a user id")))
            .collect()
    }

    /// Whether a user is a member of a room, or one of the two of a direct message.
    ///
    /// # Errors
    /// [`ArchiveError`] when the database does not answer.
    pub async fn is_member(&self, room: &RoomId, user: &UserId) -> Result<bool, ArchiveError> {
        let sql = "SELECT user_id FROM members \
            WHERE room_id = (SELECT id FROM rooms WHERE room = $1) AND user_id = $2";
        let rows = self.rows::<(String,)>(sql, values![room.as_str(), user.as_str()]);
        Ok(!self.state().watch(rows).await?.is_empty())
    }
}

/// `None`: the room exists already.
async fn create(tx: &mut Tx, new: &NewRoom) -> Result<Option<Record>, ArchiveError> {
    let (now, by) = (now(), &new.created_by.id);
    let room = enter_rooms(tx, std::iter::once(&new.room))
        .await?
        .id(&new.room)?;
    let values = values![
        room,
        text(new.title.as_deref()),
        text(new.topic.as_deref()),
        new.private,
        by.as_str(),
        without_zero(&new.created_by.name),
        now,
        settings(&new.settings),
    ];
    let Some(row) = tx.rows::<Columns>(CREATE, values).await?.pop() else {
        return Ok(None);
    };
    let users = std::iter::once(by).chain(&new.members);
    let members = users.map(|user| MemberRow {
        room,
        user,
        by,
        now,
    });
    tx.run_many(INVITE, &members.collect::<Vec<_>>()).await?;
    record(row).map(Some)
}

fn changes(room: &RoomId, change: &RoomChange, is_moderator: bool) -> Vec<crate::value::Value> {
    values![
        room.as_str(),
        change.title.is_some(),
        text(change.title.as_deref()),
        change.topic.is_some(),
        text(change.topic.as_deref()),
        change.private.is_some(),
        change.private.unwrap_or_default(),
        change.settings.is_some(),
        change.settings.as_ref().map(settings).unwrap_or_default(),
        change.private == Some(true) && !is_moderator,
    ]
}

/// An empty text is none.
fn text(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(without_zero)
}

/// As JSON a zero byte is escaped, so that it needs no care.
fn settings(settings: &Map<String, Json>) -> String {
    serde_json::to_string(settings).expect("a map of values always serializes")
}

fn record(row: Columns) -> Result<Record, ArchiveError> {
    let (room, title, topic, private, created_by, name, created, settings) = row;
    let id = UserId::new(&created_by.unwrap_or_default());
    Ok(Record {
        room: RoomId::new(&room).map_err(|_| ArchiveError::BadRow("a room id"))?,
        title,
        topic,
        private,
        created_by: User {
            id: id.map_err(|_| ArchiveError::BadRow("a user id"))?,
            name: name.unwrap_or_default().into(),
        },
        created: to_u64(created.unwrap_or_default()),
        settings: serde_json::from_str(&settings).map_err(|_| ArchiveError::BadRow("settings"))?,
    })
}
