//! The test suites in the order in which they run: quick ones first.

use std::time::{Duration, Instant};

use crate::setup::{Need, PYTHON};
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

/// One suite: its name, how it runs, and what has to be installed and built first.
pub(crate) struct Suite {
    name: &'static str,
    runner: Runner,
    needs: &'static [Need],
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

const REDIS: Need = Need::Program("redis-server");
const POSTGRES: Need = Need::Program("psql");
const PGBOUNCER: Need = Need::Program("pgbouncer");
const HAPROXY: Need = Need::Program("haproxy");
const NGINX: Need = Need::Program("nginx");
const CHROMIUM: Need = Need::Program("chromium");
const SERVER: Need = Need::Server;

static SUITES: &[Suite] = &[
    Suite {
        name: "unit",
        runner: Runner::Unit,
        needs: &[],
    },
    Suite {
        name: "contract",
        runner: Runner::Cargo,
        needs: &[REDIS, POSTGRES],
    },
    Suite {
        name: "archive",
        runner: Runner::Cargo,
        needs: &[POSTGRES, PGBOUNCER],
    },
    Suite {
        name: "config",
        runner: Runner::Cargo,
        needs: &[SERVER, REDIS, HAPROXY],
    },
    Suite {
        name: "edge",
        runner: Runner::Cargo,
        needs: &[SERVER, REDIS, HAPROXY, NGINX],
    },
    Suite {
        name: "security",
        runner: Runner::Cargo,
        needs: &[SERVER, REDIS, POSTGRES, HAPROXY, NGINX],
    },
    Suite {
        name: "rest",
        runner: Runner::Cargo,
        needs: &[SERVER, REDIS, POSTGRES],
    },
    Suite {
        name: "webhooks",
        runner: Runner::Cargo,
        needs: &[SERVER, REDIS],
    },
    Suite {
        name: "cluster",
        runner: Runner::Cargo,
        needs: &[
            SERVER,
            REDIS,
            POSTGRES,
            PGBOUNCER,
            Need::Npm("crates/bench/peers/socketio"),
        ],
    },
    Suite {
        name: "faults",
        runner: Runner::Cargo,
        needs: &FAULTS,
    },
    Suite {
        name: "socketio",
        runner: Runner::Node("tests/socketio"),
        needs: &[
            SERVER,
            REDIS,
            HAPROXY,
            CHROMIUM,
            Need::Npm("tests/socketio"),
        ],
    },
    Suite {
        name: "sdk",
        runner: Runner::Node("tests/sdk"),
        needs: &[SERVER, REDIS, CHROMIUM, Need::Npm("tests/sdk")],
    },
    Suite {
        name: "judges",
        runner: Runner::Python("tests/judges"),
        needs: &[SERVER, REDIS, Need::Python],
    },
    Suite {
        name: "browser",
        runner: Runner::Node("tests/browser"),
        needs: &[
            SERVER,
            REDIS,
            POSTGRES,
            CHROMIUM,
            Need::Npm("tests/browser"),
        ],
    },
    Suite {
        name: "compose",
        runner: Runner::Compose,
        needs: &[SERVER],
    },
];

/// The programs that the fault rows start, or limit processes with.
pub(crate) const FAULTS: [Need; 7] = [
    SERVER,
    REDIS,
    POSTGRES,
    HAPROXY,
    Need::Program("faketime"),
    Need::Program("prlimit"),
    Need::Program("taskset"),
];

/// The suites and the filter of one call of `cargo xtask test`.
pub(crate) struct Choice {
    suites: Vec<&'static Suite>,
    /// A part of the names of the tests that run; `None`: all of them.
    filter: Option<String>,
}

impl Choice {
    /// The needs of the chosen suites, each once or more.
    pub(crate) fn needs(&self) -> Vec<Need> {
        let needs = self.suites.iter().flat_map(|suite| suite.needs);
        needs.copied().collect()
    }
}

/// The needs of all suites.
pub(crate) fn all_needs() -> Vec<Need> {
    SUITES
        .iter()
        .flat_map(|suite| suite.needs)
        .copied()
        .collect()
}

/// All names, for messages.
pub(crate) fn names() -> String {
    SUITES
        .iter()
        .map(|suite| suite.name)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Reads `[SUITE…] [FILTER]`: no name chooses all suites. One last word that is no suite's name is the
/// filter, if exactly one suite stands before it.
pub(crate) fn choose(words: &[String]) -> Result<Choice, String> {
    let is_suite = |word: &String| SUITES.iter().any(|suite| suite.name == word);
    let names = words.iter().take_while(|word| is_suite(word)).count();
    let (names, rest) = words.split_at(names);
    let filter = match rest {
        [] => None,
        [filter] if names.len() == 1 => Some(filter.clone()),
        [word, ..] => {
            return Err(format!("no suite {word:?}; there are: {}", self::names()));
        }
    };
    let is_chosen =
        |suite: &&Suite| names.is_empty() || names.iter().any(|name| name == suite.name);
    Ok(Choice {
        suites: SUITES.iter().filter(is_chosen).collect(),
        filter,
    })
}

/// Builds what the chosen suites need, runs one after the other, and shows how long each took. It
/// continues after a failure, so that one run shows everything that fails.
pub(crate) fn run(choice: &Choice) -> Result<(), String> {
    let start = Instant::now();
    build(&choice.suites)?;
    let mut rows = vec![("build", start.elapsed(), Ok(()))];
    for suite in &choice.suites {
        let start = Instant::now();
        let done = suite.run(choice.filter.as_deref());
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

/// Builds the server, where a suite starts it, and the test binaries.
fn build(suites: &[&Suite]) -> Result<(), String> {
    if suites.iter().any(|suite| suite.needs.contains(&SERVER)) {
        run_cargo(&["build", "--workspace", "--bins", "--examples"])?;
    }
    suites
        .iter()
        .filter_map(|suite| suite.cargo_test())
        .try_for_each(|test| run_cargo(&[test.as_slice(), &["--no-run"]].concat()))
}

impl Suite {
    fn run(&self, filter: Option<&str>) -> Result<(), String> {
        match self.runner {
            Runner::Unit | Runner::Cargo => self.run_tests(filter, &[]),
            Runner::Compose => compose::with_engine(|| self.run_tests(filter, &["--nocapture"])),
            Runner::Node(folder) => {
                let pattern = filter.map(|filter| format!("--test-name-pattern={filter}"));
                let mut args = vec!["test", "--"];
                args.extend(pattern.as_deref());
                shell::run(folder, "npm", &args)
            }
            Runner::Python(folder) => {
                let python = shell::top().join(PYTHON);
                let mut args = vec!["-m", "pytest"];
                args.extend(filter.iter().flat_map(|filter| ["-k", filter]));
                shell::run(folder, &python.to_string_lossy(), &args)
            }
        }
    }

    /// Runs the tests whose names contain the filter. A filter that no test has is an error, since
    /// Cargo would report that nothing failed.
    fn run_tests(&self, filter: Option<&str>, flags: &[&str]) -> Result<(), String> {
        let test = self.cargo_test().expect("a suite that Cargo runs");
        if let Some(filter) = filter {
            let list = [test.as_slice(), &["--", "--list", filter]].concat();
            let listed = shell::output("cargo", &in_profile(&list))?;
            if !listed.lines().any(|line| line.ends_with(": test")) {
                return Err(format!(
                    "no test of {} has {filter:?} in its name",
                    self.name
                ));
            }
        }
        let mut args = [test.as_slice(), &["--"]].concat();
        args.extend(filter);
        args.extend(flags);
        run_cargo(&args)
    }

    /// The test command for the whole workspace, `None` if Cargo does not run this suite. With one
    /// package alone, Cargo would choose other features for its dependencies and compile them again.
    fn cargo_test(&self) -> Option<Vec<&'static str>> {
        match self.runner {
            Runner::Unit => Some(UNIT.to_vec()),
            Runner::Cargo | Runner::Compose => {
                Some(vec!["test", "--workspace", "--test", self.name])
            }
            Runner::Node(_) | Runner::Python(_) => None,
        }
    }
}

fn run_cargo(args: &[&str]) -> Result<(), String> {
    shell::run(".", "cargo", &in_profile(args))
}

/// A cargo command in the one profile that all suites use, so that everything is compiled once.
fn in_profile<'a>(args: &[&'a str]) -> Vec<&'a str> {
    let (command, rest) = args.split_first().expect("a command");
    [&[*command, "--release", "--locked"], rest].concat()
}

fn minutes(took: Duration) -> f64 {
    took.as_secs_f64() / 60.0
}
