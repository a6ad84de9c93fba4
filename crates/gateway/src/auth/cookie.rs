//! [`CookieName`]: the name of the one cookie that carries a token.

use std::borrow::Cow;

/// The usual name over TLS. Browsers take a cookie with this prefix from the very host only, so no other
/// host of the domain can plant one.
const SECURE: &str = "__Host-hubbub_token";
/// The usual name on plain HTTP, where browsers keep no cookie with such a prefix.
const PLAIN: &str = "hubbub_token";
/// Prefixes of cookies that browsers keep over TLS only.
const PREFIXES: [&str; 2] = ["__Host-", "__Secure-"];
const MAX_BYTES: usize = 64;

/// A name that no cookie can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "auth.cookie = {0:?}: 1 to {MAX_BYTES} letters, digits and any of ! # $ % & ' * + - . ^ _ ` | ~"
)]
pub struct BadCookieName(String);

/// The name under which tokens are looked for, exactly one for each request.
#[derive(Debug, Clone, Default)]
pub(crate) struct CookieName(Option<String>);

impl CookieName {
    /// The name in the settings; empty: the usual ones.
    pub(super) fn new(setting: &str) -> Result<Self, BadCookieName> {
        if setting.is_empty() {
            return Ok(Self(None));
        }
        // The characters of a token of RFC 9110.
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if setting.len() <= MAX_BYTES && setting.bytes().all(is_token) {
            Ok(Self(Some(setting.to_owned())))
        } else {
            Err(BadCookieName(setting.chars().take(MAX_BYTES).collect()))
        }
    }

    /// The name for a request that came over TLS, or not.
    pub(crate) fn of(&self, is_secure: bool) -> Cow<'static, str> {
        match &self.0 {
            Some(name) => Cow::Owned(name.clone()),
            None if is_secure => Cow::Borrowed(SECURE),
            None => Cow::Borrowed(PLAIN),
        }
    }
}

/// Whether browsers keep a cookie of this name only if it is `Secure`.
pub(crate) fn needs_tls(name: &str) -> bool {
    let has = |prefix: &&str| {
        let start = name.get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    PREFIXES.iter().any(has)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_has_one_name() {
        let usual = CookieName::new("").unwrap();
        assert_eq!(usual.of(true), "__Host-hubbub_token");
        assert_eq!(usual.of(false), "hubbub_token");
        let own = CookieName::new("chat").unwrap();
        assert_eq!(
            (own.of(true), own.of(false)),
            ("chat".into(), "chat".into())
        );
    }

    #[test]
    fn a_name_that_no_cookie_can_have_is_refused() {
        for bad in ["a b", "a=b", "a;b", "ä", "\"a\"", &"a".repeat(65)] {
            assert!(CookieName::new(bad).is_err(), "{bad}");
        }
        assert!(needs_tls("__Host-a") && needs_tls("__secure-a") && !needs_tls("host-a"));
    }
}
