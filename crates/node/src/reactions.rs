//! How many different reactions a message may have: a bound, since each of them is on every page with
//! that message.

use std::collections::HashSet;

use hubbub_protocol::fold::{MESSAGE_REACTIONS, USER_REACTIONS};
use hubbub_protocol::{EventKind, ReactionKey, RoomId, UserId};

use crate::alteration::Editor;
use crate::error::CommandError;
use crate::node::Node;
use crate::reservation::Amount;

/// The newest reactions in the stream that are looked at: enough to see all that a message may have,
/// where most of them are different.
const LOOKED_AT: usize = 2 * MESSAGE_REACTIONS;
/// The memory for them: a reaction is short.
const READ_BYTES: usize = LOOKED_AT * 1024;

/// The different reactions to one message.
#[derive(Debug, Default)]
struct Reacted {
    all: HashSet<ReactionKey>,
    /// Those of the user who reacts.
    own: HashSet<ReactionKey>,
}

impl Reacted {
    /// Refuses a new reaction that would be one too many.
    fn check(&self, key: &ReactionKey) -> Result<(), CommandError> {
        if self.own.contains(key) {
            return Ok(());
        }
        if self.own.len() >= USER_REACTIONS {
            let limit = USER_REACTIONS;
            return Err(CommandError::TooManyOwnReactions { limit });
        }
        if !self.all.contains(key) && self.all.len() >= MESSAGE_REACTIONS {
            let limit = MESSAGE_REACTIONS;
            return Err(CommandError::TooManyReactions { limit });
        }
        Ok(())
    }
}

impl Node {
    /// Refuses a user's reaction to the message at `target` if the message, or the user on it, has as
    /// many different ones as there may be. Reactions that are under way at the same moment are not
    /// counted, so a message may come to have a few more.
    pub(crate) async fn check_reaction(
        &self,
        editor: &Editor<'_>,
        target: u64,
        key: &ReactionKey,
    ) -> Result<(), CommandError> {
        let _reservation = self
            .reserve(&editor.payer, Amount::read(READ_BYTES))
            .await?;
        let reacted = self.reacted(editor.room, target, &editor.user.id).await?;
        reacted.check(key)
    }

    async fn reacted(
        &self,
        room: &RoomId,
        target: u64,
        user: &UserId,
    ) -> Result<Reacted, CommandError> {
        let mut reacted = Reacted::default();
        let mut above = 0;
        if let Some(archive) = &self.archive {
            // Asked first: what the archive gets meanwhile is counted twice, which is harmless.
            let known = self.archived_up_to(room).await?;
            // One more than may be, of the user first: more is not needed to refuse.
            let limit = MESSAGE_REACTIONS + USER_REACTIONS;
            match archive.reaction_keys(room, target, user, limit).await {
                Ok(keys) => {
                    above = known;
                    for (key, is_own) in keys {
                        if is_own {
                            reacted.own.insert(key.clone());
                        }
                        reacted.all.insert(key);
                    }
                }
                // While it is away the stream alone is counted.
                Err(error) if error.is_retryable() => {}
                Err(error) => return Err(CommandError::of_archive(error)),
            }
        }
        if self.broker.is_archived() {
            return Ok(reacted);
        }
        let message = [target..=target];
        let changes = self.broker.changes(room, &message, above, LOOKED_AT).await;
        for change in changes.map_err(CommandError::of_read)? {
            let Ok(event) = change.read() else { continue };
            let (EventKind::Reacted, Some(key)) = (event.kind, event.key) else {
                continue;
            };
            let is_own = event.from.is_some_and(|by| by.id == *user);
            match (event.on.unwrap_or(true), is_own) {
                (true, true) => {
                    reacted.own.insert(key.clone());
                    reacted.all.insert(key);
                }
                (true, false) => drop(reacted.all.insert(key)),
                (false, true) => drop(reacted.own.remove(&key)),
                // Others may have it still.
                (false, false) => {}
            }
        }
        Ok(reacted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> ReactionKey {
        ReactionKey::new(&format!("k{number}")).unwrap()
    }

    #[test]
    fn a_message_has_at_most_so_many_different_reactions() {
        let full = Reacted {
            all: (0..MESSAGE_REACTIONS).map(key).collect(),
            own: HashSet::new(),
        };
        assert!(full.check(&key(3)).is_ok(), "one of those that it has");
        let refused = full.check(&key(MESSAGE_REACTIONS));
        assert!(matches!(
            refused,
            Err(CommandError::TooManyReactions { .. })
        ));
    }

    #[test]
    fn a_user_has_at_most_so_many_on_one_message() {
        let own: HashSet<ReactionKey> = (0..USER_REACTIONS).map(key).collect();
        let all = own.iter().cloned().chain([key(77)]).collect();
        let busy = Reacted { all, own };
        assert!(busy.check(&key(3)).is_ok(), "it may be said again");
        let refused = busy.check(&key(77));
        assert!(matches!(
            refused,
            Err(CommandError::TooManyOwnReactions { .. })
        ));
    }
}
