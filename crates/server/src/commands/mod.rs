//! What the program does, one command a file.

mod admin;
mod archive;
mod bench;
mod config;
mod demo;
mod healthcheck;
mod serve;
mod token;
mod verify;

use std::env;
use std::io::{self, Write, stdout};
use std::process::ExitCode;
use std::thread::available_parallelism;

pub(crate) use admin::{ADMIN_HELP, AdminArgs, admin};
pub(crate) use archive::archive;
pub(crate) use bench::bench;
pub(crate) use config::config;
pub(crate) use demo::demo;
pub(crate) use healthcheck::healthcheck;
use hubbub_bench::BenchError;
use hubbub_gateway::GatewayError;
use hubbub_node::UnknownFailpoint;
pub(crate) use serve::serve;
pub(crate) use token::token;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
pub(crate) use verify::verify;

use self::admin::AdminError;
use self::archive::ArchiveToolError;
use self::healthcheck::HealthError;
use self::token::MintError;
use self::verify::VerifyError;
use crate::config::ConfigError;
use crate::server::StartError;

/// Why a command failed, for the person who gave it.
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
    #[error("ended at once by a second signal")]
    Interrupted,
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl CommandError {
    /// What scripts see: 2 where what was given cannot be read, so that it is no verdict.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Verify(error) => error.exit_code(),
            Self::Archive(error) => error.exit_code(),
            Self::Admin(error) => error.exit_code(),
            _ => ExitCode::FAILURE,
        }
    }
}

/// One runtime for everything that this process runs. A core is left to the kernel and Redis, who
/// have a part in every message: fewer threads wake each other less, and one alone needs no locks.
/// `TOKIO_WORKER_THREADS` counts where it is set.
fn runtime() -> io::Result<Runtime> {
    let cores = available_parallelism().map_or(1, usize::from);
    let mut builder = match cores {
        _ if env::var_os("TOKIO_WORKER_THREADS").is_some() => Builder::new_multi_thread(),
        1 | 2 => Builder::new_current_thread(),
        _ => {
            let mut several = Builder::new_multi_thread();
            several.worker_threads(cores - 1);
            several
        }
    };
    builder.enable_all().build()
}

/// Prints on standard output. A reader who has gone is no error.
fn print(text: &str) -> io::Result<()> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Ctrl-C, SIGTERM and SIGHUP.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    on_hangup: OnHangup,
}

/// The meaning of SIGHUP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnHangup {
    /// The terminal was closed, which ends what was started in it.
    End,
    /// Somebody asks for the settings to be read again, which a node cannot do yet: it logs that, and
    /// goes on.
    Ignore,
}

impl Signals {
    /// From now on they no longer end the process by themselves.
    fn listen(on_hangup: OnHangup) -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            on_hangup,
        })
    }

    /// Waits for the next one that ends the process. Cancel safe.
    async fn next(&mut self) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = self.hangup.recv() => match self.on_hangup {
                    OnHangup::End => return,
                    OnHangup::Ignore => {
                        tracing::info!("SIGHUP ignored: settings are read at the start, restart the node to change them");
                    }
                },
            }
        }
    }
}
