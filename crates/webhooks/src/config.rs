//! Tables `[[webhook]]`: who is told of what.

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

/// The most webhooks of a cluster: each costs its own note with every message that it wants.
const MOST: usize = 16;
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);
const SHORTEST_TRIAL: Duration = Duration::from_secs(1);

/// Why webhooks cannot be as they are set.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// One of them.
    #[error("[[webhook]] {name}: {why}")]
    Bad {
        /// Which one: its name, its host, or its place.
        name: String,
        /// The form that is expected.
        why: String,
    },
    /// All together.
    #[error("[[webhook]]: {0}")]
    Together(String),
    /// Nobody could be trusted.
    #[error(
        "[[webhook]]: https needs the system's CA certificates (package ca-certificates, or a file \
         named by SSL_CERT_FILE): {0}"
    )]
    NoCertificates(#[from] io::Error),
}

/// A table `[[webhook]]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// The name of its queue, in logs and metrics; empty: the host of its URL.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where it is told.
    pub url: String,
    /// The events that it receives.
    #[serde(default = "all_events", deserialize_with = "read_events")]
    pub events: Vec<WebhookEvent>,
    /// Of which rooms: ids, or beginnings of them and `*`; empty: of all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rooms: Vec<String>,
    /// Signs what is told.
    pub secret: Secret,
    /// How long one request may take.
    #[serde(default = "default_timeout", with = "humantime_serde")]
    pub timeout: Duration,
    /// How long one event is tried before it is given up.
    #[serde(default = "default_give_up_after", with = "humantime_serde")]
    pub give_up_after: Duration,
}

fn all_events() -> Vec<WebhookEvent> {
    WebhookEvent::ALL.to_vec()
}

/// The settings' reader does not say which words there are.
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

    /// The name.
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
        WebhookError::Bad {
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
        if self.give_up_after < SHORTEST_TRIAL {
            return Err(self.bad("give_up_after: a second or more"));
        }
        Ok(())
    }
}

/// Checks what types do not, of each and of all together.
///
/// # Errors
/// The form that is expected.
pub fn check(webhooks: &[Webhook]) -> Result<(), WebhookError> {
    webhooks.iter().try_for_each(Webhook::check)?;
    if webhooks.len() > MOST {
        let why = format!("at most {MOST}, there are {}", webhooks.len());
        return Err(WebhookError::Together(why));
    }
    let mut names = HashSet::new();
    match webhooks
        .iter()
        .find(|webhook| !names.insert(webhook.name()))
    {
        None => Ok(()),
        Some(twice) => Err(WebhookError::Together(format!(
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
    fn what_cannot_work_is_named() {
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
    fn names_are_the_hosts_and_differ() {
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
