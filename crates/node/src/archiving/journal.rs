//! The embedded broker's commits: what comes together is committed together.

use hubbub_archive::{Archive, ArchiveError, RoomBatch};
use hubbub_broker::{Commit, JournalError, JournalRequest, UsedNonce};
use hubbub_outage::Outage;
use hubbub_protocol::RoomId;
use tokio::sync::mpsc;

/// Requests that are looked at together.
const GROUP: usize = 256;
/// How long a nonce is remembered at least, in milliseconds.
const NONCE_LIFE_MS: u64 = 15 * 60 * 1_000;

/// Commits what the embedded broker asks for, until that is gone.
pub async fn keep_journal(archive: Archive, mut requests: mpsc::Receiver<JournalRequest>) {
    let (mut group, outage) = (Vec::with_capacity(GROUP), Outage::new());
    while requests.recv_many(&mut group, GROUP).await > 0 {
        let mut commits = Vec::new();
        for request in group.drain(..) {
            match request {
                JournalRequest::Commit(commit) => commits.push(commit),
                JournalRequest::Nonces {
                    room,
                    nonces,
                    answer,
                } => {
                    // Nobody waits for it any more: the publish was given up.
                    drop(answer.send(find_nonces(&archive, &room, nonces).await));
                }
            }
        }
        commit_together(&archive, commits, &outage).await;
    }
}

async fn commit_together(archive: &Archive, commits: Vec<Commit>, outage: &Outage) {
    if commits.is_empty() {
        return;
    }
    let batch: Vec<RoomBatch> = commits.iter().map(batch_of).collect();
    match archive.append(&batch).await {
        Ok(()) => {
            if let Some(over) = outage.end() {
                tracing::info!(failures = over.failures, lasted = ?over.lasted, "events are committed again");
            }
            commits.into_iter().for_each(|commit| tell(commit, Ok(())));
        }
        // One that can never be stored is not to stop the others.
        Err(error) if !error.is_retryable() && commits.len() > 1 => {
            for commit in commits {
                let done = archive.append(&[batch_of(&commit)]).await;
                tell(commit, done.as_ref().map_err(refusal).copied());
            }
        }
        Err(error) => {
            if let Some(now) = outage.fail(&error) {
                tracing::warn!(%error, failures = now.failures, lasted = ?now.lasted,
                    "events cannot be committed to the archive");
            }
            for commit in commits {
                tell(commit, Err(refusal(&error)));
            }
        }
    }
}

fn batch_of(commit: &Commit) -> RoomBatch {
    RoomBatch {
        room: commit.room.clone(),
        base: commit.base,
        events: commit.events.clone(),
        holes: Vec::new(),
        run: None,
    }
}

fn tell(commit: Commit, done: Result<(), JournalError>) {
    // Nobody waits for it any more: the broker is gone.
    drop(commit.done.send(done));
}

fn refusal(error: &ArchiveError) -> JournalError {
    match error {
        // The answer may have been lost after the commit.
        ArchiveError::Unavailable(why) => JournalError::Unknown(why.clone()),
        other => JournalError::Refused(other.to_string()),
    }
}

async fn find_nonces(
    archive: &Archive,
    room: &RoomId,
    mut nonces: Vec<UsedNonce>,
) -> Result<Vec<UsedNonce>, JournalError> {
    let since = now_ms().saturating_sub(NONCE_LIFE_MS);
    for used in &mut nonces {
        let found = archive.nonce(room, &used.from, &used.nonce, since).await;
        used.position = found.map_err(|error| JournalError::Refused(error.to_string()))?;
    }
    Ok(nonces)
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let ms = since.unwrap_or_default().as_millis();
    u64::try_from(ms).expect("milliseconds since 1970 fit for ages")
}
