//! Logs to standard error: for people on a terminal, one JSON object a line for machines.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{IsTerminal, stderr};
use std::panic;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// Starts logging. `RUST_LOG` decides what is logged; without it, `default`.
pub(crate) fn start(default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let logs = fmt().with_env_filter(filter).with_writer(stderr);
    // An error means that a test has started logging already.
    if stderr().is_terminal() {
        drop(logs.with_target(false).try_init());
    } else {
        drop(logs.json().flatten_event(true).try_init());
    }
    log_panics();
}

/// A panic is a log line like any other; with `RUST_BACKTRACE=1` it says how it came to it.
fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        let backtrace = Backtrace::capture();
        let captured = backtrace.status() == BacktraceStatus::Captured;
        let backtrace = captured.then(|| backtrace.to_string());
        tracing::error!(%panic, backtrace, "a task panicked");
    }));
}
