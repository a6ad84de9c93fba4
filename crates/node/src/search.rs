//! Full-text search over the rooms that a user may read.

use hubbub_archive::{AllowedRooms, RoomPattern, SearchCursor, SearchPage, SearchQuery};
use hubbub_protocol::{RoomId, UserId};

use crate::error::CommandError;
use crate::node::Node;
use crate::{Identity, Rights};

/// What is looked for.
#[derive(Debug, Clone)]
pub struct SearchRequest {
    /// Words, and "phrases in quotes".
    pub text: String,
    /// Only in this room.
    pub room: Option<RoomId>,
    /// Only what this user has said.
    pub from: Option<UserId>,
    /// Where the page before ended.
    pub before: Option<SearchCursor>,
    /// Hits, at most 100.
    pub limit: usize,
}

impl Node {
    /// Messages that have all the words, newest first.
    ///
    /// # Errors
    /// [`CommandError::NoArchive`], [`CommandError::Forbidden`] for a room that is named, or what the
    /// archive cannot do now.
    pub async fn search(
        &self,
        identity: &Identity,
        request: SearchRequest,
    ) -> Result<SearchPage, CommandError> {
        let archive = self.needed_archive()?;
        if let Some(room) = &request.room {
            self.may_read(identity, room).await?;
        }
        let query = SearchQuery {
            text: request.text,
            room: request.room,
            from: request.from,
            before: request.before,
            limit: request.limit,
            reader: identity.user.id.clone(),
            allowed: allowed(identity),
        };
        archive
            .search(&query)
            .await
            .map_err(CommandError::of_archive)
    }
}

/// The rooms that the token lets its user read.
fn allowed(identity: &Identity) -> Option<Vec<AllowedRooms>> {
    let grants = identity.rooms.as_ref()?;
    let allowed = |(pattern, rights): (&str, Rights)| AllowedRooms {
        rooms: match pattern.strip_suffix('*') {
            Some(beginning) => RoomPattern::Prefix(beginning.to_owned()),
            None => RoomPattern::Exact(pattern.to_owned()),
        },
        is_allowed: rights.read,
    };
    Some(grants.iter().map(allowed).collect())
}
