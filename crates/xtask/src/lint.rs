//! `cargo xtask lint`: spelling, JavaScript, comments, and the structure of the code.

use std::path::Path;

use crate::setup::{self, LINT_FOLDER};
use crate::shell::{run, top};
use crate::source::{self, Source};
use crate::structure;

/// Comments that may begin with "What" or "Who". Such sentences tend to have no subject that names a
/// thing, so few of them may stay.
const HEADLESS: usize = 40;

/// Runs every check. It continues after a failure, so that one run shows everything that fails.
pub(crate) fn run_all() -> Result<(), String> {
    setup::install_linters()?;
    let tools = top().join(LINT_FOLDER);
    let (modules, venv) = (tools.join("node_modules/.bin"), tools.join(".venv/bin"));
    let sources = source::read(&top().join("crates"))?;
    let results = [
        run(".", &program(&venv, "typos"), &[]),
        run(
            ".",
            &program(&modules, "biome"),
            &["lint", "--error-on-warnings"],
        ),
        run(".", &program(&modules, "tsc"), &["-p", LINT_FOLDER]),
        check_comments(&sources),
        structure::check(&sources),
    ];
    let problems: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems.join("\n"))
    }
}

fn program(folder: &Path, name: &str) -> String {
    folder.join(name).to_string_lossy().into_owned()
}

/// Counts the comments that begin with "What" or "Who".
fn check_comments(sources: &[Source]) -> Result<(), String> {
    let mut headless = Vec::new();
    for source in sources {
        let lines = source.text.lines().enumerate();
        let lines = lines.filter(|(_, line)| is_headless(line));
        headless.extend(lines.map(|(at, line)| format!("{}:{}:{line}", source.name, at + 1)));
    }
    eprintln!("comments that begin with What or Who: {}", headless.len());
    if headless.len() <= HEADLESS {
        return Ok(());
    }
    let found = headless.join("\n");
    Err(format!(
        "{found}\n{} comments begin with What or Who, at most {HEADLESS} may: begin with the thing \
         that the comment is about",
        headless.len()
    ))
}

fn is_headless(line: &str) -> bool {
    let Some(comment) = line.trim_start().strip_prefix("//") else {
        return false;
    };
    let comment = comment.trim_start_matches(['/', '!']).trim_start();
    let first = comment.split(|c: char| !c.is_alphabetic()).next();
    matches!(
        first,
        Some("What" | "Whatever" | "Who" | "Whoever" | "Whom" | "Whose")
    )
}

#[cfg(test)]
mod tests {
    use super::is_headless;

    #[test]
    fn a_comment_without_a_subject_is_found() {
        assert!(is_headless("    /// What a user has in a room."));
        assert!(is_headless("// Who comes last."));
        assert!(!is_headless("/// A user's rights. What else?"));
        assert!(!is_headless("let what = 1; // What"));
        assert!(!is_headless("/// Whole seconds."));
    }
}
