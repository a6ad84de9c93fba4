//! The arguments of `hubbub bench fanout`, and its predefined loads.

use clap::{Args, ValueEnum};

use crate::args::at_least_one;
use crate::node::Target;
use crate::report::Output;

/// Arguments of `hubbub bench fanout`.
#[derive(Debug, Clone, Args)]
pub(crate) struct FanoutArgs {
    /// Predefined loads; without one, --rooms, --members and --rate apply
    #[arg(long, value_delimiter = ',')]
    pub(super) shape: Vec<Shape>,
    /// Rooms
    #[arg(long, default_value_t = 1, value_parser = at_least_one())]
    pub(super) rooms: usize,
    /// Members of each room, spread over the nodes
    #[arg(long, default_value_t = 1000, value_parser = at_least_one())]
    pub(super) members: usize,
    /// Messages per second, in all rooms
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) rate: u32,
    /// Seconds of each round
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) seconds: u32,
    /// How often everything is measured; the median of each figure is reported
    #[arg(long, default_value_t = 3, value_parser = at_least_one())]
    pub(super) rounds: usize,
    /// Bytes of each message's body
    #[arg(long, default_value_t = 128)]
    pub(super) payload: usize,
    /// Members of each room that send, in turn
    #[arg(long, default_value_t = 2, value_parser = at_least_one())]
    pub(super) senders: usize,
    /// Measure the floor also with frames that wait this many milliseconds to share a write; may be
    /// repeated
    #[arg(long, value_name = "MS")]
    pub(super) floor_join: Vec<u64>,
    /// Do not measure the floor
    #[arg(long)]
    pub(super) no_floor: bool,
    /// Also measure the relay: two nodes that do one bare PUBLISH per message and one send per
    /// subscriber
    #[arg(long, requires = "redis_url")]
    pub(super) relay: bool,
    /// Also measure the same cluster of another program, as NAME=FILE; may be repeated
    #[arg(long, value_name = "NAME=FILE", conflicts_with = "url")]
    pub(super) against: Vec<String>,
    /// Processes that make the load
    #[arg(long, default_value_t = 1, value_parser = at_least_one())]
    pub(super) processes: usize,
    #[command(flatten)]
    pub(super) target: Target,
    #[command(flatten)]
    pub(super) output: Output,
}

/// A predefined load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    /// 1 room × 1,000 members × 50 messages/s
    A,
    /// 100 rooms × 20 members × 500 messages/s in all
    B,
    /// 1 room × 10 members × 2,000 messages/s
    C,
}

/// The parameters of a load.
#[derive(Debug, Clone)]
pub(super) struct Form {
    pub(super) name: &'static str,
    pub(super) rooms: usize,
    pub(super) members: usize,
    pub(super) rate: u32,
}

impl Shape {
    pub(super) fn form(self) -> Form {
        let (name, rooms, members, rate) = match self {
            Self::A => ("A", 1, 1000, 50),
            Self::B => ("B", 100, 20, 500),
            Self::C => ("C", 1, 10, 2000),
        };
        Form {
            name,
            rooms,
            members,
            rate,
        }
    }
}
