//! Making what messages can be found by anew, a little at a time, after the rules for words have changed.

use hubbub_protocol::StoredEvent;

use crate::append::{WordsRow, reindex};
use crate::archive::{Pair, Tx};
use crate::value::values;
use crate::words::indexed;
use crate::{Archive, ArchiveError};

/// A node at a time: the others find no row.
const MARK: Pair = Pair {
    sqlite: "SELECT below FROM unsearched",
    postgres: "SELECT below FROM unsearched FOR UPDATE SKIP LOCKED",
};
/// The newest first. They are locked, so that no edit comes between reading and writing.
const MESSAGES: Pair = Pair {
    sqlite: "SELECT m.id, m.room_id, COALESCE(e.frame, m.frame) \
        FROM events m LEFT JOIN events e ON e.id = m.edit_id \
        WHERE m.id < $1 AND m.kind = 0 AND NOT m.deleted ORDER BY m.id DESC LIMIT $2",
    postgres: "SELECT m.id, m.room_id, COALESCE(e.frame, m.frame) \
        FROM events m LEFT JOIN events e ON e.id = m.edit_id \
        WHERE m.id < $1 AND m.kind = 0 AND NOT m.deleted ORDER BY m.id DESC LIMIT $2 \
        FOR UPDATE OF m",
};

impl Archive {
    /// Enters up to `limit` earlier messages into what can be searched, the newest first, in one
    /// transaction. Whether there is more to do, here or on the node that is at it now.
    ///
    /// # Errors
    /// [`ArchiveError`]: nothing was done; the call can be repeated.
    pub async fn rebuild_search(&self, limit: usize) -> Result<bool, ArchiveError> {
        let rebuild = async {
            let mut tx = self.begin().await?;
            let has_more = rebuild(&mut tx, limit).await?;
            tx.commit().await?;
            Ok(has_more)
        };
        self.state().watch(rebuild).await
    }
}

async fn rebuild(tx: &mut Tx, limit: usize) -> Result<bool, ArchiveError> {
    let Some((below,)) = tx.rows::<(i64,)>(MARK, Vec::new()).await?.pop() else {
        let rest: Vec<(i64,)> = tx.rows("SELECT below FROM unsearched", Vec::new()).await?;
        return Ok(!rest.is_empty());
    };
    let messages: Vec<(i64, i64, String)> = tx.rows(MESSAGES, values![below, limit]).await?;
    let words: Vec<Option<String>> = messages.iter().map(|(_, _, frame)| words(frame)).collect();
    let rows = messages
        .iter()
        .zip(&words)
        .map(|((id, room, _), words)| WordsRow {
            id: *id,
            room: *room,
            words: words.as_deref(),
        });
    reindex(tx, &rows.collect::<Vec<_>>()).await?;
    match messages.last() {
        Some((last, ..)) if messages.len() == limit => {
            tx.run("UPDATE unsearched SET below = $1", values![*last])
                .await?;
            Ok(true)
        }
        _ => {
            tx.run("DELETE FROM unsearched", Vec::new()).await?;
            Ok(false)
        }
    }
}

fn words(frame: &str) -> Option<String> {
    let event = StoredEvent::parse(frame).ok()?;
    indexed(&event.text()?)
}
