//! The origin of a setting, as errors and `hubbub config` show it.

use config::Value;

/// The origin of a setting that nobody has set.
pub(super) const DEFAULT_ORIGIN: &str = "default";

/// The file, variable or flag that a value came from.
pub(super) fn origin_of(value: &Value) -> String {
    value
        .origin()
        .unwrap_or("a section without settings")
        .to_owned()
}
