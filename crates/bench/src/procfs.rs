//! What a process costs, by Linux' own account.

use std::fs;
use std::time::Duration;

use crate::error::BenchError;

/// Clock ticks of `/proc/PID/stat` a second: a constant of the kernel's interface.
const TICKS: u32 = 100;

fn read(path: &str) -> Result<String, BenchError> {
    fs::read_to_string(path).map_err(|source| BenchError::Proc {
        path: path.to_owned(),
        source,
    })
}

/// Bytes of memory that are this process's own, shared pages in proportion.
pub(crate) fn pss(pid: u32) -> Result<u64, BenchError> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let kib = parse_pss(&read(&path)?).ok_or(BenchError::ProcFormat { path, what: "Pss" })?;
    Ok(kib * 1024)
}

fn parse_pss(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// CPU time used so far, in user and kernel mode.
pub(crate) fn cpu(pid: u32) -> Result<Duration, BenchError> {
    let path = format!("/proc/{pid}/stat");
    let ticks = parse_ticks(&read(&path)?).ok_or(BenchError::ProcFormat {
        path,
        what: "CPU times",
    })?;
    Ok(Duration::from_secs(ticks) / TICKS)
}

fn parse_ticks(text: &str) -> Option<u64> {
    // The name before it may hold anything, also spaces and parentheses.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let kernel: u64 = fields.next()?.parse().ok()?;
    Some(user + kernel)
}

/// How many files this process may have open.
pub(crate) fn open_file_limit() -> Result<u64, BenchError> {
    let path = "/proc/self/limits";
    parse_open_files(&read(path)?).ok_or_else(|| BenchError::ProcFormat {
        path: path.to_owned(),
        what: "limit of open files",
    })
}

fn parse_open_files(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// Files that are open for something else than connections under load.
const RESERVED: u64 = 100;

/// Whether `connections` can be open at once.
///
/// # Errors
/// [`BenchError::OpenFiles`] with what to do.
pub(crate) fn check_open_files(connections: usize) -> Result<(), BenchError> {
    let (wanted, allowed) = (connections as u64, open_file_limit()?);
    let possible = allowed.saturating_sub(RESERVED);
    if wanted > possible {
        return Err(BenchError::OpenFiles {
            wanted,
            allowed,
            possible,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_found() {
        let rollup = "55d0-7ffd ---p 00000000 00:00 0 [rollup]\nRss:   2220 kB\nPss:    871 kB\n";
        assert_eq!(parse_pss(rollup), Some(871));
        let stat = "42 (hub) bub) S 1 42 42 0 -1 4194304 1 0 0 0 150 50 0 0 20 0 3 0";
        assert_eq!(parse_ticks(stat), Some(200));
        let limits = "Max open files            20000                20000                files\n";
        assert_eq!(parse_open_files(limits), Some(20_000));
    }

    #[test]
    fn our_own_figures_can_be_read() {
        let pid = std::process::id();
        assert!(pss(pid).unwrap() > 100_000);
        assert!(cpu(pid).is_ok());
        assert!(open_file_limit().unwrap() > 16);
    }

    #[test]
    fn too_many_connections_are_refused_with_advice() {
        let error = check_open_files(usize::MAX / 2).unwrap_err().to_string();
        assert!(error.contains("ulimit -n"), "{error}");
    }
}
