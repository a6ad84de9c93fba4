//! `cargo xtask fuzz`: runs libFuzzer on the code that reads bytes from outside, on the stable
//! toolchain and without `cargo fuzz`. `tests/fuzz` has the targets and the kept corpus.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell::{self, top};

const FOLDER: &str = "tests/fuzz";
/// A wrapper that Cargo calls for the workspace's own crates, so that dependencies are not compiled
/// again.
const WRAPPER: &str = "tests/fuzz/rustc.sh";
const PROGRAM: &str = "target/release/fuzz";
/// The folder of everything that the fuzzer writes: corpus and finds.
const OUTPUT: &str = "target/fuzz";
/// No target needs longer inputs to reach all of its code.
const MAX_BYTES: u32 = 2_048;

/// The parsed arguments.
#[derive(Debug, PartialEq, Eq)]
struct FuzzArguments {
    targets: Vec<String>,
    seconds: u64,
    /// Whether to add inputs that cover more to the kept corpus.
    keep: bool,
}

/// Runs what `args` select: each target for its time, or until it finds something.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let arguments = parse(args, &targets()?)?;
    build()?;
    let mut found = Vec::new();
    for target in &arguments.targets {
        if fuzz(target, arguments.seconds)? {
            found.push(target.as_str());
        } else if arguments.keep {
            keep(target)?;
        }
    }
    if found.is_empty() {
        Ok(())
    } else {
        Err(format!("finds in {OUTPUT}/finds: {}", found.join(" ")))
    }
}

fn parse(args: &[String], known: &[String]) -> Result<FuzzArguments, String> {
    let (mut targets, mut seconds, mut keep) = (Vec::new(), 60, false);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--keep" => keep = true,
            "--minutes" => {
                let minutes = args.next().and_then(|minutes| minutes.parse::<f64>().ok());
                let minutes = minutes.filter(|minutes| (0.01..10_000.0).contains(minutes));
                seconds = (minutes.ok_or("--minutes needs a number")? * 60.0) as u64;
            }
            target if known.iter().any(|known| known == target) => targets.push(arg.clone()),
            other => {
                return Err(format!(
                    "no target {other:?}; there are: {}",
                    known.join(" ")
                ));
            }
        }
    }
    if targets.is_empty() {
        targets = known.to_vec();
    }
    Ok(FuzzArguments {
        targets,
        seconds,
        keep,
    })
}

/// The targets, which are the folders of the kept corpus.
fn targets() -> Result<Vec<String>, String> {
    let mut names: Vec<String> = list(&kept(""))?
        .iter()
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

fn kept(target: &str) -> PathBuf {
    top().join(FOLDER).join("corpus").join(target)
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error| format!("{}: {error}", folder.display());
    let entries = fs::read_dir(folder).map_err(failed)?;
    entries
        .map(|entry| entry.map(|entry| entry.path()).map_err(failed))
        .collect()
}

/// Builds the whole workspace, as for all suites, with coverage counters in its own crates.
fn build() -> Result<(), String> {
    if !shell::exists("c++") {
        return Err("c++ is missing, libFuzzer needs it: install g++".to_owned());
    }
    let status = Command::new("cargo")
        .args(["build", "--release", "--locked", "--workspace"])
        .args(["--features", "hubbub-tests/fuzz", "--bin", "fuzz"])
        .env("RUSTC_WORKSPACE_WRAPPER", top().join(WRAPPER))
        .current_dir(top())
        .status()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("the targets cannot be built: {status}"))
    }
}

fn libfuzzer(target: &str) -> Command {
    let mut command = Command::new(top().join(PROGRAM));
    command
        .env("FUZZ_TARGET", target)
        .current_dir(top().join(OUTPUT));
    command
}

/// Returns whether the target found something. The time-out is long because a fuzzer of low
/// priority can pause for seconds on a busy machine.
fn fuzz(target: &str, seconds: u64) -> Result<bool, String> {
    let corpus = format!("corpus/{target}");
    for folder in [&corpus, "finds"] {
        let folder = top().join(OUTPUT).join(folder);
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    eprintln!("\n$ {target} for {seconds} s");
    let status = libfuzzer(target)
        .args([&corpus, &kept(target).to_string_lossy().into_owned()])
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={MAX_BYTES}"))
        .arg(format!("-artifact_prefix=finds/{target}-"))
        .args([
            "-timeout=60",
            "-rss_limit_mb=1024",
            "-print_final_stats=1",
            "-verbosity=1",
        ])
        .status()
        .map_err(|error| format!("cannot start {target}: {error}"))?;
    Ok(!status.success())
}

/// Adds the fewest short inputs to the kept corpus that cover what it lacks.
fn keep(target: &str) -> Result<(), String> {
    let status = libfuzzer(target)
        .args(["-set_cover_merge=1", "-max_len=256"])
        .arg(kept(target))
        .arg(format!("corpus/{target}"))
        .status()
        .map_err(|error| format!("cannot start {target}: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{target}: the corpus cannot be merged: {status}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_and_minutes() {
        let words = |line: &str| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let known = words("frames room");
        let parse = |line: &str| parse(&words(line), &known);
        let all = parse("").unwrap();
        assert_eq!(
            (all.targets, all.seconds, all.keep),
            (known.clone(), 60, false)
        );
        let one = parse("room --minutes 0.5 --keep").unwrap();
        assert_eq!(
            (one.targets, one.seconds, one.keep),
            (words("room"), 30, true)
        );
        assert!(parse("nothing").is_err() && parse("--minutes x").is_err());
        assert!(targets().unwrap().contains(&"socketio".to_owned()));
    }
}
