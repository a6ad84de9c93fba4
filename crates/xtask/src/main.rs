//! What CI and developers run: `cargo xtask test [SUITE…]`, `cargo xtask faults`, `cargo xtask
//! fuzz`, `cargo xtask deny`, `cargo xtask setup`.

mod compose;
mod deny;
mod faults;
mod fuzz;
mod setup;
mod shell;
mod suites;

use std::process::ExitCode;

const HELP: &str = "\
Usage: cargo xtask COMMAND

  test [SUITE…]   install what the tests need, then run all suites, or those named
  faults [ROW…]   run the rows of the fault matrix (B1, B20, …), or all, at full scale and show
                  their figures; HUBBUB_FAULTS=short for the daily scale
  faults --seed N [--minutes M]
                  run random faults: the same seed has the same plan
  fuzz [TARGET…] [--minutes M] [--keep]
                  run the fuzz targets of tests/fuzz, each for a minute or as long as said;
                  --keep adds what covers more to the corpus that the tests replay
  deny            licences, sources and unwanted crates; installs cargo-deny where it is missing
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
        Some((command, [])) if command == "setup" => setup::install(),
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

fn test(names: &[String]) -> Result<(), String> {
    let chosen = suites::choose(names)?;
    setup::install()?;
    suites::run(&chosen)
}

fn faults(args: &[String]) -> Result<(), String> {
    setup::install()?;
    faults::run(args)
}
