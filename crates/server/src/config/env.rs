//! Settings from the environment: `HUBBUB__SECTION__KEY` is a value, `HUBBUB__SECTION__KEY_FILE`
//! the path of a file that holds it, as container secrets do.

use std::fs;

use config::Value;

use super::error::ConfigError;
use super::hints::check_variable;
use super::known::Known;
use super::variable::key_of;

const FILE_SUFFIX: &str = "_FILE";
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Every variable of ours with its key, known or not.
///
/// # Errors
/// [`ConfigError`] when a file cannot be read, when both variables of one setting are there, or when the name
/// of a variable is nearly that of a setting.
pub(super) fn from_env(
    env: &[(String, String)],
    known: &Known,
) -> Result<Vec<(String, Value)>, ConfigError> {
    let mut ours = Vec::new();
    for (name, value) in env {
        check_variable(name, value, known)?;
        let Some(key) = key_of(name) else { continue };
        ours.push(match plain_variable(name, known) {
            None => {
                let origin = format!("env {name}");
                (key, Value::new(Some(&origin), value.clone()))
            }
            Some((plain, _)) if env.iter().any(|(other, _)| other == plain) => {
                let name = plain.to_owned();
                return Err(ConfigError::ValueAndFile { name });
            }
            Some((_, key)) => (key, from_value_file(name, value)?),
        });
    }
    Ok(ours)
}

/// The variable that would hold the value itself, and its key; `None`: this one names no file.
fn plain_variable<'a>(name: &'a str, known: &Known) -> Option<(&'a str, String)> {
    let plain = name.strip_suffix(FILE_SUFFIX)?;
    let key = key_of(plain)?;
    known.has(&key).then_some((plain, key))
}

/// The file's text without the line end that editors and `echo` leave behind it.
fn from_value_file(name: &str, path: &str) -> Result<Value, ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigError::UnreadableValue {
        name: name.to_owned(),
        path: path.into(),
        source,
    })?;
    let bad = |problem| ConfigError::BadValueFile {
        name: name.to_owned(),
        path: path.into(),
        problem,
    };
    // It would silently be a part of the value, which is another one then.
    if text.starts_with(BYTE_ORDER_MARK) {
        return Err(bad(
            "begins with a byte-order mark: save it as UTF-8 without one",
        ));
    }
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(bad(
            "is empty: write the value into it, or unset the variable",
        ));
    }
    Ok(Value::new(Some(&format!("file {path}")), text))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{Loaded, SettingsFile, Sources, load, print_effective};
    use super::*;

    pub(in crate::config) fn from_pairs(pairs: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
        let env = pairs
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()));
        load(&Sources {
            file: SettingsFile::Nothing,
            env: env.collect(),
            flags: Vec::new(),
        })
    }

    fn refusal(pairs: &[(&str, &str)]) -> String {
        from_pairs(pairs).unwrap_err().to_string()
    }

    #[test]
    fn a_variable_may_name_a_file_that_holds_the_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let path = path.to_str().unwrap();
        fs::write(path, "canary-canary-canary-canary-canary \r\n\n").unwrap();
        let loaded = from_pairs(&[("HUBBUB__AUTH__SECRET_FILE", path)]).unwrap();
        let secret = &loaded.settings.auth.secret;
        assert!(secret.contains("canary-canary-canary-canary-canary "));
        let setting = loaded
            .list
            .iter()
            .find(|setting| setting.key == "auth.secret");
        assert_eq!(setting.unwrap().origin, format!("file {path}"));
        let shown = print_effective(&loaded);
        assert!(shown.contains(path) && !shown.contains("canary"), "{shown}");
    }

    #[test]
    fn secrets_stand_between_commas_or_in_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets");
        let (new, old) = ("n".repeat(32), "o".repeat(32));
        fs::write(&path, format!("{new}\r\n{old}\n")).unwrap();
        let in_file = from_pairs(&[("HUBBUB__AUTH__SECRET_FILE", path.to_str().unwrap())]);
        let list = format!("{new}, {old}");
        let in_variable = from_pairs(&[("HUBBUB__AUTH__SECRET", &list)]);
        for loaded in [in_file, in_variable] {
            let secrets = loaded.unwrap().settings.auth.secret;
            assert_eq!(secrets.iter().collect::<Vec<_>>(), [&new, &old]);
        }
        let short = format!("{new},canary");
        let message = refusal(&[("HUBBUB__AUTH__SECRET", &short)]);
        assert!(
            message.contains("secret 2 of the list has 6 bytes"),
            "{message}"
        );
        assert!(!message.contains("canary"), "{message}");
    }

    #[test]
    fn an_empty_file_or_one_with_a_byte_order_mark_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let path = path.to_str().unwrap();
        let marked = format!("\u{feff}{}", "canary".repeat(6));
        for (text, problem) in [
            ("", "is empty"),
            ("\r\n\n", "is empty"),
            (marked.as_str(), "byte-order mark"),
        ] {
            fs::write(path, text).unwrap();
            for name in ["HUBBUB__AUTH__SECRET_FILE", "HUBBUB__REDIS__URL_FILE"] {
                let message = refusal(&[(name, path)]);
                assert!(message.contains(problem), "{message}");
                assert!(
                    message.contains(name) && message.contains(path),
                    "{message}"
                );
                assert!(!message.contains("canary"), "{message}");
            }
        }
    }

    #[test]
    fn a_list_in_a_file_is_one_as_in_a_variable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("proxies");
        fs::write(&path, "10.0.0.0/8, fd00::/8\n").unwrap();
        let pairs = [("HUBBUB__HTTP__TRUSTED_PROXIES_FILE", path.to_str().unwrap())];
        assert_eq!(
            from_pairs(&pairs)
                .unwrap()
                .settings
                .http
                .trusted_proxies
                .len(),
            2
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_is_refused_by_variable_and_path() {
        let message = refusal(&[("HUBBUB__REDIS__URL_FILE", "/nowhere/redis-url")]);
        assert!(message.contains("HUBBUB__REDIS__URL_FILE"), "{message}");
        assert!(message.contains("/nowhere/redis-url"), "{message}");
    }

    #[test]
    fn a_value_and_a_file_for_one_setting_are_refused() {
        let message = refusal(&[
            ("HUBBUB__REDIS__URL", ""),
            ("HUBBUB__REDIS__URL_FILE", "/nowhere/redis-url"),
        ]);
        let both = "HUBBUB__REDIS__URL and HUBBUB__REDIS__URL_FILE are both set";
        assert!(message.contains(both), "{message}");
    }

    #[test]
    fn a_file_for_an_unknown_setting_is_refused_unread() {
        let message = refusal(&[("HUBBUB__REDIS__ULR_FILE", "/nowhere/x")]);
        let (unknown, nearest) = ("unknown setting redis.ulr_file", "redis.url");
        assert!(
            message.contains(unknown) && message.contains(nearest),
            "{message}"
        );
    }
}
