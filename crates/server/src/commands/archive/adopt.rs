//! `hubbub archive adopt`: takes the archive from its cluster, so that the next one may use it.

use hubbub_archive::{Archive, ArchiveSection};

use super::super::process::{print, runtime};
use super::{ArchiveToolError, find};
use crate::args::SettingsArgs;
use crate::logging;

pub(super) fn adopt(args: &SettingsArgs) -> Result<(), ArchiveToolError> {
    let settings = args.load()?.settings;
    logging::start("error");
    runtime()?.block_on(async {
        let archive = open(&settings.archive).await?;
        let released = release(&archive).await;
        archive.close().await;
        print(&released?)?;
        Ok(())
    })
}

/// Opens the archive to write.
async fn open(section: &ArchiveSection) -> Result<Archive, ArchiveToolError> {
    find(section)?;
    let archive = Archive::open(section).await?;
    let archive = archive.ok_or(ArchiveToolError::Nowhere)?;
    archive.connect().await?;
    Ok(archive)
}

async fn release(archive: &Archive) -> Result<String, ArchiveToolError> {
    let Some(owner) = archive.identity().await?.owner else {
        return Ok(
            "the archive belongs to no cluster: the next one that starts takes it\n".to_owned(),
        );
    };
    if !archive.release().await? {
        return Err(ArchiveToolError::InUse(owner.cluster));
    }
    let cluster = owner.cluster;
    Ok(format!(
        "the archive belonged to cluster {cluster}: now the next one that starts takes it\n"
    ))
}
