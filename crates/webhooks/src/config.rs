//! The settings of webhooks: the tables `[[webhook]]`.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use aws_lc_rs::hmac;
use hubbub_broker::{WebhookEvent, WebhookQueue};
use hubbub_protocol::RoomId;
use hyper::Uri;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::secret::Secret;

/// The most webhooks of a cluster. Each costs a note in the broker with every message that it wants.
const MOST: usize = 16;
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);
const SHORTEST_GIVE_UP_AFTER: Duration = Duration::from_secs(1);

/// The reason why the webhooks' settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// A setting of one webhook is invalid.
    #[error("[[webhook]] {name}: {why}")]
    Invalid {
        /// The webhook's name, or the host of its URL.
        name: String,
        /// The form that is expected.
        why: String,
    },
    /// The webhooks do not fit together.
    #[error("[[webhook]]: {0}")]
    Conflict(String),
    /// The system has no CA certificates, so no `https` endpoint could be trusted.
    #[error(
        "[[webhook]]: https needs the system's CA certificates (package ca-certificates, or a file \
         named by SSL_CERT_FILE): {0}"
    )]
    NoCertificates(#[from] io::Error),
}

/// The settings of one webhook: a table `[[webhook]]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// The name of its queue, in logs and metrics. If empty, the host of the URL is the name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The URL that events are posted to.
    pub url: String,
    /// The events that it receives.
    #[serde(default = "all_events", deserialize_with = "read_events")]
    pub events: Vec<WebhookEvent>,
    /// The rooms whose events it receives: IDs, or prefixes followed by `*`. If empty, all rooms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rooms: Vec<String>,
    /// The secret that signs the requests.
    pub secret: Secret,
    /// The time that one request may take.
    #[serde(default = "default_timeout", with = "humantime_serde")]
    pub timeout: Duration,
    /// The time for which one event is retried before it is given up.
    #[serde(default = "default_give_up_after", with = "humantime_serde")]
    pub give_up_after: Duration,
}

fn all_events() -> Vec<WebhookEvent> {
    WebhookEvent::ALL.to_vec()
}

/// Reads the names of events. The error lists the known names, which serde's own error does not.
fn read_events<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<WebhookEvent>, D::Error> {
    let words = Vec::<String>::deserialize(input)?;
    let read = |word: &String| {
        let mut all = WebhookEvent::ALL.into_iter();
        all.find(|event| event.as_str() == word).ok_or_else(|| {
            let known = WebhookEvent::ALL.map(WebhookEvent::as_str).join(", ");
            D::Error::custom(format!("events: {word:?} is none of {known}"))
        })
    };
    words.iter().map(read).collect()
}

fn default_timeout() -> Duration {
    Duration::from_secs(10)
}

fn default_give_up_after() -> Duration {
    Duration::from_secs(60 * 60)
}

impl Webhook {
    /// The part that the broker has to know.
    #[must_use]
    pub fn queue(&self) -> WebhookQueue {
        WebhookQueue {
            name: self.name(),
            events: self.events.clone(),
            rooms: self.rooms.clone(),
        }
    }

    /// The webhook's name: its own, or the host of its URL.
    fn name(&self) -> String {
        if !self.name.is_empty() {
            return self.name.clone();
        }
        let uri = self.url.parse::<Uri>().ok();
        let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
        host.trim_matches(['[', ']']).to_owned()
    }

    pub(crate) fn uri(&self) -> Result<Uri, WebhookError> {
        let uri = self.url.parse::<Uri>();
        let is_fine = |uri: &Uri| {
            let scheme = uri.scheme_str();
            let authority = uri.authority().map_or("", |authority| authority.as_str());
            matches!(scheme, Some("http" | "https"))
                && uri.host().is_some_and(|host| !host.is_empty())
                && !authority.contains('@')
        };
        uri.ok().filter(is_fine).ok_or_else(|| {
            self.bad("url: expected http(s)://host[:port]/path, without a user or password in it")
        })
    }

    pub(crate) fn key(&self) -> Result<hmac::Key, WebhookError> {
        self.secret.key().map_err(|why| self.bad(why))
    }

    fn bad(&self, why: impl Into<String>) -> WebhookError {
        WebhookError::Invalid {
            name: self.name(),
            why: why.into(),
        }
    }

