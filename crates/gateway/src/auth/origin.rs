//! Which web pages may connect: exact match of scheme, host and port.

use std::fmt;

use axum::http::uri::Authority;

use crate::config::HttpSection;

/// An origin that no setting can mean.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// Not `scheme://host[:port]`.
    #[error("{0:?} is not of the form http(s)://host[:port]")]
    Malformed(String),
    /// `*` beside exact origins.
    #[error("\"*\" allows all origins: it must be the only entry")]
    StarAndOthers,
}

/// Scheme, host and port of a page, in lower case, the port always named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    secure: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// Reads an `Origin` header or a base URL; one slash at its end is forgiven.
    ///
    /// # Errors
    /// [`OriginError::Malformed`] for anything else, `null` included.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let malformed = || OriginError::Malformed(text.chars().take(200).collect());
        let (scheme, rest) = text.split_once("://").ok_or_else(malformed)?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(malformed()),
        };
        Self::of_host(secure, rest.strip_suffix('/').unwrap_or(rest)).ok_or_else(malformed)
    }

    /// The origin of a page that was served under this `Host` header.
    #[must_use]
    pub fn of_host(secure: bool, host: &str) -> Option<Self> {
        let authority: Authority = host.parse().ok()?;
        // A wildcard would match nothing, though it looks as if it did.
        if host.contains(['@', '*']) || authority.host().is_empty() {
            return None;
        }
        let port = match authority.as_str().strip_prefix(authority.host())? {
            "" => Self::default_port(secure),
            port => port.strip_prefix(':')?.parse().ok()?,
        };
        Some(Self {
            secure,
            host: authority.host().to_ascii_lowercase(),
            port,
        })
    }

    fn default_port(secure: bool) -> u16 {
        if secure { 443 } else { 80 }
    }

    /// The same place as a WebSocket origin, for a content security policy.
    #[must_use]
    pub fn websocket(&self) -> String {
        let http = self.to_string();
        format!(
            "ws{}",
            http.strip_prefix("http")
                .expect("an origin begins with http")
        )
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port == Self::default_port(self.secure) {
            return Ok(());
        }
        write!(f, ":{}", self.port)
    }
}

/// The origins that a node lets in.
#[derive(Debug)]
pub(crate) enum OriginPolicy {
    /// Every page; cookies are ignored.
    All,
    /// Pages that this node serves itself, and these.
    Some(Vec<Origin>),
}

impl OriginPolicy {
    pub(crate) fn new(http: &HttpSection) -> Result<Self, OriginError> {
        http.check()?;
        if http.allowed_origins.iter().any(|origin| origin == "*") {
            return Ok(Self::All);
        }
        let listed = http.allowed_origins.iter().chain(&http.public_urls);
        listed
            .map(|text| Origin::parse(text))
            .collect::<Result<_, _>>()
            .map(Self::Some)
    }

    /// Whether a page with this `Origin` header may connect to the node that it reached as `own`.
    pub(crate) fn allows(&self, header: &str, own: Option<&Origin>) -> bool {
        match (self, Origin::parse(header)) {
            (Self::All, parsed) => parsed.is_ok() || header == "null",
            (Self::Some(_), Err(_)) => false,
            (Self::Some(listed), Ok(origin)) => own == Some(&origin) || listed.contains(&origin),
        }
    }

    /// Whether a cookie may say who comes: not where any page may send it along.
    pub(crate) fn trusts_cookies(&self) -> bool {
        matches!(self, Self::Some(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allowed: &[&str]) -> OriginPolicy {
        let allowed_origins = allowed.iter().map(|&text| text.to_owned()).collect();
        OriginPolicy::new(&HttpSection {
            allowed_origins,
            ..HttpSection::default()
        })
        .unwrap()
    }

    fn own(secure: bool, host: &str) -> Option<Origin> {
        Origin::of_host(secure, host)
    }

    #[test]
    fn the_same_origin_is_allowed_in_every_spelling() {
        let policy = policy(&[]);
        let own = own(false, "Chat.Example.com:80");
        for good in [
            "http://chat.example.com",
            "http://CHAT.example.com:80",
            "HTTP://chat.example.com",
        ] {
            assert!(policy.allows(good, own.as_ref()), "{good}");
        }
        for bad in [
            "https://chat.example.com",
            "http://chat.example.com:8080",
            "http://chat.example.com.evil",
            "http://xchat.example.com",
            "http://a@chat.example.com",
            "http://chat.example.com/path",
            "null",
            "",
            "chat.example.com",
        ] {
            assert!(!policy.allows(bad, own.as_ref()), "{bad}");
        }
    }

    #[test]
    fn listed_origins_match_exactly() {
        let policy = policy(&["https://app.example.com", "http://[::1]:8080/"]);
        assert!(policy.allows("https://app.example.com", None));
        assert!(policy.allows("https://app.example.com:443", None));
        assert!(policy.allows("http://[::1]:8080", None));
        for bad in [
            "http://app.example.com",
            "https://app.example.com.evil",
            "https://xapp.example.com",
            "https://app.example.com:444",
            "null",
        ] {
            assert!(!policy.allows(bad, None), "{bad}");
        }
    }

    #[test]
    fn siblings_may_connect_to_each_other() {
        let public_urls = vec!["http://127.0.0.1:3001".to_owned()];
        let policy = OriginPolicy::new(&HttpSection {
            public_urls,
            ..HttpSection::default()
        })
        .unwrap();
        assert!(policy.allows(
            "http://127.0.0.1:3001",
            own(false, "127.0.0.1:3000").as_ref()
        ));
        assert!(!policy.allows(
            "http://127.0.0.1:3002",
            own(false, "127.0.0.1:3000").as_ref()
        ));
    }

    #[test]
    fn a_star_allows_all_and_distrusts_cookies() {
        let star = policy(&["*"]);
        assert!(star.allows("https://anything.example", None) && star.allows("null", None));
        assert!(!star.trusts_cookies() && policy(&[]).trusts_cookies());
    }

    #[test]
    fn impossible_settings_are_named() {
        let allowed_origins = vec!["*".to_owned(), "https://a.example".to_owned()];
        let http = HttpSection {
            allowed_origins,
            ..HttpSection::default()
        };
        assert_eq!(
            OriginPolicy::new(&http).unwrap_err(),
            OriginError::StarAndOthers
        );
        for bad in [
            "example.com",
            "ftp://example.com",
            "https://*.example.com/x",
            "https://*.example.com",
            "https://*",
            "https://",
        ] {
            assert!(Origin::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_origin_prints_as_browsers_send_it() {
        let origin = Origin::parse("HTTPS://Chat.Example.com:443/").unwrap();
        assert_eq!(origin.to_string(), "https://chat.example.com");
        assert_eq!(origin.websocket(), "wss://chat.example.com");
        assert_eq!(
            Origin::parse("http://127.0.0.1:3001").unwrap().websocket(),
            "ws://127.0.0.1:3001"
        );
    }
}
