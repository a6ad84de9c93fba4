//! A node inside the test's process.

use std::net::SocketAddr;

use hubbub::config::{SettingsFile, Sources, load};
use hubbub::{Embedded, Server, Settings};

use crate::process::{FILE, Setting};

/// A running node. It stops when dropped.
pub struct LocalNode {
    server: Server,
}

impl std::fmt::Debug for LocalNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "node at {}", self.server.http_addr())
    }
}

/// The settings of a node in a test, loaded as a user's are: with free ports, and without the
/// limits that the load from one machine would reach.
///
/// # Panics
/// Panics if a setting is not accepted.
#[must_use]
pub fn settings(number: usize, changes: &[Setting<'_>]) -> Settings {
    let name = format!("gw-{number}");
    let mut all = vec![
        ("node.id", name.as_str()),
        ("http.bind", "127.0.0.1:0"),
        ("ops.bind", "127.0.0.1:0"),
        ("archive.url", ""),
        ("limits.sends_per_second", "0"),
        ("limits.user_sends_per_second", "0"),
        ("limits.user_new_rooms_per_minute", "0"),
        ("limits.connections_per_address", "0"),
        ("limits.guests_per_minute", "0"),
    ];
    all.extend(changes);
    let flag = |(key, value): &Setting<'_>| {
        (
            (*key).to_owned(),
            (*value).to_owned(),
            "the test".to_owned(),
        )
    };
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let path = folder.path().join(FILE);
    let file = match all.iter().find(|(key, _)| *key == FILE) {
        None => SettingsFile::Nothing,
        Some((_, text)) => {
            std::fs::write(&path, text).expect("a file can be written");
            SettingsFile::Named(path)
        }
    };
    all.retain(|(key, _)| *key != FILE);
    let sources = Sources {
        file,
        flags: all.iter().map(flag).collect(),
        ..Sources::default()
    };
    match load(&sources) {
        Ok(loaded) => loaded.settings,
        Err(error) => panic!("{error}"),
    }
}

/// Opens the broker that several nodes of this process share, and its archive if they have one.
///
/// # Panics
/// Panics if the archive cannot be opened.
pub async fn embedded(settings: &Settings) -> Embedded {
    match Embedded::open(settings).await {
        Ok(embedded) => embedded,
        Err(error) => panic!("{error}"),
    }
}

impl LocalNode {
    /// Starts a node with Redis, or a single node.
    ///
    /// # Panics
    /// Panics if the node does not start.
    pub async fn start(settings: Settings) -> Self {
        match Server::start(settings).await {
            Ok(server) => Self { server },
            Err(error) => panic!("{error}"),
        }
    }

    /// Starts another node of an embedded cluster.
    ///
    /// # Panics
    /// Panics if the node does not start.
    pub async fn join(settings: Settings, embedded: &Embedded) -> Self {
        match Server::start_with(settings, embedded).await {
            Ok(server) => Self { server },
            Err(error) => panic!("{error}"),
        }
    }

    /// The address for clients.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.http_addr()
    }

    /// The address of the ops port.
    ///
    /// # Panics
    /// Never panics: the settings of tests set `ops.bind`.
    #[must_use]
    pub fn ops(&self) -> SocketAddr {
        self.server.ops_addr().expect("ops.bind is set")
    }
}