    fn check(&self) -> Result<(), WebhookError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-');
        self.uri()?;
        let name = self.name();
        if name.is_empty() || name.len() > 64 || !name.chars().all(is_plain) {
            return Err(self.bad("name: 1 to 64 letters, digits, _ . : -"));
        }
        if self.events.is_empty() {
            return Err(self.bad("events: name at least one, or leave them out for all"));
        }
        let is_pattern = |pattern: &&String| {
            let beginning = pattern.strip_suffix('*').unwrap_or(pattern);
            *pattern == "*" || RoomId::new(beginning).is_ok()
        };
        if let Some(room) = self.rooms.iter().find(|room| !is_pattern(room)) {
            let why = format!("rooms: {room:?} is no room id, nor the beginning of one and *");
            return Err(self.bad(why));
        }
        self.key()?;
        if self.timeout.is_zero() || self.timeout > LONGEST_TIMEOUT {
            return Err(self.bad("timeout: more than 0 and at most 60s"));
        }
        if self.give_up_after < SHORTEST_GIVE_UP_AFTER {
            return Err(self.bad("give_up_after: a second or more"));
        }
        Ok(())
    }
}

/// Checks each webhook's settings and that the webhooks fit together.
///
/// # Errors
/// A setting is invalid, there are too many webhooks, or two have one name. The error says what is
/// expected.
pub fn check(webhooks: &[Webhook]) -> Result<(), WebhookError> {
    webhooks.iter().try_for_each(Webhook::check)?;
    if webhooks.len() > MOST {
        let why = format!("at most {MOST}, there are {}", webhooks.len());
        return Err(WebhookError::Conflict(why));
    }
    let mut names = HashSet::new();
    match webhooks
        .iter()
        .find(|webhook| !names.insert(webhook.name()))
    {
        None => Ok(()),
        Some(twice) => Err(WebhookError::Conflict(format!(
            "two are called {}: give each a name",
            twice.name()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(url: &str) -> Webhook {
        Webhook {
            name: String::new(),
            url: url.to_owned(),
            events: all_events(),
            rooms: Vec::new(),
            secret: Secret::new("0123456789abcdef0123456789abcdef"),
            timeout: default_timeout(),
            give_up_after: default_give_up_after(),
        }
    }

    fn refusal(change: impl FnOnce(&mut Webhook)) -> String {
        let mut webhook = webhook("https://h.example/hook");
        change(&mut webhook);
        check(&[webhook]).unwrap_err().to_string()
    }

    #[test]
    fn the_error_names_the_invalid_setting() {
        check(&[webhook("https://h.example/hook?a=b")]).unwrap();
        check(&[webhook("http://[::1]:8080")]).unwrap();
        for url in [
            "",
            "h.example",
            "ftp://h/",
            "http://",
            "https://u:p@h/",
            "/hook",
        ] {
            let refused = refusal(|w| {
                w.name = "crm".to_owned();
                w.url = url.to_owned();
            });
            assert!(refused.starts_with("[[webhook]] crm: url:"), "{refused}");
        }
        assert!(refusal(|w| w.name = "a b".to_owned()).contains("name:"));
        assert!(refusal(|w| w.events.clear()).contains("h.example: events:"));
        assert!(refusal(|w| w.rooms = vec!["a b".to_owned()]).contains("\"a b\""));
        assert!(refusal(|w| w.timeout = Duration::ZERO).contains("timeout:"));
        assert!(refusal(|w| w.give_up_after = Duration::ZERO).contains("give_up_after:"));
        let refused = refusal(|w| w.secret = Secret::new("canary"));
        assert!(
            refused.contains("secret:") && !refused.contains("canary"),
            "{refused}"
        );
    }

    #[test]
    fn a_webhook_without_a_name_is_named_after_its_host_and_names_must_differ() {
        let both = [webhook("http://a/1"), webhook("http://a/2")];
        assert!(
            check(&both)
                .unwrap_err()
                .to_string()
                .contains("two are called a")
        );
        let many: Vec<_> = (0..17).map(|n| webhook(&format!("http://h{n}/"))).collect();
        assert!(check(&many).unwrap_err().to_string().contains("at most 16"));
    }
}
