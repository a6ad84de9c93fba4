//! Read marks on their way into the archive: the newest of each user and room, written together.

use std::collections::HashMap;
use std::sync::Arc;

use std::time::Duration;

use hubbub_archive::{Archive, ReadMark};
use hubbub_protocol::{RoomId, UserId};
use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

use crate::node::Node;

/// How often they are written.
const INTERVAL: Duration = Duration::from_secs(1);
/// Users and rooms that wait at most, as while the archive is away; beyond, marks are passed over.
const MOST: usize = 100_000;
/// Marks of one statement.
const AT_ONCE: usize = 1_000;

/// The marks that are not written yet.
#[derive(Debug, Default)]
pub(crate) struct ReadMarks(Mutex<HashMap<(UserId, RoomId), Mark>>);

#[derive(Debug, Clone, Copy)]
struct Mark {
    offset: u64,
    /// Somebody joined: counts only if there is no mark yet.
    is_join: bool,
}

impl ReadMarks {
    fn put(&self, key: (UserId, RoomId), mark: Mark) {
        let mut marks = self.0.lock();
        if marks.len() >= MOST && !marks.contains_key(&key) {
            return;
        }
        marks
            .entry(key)
            .and_modify(|known| {
                // A mark says more than a join, however far that was.
                if known.is_join == mark.is_join {
                    known.offset = known.offset.max(mark.offset);
                } else if known.is_join {
                    *known = mark;
                }
            })
            .or_insert(mark);
    }

    fn take(&self, of: Option<&UserId>) -> Vec<ReadMark> {
        let mut marks = self.0.lock();
        let taken = marks.extract_if(|(user, _), _| of.is_none_or(|of| user == of));
        taken
            .map(|((user, room), Mark { offset, is_join })| ReadMark {
                user,
                room,
                offset,
                is_join,
            })
            .collect()
    }
}

impl Node {
    /// The user has read the room up to `offset`, or has joined when it was there.
    pub(crate) fn note_read(&self, user: &UserId, room: &RoomId, offset: u64, is_join: bool) {
        if self.archive.is_some() {
            let mark = Mark { offset, is_join };
            self.marks.put((user.clone(), room.clone()), mark);
        }
    }

    /// Runs for as long as the node.
    pub(crate) async fn keep_marks(self: Arc<Self>, archive: Archive) {
        loop {
            sleep(INTERVAL).await;
            self.save_marks(&archive, None).await;
        }
    }

    /// Writes what waits, of one user or of all. What cannot be written waits on.
    pub(crate) async fn save_marks(&self, archive: &Archive, of: Option<&UserId>) {
        let mut taken = TakenMarks {
            marks: &self.marks,
            left: self.marks.take(of),
        };
        while !taken.left.is_empty() {
            let some = &taken.left[..taken.left.len().min(AT_ONCE)];
            if let Err(error) = archive.save_reads(some).await {
                tracing::debug!(%error, "read marks are not kept yet");
                return;
            }
            let written = some.len();
            taken.left.drain(..written);
        }
    }

    /// The same for a node that ends, if the archive takes them at once.
    pub(crate) async fn save_last_marks(&self) {
        if let Some(archive) = &self.archive
            && timeout(INTERVAL, self.save_marks(archive, None))
                .await
                .is_err()
        {
            tracing::warn!("the last read marks are not kept");
        }
    }
}

/// Marks that are being written. Those that are not, for whatever reason, wait on.
struct TakenMarks<'a> {
    marks: &'a ReadMarks,
    left: Vec<ReadMark>,
}

impl Drop for TakenMarks<'_> {
    fn drop(&mut self) {
        for ReadMark {
            user,
            room,
            offset,
            is_join,
        } in self.left.drain(..)
        {
            self.marks.put((user, room), Mark { offset, is_join });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_counts_more_than_a_join() {
        let marks = ReadMarks::default();
        let key = || (UserId::new("a").unwrap(), RoomId::new("r").unwrap());
        for (offset, is_join) in [(9, true), (5, false), (4, false), (12, true)] {
            marks.put(key(), Mark { offset, is_join });
        }
        let taken = marks.take(None);
        assert_eq!((taken[0].offset, taken[0].is_join), (5, false));
        assert!(marks.take(None).is_empty());
    }
}
