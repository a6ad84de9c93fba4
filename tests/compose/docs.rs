//! What the documentation tells people to type is what this suite has typed.

use std::collections::BTreeSet;
use std::fs;

use crate::stack::{Stack, top};

/// Where people read about Compose.
const PAGES: [&str; 2] = ["README.md", "deploy/README.md"];
/// What people type first.
pub(crate) const START: &str = "docker compose up --detach --wait";
/// The line of `.env` that makes a fourth gateway.
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
            "{page} says how to start"
        );
        written.extend(commands(&text));
        all.push_str(&text);
    }
    assert!(written.remove(UNTRIED), "{UNTRIED} is documented");
    assert_eq!(
        written, run,
        "documented and run are the same (left: documented)"
    );
    assert!(all.contains(GROWTH), "{GROWTH} is documented");
    println!("{} documented commands, all run", run.len());
}

/// The lines in code blocks that are for Compose, without what is said about them.
fn commands(text: &str) -> Vec<String> {
    let lines = text
        .lines()
        .map(|line| line.split(" #").next().unwrap_or(line).trim());
    lines
        .filter(|line| line.starts_with("docker compose "))
        .map(str::to_owned)
        .collect()
}
