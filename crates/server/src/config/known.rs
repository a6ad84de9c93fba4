//! The keys that there are, taken from the settings themselves.

use serde_json::Value as Json;

use super::Settings;

/// Every key and its default, in the order of the sections.
pub(super) struct Known(pub(super) Vec<(String, Json)>);

impl Known {
    pub(super) fn new() -> Self {
        let defaults = serde_json::to_value(Settings::default()).expect("plain structs serialize");
        let mut known = Vec::new();
        for (section, fields) in defaults.as_object().expect("settings have sections") {
            // Tables that may be repeated have no keys of their own here.
            for (name, default) in fields.as_object().into_iter().flatten() {
                known.push((format!("{section}.{name}"), default.clone()));
            }
        }
        Self(known)
    }

    /// Whether there is such a setting.
    pub(super) fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(known, _)| known == key)
    }

    /// Compares whole keys, and names alone for who forgot or mistook the section.
    pub(super) fn nearest(&self, key: &str) -> String {
        let name = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
        let distance = |known: &str| {
            let whole = strsim::damerau_levenshtein(key, known);
            whole.min(strsim::damerau_levenshtein(&name(key), &name(known)) + 1)
        };
        let nearest = self.0.iter().min_by_key(|(known, _)| distance(known));
        nearest.map(|(known, _)| known.clone()).unwrap_or_default()
    }
}
