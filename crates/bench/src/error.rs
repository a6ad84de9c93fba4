//! The reasons why a bench could not run or has failed.

use std::io;

/// An error that ends a bench.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// Not enough open files are allowed; every connection needs one.
    #[error(
        "{wanted} connections need more than {wanted} open files, but this process may open {allowed}: \
             raise `ulimit -n`, or use --connections {possible}"
    )]
    OpenFiles {
        /// Connections asked for.
        wanted: u64,
        /// The limit.
        allowed: u64,
        /// The number of connections that the limit allows.
        possible: u64,
    },
    /// The arguments do not fit together.
    #[error("{0}")]
    Arguments(&'static str),
    /// A node that the bench started did not become ready.
    #[error("the node did not become ready; the end of its log:\n{log}")]
    NotReady {
        /// The end of its log.
        log: String,
    },
    /// A process's figures could not be read.
    #[error("reading {path}: {source} (does the process run, and under this user?)")]
    Proc {
        /// The file.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// A file of `/proc` does not have the expected format.
    #[error("{path} has no {what}")]
    ProcFormat {
        /// The file.
        path: String,
        /// The entry that is missing.
        what: &'static str,
    },
    /// A load process failed.
    #[error("a load process failed: {0}")]
    Worker(String),
    /// Redis could not be used.
    #[error("Redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// Messages were lost, duplicated or reordered.
    #[error(
        "the nodes broke a promise: {lost} lost, {duplicates} duplicated, {disordered} out of order, \
             {unanswered} sends without an answer"
    )]
    Broken {
        /// Deliveries that never came.
        lost: u64,
        /// Deliveries that came twice.
        duplicates: u64,
        /// Deliveries that came out of order.
        disordered: u64,
        /// Sends that were never answered.
        unanswered: u64,
    },
    /// The archive could not be used.
    #[error(transparent)]
    Archive(#[from] hubbub_archive::ArchiveError),
    /// Any error of the operating system.
    #[error(transparent)]
    Io(#[from] io::Error),
}
