//! The command line: runs the command that the arguments name.

use std::io::{Write, stderr};
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::commands::{self, CommandError};

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell, and nobody to tell it to, if this fails.
            drop(writeln!(stderr(), "hubbub: {error}"));
            error.exit_code()
        }
    }
}

fn run(command: Command) -> Result<(), CommandError> {
    match command {
        Command::Demo(args) => commands::demo(&args)?,
        Command::Serve(args) => commands::serve(&args)?,
        Command::Token(args) => commands::token(&args)?,
        Command::Config(args) => commands::config(&args)?,
        Command::Healthcheck(args) => commands::healthcheck(&args)?,
        Command::Bench(args) => commands::bench(args)?,
        Command::Archive(command) => commands::archive(&command)?,
        Command::Admin(args) => commands::admin(&args)?,
        Command::Verify(args) => commands::verify(&args)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_every_command_is_explained() {
        let cli = Cli::command();
        cli.clone().debug_assert();
        for command in cli.get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                let help = argument.get_help().or(argument.get_long_help());
                assert!(
                    help.is_some(),
                    "{} {}",
                    command.get_name(),
                    argument.get_id()
                );
            }
        }
    }
}
