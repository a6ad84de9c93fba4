//! `hubbub archive export ROOM`: the events of a room as they were stored, a line each.

use std::io::{self, BufWriter, ErrorKind, Write, stdout};

use hubbub_archive::Archive;
use hubbub_protocol::{Envelope, RoomId};

use super::super::process::runtime;
use super::{ArchiveToolError, PAGE, open, progress};
use crate::args::ExportArgs;
use crate::logging;

pub(super) fn export(args: &ExportArgs) -> Result<(), ArchiveToolError> {
    let room = RoomId::new(&args.room).map_err(ArchiveToolError::BadRoom)?;
    let settings = args.settings.load()?.settings;
    logging::start("error");
    runtime()?.block_on(async {
        let archive = open(&settings.archive).await?;
        let exported = write_room(&archive, &room).await;
        archive.close().await;
        exported
    })
}

async fn write_room(archive: &Archive, room: &RoomId) -> Result<(), ArchiveToolError> {
    if archive.incarnation(room).await?.is_none() {
        return Err(ArchiveToolError::NoRoom(room.clone()));
    }
    let bar = progress(archive.count(room).await?, "events");
    let mut out = BufWriter::new(stdout().lock());
    let mut last = None;
    loop {
        let page = archive.export(room, last.as_ref(), PAGE).await?;
        let Some(newest) = page.last() else { break };
        last = Some(newest.position.clone());
        match write_page(&mut out, &page) {
            // A reader who has seen enough is no error.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
        bar.inc(page.len() as u64);
    }
    bar.finish_and_clear();
    Ok(())
}

/// Frames hold no line break: they are compact JSON.
fn write_page(out: &mut impl Write, page: &[Envelope]) -> io::Result<()> {
    for event in page {
        out.write_all(event.frame.as_bytes())?;
        out.write_all(b"\n")?;
    }
    out.flush()
}
