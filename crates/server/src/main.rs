//! The binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    hubbub::cli::main()
}
