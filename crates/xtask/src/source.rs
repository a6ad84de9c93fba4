//! The files of Rust code whose structure is checked.

use std::fs;
use std::path::{Path, PathBuf};

/// One file of Rust code.
#[derive(Debug)]
pub(crate) struct Source {
    /// The path below `crates`, such as `node/src/room/mod.rs`.
    pub(crate) name: String,
    /// The whole text.
    pub(crate) text: String,
}

/// Reads `*/src/**/*.rs` below a folder, without files of tests.
pub(crate) fn read(folder: &Path) -> Result<Vec<Source>, String> {
    let mut sources = Vec::new();
    for package in list(folder)? {
        let src = package.join("src");
        if src.is_dir() {
            read_folder(folder, &src, &mut sources)?;
        }
    }
    Ok(sources)
}

fn read_folder(top: &Path, folder: &Path, sources: &mut Vec<Source>) -> Result<(), String> {
    for path in list(folder)? {
        if path.is_dir() {
            read_folder(top, &path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).map_err(|error| describe(&path, &error))?;
            let name = path.strip_prefix(top).unwrap_or(&path);
            sources.push(Source {
                name: name.to_string_lossy().into_owned(),
                text,
            });
        }
    }
    Ok(())
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|error| describe(folder, &error))?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

fn describe(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// The lines before the module of tests at the end of a text.
pub(crate) fn before_tests(text: &str) -> impl Iterator<Item = &str> {
    let mut lines = text.lines().peekable();
    std::iter::from_fn(move || {
        let line = lines.next()?;
        let is_inner = |next: &&str| next.trim_start().starts_with("mod ") && next.ends_with('{');
        let ends = line.trim() == "#[cfg(test)]" && lines.peek().is_some_and(is_inner);
        (!ends).then_some(line)
    })
}
