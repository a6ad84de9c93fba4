//! The kinds of values, and the one form in which each is printed and read again.

use bytesize::ByteSize;
use config::{Value, ValueKind};
use serde_json::Value as Json;

/// The kind of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    List,
    /// One secret or several.
    Secrets,
    Number,
    Flag,
    Duration,
    Size,
}

impl Kind {
    /// The kind of a setting.
    pub(super) fn of_setting(key: &str, default: &Json) -> Self {
        match key {
            "auth.secret" => Self::Secrets,
            _ => Self::of(default),
        }
    }

    /// The default value shows the kind: durations and sizes stand as text that only they can be.
    pub(super) fn of(default: &Json) -> Self {
        match default {
            Json::Array(_) => Self::List,
            Json::Number(_) => Self::Number,
            Json::Bool(_) => Self::Flag,
            Json::String(text) if humantime::parse_duration(text).is_ok() => Self::Duration,
            Json::String(text) if text.parse::<ByteSize>().is_ok() => Self::Size,
            Json::String(_) | Json::Null | Json::Object(_) => Self::Text,
        }
    }

    pub(super) fn expected(self) -> &'static str {
        match self {
            Self::Text => "text in quotes",
            Self::List => "a list of texts, in the environment separated by commas",
            Self::Secrets => {
                "a secret in quotes, or a list of secrets, in the environment separated by commas"
            }
            Self::Number => "a whole number, 0 or more",
            Self::Flag => "true or false",
            Self::Duration => "a duration such as \"20s\" or \"1h 30m\"",
            Self::Size => "a size such as \"64KiB\", or a number of bytes",
        }
    }

    /// The value in its one printed form; `None` when it is of another kind.
    pub(super) fn read(self, value: &ValueKind) -> Option<Json> {
        let text = match value {
            ValueKind::String(text) => Some(text.as_str()),
            _ => None,
        };
        match self {
            Self::Text => text.map(Json::from),
            Self::List => match value {
                ValueKind::Array(items) => items.iter().map(list_item).collect(),
                _ => Some(
                    text?
                        .split(',')
                        .map(str::trim)
                        .filter(|item| !item.is_empty())
                        .collect(),
                ),
            },
            Self::Secrets => match value {
                ValueKind::Array(items) => items.iter().map(list_item).collect(),
                // A single one stays as it is, the space at its end too.
                _ => Some(match text?.split_once([',', '\n']) {
                    None => text?.into(),
                    Some(_) => text?.split([',', '\n']).map(str::trim).collect(),
                }),
            },
            Self::Number => whole_number(value).map(Json::from),
            Self::Flag => match value {
                ValueKind::Boolean(flag) => Some(Json::from(*flag)),
                _ => text?.parse::<bool>().ok().map(Json::from),
            },
            Self::Duration => {
                let duration = humantime::parse_duration(text?).ok()?;
                Some(humantime::format_duration(duration).to_string().into())
            }
            Self::Size => {
                let size = match whole_number(value) {
                    Some(bytes) => ByteSize(bytes),
                    None => text?.parse().ok()?,
                };
                Some(print_size(size))
            }
        }
    }
}

fn list_item(item: &Value) -> Option<Json> {
    match &item.kind {
        ValueKind::String(text) => Some(text.as_str().into()),
        _ => None,
    }
}

fn whole_number(value: &ValueKind) -> Option<u64> {
    match value {
        ValueKind::I64(number) => u64::try_from(*number).ok(),
        ValueKind::U64(number) => Some(*number),
        ValueKind::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// In the largest unit that loses nothing.
fn print_size(size: ByteSize) -> Json {
    let bytes = size.as_u64();
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units
        .iter()
        .find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit))
    {
        Some((unit, name)) => format!("{}{name}", bytes / unit).into(),
        None => bytes.into(),
    }
}

/// A default in the form in which values are printed.
pub(super) fn printed_default(default: &Json) -> Json {
    match (Kind::of(default), default) {
        (Kind::Size, Json::String(text)) => {
            text.parse().map_or_else(|_| default.clone(), print_size)
        }
        _ => default.clone(),
    }
}
