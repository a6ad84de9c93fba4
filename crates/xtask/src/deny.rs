//! `cargo deny`: licences, sources and crates that we do not want, by the rules in `deny.toml`.
//! Advisories need their database, a git repository, so they are asked for by hand: `cargo deny
//! check advisories`.

use std::process::Command;

use crate::shell;

/// Exactly this one, so that every machine judges alike.
const VERSION: &str = "0.20.2";

/// Checks, after it has installed what it needs (some minutes, once).
pub(crate) fn run() -> Result<(), String> {
    let found = Command::new("cargo").args(["deny", "--version"]).output();
    if !found.is_ok_and(|output| output.status.success()) {
        let args = ["install", "cargo-deny", "--locked", "--version", VERSION];
        shell::run(".", "cargo", &args)?;
    }
    let args = [
        "deny",
        "--locked",
        "check",
        "--hide-inclusion-graph",
        "licenses",
        "bans",
        "sources",
    ];
    shell::run(".", "cargo", &args)
}
