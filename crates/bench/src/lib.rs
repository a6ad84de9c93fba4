//! The load generator behind `hubbub bench`: memory of idle connections, CPU and latency of a
//! fan-out, loss, duplicates and order.
//!
//! It starts nodes of its own (`current_exe() serve`) or attaches to running ones, and reads what
//! they cost from `/proc`, so it runs on Linux and on the nodes' machine.

mod archive;
mod error;
mod fanout;
mod idle;
mod member;
mod node;
mod procfs;
mod tally;

use clap::{Args, Subcommand};
pub use error::BenchError;

/// Arguments of `hubbub bench`.
#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Clone, Subcommand)]
enum Bench {
    /// What an idle connection in one room costs a node, in bytes
    Idle(idle::IdleArgs),
    /// What a delivery costs the nodes, how long it takes, and whether all arrive in order
    Fanout(fanout::FanoutArgs),
    /// What appending to a large archive, reading it back and searching it cost
    Archive(archive::ArchiveArgs),
}

/// Nodes that run already, instead of nodes of the bench's own.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Attach {
    /// A running node to use, as http://127.0.0.1:3000; several for several nodes. Its limits must
    /// allow the load
    #[arg(long, value_name = "URL", requires = "pid")]
    url: Vec<String>,
    /// The process id of each --url, in the same order
    #[arg(long, value_name = "PID", requires = "url")]
    pid: Vec<u32>,
}

/// Runs a bench and prints its report on standard output.
///
/// # Errors
/// [`BenchError`] says what is missing or what the nodes did wrong.
pub async fn run(args: BenchArgs) -> Result<(), BenchError> {
    match args.bench {
        Bench::Idle(args) => idle::run(&args).await,
        Bench::Fanout(args) => fanout::run(&args).await,
        Bench::Archive(args) => archive::run(&args).await,
    }
}
