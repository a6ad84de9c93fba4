//! Appending events, all or nothing, and what they do to earlier ones.

mod batch;
mod bury;
mod change;
mod insert;
mod rooms;
mod search;
mod supersede;
mod taken;

use hubbub_protocol::StoredEvent;

pub use self::batch::{Hole, RoomBatch};
pub(crate) use self::change::{TargetRow, strip};
pub(crate) use self::rooms::enter as enter_rooms;
pub(crate) use self::search::{WordsRow, reindex, unsearch};
use crate::archive::Tx;
use crate::{Archive, ArchiveError, fence};

/// An event on its way into the tables.
struct Entry<'a> {
    /// The number of its room in `rooms`.
    room_id: i64,
    event: StoredEvent<'a>,
    frame: &'a str,
}

impl Archive {
    /// Appends events in one transaction: all of `batch` is stored or nothing. An event that stands at its
    /// place (room, epoch, offset) already changes nothing, so a repetition is harmless.
    ///
    /// # Errors
    /// [`ArchiveError::Unavailable`] and [`ArchiveError::Full`]: repeat it; [`ArchiveError::BadEvent`] and
    /// [`ArchiveError::Taken`]: it will never succeed; [`ArchiveError::Fenced`]: read the events again.
    pub async fn append(&self, batch: &[RoomBatch]) -> Result<(), ArchiveError> {
        let append = async {
            let mut tx = self.begin().await?;
            append(&mut tx, batch).await?;
            tx.commit().await
        };
        self.state().watch(append).await?;
        self.state().has_written();
        Ok(())
    }
}

async fn append(tx: &mut Tx, batch: &[RoomBatch]) -> Result<(), ArchiveError> {
    let known = rooms::enter(tx, batch.iter().map(|part| &part.room)).await?;
    fence::check(tx, batch).await?;
    let entries = read(batch, &known)?;
    let fresh = insert::events(tx, &entries).await?;
    taken::refuse(tx, &entries, &fresh, &known).await?;
    tx.count_events(fresh.len()).await?;
    rooms::open_direct(tx, &known).await?;
    rooms::advance(tx, batch, &known).await?;
    rooms::note_holes(tx, batch, &known).await?;
    let changed = change::apply(tx, &fresh).await?;
    supersede::supersede(tx, &changed, &known).await?;
    let buried = bury::bury(tx, &changed, &known).await?;
    search::index(tx, &fresh, &changed.words, &buried).await
}

/// Reads every frame.
fn read<'a>(batch: &'a [RoomBatch], known: &rooms::Known) -> Result<Vec<Entry<'a>>, ArchiveError> {
    let mut entries = Vec::new();
    for RoomBatch { room, events, .. } in batch {
        let room_id = known.id(room)?;
        for envelope in events {
            let event = envelope.read().map_err(|source| ArchiveError::BadEvent {
                room: room.clone(),
                offset: envelope.position.offset,
                source,
            })?;
            let frame = envelope.frame.as_str();
            entries.push(Entry {
                room_id,
                event,
                frame,
            });
        }
    }
    Ok(entries)
}
