//! The names of the environment's variables that set something.

/// The beginning of every variable's name.
pub(super) const PREFIX: &str = "HUBBUB__";

/// The key that a variable sets, known or not; `None`: it sets nothing here.
pub(super) fn key_of(name: &str) -> Option<String> {
    let key = name.strip_prefix(PREFIX)?;
    Some(key.to_ascii_lowercase().replace("__", "."))
}

/// The variable that holds a setting.
pub(super) fn variable_of(key: &str) -> String {
    PREFIX.to_owned() + &key.to_ascii_uppercase().replace('.', "__")
}
