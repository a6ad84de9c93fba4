//! The load generator behind `hubbub bench`: what connections, deliveries and messages cost, how long
//! they take, and whether all arrive once and in order.
//!
//! It starts nodes of its own (`current_exe() serve`) or attaches to running ones. What they cost
//! it reads from `/proc`, so that needs Linux and the nodes' machine; all else goes over the network.

mod archive;
mod churn;
mod clock;
mod doors;
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
    /// What an idle connection in one room costs a node, and a handshake
    Idle(idle::IdleArgs),
    /// What a delivery costs, how long it takes, and whether all arrive once and in order
    Fanout(fanout::FanoutArgs),
    /// The highest rate that all members still get in time
    Saturate(saturate::SaturateArgs),
    /// Whether memory stays while connections come and go
    Churn(churn::ChurnArgs),
    /// How long the clients of a killed node take to come back
    Resume(resume::ResumeArgs),
    /// What each door costs: WebSocket, Socket.IO, SSE, polling
    Doors(doors::DoorsArgs),
    /// What appending to a large archive, reading it back and searching it cost
    Archive(archive::ArchiveArgs),
    /// A part of a load, ordered by its parent
    #[command(hide = true)]
    Worker,
    /// The least that a fan-out can cost, ordered by its parent
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
        Bench::Doors(args) => doors::run(&args).await,
        Bench::Archive(args) => archive::run(&args).await,
        Bench::Worker => tokio::task::block_in_place(worker::run),
        Bench::Floor(args) => tokio::task::block_in_place(|| floor::run(&args)),
    }
}
