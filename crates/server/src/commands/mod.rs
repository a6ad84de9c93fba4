//! The commands of the program, one per file.

mod admin;
mod archive;
mod bench;
mod config;
mod demo;
mod error;
mod healthcheck;
mod process;
mod serve;
mod token;
mod verify;

pub(crate) use admin::{ADMIN_HELP, AdminArgs, admin};
pub(crate) use archive::archive;
pub(crate) use bench::bench;
pub(crate) use config::config;
pub(crate) use demo::demo;
pub(crate) use error::CommandError;
pub(crate) use healthcheck::healthcheck;
pub(crate) use serve::serve;
pub(crate) use token::token;
pub(crate) use verify::verify;
