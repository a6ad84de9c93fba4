//! [`CommandError`]: the reason why a command failed.

use std::io;
use std::process::ExitCode;

use hubbub_bench::BenchError;
use hubbub_gateway::GatewayError;
use hubbub_node::UnknownFailpoint;

use super::admin::AdminError;
use super::archive::ArchiveToolError;
use super::healthcheck::HealthError;
use super::token::MintError;
use super::verify::VerifyError;
use crate::config::ConfigError;
use crate::server::StartError;

/// The reason why a command failed, for the person who gave it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("HUBBUB_FAILPOINTS: {0}")]
    Failpoints(#[from] UnknownFailpoint),
    #[error(transparent)]
    Mint(#[from] MintError),
    #[error(transparent)]
    Health(#[from] HealthError),
    #[error(transparent)]
    Bench(#[from] BenchError),
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Verify(#[from] VerifyError),
    #[error(transparent)]
    Archive(#[from] ArchiveToolError),
    #[error("the last node would be on port {0}: take a lower one")]
    PortRange(u32),
    #[error("{0}\nIs another demo running? Choose other ports with --port")]
    Port(GatewayError),
    #[error("--data: cannot use {}: {source}", path.display())]
    Data {
        path: std::path::PathBuf,
        source: io::Error,
    },
    #[error("a background task has panicked and cannot begin again, see the log")]
    TaskFailed,
    #[error("ended at once by a second signal")]
    Interrupted,
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl CommandError {
    /// The exit code for scripts: 2 if the input cannot be read, so that there is no verdict.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Verify(error) => error.exit_code(),
            Self::Archive(error) => error.exit_code(),
            Self::Admin(error) => error.exit_code(),
            _ => ExitCode::FAILURE,
        }
    }
}
