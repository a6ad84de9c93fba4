//! Installs what the chosen tests or the linters need: Debian packages, npm packages from their lock
//! file, Python packages of exact versions.

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
/// The folder with the tests in Python.
const PYTHON_FOLDER: &str = "tests/judges";
/// The interpreter of its virtual environment, relative to the top of the checkout.
pub(crate) const PYTHON: &str = "tests/judges/.venv/bin/python";
/// The folder with the linters that are no Rust programs.
pub(crate) const LINT_FOLDER: &str = ".ci/lint";

/// A need of a suite before it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// One of [`PROGRAMS`], by the program's name.
    Program(&'static str),
    /// The npm packages of a folder's lock file.
    Npm(&'static str),
    /// The Python packages of `tests/judges`.
    Python,
    /// The `hubbub` binary, which is built and not installed.
    Server,
}

/// Installs what is missing. Debian packages need root or sudo.
pub(crate) fn install(needs: &[Need]) -> Result<(), String> {
    let is_needed = |program: &str| {
        let named = |need: &Need| matches!(need, Need::Program(name) if *name == program);
        needs.iter().any(named)
    };
    let mut missing: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| is_needed(program) && !exists(program))
        .map(|(_, package)| *package)
        .collect();
    let needs_python = needs.contains(&Need::Python);
    if needs_python && !has_venv() {
        missing.push("python3-venv");
    }
    if !missing.is_empty() {
        apt(&["update", "--quiet"])?;
        let mut install = vec!["install", "--yes", "--quiet", "--no-install-recommends"];
        install.extend(missing);
        apt(&install)?;
    }
    for need in needs {
        if let Need::Npm(folder) = need {
            install_packages(folder)?;
        }
    }
    if needs_python {
        install_python(PYTHON_FOLDER)?;
    }
    Ok(())
}

/// Installs the linters: npm packages and Python packages of `.ci/lint`.
pub(crate) fn install_linters() -> Result<(), String> {
    if !has_venv() {
        apt(&["update", "--quiet"])?;
        apt(&["install", "--yes", "--quiet", "python3-venv"])?;
    }
    install_packages(LINT_FOLDER)?;
    install_python(LINT_FOLDER)
}

/// Whether Python can make an environment with pip. Debian's Python needs a package for that.
fn has_venv() -> bool {
    let mut command = Command::new("python3");
    command
        .args(["-c", "import ensurepip, venv"])
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Makes the virtual environment of a folder, unless it was made from the same list.
fn install_python(python_folder: &str) -> Result<(), String> {
    let folder = top().join(python_folder);
    let list = fs::read(folder.join("requirements.txt"))
        .map_err(|error| format!("{python_folder}/requirements.txt: {error}"))?;
    let installed = folder.join(".venv/installed.txt");
    if fs::read(&installed).is_ok_and(|installed| installed == list) {
        return Ok(());
    }
    run(
        python_folder,
        "python3",
        &["-m", "venv", "--clear", ".venv"],
    )?;
    let python = folder.join(".venv/bin/python");
    let python = python.to_string_lossy();
    let install = ["-m", "pip", "install", "--quiet"];
    let exactly = ["--disable-pip-version-check", "-r", "requirements.txt"];
    run(
        python_folder,
        &python,
        &[install.as_slice(), &exactly].concat(),
    )?;
    fs::write(&installed, list).map_err(|error| format!("{}: {error}", installed.display()))
}

fn install_packages(npm_folder: &str) -> Result<(), String> {
    if !exists("npm") {
        return Err("npm is missing: install Node.js 20 or newer".to_owned());
    }
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
