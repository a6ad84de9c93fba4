//! The effective settings as TOML, each with where it came from, secrets hidden.

use std::fmt::Write;

use hubbub_webhooks::Webhook;
use serde_json::Value as Json;

use super::layers::{Loaded, Setting, is_secret};

const HIDDEN: &str = "(hidden)";
/// Parameters in addresses of Redis, PostgreSQL and keys that are no secrets.
const SHOWN_IN_URLS: [&str; 5] = [
    "application_name",
    "mode",
    "protocol",
    "sslmode",
    "sslrootcert",
];
/// Comments begin here where the values leave room for it.
const COMMENT_COLUMN: usize = 44;

/// All settings, in sections.
#[must_use]
pub fn print_effective(loaded: &Loaded) -> String {
    let mut text = String::new();
    let mut section = "";
    for setting in &loaded.list {
        let (in_section, name) = setting.key.split_once('.').unwrap_or(("", &setting.key));
        if in_section != section {
            let gap = if section.is_empty() { "" } else { "\n" };
            writeln!(text, "{gap}[{in_section}]").expect("writing to a string never fails");
            section = in_section;
        }
        let value = shown(setting);
        // A hidden value is commented out, so that the line does not count if it is read back.
        let comment = if value == setting.value { "" } else { "# " };
        let line = format!("{comment}{name} = {}", toml_value(&value));
        let origin = setting.origin.replace(['\n', '\r'], " ");
        writeln!(text, "{line:<COMMENT_COLUMN$} # {origin}")
            .expect("writing to a string never fails");
    }
    for room in &loaded.settings.rooms {
        let table = toml::to_string(room).expect("plain structs serialize");
        write!(text, "\n[[room]]\n{table}").expect("writing to a string never fails");
    }
    for key in &loaded.settings.api_keys {
        let table = toml::to_string(key).expect("plain structs serialize");
        // The same for a hidden value here.
        let lines = table.lines().map(|line| {
            if line.starts_with("key =") {
                format!("# key = \"{HIDDEN}\"\n")
            } else {
                format!("{line}\n")
            }
        });
        write!(text, "\n[[api_key]]\n{}", lines.collect::<String>())
            .expect("writing to a string never fails");
    }
    for webhook in &loaded.settings.webhooks {
        let shown = Webhook {
            url: hide_path(&webhook.url),
            ..webhook.clone()
        };
        let table = toml::to_string(&shown).expect("plain structs serialize");
        // A hidden value is commented out, so that the line does not count if it is read back.
        let table = table.replace("\nsecret = ", "\n# secret = ");
        write!(text, "\n[[webhook]]\n{table}").expect("writing to a string never fails");
    }
    text
}

/// Of a webhook only scheme and host are shown: at some services its path is the secret.
fn hide_path(url: &str) -> String {
    let url = hide_password(url);
    let Some((scheme, rest)) = url.split_once("://") else {
        return HIDDEN.to_owned();
    };
    match rest.split_once(['/', '?', '#']) {
        Some((host, behind)) if !behind.is_empty() => format!("{scheme}://{host}/{HIDDEN}"),
        Some((host, _)) => format!("{scheme}://{host}/"),
        None => format!("{scheme}://{rest}"),
    }
}

/// Behind the `?` there may be a token: only what is `harmless` is shown.
fn hide_query(url: &str, harmless: &[&str]) -> String {
    let Some((path, query)) = url.split_once('?') else {
        return url.to_owned();
    };
    let shown = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if harmless.contains(&name) => pair,
        _ => HIDDEN,
    });
    format!("{path}?{}", shown.collect::<Vec<_>>().join("&"))
}

fn shown(setting: &Setting) -> Json {
    match &setting.value {
        Json::String(text) if !text.is_empty() && is_secret(&setting.key) => HIDDEN.into(),
        Json::Array(_) if is_secret(&setting.key) => HIDDEN.into(),
        Json::String(text) => hide_query(&hide_password(text), &SHOWN_IN_URLS).into(),
        other => other.clone(),
    }
}

/// `scheme://user:password@host` loses its password, wherever it stands.
fn hide_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let Some(at) = rest[..end].rfind('@').or_else(|| rest.rfind('@')) else {
        return text.to_owned();
    };
    let (credentials, host) = rest.split_at(at);
    match credentials.split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:{HIDDEN}{host}"),
        None => text.to_owned(),
    }
}

