//! The compose suite: starts an engine with images if none is there, runs the tests, and stops the
//! engine that it started.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::shell::run;

const FOLDER: &str = "tests/compose";
const STAND_INS: &str = "./stand-in-images.sh";
/// The script writes this file when it starts an engine.
const OURS: &str = "/run/stand-in-docker/pid";

/// Runs the tests on the running engine, which can pull public images. If there is none, starts one
/// with stand-in images and stops it at the end.
pub(crate) fn with_engine(tests: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let answers = engine_answers();
    if answers && !Path::new(OURS).exists() {
        return tests();
    }
    let start = Instant::now();
    run(FOLDER, STAND_INS, &["up"])?;
    let done = run(FOLDER, STAND_INS, &["images"]).and_then(|()| {
        let minutes = start.elapsed().as_secs_f64() / 60.0;
        eprintln!("engine and stand-in images: {minutes:.1} min");
        tests()
    });
    if answers {
        return done;
    }
    let stopped = run(FOLDER, STAND_INS, &["down"]);
    done.and(stopped)
}

fn engine_answers() -> bool {
    let mut command = Command::new("docker");
    command
        .arg("info")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
