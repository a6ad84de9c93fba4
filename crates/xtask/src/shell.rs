//! Runs other programs from the top of the checkout.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The top of the checkout.
pub(crate) fn top() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("crates/xtask is two folders down")
        .to_owned()
}

/// Runs `program` in `folder` of the checkout and shows its output.
pub(crate) fn run(folder: &str, program: &str, args: &[&str]) -> Result<(), String> {
    let line = format!("{program} {}", args.join(" "));
    eprintln!("\n$ {line}");
    let status = Command::new(program)
        .args(args)
        .current_dir(top().join(folder))
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()
        .map_err(|error| format!("cannot start `{line}`: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{line}` failed: {status}"))
    }
}

/// Runs `program` at the top of the checkout and returns what it prints on standard output.
pub(crate) fn output(program: &str, args: &[&str]) -> Result<String, String> {
    let line = format!("{program} {}", args.join(" "));
    let done = Command::new(program)
        .args(args)
        .current_dir(top())
        .output()
        .map_err(|error| format!("cannot start `{line}`: {error}"))?;
    if done.status.success() {
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    } else {
        let errors = String::from_utf8_lossy(&done.stderr);
        Err(format!("`{line}` failed: {}\n{errors}", done.status))
    }
}

/// Whether `program` is on the PATH, or in the folder for servers that some PATHs lack.
pub(crate) fn exists(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let servers = PathBuf::from("/usr/sbin");
    std::env::split_paths(&path)
        .chain([servers])
        .any(|folder| folder.join(program).is_file())
}
