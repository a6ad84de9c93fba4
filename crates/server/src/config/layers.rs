//! Where settings come from: defaults, then a file, then the environment, then flags. The later
//! wins, and what nobody knows is refused by name.

use std::collections::BTreeMap;
use std::path::PathBuf;

use config::{Config, File, FileFormat, Map, Source, Value, ValueKind};
use serde_json::Value as Json;

use super::Settings;
use super::env::from_env;
use super::error::ConfigError;
use super::hints::nearest;
use super::kind::{Kind, printed_default};
use super::known::Known;
use super::origin::{DEFAULT_ORIGIN, origin_of};
use super::tables::Tables;

/// The file that is read when no other is named.
const DEFAULT_FILE: &str = "hubbub.toml";
const ARCHIVE_URL: &str = "archive.url";
const REDIS_URL: &str = "redis.url";
/// In the folder where the node was started.
const EMBEDDED_ARCHIVE: &str = "sqlite://hubbub.db";

/// Settings that never stand in an error or on a screen.
const SECRETS: [&str; 3] = ["auth.secret", "auth.private_key", "ops.token"];
/// Settings that may hold a password: in an error they do not stand as they were written.
const URLS: [&str; 2] = ["redis.url", "archive.url"];

/// Which file to read.
#[derive(Debug, Clone, Default)]
pub enum SettingsFile {
    /// `hubbub.toml` in the current folder, where there is one.
    #[default]
    Usual,
    /// This one; it must exist.
    Named(PathBuf),
    /// None.
    Nothing,
}

/// The sources of settings.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file.
    pub file: SettingsFile,
    /// The process's environment, or a part of it.
    pub env: Vec<(String, String)>,
    /// Key, value, and the flag that set it.
    pub flags: Vec<(String, String, String)>,
}

/// One effective setting.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// `section.name`.
    pub key: String,
    /// In the form that is printed and read again.
    pub value: Json,
    /// `default`, `file …`, `env …` or `flag …`.
    pub origin: String,
}

/// The settings and where each came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings that a node starts with.
    pub settings: Settings,
    /// The same, one by one, in the order of the sections.
    pub list: Vec<Setting>,
}

/// Values that come one by one, each with its own origin.
#[derive(Debug, Clone)]
struct Single(Vec<(String, Value)>);

impl Source for Single {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.iter().cloned().collect())
    }
}

/// Reads all sources and checks the result.
///
/// # Errors
/// [`ConfigError`] names the setting, what is wrong, and where it came from.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let known = Known::new();
    let (given, tables) = given(sources, &known)?;
    let mut effective = Json::Object(serde_json::Map::new());
    let mut list = Vec::new();
    refuse_empty_redis(&given)?;
    for (key, default) in &known.0 {
        let setting = match given.get(key) {
            Some(value) => read_setting(key, default, value)?,
            None => Setting {
                key: key.clone(),
                value: printed_default(default),
                origin: DEFAULT_ORIGIN.to_owned(),
            },
        };
        put(&mut effective, key, setting.value.clone());
        list.push(setting);
    }
    let mut settings: Settings =
        serde_json::from_value(effective).expect("every setting has been read by itself");
    settings.rooms = tables.rooms;
    settings.api_keys = tables.api_keys;
    settings.webhooks = tables.webhooks;
    choose_archive(&mut settings, &mut list);
    settings.check()?;
    Ok(Loaded { settings, list })
}

/// Where nobody says anything, a node that stands alone keeps its history in a file.
fn choose_archive(settings: &mut Settings, list: &mut [Setting]) {
    let setting = list.iter_mut().find(|setting| setting.key == ARCHIVE_URL);
    let setting = setting.expect("the archive has an url");
    if setting.origin == DEFAULT_ORIGIN && settings.redis.url.is_empty() {
        settings.archive.url = EMBEDDED_ARCHIVE.to_owned();
        setting.value = EMBEDDED_ARCHIVE.into();
        setting.origin = "default without redis.url".to_owned();
    }
}

