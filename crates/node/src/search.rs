//! Full-text search over the rooms that a user may read.

use hubbub_archive::{RoomPattern, SearchCursor, SearchPage, SearchQuery};
use hubbub_protocol::{RoomId, UserId};

use crate::Identity;
use crate::error::CommandError;
use crate::node::Node;

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
fn allowed(identity: &Identity) -> Option<Vec<RoomPattern>> {
    let grants = identity.rooms.as_ref()?;
    let readable = grants.iter().filter(|grant| grant.rights.read);
    let pattern = |room: &str| match room.strip_suffix('*') {
        Some(beginning) => RoomPattern::Prefix(beginning.to_owned()),
        None => RoomPattern::Exact(room.to_owned()),
    };
    Some(readable.map(|grant| pattern(&grant.room)).collect())
}
