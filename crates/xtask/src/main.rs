//! The commands for CI and developers; `cargo xtask help` lists them.

mod compose;
mod deny;
mod faults;
mod fuzz;
mod imports;
mod lint;
mod setup;
mod shell;
mod source;
mod structure;
mod suites;

use std::process::ExitCode;

const HELP: &str = "\
Usage: cargo xtask COMMAND

  test [SUITE…]   install what the named suites need, or all suites, and run them
  test SUITE FILTER
                  only the tests of one suite with FILTER in their names
  lint            check spelling, JavaScript, comments and the structure of the code
  faults [ROW…]   run the named rows of the fault matrix (B1, B20, …), or all, at full scale and
                  show their figures; HUBBUB_FAULTS=short for the daily scale
  faults --seed N [--minutes M]
                  run random faults: the same seed gives the same plan
  fuzz [TARGET…] [--minutes M] [--keep]
                  run the named fuzz targets of tests/fuzz, or all, each for M minutes (default 1);
                  --keep adds inputs that cover more to the corpus that the tests replay
  deny            check licences, sources and unwanted crates; installs cargo-deny if missing
  setup           only install what the tests need
  help            this text

Suites: ";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.split_first() {
        Some((command, names)) if command == "test" => test(names),
        Some((command, args)) if command == "faults" => faults(args),
        Some((command, args)) if command == "fuzz" => fuzz::run(args),
        Some((command, [])) if command == "deny" => deny::run(),
        Some((command, [])) if command == "lint" => lint::run_all(),
        Some((command, [])) if command == "setup" => setup::install(&suites::all_needs()),
        Some((command, [])) if command == "help" || command == "--help" => {
            eprintln!("{HELP}{}", suites::names());
            Ok(())
        }
        _ => Err(format!("{HELP}{}", suites::names())),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn test(words: &[String]) -> Result<(), String> {
    let choice = suites::choose(words)?;
    setup::install(&choice.needs())?;
    suites::run(&choice)
}

fn faults(args: &[String]) -> Result<(), String> {
    setup::install(&suites::FAULTS)?;
    faults::run(args)
}
