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

/// The two users of a direct message's room, `dm:A:B`; `None`: it is another room. An id with a colon
/// in it would make the name ambiguous, so it has no such room.
pub(crate) fn direct(room: &RoomId) -> Option<[&str; 2]> {
    let (first, second) = room.as_str().strip_prefix("dm:")?.split_once(':')?;
    let is_one = !first.is_empty() && first < second && !second.contains(':');
    is_one.then_some([first, second])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direct_message_has_two_users_in_order() {
        let pair =
            |room: &str| direct(&RoomId::new(room).unwrap()).map(|pair| pair.map(str::to_owned));
        assert_eq!(
            pair("dm:alice:bob"),
            Some(["alice".to_owned(), "bob".to_owned()])
        );
        for other in [
            "lobby",
            "dm:bob:alice",
            "dm:a:a",
            "dm:a",
            "dm::b",
            "dm:a:",
            "dm:a:b:c",
        ] {
            assert_eq!(pair(other), None, "{other}");
        }
    }
}
