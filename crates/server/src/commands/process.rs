//! The runtime, the output and the signals of the process, shared by the commands.

use std::env;
use std::io::{self, Write, stdout};
use std::thread::available_parallelism;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// One runtime for everything that this process runs. A core is left to the kernel and Redis, who
/// have a part in every message: fewer threads wake each other less, and one alone needs no locks.
/// `TOKIO_WORKER_THREADS` counts where it is set.
pub(super) fn runtime() -> io::Result<Runtime> {
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
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Ctrl-C, SIGTERM and SIGHUP.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    on_hangup: OnHangup,
}

/// The meaning of SIGHUP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnHangup {
    /// The terminal was closed, which ends what was started in it.
    End,
    /// Somebody asks for the settings to be read again, which a node cannot do yet: it logs that, and
    /// goes on.
    Ignore,
}

impl Signals {
    /// From now on they no longer end the process by themselves.
    pub(super) fn listen(on_hangup: OnHangup) -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            on_hangup,
        })
    }

    /// Waits for the next one that ends the process. Cancel safe.
    pub(super) async fn next(&mut self) {
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
