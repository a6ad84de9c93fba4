//! `hubbub config`: the effective settings.

use super::error::CommandError;
use super::process::print;
use crate::args::SettingsArgs;
use crate::config::print_effective;

pub(crate) fn config(args: &SettingsArgs) -> Result<(), CommandError> {
    print(&print_effective(&args.load()?))?;
    Ok(())
}
