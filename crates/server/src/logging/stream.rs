//! Standard error as the place where log lines go, whatever becomes of it.
//!
//! The node outlives its log: a line that cannot be written (the reader of the pipe is gone, the disk is
//! full) or that the reader does not take in time is dropped and counted.

use std::io::{self, ErrorKind, Write, stderr};
use std::os::fd::AsFd;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Lines that were dropped.
pub(super) static DROPPED: LazyLock<Counter> = LazyLock::new(Counter::default);

/// A pipe that is ready takes so many bytes without making the writer wait (`PIPE_BUF` of Linux).
const CHUNK: usize = 4096;
/// How long a line waits for a slow reader. Every thread that logs waits meanwhile.
const PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};
const NO_PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};
/// After a line has waited in vain, others do not wait for so long.
const IMPATIENT: Duration = Duration::from_secs(1);

static STREAM: Mutex<State> = Mutex::new(State {
    is_torn: false,
    dropped: 0,
    impatient_until: None,
});

/// The state of the stream.
#[derive(Debug)]
struct State {
    /// The last line was written in part only.
    is_torn: bool,
    /// Lines dropped since the last one that was written.
    dropped: u64,
    impatient_until: Option<Instant>,
}

/// Takes one log line a call and never fails.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogStream;

impl Write for LogStream {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let dropped = {
            let mut state = STREAM.lock();
            state.put(line, &mut stderr().lock())
        };
        // The stream is free again: this line goes the same way.
        if dropped > 0 {
            tracing::warn!(
                lines = dropped,
                "the log could not be written, lines were dropped"
            );
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl State {
    /// Writes a line, or counts it as dropped. Returns how many were dropped before a line that was written.
    fn put(&mut self, line: &[u8], stream: &mut (impl Write + AsFd)) -> u64 {
        match self.try_put(line, stream) {
            Ok(()) => std::mem::take(&mut self.dropped),
            Err(_) => {
                self.dropped += 1;
                DROPPED.inc();
                0
            }
        }
    }

    fn try_put(&mut self, line: &[u8], stream: &mut (impl Write + AsFd)) -> io::Result<()> {
        if self.is_torn {
            self.write(b"\n", stream)?;
            self.is_torn = false;
        }
        let mut rest = line;
        while !rest.is_empty() {
            match self.write(&rest[..rest.len().min(CHUNK)], stream) {
                Ok(written) => rest = &rest[written..],
                Err(error) => {
                    self.is_torn = rest.len() < line.len();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Writes at least a byte, without waiting for long.
    fn write(&mut self, bytes: &[u8], stream: &mut (impl Write + AsFd)) -> io::Result<usize> {
        loop {
            self.wait(stream)?;
            match stream.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                written => return written,
            }
        }
    }

    fn wait(&mut self, stream: &impl AsFd) -> io::Result<()> {
        let now = Instant::now();
        let patience = match self.impatient_until {
            Some(until) if now < until => NO_PATIENCE,
            Some(_) | None => PATIENCE,
        };
        let mut fds = [PollFd::new(stream, PollFlags::OUT)];
        match poll(&mut fds, Some(&patience)) {
            Ok(0) => {
                self.impatient_until = Some(now + IMPATIENT);
                Err(ErrorKind::TimedOut.into())
            }
            // Ready, or broken, which the write tells.
            Ok(_) => Ok(()),
            Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use super::*;

    fn state() -> State {
        State {
            is_torn: false,
            dropped: 0,
            impatient_until: None,
        }
    }

    #[test]
    fn a_full_disk_takes_no_line() {
        let mut full = File::options().write(true).open("/dev/full").unwrap();
        let mut state = state();
        assert_eq!(state.put(b"one\n", &mut full), 0);
        assert_eq!(state.put(b"two\n", &mut full), 0);
        let mut good = tempfile::tempfile().unwrap();
        assert_eq!(state.put(b"three\n", &mut good), 2, "two were dropped");
        assert_eq!(state.put(b"four\n", &mut good), 0);
    }

    #[test]
    fn a_reader_who_has_gone_is_no_panic() {
        let (reader, mut writer) = io::pipe().unwrap();
        drop(reader);
        let mut state = state();
        state.put(b"one\n", &mut writer);
        assert_eq!(state.dropped, 1);
    }

    #[test]
    fn a_reader_who_stands_still_is_waited_for_a_moment_only() {
        let (mut reader, mut writer) = io::pipe().unwrap();
        let (mut state, line) = (state(), [b'x'; 10_000]);
        let began = Instant::now();
        for _ in 0..1_000 {
            state.put(&line, &mut writer);
        }
        assert!(began.elapsed() < Duration::from_secs(5));
        assert!(state.dropped > 900 && state.is_torn, "{state:?}");
        let mut first = vec![0; line.len()];
        reader.read_exact(&mut first).unwrap();
        assert_eq!(first, line, "what fits is whole");
        // The next record begins on a line of its own.
        state.put(b"next\n", &mut writer);
        drop(writer);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert!(rest.ends_with("x\nnext\n"), "{}", rest.len());
    }
}
