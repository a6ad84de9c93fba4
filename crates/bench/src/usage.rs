//! The CPU time and memory of a process, as Linux reports them.

use std::fs;

use crate::error::BenchError;

fn read(path: &str) -> Result<String, BenchError> {
    fs::read_to_string(path).map_err(|source| BenchError::Proc {
        path: path.to_owned(),
        source,
    })
}

/// Bytes of memory of this process, with shared pages counted in proportion (PSS).
pub(crate) fn pss(pid: u32) -> Result<u64, BenchError> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let kib = parse_pss(&read(&path)?).ok_or(BenchError::ProcFormat { path, what: "Pss" })?;
    Ok(kib * 1024)
}

fn parse_pss(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// CPU time used so far by all threads of a process, in nanoseconds.
pub(crate) fn cpu(pid: u32) -> Result<u64, BenchError> {
    let path = format!("/proc/{pid}/task");
    let tasks = fs::read_dir(&path).map_err(|source| BenchError::Proc { path, source })?;
    let mut sum = 0;
    for task in tasks {
        // The time of a thread that ends meanwhile is lost; the nodes' threads do not end.
        if let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) {
            sum += parse_run_time(&text).unwrap_or(0);
        }
    }
    Ok(sum)
}

fn parse_run_time(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// CPU time used so far by all of these processes, in nanoseconds.
pub(crate) fn cpu_of(pids: &[u32]) -> Result<u64, BenchError> {
    pids.iter().map(|&pid| cpu(pid)).sum()
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

/// Files kept free for other uses than connections under load.
const RESERVED: u64 = 100;

/// Checks whether `connections` can be open at once.
///
/// # Errors
/// [`BenchError::OpenFiles`], which says what to do.
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
        assert_eq!(parse_run_time("47101203 3203170 1\n"), Some(47_101_203));
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
