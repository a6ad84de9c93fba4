//! Why a bench could not run or has failed.

use std::io;

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
    /// A load process gave up.
    #[error("the load: {0}")]
    Worker(String),
    /// Redis.
    #[error("Redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// Messages were lost, doubled or reordered.
    #[error(
        "the nodes broke a promise: {lost} lost, {duplicates} doubled, {disordered} out of order, \
         {unanswered} sends without an answer"
    )]
    Broken {
        /// Deliveries that never came.
        lost: u64,
        /// Deliveries that came twice.
        duplicates: u64,
        /// Deliveries in another order.
        disordered: u64,
        /// Sends that no answer came to.
        unanswered: u64,
    },
    /// The archive.
    #[error(transparent)]
    Archive(#[from] hubbub_archive::ArchiveError),
    /// Anything of the system.
    #[error(transparent)]
    Io(#[from] io::Error),
}
