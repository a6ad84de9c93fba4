//! `hubbub verify`: the oracle over logs that clients have written.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use hubbub_verify::{LineError, Verifier};

use super::process::print;
use crate::args::VerifyArgs;

/// The reason why there is no clean verdict.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VerifyError {
    #[error("broken promises: {0}")]
    Broken(usize),
    #[error("{}: {source}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("{}, line {number}: {source}", path.display())]
    Line {
        path: PathBuf,
        number: usize,
        source: LineError,
    },
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl VerifyError {
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Broken(_) | Self::Io(_) => ExitCode::FAILURE,
            Self::Open { .. } | Self::Line { .. } => ExitCode::from(2),
        }
    }
}

pub(crate) fn verify(args: &VerifyArgs) -> Result<(), VerifyError> {
    let mut verifier = Verifier::new();
    for path in &args.logs {
        read(&mut verifier, path)?;
    }
    let report = verifier.report();
    print(&report.to_string())?;
    if report.is_kept() {
        Ok(())
    } else {
        Err(VerifyError::Broken(report.total.counts.total()))
    }
}

fn read(verifier: &mut Verifier, path: &Path) -> Result<(), VerifyError> {
    let unreadable = |source| VerifyError::Open {
        path: path.to_owned(),
        source,
    };
    let name = path.file_stem().unwrap_or(path.as_os_str());
    let client = verifier.client(&name.to_string_lossy());
    let file = File::open(path).map_err(unreadable)?;
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(unreadable)?;
        if line.trim().is_empty() {
            continue;
        }
        verifier
            .line(client, &line)
            .map_err(|source| VerifyError::Line {
                path: path.to_owned(),
                number: index + 1,
                source,
            })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn event(offset: u64) -> String {
        format!(
            r#"{{"type":"message","room":"r","message":"M{offset}","from":{{"id":"u","name":"U"}},"ts":1,"body":1,"epoch":"e","offset":{offset}}}"#
        )
    }

    /// The verdict on one client's log.
    fn verdict(lines: &[String]) -> Result<(), VerifyError> {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("alice.jsonl");
        std::fs::write(&path, lines.join("\n")).unwrap();
        verify(&VerifyArgs { logs: vec![path] })
    }

    #[test]
    fn a_good_log_passes() {
        verdict(&[event(1), event(2), String::new()]).unwrap();
    }

    #[test]
    fn a_broken_promise_is_exit_code_1() {
        let error = verdict(&[event(1), event(3)]).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::FAILURE);
        assert_eq!(error.to_string(), "broken promises: 1");
    }

    #[test]
    fn what_cannot_be_read_is_exit_code_2_and_named() {
        let error = verdict(&[event(1), "garbage".to_owned()]).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::from(2));
        assert!(error.to_string().contains("alice.jsonl, line 2"), "{error}");
        let nowhere = VerifyArgs {
            logs: vec!["nowhere.jsonl".into()],
        };
        assert_eq!(verify(&nowhere).unwrap_err().exit_code(), ExitCode::from(2));
    }
}
