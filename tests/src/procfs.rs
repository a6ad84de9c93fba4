//! The resources that a process uses, as Linux reports them.

use std::fs;
use std::time::Duration;

/// Clock ticks per second in `/proc/PID/stat`: a constant of the kernel's interface.
const TICKS: u32 = 100;

/// The resident memory in bytes; `None` if there is no such process.
#[must_use]
pub fn rss(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The number of open files; `None` if there is no such process.
#[must_use]
pub fn open_files(pid: u32) -> Option<usize> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    Some(files.count())
}

/// CPU time used so far, in user and kernel mode; `None` if there is no such process.
#[must_use]
pub fn cpu(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The process name before it may contain anything, even spaces and parentheses.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let kernel: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_secs(user + kernel) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_figures_can_be_read() {
        let pid = std::process::id();
        assert!(rss(pid).unwrap() > 100_000);
        assert!(open_files(pid).unwrap() > 2);
        assert!(cpu(pid).is_some());
        assert_eq!(rss(u32::MAX), None);
    }
}
