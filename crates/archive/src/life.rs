//! Where a room stands, for whoever numbers its next event.

use hubbub_protocol::{Epoch, RoomId};

use crate::value::{to_u64, values};
use crate::{Archive, ArchiveError};

/// A room's newest life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// `None`: nothing has been said in it yet.
    pub epoch: Option<Epoch>,
    /// The highest offset over all its lives; 0: none.
    pub top: u64,
    /// Only its members may join.
    pub private: bool,
}

impl Archive {
    /// Where `room` stands; `None`: nothing is known of it.
    ///
    /// # Errors
    /// [`ArchiveError`] when the database does not answer.
    pub async fn life(&self, room: &RoomId) -> Result<Option<Life>, ArchiveError> {
        let sql = "SELECT epoch, top, private FROM rooms WHERE room = $1";
        let rows = self.rows::<(Option<String>, i64, bool)>(sql, values![room.as_str()]);
        let row = self.state().watch(rows).await?.pop();
        let Some((epoch, top, private)) = row else {
            return Ok(None);
        };
        let epoch = epoch.map(|epoch| Epoch::new(&epoch)).transpose();
        Ok(Some(Life {
            epoch: epoch.map_err(|_| ArchiveError::BadRow("an epoch"))?,
            top: to_u64(top),
            private,
        }))
    }
}
