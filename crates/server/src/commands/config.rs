//! `hubbub config`: the effective settings.

use super::{CommandError, print};
use crate::cli::SettingsArgs;
use crate::config::print_effective;

pub(crate) fn config(args: &SettingsArgs) -> Result<(), CommandError> {
    print(&print_effective(&args.load()?))?;
    Ok(())
}