fn toml_value(value: &Json) -> String {
    match value {
        Json::Array(items) => {
            let items: Vec<String> = items.iter().map(toml_value).collect();
            format!("[{}]", items.join(", "))
        }
        Json::String(text) => toml::Value::String(text.clone()).to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{SettingsFile, Sources, load};
    use super::*;

    fn loaded(toml: &str) -> Loaded {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hubbub.toml");
        fs::write(&path, toml).unwrap();
        load(&Sources {
            file: SettingsFile::Named(path),
            ..Sources::default()
        })
        .unwrap()
    }

    #[test]
    fn every_setting_stands_there_with_its_origin() {
        let text = print_effective(&loaded("[drain]\nspread = \"3s\""));
        assert!(text.contains("[http]\nbind = \"127.0.0.1:3000\""), "{text}");
        let line = text
            .lines()
            .find(|line| line.starts_with("spread"))
            .unwrap();
        assert!(
            line.starts_with("spread = \"3s\"") && line.contains("hubbub.toml"),
            "{line}"
        );
        let line = text
            .lines()
            .find(|line| line.starts_with("frame_bytes"))
            .unwrap();
        assert!(
            line.starts_with("frame_bytes = \"64KiB\"") && line.ends_with("# default"),
            "{line}"
        );
    }

    #[test]
    fn what_is_printed_can_be_read_again_and_means_the_same() {
        let odd = "[limits]\nframe_bytes = 1500001\nbody_bytes = \"1.5KiB\"\nheaders = 7\n\
                   ping_interval = \"1m 30s\"\n[http]\nallowed_origins = [\"https://a.example\"]\n\
                   trusted_proxies = [\"10.0.0.0/8\"]\n[node]\nid = \"a\\\"b\"";
        let first = loaded(odd);
        let second = loaded(&print_effective(&first));
        let values = |loaded: &Loaded| -> Vec<(String, Json)> {
            loaded
                .list
                .iter()
                .map(|s| (s.key.clone(), s.value.clone()))
                .collect()
        };
        assert_eq!(values(&first), values(&second));
        assert_eq!(second.settings.limits.frame_bytes.as_u64(), 1_500_001);
        assert_eq!(second.settings.limits.body_bytes.as_u64(), 1536);
    }

    #[test]
    fn secrets_are_hidden() {
        let text = print_effective(&loaded(
            "[auth]\nsecret = \"canary-canary-canary-canary-canary\"\n[ops]\ntoken = \"canary-2-canary-2-canary-2-canary-2\"\n\
             [redis]\nurl = \"redis://user:canary-3@localhost:6379/0\"\n[[api_key]]\nname = \"billing\"\n\
             key = \"canary-4-canary-4-canary-4-canary-4\"\nrooms = { \"lobby\" = \"rwp\" }",
        ));
        assert!(
            text.contains("[[api_key]]\nname = \"billing\"\n# key = \"(hidden)\""),
            "{text}"
        );
        assert!(text.contains("lobby = \"rwp\""), "{text}");
        assert!(!text.contains("canary"), "{text}");
        assert!(
            text.contains("redis://user:(hidden)@localhost:6379/0"),
            "{text}"
        );
    }

    #[test]
    fn webhooks_stand_there_without_their_secrets() {
        let table = "[[webhook]]\nurl = \"https://h.example/services/canary?token=canary\"\n\
                     secret = \"canary-canary-canary-canary-canary\"\nevents = [\"joined\"]\n";
        let loaded = loaded(table);
        let text = print_effective(&loaded);
        assert!(!text.contains("canary"), "{text}");
        assert!(
            text.contains("[[webhook]]\nurl = \"https://h.example/(hidden)\""),
            "{text}"
        );
        assert!(text.contains("\n# secret = \"(hidden)\"\n"), "{text}");
        assert!(text.contains("timeout = \"10s\""), "{text}");
        assert!(!format!("{:?}", loaded.settings).contains("canary-canary"));
    }

    #[test]
    fn a_list_of_secrets_is_hidden() {
        let list = "[auth]\nsecret = [\"canary-canary-canary-canary-canary\", \
                    \"canary-2-canary-2-canary-2-canary-2\"]";
        let text = print_effective(&loaded(list));
        assert!(!text.contains("canary"), "{text}");
        assert!(text.contains("# secret = \"(hidden)\""), "{text}");
    }

    #[test]
    fn a_webhook_shows_its_host_only() {
        for (url, shown) in [
            ("https://h.example", "https://h.example"),
            ("https://h.example/", "https://h.example/"),
            (
                "https://h.example:8443/T0/B0/canary",
                "https://h.example:8443/(hidden)",
            ),
            ("https://h.example?canary", "https://h.example/(hidden)"),
            (
                "https://u:canary@h.example/x",
                "https://u:(hidden)@h.example/(hidden)",
            ),
            ("canary", "(hidden)"),
        ] {
            assert_eq!(hide_path(url), shown);
        }
    }

    #[test]
    fn only_passwords_are_taken_out_of_urls() {
        for (url, shown) in [
            ("redis://localhost:6379", "redis://localhost:6379"),
            ("redis://:p@h", "redis://:(hidden)@h"),
            ("redis://u:p@ss@h:1", "redis://u:(hidden)@h:1"),
            ("redis://u:p/w@h", "redis://u:(hidden)@h"),
            ("redis://u@h", "redis://u@h"),
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        ] {
            assert_eq!(hide_password(url), shown);
        }
        for (url, shown) in [
            (
                "postgres://u@h/db?sslmode=require",
                "postgres://u@h/db?sslmode=require",
            ),
            (
                "postgres://u@h/db?password=p&sslmode=require",
                "postgres://u@h/db?(hidden)&sslmode=require",
            ),
            ("https://h/keys?p", "https://h/keys?(hidden)"),
        ] {
            assert_eq!(hide_query(url, &SHOWN_IN_URLS), shown);
        }
    }
}
