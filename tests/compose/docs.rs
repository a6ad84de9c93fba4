//! The documentation and this suite contain the same Compose commands.

use std::collections::BTreeSet;
use std::fs;

use crate::stack::{Stack, top};

/// The pages that describe Compose.
const PAGES: [&str; 2] = ["README.md", "deploy/README.md"];
/// The first command of the documentation.
pub(crate) const START: &str = "docker compose up --detach --wait";
/// The line of `.env` that adds a fourth gateway.
pub(crate) const GROWTH: &str = "HUBBUB_MORE_GATEWAYS=1";
/// Grafana's image cannot be had here: Prometheus alone is started, and the dashboard is checked.
const UNTRIED: &str = "docker compose --profile monitoring --profile grafana up --detach";

pub(crate) fn every_command_was_run(stack: &Stack) {
    let run = stack.documented_lines();
    let mut written = BTreeSet::new();
    let mut all = String::new();
    for page in PAGES {
        let text = fs::read_to_string(top().join(page)).expect("the page is there");
        assert!(
            commands(&text).iter().any(|line| line == START),
            "{page} contains the start command"
        );
        written.extend(commands(&text));
        all.push_str(&text);
    }
    assert!(written.remove(UNTRIED), "{UNTRIED} is documented");
    assert_eq!(
        written, run,
        "the documented commands are those that were run (left: documented)"
    );
    assert!(all.contains(GROWTH), "{GROWTH} is documented");
    println!("{} documented commands, all run", run.len());
}

/// The Compose commands in code blocks, without their comments.
fn commands(text: &str) -> Vec<String> {
    let lines = text
        .lines()
        .map(|line| line.split(" #").next().unwrap_or(line).trim());
    lines
        .filter(|line| line.starts_with("docker compose "))
        .map(str::to_owned)
        .collect()
}
