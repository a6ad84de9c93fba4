//! Full-text search over the rooms that a user may read.

use std::sync::Arc;
use std::time::Duration;

use hubbub_archive::{AllowedRooms, Archive, RoomPattern, SearchCursor, SearchPage, SearchQuery};
use hubbub_outage::Outage;
use hubbub_protocol::{RoomId, UserId};
use tokio::time::sleep;

use crate::error::CommandError;
use crate::node::Node;
use crate::{Identity, Rights};

/// Earlier messages that are entered at once after the rules for words have changed, and the pauses
/// between, and after a failure.
const REBUILT: usize = 500;
const PAUSE: Duration = Duration::from_millis(100);
const RETRY: Duration = Duration::from_secs(5);

/// A user's search.
#[derive(Debug, Clone)]
pub struct SearchRequest {
    /// Words, beginnings of words (`begin*`), and "phrases in quotes".
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
        let granted = self.granted_now(identity);
        let query = SearchQuery {
            text: request.text,
            room: request.room,
            from: request.from,
            before: request.before,
            limit: request.limit,
            reader: identity.user.id.clone(),
            allowed: granted.map(|granted| granted.into_iter().map(allowed).collect()),
        };
        archive
            .search(&query)
            .await
            .map_err(CommandError::of_archive)
    }
}

impl Node {
    /// Enters messages of before into what can be searched, until all are. A new version may have other
    /// rules for words.
    pub(crate) async fn rebuild_search(self: Arc<Self>, archive: Archive) {
        let outage = Outage::new();
        let mut rounds = 0_usize;
        loop {
            if !archive.is_ready() {
                sleep(RETRY).await;
                continue;
            }
            match archive.rebuild_search(REBUILT).await {
                Ok(true) => {
                    rounds += 1;
                    sleep(PAUSE).await;
                }
                Ok(false) => break,
                Err(error) => {
                    if let Some(now) = outage.fail(&error) {
                        tracing::warn!(%error, failures = now.failures, lasted = ?now.lasted,
                            "earlier messages are not found yet");
                    }
                    sleep(RETRY).await;
                }
            }
        }
        if rounds > 0 {
            tracing::info!("earlier messages have been entered into the search again");
        }
    }

    /// The rooms that the identity may read, without those that it was kicked out of.
    fn granted_now(&self, identity: &Identity) -> Option<Vec<(String, Rights)>> {
        let granted = self.config.granted_everywhere(identity);
        let kicked = self.rules.kicked().into_iter();
        let kicked = kicked.filter(|(_, user)| *user == identity.user.id);
        let kicked: Vec<_> = kicked.map(|(room, _)| room.to_string()).collect();
        if kicked.is_empty() {
            return granted;
        }
        let mut granted = granted.unwrap_or_else(|| vec![("*".to_owned(), Rights::MEMBER)]);
        granted.retain(|(pattern, _)| !kicked.contains(pattern));
        granted.extend(kicked.into_iter().map(|room| (room, Rights::NONE)));
        Some(granted)
    }
}

/// As the archive reads it.
fn allowed((pattern, rights): (String, Rights)) -> AllowedRooms {
    let beginning = pattern.strip_suffix('*').map(str::to_owned);
    AllowedRooms {
        rooms: beginning.map_or(RoomPattern::Exact(pattern), RoomPattern::Prefix),
        is_allowed: rights.read,
    }
}
