//! A process of ours: signalled and ended by its id, its output kept and shown when a test fails.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child as StdChild, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::deadline::eventually;

/// Lines of the log that a failed test shows.
const SHOWN: usize = 40;

/// A running process. Dropped, it is killed.
#[derive(Debug)]
pub struct Child {
    name: String,
    child: StdChild,
    log: PathBuf,
}

impl Child {
    /// Starts `command` with its output appended to `log`.
    ///
    /// # Panics
    /// When it cannot be started; the text says what is missing.
    #[must_use]
    pub fn start(name: &str, mut command: Command, log: &Path) -> Self {
        let open = || File::options().create(true).append(true).open(log);
        let output = open().expect("the temporary directory takes a file");
        let errors = open().expect("the temporary directory takes a file");
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn();
        let child = match child {
            Ok(child) => child,
            Err(error) => panic!("{name}: cannot start {program:?}, is it installed? {error}"),
        };
        Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has printed.
    #[must_use]
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.expect("a child has a process id");
        // One that has ended already needs no signal.
        let _ = kill_process(pid, signal);
    }

    /// Asks it to end.
    pub fn sigterm(&self) {
        self.signal(Signal::TERM);
    }

    /// Freezes it.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Thaws it.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills it, and returns when it is gone.
    pub fn kill9(&mut self) {
        // Only fails when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Whether it has ended, and how.
    ///
    /// # Panics
    /// When the system does not say.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child can be asked")
    }

    /// Waits for its end; how long that took stands beside its status.
    ///
    /// # Panics
    /// When it has not ended in time.
    pub async fn wait_exit(&mut self, deadline: Duration) -> (ExitStatus, Duration) {
        let what = format!("{} ends", self.name);
        eventually(&what, deadline, async || self.exited()).await
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            let output = self.output();
            let lines: Vec<&str> = output.lines().collect();
            let tail = &lines[lines.len().saturating_sub(SHOWN)..];
            eprintln!("--- {}, last lines:\n{}\n---", self.name, tail.join("\n"));
        }
    }
}
