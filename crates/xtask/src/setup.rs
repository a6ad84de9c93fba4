//! Installs what the tests need: Debian packages, npm packages from their lock file, Python
//! packages of exact versions.

use std::fs;
use std::process::{Command, Stdio};

use crate::shell::{exists, run, top};

/// A program that the tests start, and the Debian package that brings it.
const PROGRAMS: [(&str, &str); 9] = [
    ("redis-server", "redis-server"),
    ("chromium", "chromium"),
    ("haproxy", "haproxy"),
    ("nginx", "nginx-light"),
    ("faketime", "faketime"),
    ("prlimit", "util-linux"),
    ("taskset", "util-linux"),
    ("psql", "postgresql"),
    ("pgbouncer", "pgbouncer"),
];
/// The folders with the lock files of npm packages.
const NPM_FOLDERS: [&str; 4] = [
    "tests/browser",
    "tests/socketio",
    "tests/sdk",
    "crates/bench/peers/socketio",
];
/// The folder with the tests in Python.
const PYTHON_FOLDER: &str = "tests/judges";
/// The interpreter of its virtual environment, relative to the top of the checkout.
pub(crate) const PYTHON: &str = "tests/judges/.venv/bin/python";

/// Installs what is missing. Debian packages need root or sudo.
pub(crate) fn install() -> Result<(), String> {
    let mut missing: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| !exists(program))
        .map(|(_, package)| *package)
        .collect();
    if !has_venv() {
        missing.push("python3-venv");
    }
    if !missing.is_empty() {
        apt(&["update", "--quiet"])?;
        let mut install = vec!["install", "--yes", "--quiet", "--no-install-recommends"];
        install.extend(missing);
        apt(&install)?;
    }
    if !exists("npm") {
        return Err("npm is missing: install Node.js 20 or newer".to_owned());
    }
    NPM_FOLDERS.into_iter().try_for_each(install_packages)?;
    install_python()
}

/// Whether Python can make an environment with pip. Debian's Python needs a package for that.
fn has_venv() -> bool {
    let mut command = Command::new("python3");
    command
        .args(["-c", "import ensurepip, venv"])
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Makes the virtual environment, unless it was made from the same list.
fn install_python() -> Result<(), String> {
    let folder = top().join(PYTHON_FOLDER);
    let list = fs::read(folder.join("requirements.txt"))
        .map_err(|error| format!("{PYTHON_FOLDER}/requirements.txt: {error}"))?;
    let installed = folder.join(".venv/installed.txt");
    if fs::read(&installed).is_ok_and(|installed| installed == list) {
        return Ok(());
    }
    run(
        PYTHON_FOLDER,
        "python3",
        &["-m", "venv", "--clear", ".venv"],
    )?;
    let python = top().join(PYTHON);
    let python = python.to_string_lossy();
    let install = ["-m", "pip", "install", "--quiet"];
    let exactly = ["--disable-pip-version-check", "-r", "requirements.txt"];
    run(
        PYTHON_FOLDER,
        &python,
        &[install.as_slice(), &exactly].concat(),
    )?;
    fs::write(&installed, list).map_err(|error| format!("{}: {error}", installed.display()))
}

fn install_packages(npm_folder: &str) -> Result<(), String> {
    let folder = top().join(npm_folder);
    let is_fresh = |installed: &std::path::Path| {
        let time = |path: &std::path::Path| path.metadata().and_then(|m| m.modified()).ok();
        time(installed) >= time(&folder.join("package-lock.json"))
    };
    if is_fresh(&folder.join("node_modules/.package-lock.json")) {
        return Ok(());
    }
    run(npm_folder, "npm", &["ci", "--no-audit", "--no-fund"])
}

fn apt(args: &[&str]) -> Result<(), String> {
    if !exists("apt-get") {
        let names = PROGRAMS.map(|(program, _)| program).join(", ");
        return Err(format!("apt-get is missing: install {names} yourself"));
    }
    if std::env::var("USER").is_ok_and(|user| user != "root") && exists("sudo") {
        let mut with_sudo = vec!["apt-get"];
        with_sudo.extend(args);
        return run(".", "sudo", &with_sudo);
    }
    run(".", "apt-get", args)
}
