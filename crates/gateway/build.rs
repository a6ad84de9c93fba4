//! Embeds the Socket.IO client's script, which it installs by npm from a lock file, and rebuilds the
//! crate when a file is added to the embedded folder or removed from it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, io};

/// The files that make npm install exactly one version.
const LOCK_FILES: [&str; 3] = ["package.json", "package-lock.json", ".npmrc"];
/// A folder with the files of the package's `dist`, for builds without a network; `none` embeds no client.
const FOLDER: &str = "HUBBUB_SOCKETIO_CLIENT";

fn main() {
    println!("cargo::rerun-if-changed=../../static");
    println!("cargo::rerun-if-changed=socketio-client");
    println!("cargo::rerun-if-env-changed={FOLDER}");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let (dist, source) = find(&out.join("socketio-client"));
    // The one way of a build script to be read.
    match dist.as_deref().and_then(version) {
        Some(version) => {
            println!("cargo::warning=embeds the Socket.IO client {version}, from {source}");
        }
        None => println!("cargo::warning=embeds no Socket.IO client: {source}"),
    }
    let list = dist.as_deref().map(list).unwrap_or_default();
    fs::write(out.join("socketio_client.rs"), format!("&[{list}]"))
        .expect("OUT_DIR can be written to");
}

/// The package's `dist` and where it comes from, or no folder and the reason. A build without npm or a
/// network is a build without the client, and the server then says how to get it.
fn find(folder: &Path) -> (Option<PathBuf>, String) {
    match env::var_os(FOLDER) {
        Some(none) if none == "none" => (None, format!("{FOLDER} is none")),
        Some(folder) => {
            let folder = PathBuf::from(folder);
            println!("cargo::rerun-if-changed={}", folder.display());
            let source = format!("{} ({FOLDER})", folder.display());
            (Some(folder), source)
        }
        None => match fetch(folder) {
            Ok(dist) => (Some(dist), "npm".to_owned()),
            Err(problem) => (None, problem),
        },
    }
}

/// Installs the package into a folder and returns its `dist`.
fn fetch(folder: &Path) -> Result<PathBuf, String> {
    copy_lock(folder).map_err(|error| format!("its lock file cannot be copied: {error}"))?;
    let status = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .args([
            "--prefer-offline",
            "--fetch-retries=0",
            "--fetch-timeout=20000",
        ])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(|error| format!("npm cannot be started: {error}"))?;
    let dist = folder.join("node_modules/socket.io-client/dist");
    if status.success() && dist.is_dir() {
        Ok(dist)
    } else {
        Err(format!("npm ci failed ({status})"))
    }
}

/// The version in the first lines of the client's script: ` * Socket.IO v4.8.3`.
fn version(dist: &Path) -> Option<String> {
    let script = fs::read_to_string(dist.join("socket.io.min.js")).ok()?;
    let (_, rest) = script.split_once("Socket.IO v")?;
    Some(rest.split_whitespace().next()?.to_owned())
}

fn copy_lock(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for file in LOCK_FILES {
        fs::copy(Path::new("socketio-client").join(file), folder.join(file))?;
    }
    Ok(())
}

/// Each file's name and contents, as Rust.
fn list(dist: &Path) -> String {
    let files = fs::read_dir(dist).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = files.map(|file| file.path()).collect();
    files.sort();
    files
        .iter()
        .filter_map(|file| {
            let name = file.file_name()?.to_str()?;
            name.starts_with("socket.io").then(|| {
                let path = file.to_string_lossy();
                format!("({name:?}, include_bytes!({path:?}) as &[u8]),\n")
            })
        })
        .collect()
}
