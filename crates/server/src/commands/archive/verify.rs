//! `hubbub archive verify`: no holes, no duplicates, and no difference between archive and streams.

use std::collections::BTreeSet;
use std::time::Duration;

use hubbub_archive::{Archive, RoomCheck, RoomPattern};
use hubbub_broker::{Broker, BrokerConfig};
use hubbub_protocol::RoomId;

use super::super::process::{print, runtime};
use super::compare::{Comparison, compare};
use super::report::Report;
use super::{ArchiveToolError, open, progress};
use crate::args::SettingsArgs;
use crate::config::Settings;
use crate::logging;

/// Rooms listed at once.
const ROOMS: usize = 1_000;
/// How long Redis may take for one answer: nobody's chat waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn verify(args: &SettingsArgs) -> Result<(), ArchiveToolError> {
    let settings = args.load()?.settings;
    logging::start("error");
    let report = runtime()?.block_on(verify_all(&settings))?;
    print(&report.to_string())?;
    match report.broken() {
        0 => Ok(()),
        broken => Err(ArchiveToolError::Broken(broken)),
    }
}

async fn verify_all(settings: &Settings) -> Result<Report, ArchiveToolError> {
    let archive = open(&settings.archive).await?;
    let broker = if settings.redis.url.is_empty() {
        None
    } else {
        Some(Broker::onlooker(&BrokerConfig {
            send_timeout: PATIENCE,
            ..settings.broker_config()
        })?)
    };
    let report = verify_rooms(&archive, broker.as_ref()).await;
    if let Some(broker) = &broker {
        broker.close().await;
    }
    archive.close().await;
    report
}

async fn verify_rooms(
    archive: &Archive,
    broker: Option<&Broker>,
) -> Result<Report, ArchiveToolError> {
    let rooms = all_rooms(archive, broker).await?;
    let mut report = Report::new(broker.is_some());
    let bar = progress(rooms.len() as u64, "rooms");
    for room in rooms {
        let (check, comparison) = verify_room(archive, broker, &room).await?;
        report.take(&room, &check, comparison.as_ref());
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(report)
}

/// Those of the archive, and those that have a stream.
async fn all_rooms(
    archive: &Archive,
    broker: Option<&Broker>,
) -> Result<BTreeSet<RoomId>, ArchiveToolError> {
    let mut rooms = BTreeSet::new();
    if let Some(broker) = broker {
        rooms.extend(broker.rooms_with_streams().await?);
    }
    let all = RoomPattern::Prefix(String::new());
    let mut after = None;
    loop {
        let page = archive.rooms(&all, after.as_ref(), ROOMS).await?;
        after = page.last().cloned();
        if after.is_none() {
            return Ok(rooms);
        }
        rooms.extend(page);
    }
}

/// A room that looks broken is checked once more: retention may have removed events meanwhile.
async fn verify_room(
    archive: &Archive,
    broker: Option<&Broker>,
    room: &RoomId,
) -> Result<(RoomCheck, Option<Comparison>), ArchiveToolError> {
    let mut found = look_at(archive, broker, room).await?;
    let (check, comparison) = &found;
    if !check.is_whole() || comparison.as_ref().is_some_and(|found| !found.agrees()) {
        found = look_at(archive, broker, room).await?;
    }
    Ok(found)
}

async fn look_at(
    archive: &Archive,
    broker: Option<&Broker>,
    room: &RoomId,
) -> Result<(RoomCheck, Option<Comparison>), ArchiveToolError> {
    let mut comparison = match broker {
        None => None,
        Some(broker) => compare(archive, broker, room).await?,
    };
    let check = archive.check(room).await?;
    if let Some(comparison) = &mut comparison {
        comparison.forgive(&check);
    }
    Ok((check, comparison))
}
