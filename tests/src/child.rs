//! A child process. It is signalled by its ID; its output is kept, and shown when a test fails.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child as StdChild, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::deadline::eventually;

/// The number of log lines that a failed test shows.
const SHOWN: usize = 40;

/// A running process. It is killed when dropped.
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
    /// Panics if the process cannot be started. The text says what is missing.
    #[must_use]
    pub fn start(name: &str, mut command: Command, log: &Path) -> Self {
        let open = || File::options().create(true).append(true).open(log);
        let output = open().expect("the log file can be opened");
        let errors = open().expect("the log file can be opened");
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

    /// The process ID.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything the process has printed.
    #[must_use]
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.expect("a child has a process id");
        // The signal fails only if the process has already ended.
        let _ = kill_process(pid, signal);
    }

    /// Asks the process to end (SIGTERM).
    pub fn sigterm(&self) {
        self.signal(Signal::TERM);
    }

    /// Pauses the process (SIGSTOP).
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Continues the process (SIGCONT).
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills the process (SIGKILL) and waits for its end.
    pub fn kill9(&mut self) {
        // The kill fails only if the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The exit status, if the process has ended.
    ///
    /// # Panics
    /// Panics if the system cannot tell.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child
            .try_wait()
            .expect("the status of a child can be read")
    }

    /// Waits for the end of the process. Returns its status and how long that took.
    ///
    /// # Panics
    /// Panics if the process has not ended in time.
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