/// Refuses an empty `redis.url` in a variable or a flag, such as `HUBBUB__REDIS__URL=$REDIS` where nobody has
/// set `REDIS`. In a settings file, as `hubbub config` prints it, it is the default.
fn refuse_empty_redis(given: &BTreeMap<String, Value>) -> Result<(), ConfigError> {
    let Some(value) = given.get(REDIS_URL) else {
        return Ok(());
    };
    let origin = value.origin().unwrap_or_default();
    let is_typed = ["env ", "flag ", "file "]
        .iter()
        .any(|kind| origin.starts_with(kind));
    match &value.kind {
        ValueKind::String(url) if is_typed && url.trim().is_empty() => {
            Err(ConfigError::EmptyRedisUrl {
                origin: origin.to_owned(),
            })
        }
        _ => Ok(()),
    }
}

/// Sets one key in a tree of sections.
fn put(tree: &mut Json, key: &str, value: Json) {
    let (section, name) = key.split_once('.').expect("known keys have a section");
    tree[section][name] = value;
}

/// Reads one value and tries it in otherwise default settings: so that an error is its own.
fn read_setting(key: &str, default: &Json, value: &Value) -> Result<Setting, ConfigError> {
    let kind = Kind::of_setting(key, default);
    let origin = value.origin().unwrap_or(DEFAULT_ORIGIN).to_owned();
    let bad = |problem: String| ConfigError::BadValue {
        key: key.to_owned(),
        value: shown(key, &value.kind),
        origin: origin.clone(),
        problem,
    };
    let json = kind
        .read(&value.kind)
        .ok_or_else(|| bad(format!("expected {}", kind.expected())))?;
    let mut tree = Json::Object(serde_json::Map::new());
    put(&mut tree, key, json.clone());
    match serde_json::from_value::<Settings>(tree) {
        Ok(_) => Ok(Setting {
            key: key.to_owned(),
            value: json,
            origin,
        }),
        Err(error) => Err(bad(error.to_string())),
    }
}

