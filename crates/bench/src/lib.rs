//! The load generator behind `hubbub bench`. It measures the cost of connections, deliveries and
//! messages and their latency, and checks that every message arrives once and in order.
//!
//! It starts its own nodes (`current_exe() serve`) or attaches to running ones. It reads the nodes'
//! CPU and memory use from `/proc`, so those figures need Linux and a bench on the nodes' machine.
//! Everything else goes over the network.

mod access;
mod archive;
mod args;
mod churn;
mod clock;
mod error;
mod fanout;
mod fleet;
mod floor;
mod idle;
mod message;
mod node;
mod plan;
mod redis;
mod report;
mod resume;
mod saturate;
mod tally;
mod transports;
mod usage;
mod worker;

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
    /// The memory of an idle connection in one room, and the CPU time of a handshake
    Idle(idle::IdleArgs),
    /// The CPU cost and latency of a delivery, and whether all arrive once and in order
    Fanout(fanout::FanoutArgs),
    /// The highest rate at which all members still receive in time
    Saturate(saturate::SaturateArgs),
    /// Whether memory grows while connections come and go
    Churn(churn::ChurnArgs),
    /// How long the clients of a killed node take to come back
    Resume(resume::ResumeArgs),
    /// The cost of each transport: WebSocket, Socket.IO, SSE, polling
    #[command(name = "doors")]
    Transports(transports::TransportsArgs),
    /// The cost of appending to a large archive, reading it back and searching it
    Archive(archive::ArchiveArgs),
    /// A process that makes a part of the load; started by the bench itself
    #[command(hide = true)]
    Worker,
    /// The minimal fan-out server to compare with; started by the bench itself
    #[command(hide = true)]
    Floor(floor::FloorArgs),
}

/// Runs a bench and prints its report on standard output.
///
/// # Errors
/// [`BenchError`] says what is missing or what the nodes did wrong.
pub async fn run(args: BenchArgs) -> Result<(), BenchError> {
    match args.bench {
        Bench::Idle(args) => idle::run(&args).await,
        Bench::Fanout(args) => fanout::run(&args).await,
        Bench::Saturate(args) => saturate::run(&args).await,
        Bench::Churn(args) => churn::run(&args).await,
        Bench::Resume(args) => resume::run(&args).await,
        Bench::Transports(args) => transports::run(&args).await,
        Bench::Archive(args) => archive::run(&args).await,
        Bench::Worker => tokio::task::block_in_place(worker::run),
        Bench::Floor(args) => tokio::task::block_in_place(|| floor::run(&args)),
    }
}
