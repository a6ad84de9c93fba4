//! Configuration, wiring, start and shutdown of a node: the one place that knows which choices
//! were made.

mod agreement;
mod args;
pub mod cli;
mod commands;
pub mod config;
mod files;
mod logging;
mod server;
mod storage;

pub use crate::config::Settings;
pub use crate::server::{Server, StartError};
pub use crate::storage::Embedded;
