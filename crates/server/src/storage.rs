//! The storage that outlives a node: the archive and, without Redis, the broker that commits to it.

use std::time::{Duration, Instant};

use hubbub_archive::{Archive, ArchiveError, ArchiveSection};
use hubbub_broker::{Journal, MemoryCluster};
use hubbub_node::keep_journal;
use hubbub_outage::Outage;
use hubbub_supervisor::Supervisor;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::config::Settings;

/// An archive that answers at once is checked before the start; another one is waited for in the
/// background.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two tries to reach it; times a random number from 0.5 to 1.
const RETRY: Duration = Duration::from_secs(2);

/// The archive, and what keeps it connected.
pub(crate) struct Storage {
    pub(crate) archive: Option<Archive>,
    tasks: JoinSet<()>,
}

impl Storage {
    /// Opens the archive, if there is to be one. A server that is away is no error: the node is not
    /// ready until it was there once.
    ///
    /// # Errors
    /// [`ArchiveError`] says what can never work.
    pub(crate) async fn open(
        section: &ArchiveSection,
        supervisor: &Supervisor,
    ) -> Result<Self, ArchiveError> {
        let mut tasks = JoinSet::new();
        let archive = Archive::open(section).await?;
        if let Some(archive) = archive.clone() {
            match timeout(PATIENCE, archive.connect()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) if !error.is_retryable() => return Err(error),
                Ok(Err(error)) => tracing::warn!(%error, "the archive is not there yet"),
                Err(_) => tracing::warn!("the archive does not answer yet"),
            }
            let keep = move || keep_connected(archive.clone());
            tasks.spawn(supervisor.keep("archive_connection", keep));
        }
        Ok(Self { archive, tasks })
    }

    /// Closes the archive; nobody may use it any more.
    pub(crate) async fn close(mut self) {
        self.tasks.shutdown().await;
        if let Some(archive) = &self.archive {
            archive.close().await;
        }
    }
}

/// Connects whenever the archive is not ready: at first, and when an empty database has taken its place,
/// which gets its tables then.
async fn keep_connected(archive: Archive) {
    /// A database whose tables go again and again is told of once in so long.
    const TOLD: Duration = Duration::from_secs(60);
    let refused = Outage::new();
    let mut there: Option<Instant> = None;
    loop {
        sleep(RETRY.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        if archive.is_ready() {
            continue;
        }
        match archive.connect().await {
            Ok(()) => {
                if there.is_none_or(|at| at.elapsed() > TOLD) {
                    tracing::info!("the archive is there");
                    there = Some(Instant::now());
                }
                let _over = refused.end();
            }
            Err(error) if error.is_retryable() => {
                tracing::debug!(%error, "the archive is not there yet");
            }
            Err(error) => {
                if let Some(now) = refused.fail(&error) {
                    tracing::error!(%error, failures = now.failures, lasted = ?now.lasted,
                        "the archive cannot be used");
                }
            }
        }
    }
}

/// The storage that the nodes of one process share without Redis.
pub struct Embedded {
    pub(crate) cluster: MemoryCluster,
    pub(crate) storage: Storage,
    /// Of all nodes of the process.
    pub(crate) supervisor: Supervisor,
    journal: JoinSet<()>,
}

impl Embedded {
    /// An empty broker, over the archive if there is one: what it stores is committed there first.
    ///
    /// # Errors
    /// [`ArchiveError`] says why the archive cannot be opened.
    pub async fn open(settings: &Settings) -> Result<Self, ArchiveError> {
        let supervisor = Supervisor::default();
        let storage = Storage::open(&settings.archive, &supervisor).await?;
        let mut journal = JoinSet::new();
        let commits = storage.archive.clone().map(|archive| {
            let (commits, requests) = Journal::new();
            let keep = keep_journal(archive, requests);
            journal.spawn(supervisor.require("journal", keep));
            commits
        });
        let cluster = MemoryCluster::new(settings.broker_config(), commits);
        Ok(Self {
            cluster,
            storage,
            supervisor,
            journal,
        })
    }

    /// Waits for what is being committed and closes the archive. The nodes must have ended.
    pub async fn close(mut self) {
        self.cluster.finish().await;
        self.journal.shutdown().await;
        self.storage.close().await;
    }
}
