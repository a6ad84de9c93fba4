//! `cargo deny`: checks licences, sources and unwanted crates by the rules in `deny.toml`.
//! Advisories need their database, a git repository, so they are checked by hand: `cargo deny check
//! advisories`.

use std::process::Command;

use crate::shell;

/// The exact version, so that every machine gets the same result.
const VERSION: &str = "0.20.2";

/// Runs the checks. Installs cargo-deny first if it is missing (some minutes, once).
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
