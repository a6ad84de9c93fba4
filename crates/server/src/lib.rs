//! Configuration, wiring, start and shutdown of a node: the one place that knows which choices
//! were made.

mod agreement;
mod args;
pub mod cli;
mod commands;
pub mod config;
mod files;
mod logging;
mod past;
mod server;

pub use crate::config::Settings;
pub use crate::past::Embedded;
pub use crate::server::{Server, StartError};
