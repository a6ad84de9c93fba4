//! Where a room stands, for whoever numbers its next event.

use hubbub_protocol::{Epoch, RoomId};

use crate::archive::Pair;
use crate::value::{to_u64, values};
use crate::{Archive, ArchiveError};

/// A room's newest life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incarnation {
    /// `None`: nothing has been said in it yet, or its newest life has ended and cannot go on.
    pub epoch: Option<Epoch>,
    /// The highest offset over all its lives; 0: none.
    pub top: u64,
    /// Only its members may join.
    pub private: bool,
}

/// In an SQLite file that was restored, lives have ended that nobody may go on with.
const LIFE: Pair = Pair {
    sqlite: "SELECT CASE WHEN EXISTS (SELECT 1 FROM ended_lives AS ended \
            WHERE ended.room_id = rooms.id AND ended.epoch = rooms.epoch) \
        THEN NULL ELSE epoch END, top, private FROM rooms WHERE room = $1",
    postgres: "SELECT epoch, top, private FROM rooms WHERE room = $1",
};

impl Archive {
    /// Where `room` stands; `None`: nothing is known of it.
    ///
    /// # Errors
    /// [`ArchiveError`] when the database does not answer.
    pub async fn incarnation(&self, room: &RoomId) -> Result<Option<Incarnation>, ArchiveError> {
        let rows = self.rows::<IncarnationColumns>(LIFE, values![room.as_str()]);
        let row = self.state().watch(rows).await?.pop();
        row.map(incarnation).transpose()
    }
}

/// Epoch, top and whether the room is private.
pub(crate) type IncarnationColumns = (Option<String>, i64, bool);

pub(crate) fn incarnation(
    (epoch, top, private): IncarnationColumns,
) -> Result<Incarnation, ArchiveError> {
    let epoch = epoch.map(|epoch| Epoch::new(&epoch)).transpose();
    Ok(Incarnation {
        epoch: epoch.map_err(|_| ArchiveError::BadRow("an epoch"))?,
        top: to_u64(top),
        private,
    })
}
