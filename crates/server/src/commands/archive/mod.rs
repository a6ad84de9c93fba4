//! `hubbub archive`: what operators ask the archive for, beside running nodes or without them.

mod adopt;
mod compare;
mod export;
mod report;
mod verify;

use std::path::Path;
use std::process::ExitCode;

use hubbub_archive::{Archive, ArchiveError, ArchiveSection};
use hubbub_broker::BrokerError;
use hubbub_protocol::{InvalidId, RoomId};
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::ArchiveCommand;
use crate::config::ConfigError;

/// Rows read at once.
const PAGE: usize = 500;
/// How the URL of an archive in a file begins.
const FILE: &str = "sqlite://";

/// The reason why there is no clean verdict or nothing to read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveToolError {
    #[error("rooms that are not whole: {0}")]
    Broken(usize),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("there is no archive: set archive.url, for example by --archive-url postgres://…")]
    Nowhere,
    #[error("archive.url: there is no file {0}")]
    NoFile(String),
    #[error("cluster {0} uses this archive now: stop its nodes, wait 10 s, and try again")]
    InUse(String),
    #[error("ROOM: {0}")]
    BadRoom(InvalidId),
    #[error("the archive knows no room {0}")]
    NoRoom(RoomId),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("redis.url: {0}")]
    Broker(#[from] BrokerError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl ArchiveToolError {
    /// 1 is a verdict, 2 that there can be none.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Broken(_) => ExitCode::FAILURE,
            _ => ExitCode::from(2),
        }
    }
}

pub(crate) fn archive(command: &ArchiveCommand) -> Result<(), ArchiveToolError> {
    match command {
        ArchiveCommand::Verify(settings) => verify::verify(settings),
        ArchiveCommand::Adopt(settings) => adopt::adopt(settings),
        ArchiveCommand::Export(args) => export::export(args),
    }
}

/// Opens the archive that is there, beside a node that may be running. A file is not made: a wrong name
/// must not look like an empty archive.
async fn open(section: &ArchiveSection) -> Result<Archive, ArchiveToolError> {
    find(section)?;
    let archive = Archive::open_to_read(section).await?;
    let archive = archive.ok_or(ArchiveToolError::Nowhere)?;
    archive.connect().await?;
    Ok(archive)
}

/// Refuses the name of a file that is not there.
fn find(section: &ArchiveSection) -> Result<(), ArchiveToolError> {
    match section.url.strip_prefix(FILE) {
        Some(file) if !file.is_empty() && !Path::new(file).exists() => {
            Err(ArchiveToolError::NoFile(file.to_owned()))
        }
        _ => Ok(()),
    }
}

/// Shown on a terminal only.
fn progress(total: u64, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(total);
    let template = format!("{{bar:30}} {{human_pos}} of {{human_len}} {what}, {{eta}} left");
    let style = ProgressStyle::with_template(&template);
    bar.set_style(style.expect("the template names known fields"));
    bar
}
