//! Which pages may connect: exact match of scheme, host and port.

use std::fmt;

use axum::http::uri::Authority;

use crate::config::HttpSection;

/// An origin that no setting can mean.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// Not `scheme://host[:port]`.
    #[error("{0:?} is not of the form http(s)://host[:port]")]
    Malformed(String),
    /// The same, where applications may be named too.
    #[error(
        "{0:?} is not of the form http(s)://host[:port], or, of an application, scheme://host, such as \
         capacitor://localhost"
    )]
    MalformedAny(String),
    /// `*` beside exact origins.
    #[error("\"*\" allows all origins: it must be the only entry")]
    StarAndOthers,
}

/// Schemes that no page with an origin has.
const NEVER: [&str; 9] = [
    "about",
    "blob",
    "data",
    "file",
    "ftp",
    "javascript",
    "mailto",
    "ws",
    "wss",
];

/// Scheme, host and port of a page, in lower case, the port always named where the scheme has a usual
/// one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: Scheme,
    host: String,
    port: Option<u16>,
}

/// How a page was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
    /// By an application of its own, such as `capacitor`, `tauri` or `chrome-extension`.
    Other(String),
}

impl Scheme {
    fn of(secure: bool) -> Self {
        if secure { Self::Https } else { Self::Http }
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Other(scheme) => scheme,
        }
    }

    fn default_port(&self) -> Option<u16> {
        match self {
            Self::Http => Some(80),
            Self::Https => Some(443),
            Self::Other(_) => None,
        }
    }
}

impl Origin {
    /// Reads an `Origin` header or a base URL; one slash at its end is forgiven.
    ///
    /// # Errors
    /// [`OriginError::Malformed`] for anything else, `null` included.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let origin = Self::read(text).filter(|it| !matches!(it.scheme, Scheme::Other(_)));
        origin.ok_or_else(|| OriginError::Malformed(text.chars().take(200).collect()))
    }

    /// The same, and the origins of applications, such as `capacitor://localhost`.
    ///
    /// # Errors
    /// [`OriginError::MalformedAny`] for anything else, `null` included.
    pub fn parse_any(text: &str) -> Result<Self, OriginError> {
        Self::read(text).ok_or_else(|| OriginError::MalformedAny(text.chars().take(200).collect()))
    }

    fn read(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other if is_application(other) => Scheme::Other(other.to_owned()),
            _ => return None,
        };
        Self::new(scheme, rest.strip_suffix('/').unwrap_or(rest))
    }

    /// The origin of a page that was served under this `Host` header.
    #[must_use]
    pub fn of_host(secure: bool, host: &str) -> Option<Self> {
        Self::new(Scheme::of(secure), host)
    }

    fn new(scheme: Scheme, host: &str) -> Option<Self> {
        let authority: Authority = host.parse().ok()?;
        // A wildcard would match nothing, though it looks as if it did.
        if host.contains(['@', '*']) || authority.host().is_empty() {
            return None;
        }
        let port = match authority.as_str().strip_prefix(authority.host())? {
            "" => scheme.default_port(),
            port => Some(port.strip_prefix(':')?.parse().ok()?),
        };
        Some(Self {
            scheme,
            host: authority.host().to_ascii_lowercase(),
            port,
        })
    }

    /// The host, in lower case.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The same origin, or the same port of this machine under another of its names for itself: a page
    /// that was opened as `localhost` is the one at `127.0.0.1`.
    fn is_same_place(&self, other: &Self) -> bool {
        let is_same_door = self.scheme == other.scheme && self.port == other.port;
        is_same_door
            && (self.host == other.host || is_loopback(&self.host) && is_loopback(&other.host))
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
        write!(f, "{}://{}", self.scheme.as_str(), self.host)?;
        match self.port {
            Some(port) if self.port != self.scheme.default_port() => write!(f, ":{port}"),
            Some(_) | None => Ok(()),
        }
    }
}

/// Whether a scheme, in lower case, may be an application's (RFC 3986, section 3.1).
fn is_application(scheme: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(is_letter)
        && !NEVER.contains(&scheme)
}

fn is_loopback(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
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
            .map(|text| Origin::parse_any(text))
            .collect::<Result<_, _>>()
            .map(Self::Some)
    }

    /// Whether a page with this `Origin` header may connect to the node that it reached as `own`.
    pub(crate) fn allows(&self, header: &str, own: Option<&Origin>) -> bool {
        match (self, Origin::read(header)) {
            (Self::All, parsed) => parsed.is_some() || header == "null",
            (Self::Some(_), None) => false,
            (Self::Some(listed), Some(origin)) => {
                own == Some(&origin) || listed.iter().any(|it| it.is_same_place(&origin))
            }
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
        assert!(
            policy.allows("http://localhost:3001", None),
            "the same place"
        );
        for other in [
            "http://127.0.0.1:3002",
            "https://localhost:3001",
            "http://[::2]:3001",
        ] {
            let own = own(false, "127.0.0.1:3000");
            assert!(!policy.allows(other, own.as_ref()), "{other}");
        }
    }

    #[test]
    fn applications_may_be_listed() {
        let policy = policy(&[
            "capacitor://localhost",
            "tauri://localhost",
            "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
        ]);
        for good in [
            "capacitor://localhost",
            "tauri://localhost",
            "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
        ] {
            assert!(policy.allows(good, None), "{good}");
            assert_eq!(Origin::parse_any(good).unwrap().to_string(), good);
            assert!(Origin::parse(good).is_err(), "no base URL: {good}");
        }
        for bad in [
            "ionic://localhost",
            "capacitor://127.0.0.2",
            "capacitor://localhost:80",
            "http://localhost",
            "chrome-extension://other",
            "null",
        ] {
            assert!(!policy.allows(bad, None), "{bad}");
        }
        for bad in [
            "file:///",
            "file://x",
            "ws://h",
            "data://x",
            "1a://h",
            "a b://h",
            "capacitor://",
        ] {
            assert!(Origin::parse_any(bad).is_err(), "{bad}");
        }
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
