//! Mistakes that would otherwise pass silently or be told in words that do not help: each is refused with
//! what to write instead.

use super::error::{CheckError, ConfigError};
use super::known::Known;
use super::tables;
use super::variable::{PREFIX, variable_of};

/// Names of tables differ from what was written by at most so many letters, to be suggested.
const NEAR: usize = 2;

/// Refuses a variable that is no setting and looks like one, such as `HUBBUB_AUTH_SECRET` with one underscore.
/// Nobody would notice that it is ignored.
pub(super) fn check_variable(name: &str, value: &str, known: &Known) -> Result<(), ConfigError> {
    let upper = name.to_ascii_uppercase();
    if name.starts_with(PREFIX) || !upper.starts_with("HUBBUB_") || value.is_empty() {
        return Ok(());
    }
    let (bare, suffix) = match upper.strip_suffix("_FILE") {
        Some(bare) => (bare, "_FILE"),
        None => (upper.as_str(), ""),
    };
    let written = letters(bare.trim_start_matches("HUBBUB"));
    let meant = known.0.iter().find(|(key, _)| {
        let key = letters(key);
        key == written || strsim::damerau_levenshtein(&key, &written) == 1
    });
    match meant {
        None => Ok(()),
        Some((key, _)) => Err(ConfigError::NearMiss {
            name: name.to_owned(),
            meant: variable_of(key) + suffix,
        }),
    }
}

/// A name without what separates its parts.
fn letters(name: &str) -> String {
    let letters = name.chars().filter(|letter| !matches!(letter, '_' | '.'));
    letters.flat_map(char::to_lowercase).collect()
}

/// Returns what an unknown setting may have meant: a table that is repeated, or the nearest key.
pub(super) fn nearest(key: &str, known: &Known) -> String {
    let section = key.split('.').next().unwrap_or_default();
    let distance = |other: &str| strsim::damerau_levenshtein(section, other);
    let table = tables::NAMES.into_iter().min_by_key(|name| distance(name));
    let is_section = |(key, _): &(String, _)| key.split('.').next() == Some(section);
    match table {
        Some(table) if distance(table) <= NEAR && !known.0.iter().any(is_section) => {
            format!("[[{table}]]")
        }
        _ => known.nearest(key),
    }
}

/// Refuses a URL whose user name or password has a character that ends it there, such as `#`. Parsers take
/// what comes after it for something else, and complain about that.
pub(super) fn check_password(key: &'static str, url: &str) -> Result<(), CheckError> {
    let Some((_, rest)) = url.split_once("://") else {
        return Ok(());
    };
    let Some(end) = rest.find(['/', '?', '#']) else {
        return Ok(());
    };
    let (authority, after) = rest.split_at(end);
    // A host may be followed by a port, which is a number.
    let port = authority.rsplit_once(':').map(|(_, port)| port);
    let is_host = port.is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    let special = after.chars().next().unwrap_or_default();
    let is_cut = after.contains('@') && !authority.contains('@');
    if is_cut && (!is_host || special == '#') {
        let encoded = format!("%{:02X}", u32::from(special));
        return Err(CheckError::SpecialCharacter {
            key,
            special,
            encoded,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_of_variables_are_refused_with_the_right_name() {
        let known = Known::new();
        for (name, right) in [
            ("HUBBUB_AUTH_SECRET", "HUBBUB__AUTH__SECRET"),
            ("HUBBUB_AUTH__SECRET", "HUBBUB__AUTH__SECRET"),
            ("HUBBUB_AUTHSECRET", "HUBBUB__AUTH__SECRET"),
            ("hubbub__auth__secret", "HUBBUB__AUTH__SECRET"),
            ("HUBBUB_AUTH_SECRET_FILE", "HUBBUB__AUTH__SECRET_FILE"),
            ("HUBBUB_REDIS_URL", "HUBBUB__REDIS__URL"),
            ("HUBBUB_REDIS_ULR", "HUBBUB__REDIS__URL"),
            (
                "HUBBUB_HTTP_TRUSTED_PROXIES",
                "HUBBUB__HTTP__TRUSTED_PROXIES",
            ),
        ] {
            let refused = check_variable(name, "x", &known).unwrap_err().to_string();
            assert!(
                refused.contains(name) && refused.contains(right),
                "{refused}"
            );
        }
        // Those of Compose and Kubernetes, of tests, and those that say nothing.
        for name in [
            "HUBBUB__AUTH__SECRET",
            "HUBBUB_TAG",
            "HUBBUB_ENV_FILE",
            "HUBBUB_FAILPOINTS",
            "HUBBUB_PORT",
            "HUBBUB_PORT_3000_TCP_ADDR",
            "HUBBUB_REDIS_PORT",
            "HUBBUB_REDIS_SERVICE_HOST",
            "HUBBUB_REDIS_PASSWORD",
            "HUBBUB_PUBLIC_URLS",
            "PATH",
        ] {
            check_variable(name, "x", &known).unwrap_or_else(|error| panic!("{error}"));
        }
        check_variable("HUBBUB_AUTH_SECRET", "", &known).unwrap();
    }

    #[test]
    fn tables_are_suggested_where_their_name_is_near() {
        let known = Known::new();
        for (key, meant) in [
            ("rooms", "[[room]]"),
            ("rooms.match", "[[room]]"),
            ("web_hook", "[[webhook]]"),
            ("api_keys", "[[api_key]]"),
            ("htp.bind", "http.bind"),
            ("http.rooms", "limits.rooms_per_connection"),
        ] {
            let nearest = nearest(key, &known);
            let is_right = nearest == meant || key == "http.rooms" && !nearest.contains("[[");
            assert!(is_right, "{key}: {nearest}");
        }
    }

    #[test]
    fn special_characters_in_passwords_are_named_with_their_code() {
        for (url, code) in [
            ("redis://:pa#ss@localhost:6379", "%23"),
            ("redis://user:pa/ss@localhost", "%2F"),
            ("rediss://user:pa?ss@localhost/1", "%3F"),
            ("postgres://hubbub:#@db/hubbub", "%23"),
            ("redis://12#34@localhost", "%23"),
        ] {
            let refused = check_password("redis.url", url).unwrap_err().to_string();
            assert!(
                refused.contains(code) && refused.starts_with("redis.url"),
                "{refused}"
            );
            assert!(!refused.contains("ss@"), "{refused}");
        }
        for url in [
            "redis://user:pa%23ss@localhost:6379/1",
            "redis://user:p@ss@localhost:6379/1",
            "rediss://localhost/#insecure",
            "postgres://db:5432/hubbub?user=a@b",
            "postgres://hubbub@db/hubbub?sslrootcert=/a/b.pem",
            "sqlite:///var/lib/a@b#c.db",
            "redis://[::1]:6379/0",
            "",
        ] {
            check_password("redis.url", url).unwrap_or_else(|error| panic!("{url}: {error}"));
        }
    }
}