fn shown(key: &str, value: &ValueKind) -> String {
    match value {
        _ if SECRETS.contains(&key) || URLS.contains(&key) => "(hidden)".to_owned(),
        ValueKind::String(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

/// Whether a setting is shown to nobody.
pub(super) fn is_secret(key: &str) -> bool {
    SECRETS.contains(&key)
}

/// The values of all sources, a later one over an earlier one. Every key is known.
fn given(
    sources: &Sources,
    known: &Known,
) -> Result<(BTreeMap<String, Value>, Tables), ConfigError> {
    let mut builder = Config::builder();
    let path = match &sources.file {
        SettingsFile::Usual => Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.is_file()),
        SettingsFile::Named(path) if path.is_file() => Some(path.clone()),
        SettingsFile::Named(path) => return Err(ConfigError::NoFile(path.clone())),
        SettingsFile::Nothing => None,
    };
    if let Some(path) = &path {
        builder = builder.add_source(File::from(path.as_path()).format(FileFormat::Toml));
    }
    let mut merged = builder
        .add_source(Single(from_env(&sources.env, known)?))
        .add_source(Single(from_flags(&sources.flags)))
        .build()
        .and_then(|config| config.collect())
        .map_err(|source| ConfigError::Unreadable {
            path: path.unwrap_or_default(),
            why: without_its_line(&source),
        })?;
    let tables = Tables::take(&mut merged)?;
    let mut given = BTreeMap::new();
    flatten("", merged, known, &mut given)?;
    Ok((given, tables))
}

/// The fault and its line, without the line's text, which TOML's own error shows.
fn without_its_line(error: &config::ConfigError) -> String {
    if let config::ConfigError::FileParse { cause, .. } = error
        && let Some(broken) = cause.downcast_ref::<toml::de::Error>()
    {
        let shown = broken.to_string();
        let place = shown.lines().next().unwrap_or_default();
        return format!("{place}: {}", broken.message());
    }
    error.to_string()
}

fn from_flags(flags: &[(String, String, String)]) -> Vec<(String, Value)> {
    let value =
        |value: &String, flag: &String| Value::new(Some(&format!("flag {flag}")), value.clone());
    flags
        .iter()
        .map(|(key, text, flag)| (key.clone(), value(text, flag)))
        .collect()
}

/// Walks down the sections to the known keys.
fn flatten(
    path: &str,
    table: Map<String, Value>,
    known: &Known,
    given: &mut BTreeMap<String, Value>,
) -> Result<(), ConfigError> {
    for (name, value) in table {
        let key = if path.is_empty() {
            name
        } else {
            format!("{path}.{name}")
        };
        if known.has(&key) {
            given.insert(key, value);
            continue;
        }
        let origin = origin_of(&value);
        match value.kind {
            ValueKind::Table(inner) if !inner.is_empty() => flatten(&key, inner, known, given)?,
            _ => {
                let nearest = nearest(&key, known);
                return Err(ConfigError::UnknownKey {
                    key,
                    origin,
                    nearest,
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use bytesize::ByteSize;

    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn from_text(
        toml: &str,
        env_pairs: &[(&str, &str)],
        flags: &[(&str, &str)],
    ) -> Result<Loaded, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.toml");
        fs::write(&path, toml).unwrap();
        let flag = |(key, value): &(&str, &str)| {
            ((*key).to_owned(), (*value).to_owned(), "--set".to_owned())
        };
        load(&Sources {
            file: SettingsFile::Named(path),
            env: env(env_pairs),
            flags: flags.iter().map(flag).collect(),
        })
    }

    fn refusal(toml: &str, env_pairs: &[(&str, &str)]) -> String {
        from_text(toml, env_pairs, &[]).unwrap_err().to_string()
    }

    fn origin<'a>(loaded: &'a Loaded, key: &str) -> &'a str {
        &loaded
            .list
            .iter()
            .find(|setting| setting.key == key)
            .unwrap()
            .origin
    }

    #[test]
    fn the_later_source_wins_and_is_remembered() {
        let toml = "[http]\nbind = \"127.0.0.1:1\"\n[limits]\nheaders = 7\nframe_bytes = \"1MiB\"\n\
                    [drain]\nspread = \"3s\"";
        let env = [
            ("HUBBUB__HTTP__BIND", "127.0.0.1:2"),
            ("HUBBUB__LIMITS__HEADERS", "8"),
            ("PATH", "/bin"),
        ];
        let loaded = from_text(toml, &env, &[("http.bind", "127.0.0.1:3")]).unwrap();
        assert_eq!(loaded.settings.http.bind, "127.0.0.1:3");
        assert_eq!(loaded.settings.limits.headers, 8);
        assert_eq!(loaded.settings.limits.frame_bytes, ByteSize::mib(1));
        assert_eq!(loaded.settings.drain.spread.as_secs(), 3);
        assert_eq!(origin(&loaded, "http.bind"), "flag --set");
        assert_eq!(
            origin(&loaded, "limits.headers"),
            "env HUBBUB__LIMITS__HEADERS"
        );
        assert!(origin(&loaded, "limits.frame_bytes").ends_with("test.toml"));
        assert_eq!(origin(&loaded, "node.id"), "default");
    }

    #[test]
    fn the_environment_knows_lists_durations_sizes_and_text_that_looks_like_a_number() {
        let loaded = from_text(
            "",
            &[
                (
                    "HUBBUB__HTTP__ALLOWED_ORIGINS",
                    "https://a.example, https://b.example",
                ),
                ("HUBBUB__HTTP__TRUSTED_PROXIES", "10.0.0.0/8,fd00::/8"),
                ("HUBBUB__LIMITS__BODY_BYTES", "1500"),
                ("HUBBUB__LIMITS__OUTBOX_BYTES", "2MiB"),
                ("HUBBUB__DRAIN__READY_DELAY", "250ms"),
                ("HUBBUB__AUTH__SECRET", "00000000000000000000000000000001"),
            ],
            &[],
        );
        let settings = loaded.unwrap().settings;
        assert_eq!(
            settings.http.allowed_origins,
            ["https://a.example", "https://b.example"]
        );
        assert_eq!(settings.http.trusted_proxies.len(), 2);
        assert_eq!(settings.limits.body_bytes.as_u64(), 1500);
        assert_eq!(settings.limits.outbox_bytes, ByteSize::mib(2));
        assert_eq!(settings.drain.ready_delay.as_millis(), 250);
        assert!(
            settings
                .auth
                .secret
                .contains("00000000000000000000000000000001")
        );
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_one_and_its_origin() {
        let message = refusal("[http]\nbnid = \"x\"", &[]);
        assert!(
            message.contains("http.bnid") && message.contains("http.bind"),
            "{message}"
        );
        assert!(message.contains("test.toml"), "{message}");
        let message = refusal("", &[("HUBBUB__LIMITS__FRAMEBYTES", "1")]);
        assert!(message.contains("limits.frame_bytes"), "{message}");
        assert!(
            message.contains("env HUBBUB__LIMITS__FRAMEBYTES"),
            "{message}"
        );
        assert!(refusal("bind = \"x\"", &[]).contains("http.bind"));
        assert!(refusal("[htp]\nbind = \"x\"", &[]).contains("http.bind"));
        assert!(refusal("[limit]\n", &[]).contains("unknown setting limit"));
        assert!(refusal("", &[("HUBBUB__REDIS_URL", "x")]).contains("redis.url"));
        assert!(refusal("[http.bind]\nx = 1", &[]).starts_with("http.bind"));
    }

    #[test]
    fn a_bad_value_is_refused_with_key_value_origin_and_what_it_should_be() {
        let message = refusal("", &[("HUBBUB__DRAIN__SPREAD", "soon")]);
        for part in [
            "drain.spread",
            "\"soon\"",
            "env HUBBUB__DRAIN__SPREAD",
            "20s",
        ] {
            assert!(message.contains(part), "{message}");
        }
        assert!(refusal("[limits]\nframe_bytes = \"much\"", &[]).contains("64KiB"));
        assert!(refusal("[limits]\nheaders = -1", &[]).contains("whole number"));
        assert!(refusal("[limits]\nheaders = 1.5", &[]).contains("whole number"));
        assert!(refusal("[limits]\nrooms_per_connection = 99999999999", &[]).contains("u32"));
        assert!(refusal("[drain]\nspread = 20", &[]).contains("20s"));
        assert!(refusal("[auth]\nmode = \"open\"", &[]).contains("`guest` or `jwt`"));
        assert!(
            refusal("[http]\ntrusted_proxies = [\"10.0.0.1/99\"]", &[]).contains("10.0.0.1/99")
        );
        assert!(refusal("[http]\nallowed_origins = [1]", &[]).contains("list"));
        assert!(!refusal("[auth]\nsecret = 12345678901234567", &[]).contains("12345678901234567"));
        assert!(refusal("[http\n", &[]).contains("test.toml"));
    }

    #[test]
    fn a_broken_file_is_shown_without_its_lines() {
        for line in ["secret = \"canary", "secret = canary", "secret canary = 1"] {
            let message = refusal(&format!("[auth]\n{line}\n"), &[]);
            assert!(
                message.contains("line 2") && !message.contains("canary"),
                "{message}"
            );
        }
    }

    #[test]
    fn webhooks_are_tables_that_are_checked() {
        let secret = "secret = \"canary-canary-canary-canary-canary\"";
        let refused = |lines: &str| {
            let refused = refusal(&format!("[[webhook]]\nurl = \"http://h/x\"\n{lines}"), &[]);
            assert!(!refused.contains("canary"), "{refused}");
            refused
        };
        assert!(refused("").contains("[[webhook]], table 1"));
        assert!(refused("").contains("secret"));
        assert!(refused("secret = \"canary\"").contains("32 bytes"));
        assert!(refused("secret = 12345678901234567890123456789012345").contains("test.toml"));
        let message = refused(&format!("{secret}\nevents = [\"messages\"]"));
        assert!(
            message.contains("\"messages\" is none of message, edited")
                && message.contains("test.toml"),
            "{message}"
        );
        assert!(refused(&format!("{secret}\nevent = []")).contains("`events`"));
        assert!(refused(&format!("{secret}\ntimeout = \"2m\"")).contains("at most 60s"));
        let two = format!("[[webhook]]\nurl = \"http://h/x\"\n{secret}\n");
        assert!(refusal(&(two.clone() + &two), &[]).contains("give each a name"));
        let loaded = from_text(&two, &[], &[]).unwrap();
        assert_eq!(loaded.settings.webhooks[0].events.len(), 6);
    }

    #[test]
    fn tables_are_refused_by_name_and_number() {
        let first = "[[room]]\nmatch = \"a\"\n";
        let told = refusal(&format!("{first}[[room]]\nmacth = \"b\"\n"), &[]);
        assert!(told.starts_with("[[room]], table 2 ("), "{told}");
        assert!(told.contains("test.toml): unknown field `macth`"), "{told}");
        assert!(!told.contains("another one"), "{told}");
        let told = refusal(&format!("{first}keep = \"soon\"\n"), &[]);
        assert!(told.starts_with("[[room]], table 1 ("), "{told}");
        let told = refusal(&format!("{first}keep = \"1s\"\n"), &[]);
        assert!(told.contains("expected keep: a minute or more"), "{told}");
        let told = refusal("[room]\nmatch = \"a\"\n", &[]);
        assert!(told.contains("[[room]] with two brackets"), "{told}");
        for (written, meant) in [
            ("[[rooms]]\nmatch = \"a\"", "[[room]]"),
            ("[rooms]\nmatch = \"a\"", "[[room]]"),
            ("[[webhooks]]\nurl = \"a\"", "[[webhook]]"),
        ] {
            let told = refusal(written, &[]);
            assert!(told.contains(&format!("did you mean {meant}?")), "{told}");
        }
    }

    #[test]
    fn an_empty_redis_url_is_refused_where_somebody_has_set_it() {
        let told = refusal("", &[("HUBBUB__REDIS__URL", "")]);
        assert!(
            told.starts_with("redis.url is empty (env HUBBUB__REDIS__URL)"),
            "{told}"
        );
        assert!(told.contains("remove it"), "{told}");
        let flag = from_text("", &[], &[("redis.url", " ")]).unwrap_err();
        assert!(flag.to_string().contains("(flag --set)"), "{flag}");
        // As `hubbub config > hubbub.toml` writes it.
        from_text("[redis]\nurl = \"\"", &[], &[]).unwrap();
    }

    #[test]
    fn trusted_proxies_may_be_single_addresses() {
        let proxies = "10.0.0.1, fd00::1, 10.1.0.0/16";
        let loaded = from_text("", &[("HUBBUB__HTTP__TRUSTED_PROXIES", proxies)], &[]).unwrap();
        let read: Vec<_> = loaded.settings.http.trusted_proxies;
        let read: Vec<_> = read.iter().map(ToString::to_string).collect();
        assert_eq!(read, ["10.0.0.1/32", "fd00::1/128", "10.1.0.0/16"]);
        let told = refusal(
            "",
            &[("HUBBUB__HTTP__TRUSTED_PROXIES", "10.0.0.1, haproxy")],
        );
        assert!(told.starts_with("http.trusted_proxies"), "{told}");
        assert!(
            told.contains("\"haproxy\" is neither an address nor a network"),
            "{told}"
        );
    }

    #[test]
    fn a_password_does_not_stand_in_an_error() {
        for bad in [
            "[redis]\nurl = [\"redis://:hunter2@b:2\"]",
            "[auth]\nsecret = [\"hunter2\"]",
        ] {
            let refused = refusal(bad, &[]);
            assert!(!refused.contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn a_missing_file_matters_only_when_it_was_named() {
        let missing = Sources {
            file: SettingsFile::Named("/nowhere/hubbub.toml".into()),
            ..Sources::default()
        };
        assert!(matches!(load(&missing), Err(ConfigError::NoFile(_))));
        load(&Sources {
            file: SettingsFile::Nothing,
            ..Sources::default()
        })
        .unwrap();
    }

    #[test]
    fn values_that_are_right_alone_are_checked_together() {
        assert!(refusal("[drain]\ndeadline = \"1s\"", &[]).contains("drain.ready_delay"));
    }
}
