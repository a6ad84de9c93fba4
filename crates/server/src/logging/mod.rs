//! Logs to standard error: for people on a terminal, one JSON object a line for machines.

mod stream;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{IsTerminal, stderr};
use std::panic;

use prometheus_client::registry::Registry;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use self::stream::LogStream;

/// Starts logging. `RUST_LOG` decides what is logged; without it, `default`. Lines that cannot be written
/// are dropped and counted, see [`stream`].
pub(crate) fn start(default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let logs = fmt()
        .with_env_filter(filter)
        .with_writer(|| LogStream)
        // The library would print its own troubles, and panic where standard error takes nothing.
        .log_internal_errors(false);
    // An error means that a test has started logging already.
    if stderr().is_terminal() {
        drop(logs.with_target(false).try_init());
    } else {
        drop(logs.json().flatten_event(true).try_init());
    }
    log_panics();
}

/// Adds the count of dropped lines to `registry`, which is expected to add the product's prefix.
pub(crate) fn register(registry: &mut Registry) {
    registry.register(
        "log_lines_dropped",
        "Log lines dropped because standard error did not take them",
        stream::DROPPED.clone(),
    );
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
