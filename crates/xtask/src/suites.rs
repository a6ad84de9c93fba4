//! The test suites in the order in which they run: quick ones first.

use std::time::{Duration, Instant};

use crate::setup::PYTHON;
use crate::{compose, shell};

/// The tests in the crates themselves; `reconnect` is an integration test beside the client.
const UNIT: [&str; 6] = [
    "test",
    "--workspace",
    "--lib",
    "--bins",
    "--test",
    "reconnect",
];

/// One suite: its name and how it runs.
pub(crate) struct Suite {
    name: &'static str,
    runner: Runner,
}

enum Runner {
    /// Tests beside the code they test.
    Unit,
    /// A test binary of the `tests` package.
    Cargo,
    /// Node's own test runner, in a folder.
    Node(&'static str),
    /// pytest, in a folder.
    Python(&'static str),
    /// A test binary that needs a Docker engine; its output is shown while it runs.
    Compose,
}

static SUITES: &[Suite] = &[
    Suite {
        name: "unit",
        runner: Runner::Unit,
    },
    Suite {
        name: "contract",
        runner: Runner::Cargo,
    },
    Suite {
        name: "archive",
        runner: Runner::Cargo,
    },
    Suite {
        name: "config",
        runner: Runner::Cargo,
    },
    Suite {
        name: "edge",
        runner: Runner::Cargo,
    },
    Suite {
        name: "security",
        runner: Runner::Cargo,
    },
    Suite {
        name: "rest",
        runner: Runner::Cargo,
    },
    Suite {
        name: "webhooks",
        runner: Runner::Cargo,
    },
    Suite {
        name: "cluster",
        runner: Runner::Cargo,
    },
    Suite {
        name: "faults",
        runner: Runner::Cargo,
    },
    Suite {
        name: "socketio",
        runner: Runner::Node("tests/socketio"),
    },
    Suite {
        name: "sdk",
        runner: Runner::Node("tests/sdk"),
    },
    Suite {
        name: "judges",
        runner: Runner::Python("tests/judges"),
    },
    Suite {
        name: "browser",
        runner: Runner::Node("tests/browser"),
    },
    Suite {
        name: "compose",
        runner: Runner::Compose,
    },
];

/// All names, for messages.
pub(crate) fn names() -> String {
    SUITES
        .iter()
        .map(|suite| suite.name)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The named suites, or all.
pub(crate) fn choose(names: &[String]) -> Result<Vec<&'static Suite>, String> {
    for name in names {
        if !SUITES.iter().any(|suite| suite.name == name) {
            return Err(format!("no suite {name:?}; there are: {}", self::names()));
        }
    }
    let is_chosen =
        |suite: &&Suite| names.is_empty() || names.iter().any(|name| name == suite.name);
    Ok(SUITES.iter().filter(is_chosen).collect())
}

/// Builds once, runs one suite after the other, and shows how long each took. It continues after a
/// failure, so that one run shows everything that fails.
pub(crate) fn run(suites: &[&Suite]) -> Result<(), String> {
    let start = Instant::now();
    run_cargo(&["build", "--workspace", "--bins", "--examples"])?;
    run_cargo(&["test", "--workspace", "--no-run"])?;
    let mut rows = vec![("build", start.elapsed(), Ok(()))];
    for suite in suites {
        let start = Instant::now();
        let done = suite.run();
        rows.push((suite.name, start.elapsed(), done));
    }
    eprintln!("\n{:10} {:>8}", "suite", "minutes");
    for (name, took, done) in &rows {
        let verdict = if done.is_ok() { "" } else { "  FAILED" };
        eprintln!("{name:10} {:>8.1}{verdict}", minutes(*took));
    }
    rows.into_iter()
        .map(|(_, _, done)| done)
        .find(Result::is_err)
        .unwrap_or(Ok(()))
}

impl Suite {
    fn run(&self) -> Result<(), String> {
        match self.runner {
            Runner::Unit => run_cargo(&UNIT),
            Runner::Cargo => run_cargo(&self.cargo_test()),
            Runner::Compose => compose::with_engine(|| {
                let shown = ["--", "--nocapture"];
                run_cargo(&[self.cargo_test().as_slice(), &shown].concat())
            }),
            Runner::Node(folder) => shell::run(folder, "npm", &["test"]),
            Runner::Python(folder) => {
                let python = shell::top().join(PYTHON);
                shell::run(folder, &python.to_string_lossy(), &["-m", "pytest"])
            }
        }
    }

    /// The test command for the whole workspace. With one package alone, Cargo would choose other
    /// features for its dependencies and compile them again.
    fn cargo_test(&self) -> [&'static str; 4] {
        ["test", "--workspace", "--test", self.name]
    }
}

/// Runs cargo with one profile for all commands, so that everything is compiled once.
fn run_cargo(args: &[&str]) -> Result<(), String> {
    let (command, rest) = args.split_first().expect("a command");
    let mut all = vec![*command, "--release", "--locked"];
    all.extend(rest);
    shell::run(".", "cargo", &all)
}

fn minutes(took: Duration) -> f64 {
    took.as_secs_f64() / 60.0
}
