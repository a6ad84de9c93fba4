//! [`AdminError`]: the reason why an operator's command was not carried out.

use std::process::ExitCode;

use crate::config::ConfigError;

/// The reason why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("there is no key: set ops.token, for example by HUBBUB__OPS__TOKEN_FILE=…")]
    NoKey,
    #[error("there is no operators' port to ask: give --url")]
    NoPort,
    #[error("--url {0}: expected http://HOST[:PORT]")]
    Url(String),
    #[error("{0}: {1}")]
    Unreachable(String, std::io::Error),
    #[error("{0} did not answer within 10 s")]
    Silent(String),
    #[error("{0} did not answer as a node does")]
    NoHttp(String),
    #[error("refused ({status}): {detail}")]
    Refused { status: u16, detail: String },
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl AdminError {
    /// The exit code: 1 for a refusal of the node, 2 if it cannot be asked.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Refused { .. } | Self::Io(_) => ExitCode::FAILURE,
            _ => ExitCode::from(2),
        }
    }
}
