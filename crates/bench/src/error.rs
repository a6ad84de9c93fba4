//! Why a bench could not run or has failed.

use std::io;

use tokio_tungstenite::tungstenite;

/// What ends a bench.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// Every connection is an open file.
    #[error(
        "{wanted} connections need {wanted} open files and some, this process may have {allowed}: \
         raise `ulimit -n`, or use --connections {possible}"
    )]
    OpenFiles {
        /// Connections asked for.
        wanted: u64,
        /// What the limit is.
        allowed: u64,
        /// What would go.
        possible: u64,
    },
    /// The arguments do not fit together.
    #[error("{0}")]
    Arguments(&'static str),
    /// A node of our own did not become ready.
    #[error("the node did not become ready; its last words:\n{log}")]
    NotReady {
        /// The end of its log.
        log: String,
    },
    /// Reading a process's figures.
    #[error("reading {path}: {source} (is the process there, and ours?)")]
    Proc {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A file of `/proc` looks unlike what we know.
    #[error("{path} has no {what}")]
    ProcFormat {
        /// Which file.
        path: String,
        /// What was looked for.
        what: &'static str,
    },
    /// A connection could not be made, or broke.
    #[error("connection {number}: {source}")]
    Connection {
        /// Which one.
        number: usize,
        /// Why.
        source: Box<tungstenite::Error>,
    },
    /// A node answered something else than asked for.
    #[error("connection {number}: expected {expected:?}, got {got}")]
    Answer {
        /// Which one.
        number: usize,
        /// A frame type.
        expected: &'static str,
        /// The frame, or what came instead.
        got: String,
    },
    /// Messages were lost, doubled or reordered.
    #[error(
        "the nodes broke a promise: {lost} lost, {duplicates} doubled, {disordered} out of order"
    )]
    Broken {
        /// Deliveries that never came.
        lost: u64,
        /// Deliveries that came twice.
        duplicates: u64,
        /// Deliveries in another order.
        disordered: u64,
    },
    /// The archive.
    #[error(transparent)]
    Archive(#[from] hubbub_archive::ArchiveError),
    /// Anything of the system.
    #[error(transparent)]
    Io(#[from] io::Error),
}
