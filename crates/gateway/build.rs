//! Gets the Socket.IO client's script out of its npm package, where npm is at hand, and rebuilds
//! the crate when a file is added to, or leaves, the folder that it embeds.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, io};

/// What makes npm get exactly one version.
const LOCK_FILES: [&str; 3] = ["package.json", "package-lock.json", ".npmrc"];
/// A folder with the files of the package's `dist`, for builds without a network.
const FOLDER: &str = "HUBBUB_SOCKETIO_CLIENT";

fn main() {
    println!("cargo::rerun-if-changed=../../static");
    println!("cargo::rerun-if-changed=socketio-client");
    println!("cargo::rerun-if-env-changed={FOLDER}");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let dist = match env::var_os(FOLDER) {
        Some(folder) => {
            let folder = PathBuf::from(folder);
            println!("cargo::rerun-if-changed={}", folder.display());
            Some(folder)
        }
        None => fetch(&out.join("socketio-client")),
    };
    let list = dist.as_deref().map(list).unwrap_or_default();
    fs::write(out.join("socketio_client.rs"), format!("&[{list}]"))
        .expect("OUT_DIR can be written to");
}

/// The package's `dist`, or nothing: a build without npm or a network is a build without it, and
/// the node then says how to get it.
fn fetch(folder: &Path) -> Option<PathBuf> {
    let copied = copy_lock(folder);
    let dist = folder.join("node_modules/socket.io-client/dist");
    let installed = copied.ok().and_then(|()| {
        Command::new("npm")
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
            .ok()
    });
    installed
        .filter(|status| status.success() && dist.is_dir())
        .map(|_| dist)
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
