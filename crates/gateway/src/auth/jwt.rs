//! Tokens: JSON Web Tokens signed with one shared secret.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use hubbub_node::{Identity, RoomGrants};
use hubbub_protocol::{User, UserId};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::guest::{GUEST_PREFIX, check_name};
use crate::config::{AuthMode, AuthSection};

/// Clocks may differ by so much.
const LEEWAY_SECONDS: u64 = 5;
/// The longest token that is looked at.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// Below this a secret can be guessed.
const MIN_SECRET_BYTES: usize = 32;

/// Why the settings cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Too easy to guess.
    #[error("auth.secret has {0} bytes; it needs at least {MIN_SECRET_BYTES}")]
    ShortSecret(usize),
    /// Nobody could come in.
    #[error("auth.mode = \"jwt\" needs auth.secret: nobody could come in without it")]
    NoSecret,
    /// A way to check tokens that has its own issue.
    #[error("{0} is not there yet: use auth.secret")]
    NotThereYet(&'static str),
}

/// Why a token is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The cluster's secret is not known yet, since Redis has not answered.
    #[error("tokens cannot be checked or made yet: the cluster's secret is not known")]
    NotReady,
    /// Not worth looking at.
    #[error("the token has more than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// Malformed, badly signed, expired, or for someone else.
    #[error("the token is not valid: {0}")]
    Invalid(#[from] jsonwebtoken::errors::Error),
    /// It asks for something that must be understood, and is not.
    #[error("the token has a 'crit' header")]
    Critical,
    /// `sub` is no user id.
    #[error("the token's 'sub': {0}")]
    BadSubject(#[from] hubbub_protocol::InvalidId),
}

/// What a token says about its bearer; times, issuer and audience are checked beside it.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Only read, since a token that we make says when otherwise.
    #[serde(skip_serializing)]
    exp: Option<u64>,
    #[serde(skip_serializing)]
    iat: Option<u64>,
    #[serde(skip_serializing)]
    jti: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rooms: Option<RoomGrants>,
}

/// [`Claims`] with all that only a new token needs.
#[derive(Serialize)]
struct NewClaims<'a> {
    #[serde(flatten)]
    claims: Claims,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    iss: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    aud: &'a str,
}

/// What a new token shall say.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Who.
    pub sub: UserId,
    /// Shown to others.
    pub name: Option<String>,
    /// `None`: every room that is not private.
    pub rooms: Option<RoomGrants>,
    /// From now.
    pub lifetime: Duration,
}

struct Keys {
    check: DecodingKey,
    sign: EncodingKey,
}

/// Checks and makes tokens. In guest mode without `auth.secret` it cannot until the cluster's
/// secret is provided.
pub struct Auth {
    mode: AuthMode,
    keys: OnceLock<Keys>,
    validation: Validation,
    issuer: String,
    audience: String,
}

impl Auth {
    /// Takes over the settings.
    ///
    /// # Errors
    /// [`AuthError`] names the setting that cannot work.
    pub fn new(section: &AuthSection) -> Result<Self, AuthError> {
        for (name, value) in [
            ("auth.public_key", &section.public_key),
            ("auth.jwks_url", &section.jwks_url),
        ] {
            if !value.is_empty() {
                return Err(AuthError::NotThereYet(name));
            }
        }
        let auth = Self {
            mode: section.mode,
            keys: OnceLock::new(),
            validation: validation(section),
            issuer: section.issuer.clone(),
            audience: section.audience.clone(),
        };
        match (section.secret.len(), section.mode) {
            (0, AuthMode::Guest) => {}
            (0, AuthMode::Jwt) => return Err(AuthError::NoSecret),
            (short, _) if short < MIN_SECRET_BYTES => return Err(AuthError::ShortSecret(short)),
            _ => auth.use_secret(section.secret.as_bytes()),
        }
        Ok(auth)
    }

    /// Gives the cluster's secret; has no effect when there is one already.
    pub fn provide_secret(&self, secret: &[u8; MIN_SECRET_BYTES]) {
        self.use_secret(secret);
    }

    fn use_secret(&self, secret: &[u8]) {
        let keys = Keys {
            check: DecodingKey::from_secret(secret),
            sign: EncodingKey::from_secret(secret),
        };
        // The first one stays: all nodes are given the same.
        drop(self.keys.set(keys));
    }

    /// Whether tokens can be checked and made.
    #[must_use]
    pub fn has_secret(&self) -> bool {
        self.keys.get().is_some()
    }

    /// Who may connect.
    #[must_use]
    pub fn mode(&self) -> AuthMode {
        self.mode
    }

    /// Proves a token.
    ///
    /// # Errors
    /// [`TokenError`] says why it does not count.
    pub fn verify(&self, token: &str) -> Result<Identity, TokenError> {
        let keys = self.keys.get().ok_or(TokenError::NotReady)?;
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let data = jsonwebtoken::decode::<Claims>(token, &keys.check, &self.validation)?;
        if data.header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        let claims = data.claims;
        let id = UserId::new(&claims.sub)?;
        // A name is for people only: an unusable one does not keep its bearer out.
        let name = claims
            .name
            .as_deref()
            .and_then(|name| check_name(name).ok());
        let user = User {
            id,
            name: name.unwrap_or(claims.sub),
        };
        let guest = user.id.as_str().starts_with(GUEST_PREFIX);
        let to_ms = |seconds: u64| seconds.saturating_mul(1000);
        Ok(Identity {
            user,
            rooms: claims.rooms,
            guest,
            expires: claims.exp.map(to_ms),
            token_id: claims.jti,
            issued: claims.iat.map(to_ms),
        })
    }

    /// Makes a token and says when it expires, in milliseconds since 1970.
    ///
    /// # Errors
    /// [`TokenError::NotReady`] before there is a secret.
    pub fn mint(&self, grant: Grant) -> Result<(String, u64), TokenError> {
        let keys = self.keys.get().ok_or(TokenError::NotReady)?;
        let iat = jsonwebtoken::get_current_timestamp();
        let exp = iat.saturating_add(grant.lifetime.as_secs());
        let claims = Claims {
            sub: grant.sub.as_str().to_owned(),
            name: grant.name,
            exp: None,
            iat: None,
            jti: None,
            rooms: grant.rooms,
        };
        let claims = NewClaims {
            claims,
            iat,
            exp,
            iss: &self.issuer,
            aud: &self.audience,
        };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &keys.sign)?;
        Ok((token, exp.saturating_mul(1000)))
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// The algorithms are pinned here: a token's header never picks another family.
fn validation(section: &AuthSection) -> Validation {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.algorithms = vec![Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
    validation.leeway = LEEWAY_SECONDS;
    validation.validate_nbf = true;
    validation.validate_aud = !section.audience.is_empty();
    let mut required = vec!["exp", "sub"];
    if !section.issuer.is_empty() {
        validation.set_issuer(&[&section.issuer]);
        required.push("iss");
    }
    if !section.audience.is_empty() {
        validation.set_audience(&[&section.audience]);
        required.push("aud");
    }
    validation.set_required_spec_claims(&required);
    validation
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn section() -> AuthSection {
        AuthSection {
            secret: SECRET.to_owned(),
            ..AuthSection::default()
        }
    }

    fn auth() -> Auth {
        Auth::new(&section()).unwrap()
    }

    fn now() -> u64 {
        jsonwebtoken::get_current_timestamp()
    }

    fn sign(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
        let key = EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::encode(&Header::new(algorithm), claims, &key).unwrap()
    }

    fn refused(claims: &Value) {
        let token = sign(Algorithm::HS256, SECRET, claims);
        assert!(auth().verify(&token).is_err(), "{claims}");
    }

    /// A well-signed token with any header and payload text.
    fn sign_text(header: &str, payload: &str) -> String {
        let message = format!(
            "{}.{}",
            base64_url(header.as_bytes()),
            base64_url(payload.as_bytes())
        );
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{message}.{signature}")
    }

    fn base64_url(bytes: &[u8]) -> String {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let bits = chunk.iter().fold(0u32, |sum, &b| sum << 8 | u32::from(b))
                << (8 * (3 - chunk.len()));
            for index in 0..=chunk.len() {
                text.push(char::from(
                    ALPHABET[(bits >> (18 - 6 * index) & 63) as usize],
                ));
            }
        }
        text
    }

    #[test]
    fn a_minted_token_proves_its_bearer() {
        let read = "r".to_owned().try_into().unwrap();
        let rooms = RoomGrants::new([("team-*".to_owned(), read)]).unwrap();
        let grant = Grant {
            sub: UserId::new("alice").unwrap(),
            name: Some("Alice".to_owned()),
            rooms: Some(rooms.clone()),
            lifetime: Duration::from_secs(60),
        };
        let (token, expires) = auth().mint(grant).unwrap();
        assert!(expires > now() * 1000 && expires <= (now() + 60) * 1000);
        let identity = auth().verify(&token).unwrap();
        assert_eq!(
            (identity.user.id.as_str(), identity.user.name.as_str()),
            ("alice", "Alice")
        );
        assert_eq!(identity.rooms, Some(rooms));
    }

    #[test]
    fn hs384_and_hs512_count_too_and_a_name_is_optional() {
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let token = sign(algorithm, SECRET, &json!({"sub": "bob", "exp": now() + 60}));
            assert_eq!(auth().verify(&token).unwrap().user.name, "bob");
        }
    }

    #[test]
    fn another_secret_does_not_count() {
        let token = sign(
            Algorithm::HS256,
            &SECRET.replace('0', "1"),
            &json!({"sub": "a", "exp": now() + 60}),
        );
        assert!(matches!(auth().verify(&token), Err(TokenError::Invalid(_))));
    }

    #[test]
    fn no_algorithm_and_foreign_algorithms_are_refused() {
        let payload = json!({"sub": "a", "exp": now() + 60}).to_string();
        for alg in [
            "none", "None", "NONE", "RS256", "ES256", "EdDSA", "hs256", "",
        ] {
            let header = json!({"alg": alg, "typ": "JWT"}).to_string();
            let signed = sign_text(&header, &payload);
            assert!(auth().verify(&signed).is_err(), "{alg}");
            let unsigned = format!("{}.", signed.rsplit_once('.').unwrap().0);
            assert!(auth().verify(&unsigned).is_err(), "{alg} unsigned");
        }
        let good = sign_text(r#"{"alg":"HS256"}"#, &payload);
        assert!(
            auth().verify(&good).is_ok(),
            "the attacks differ from this only by the header"
        );
        let critical = sign_text(r#"{"alg":"HS256","crit":["exp"],"exp":1}"#, &payload);
        assert!(auth().verify(&critical).is_err());
    }

    #[test]
    fn times_must_be_numbers_and_right() {
        for exp in [
            json!(now() - 60),
            json!("9999999999"),
            json!(-1),
            json!(null),
            json!([1]),
        ] {
            refused(&json!({"sub": "a", "exp": exp}));
        }
        refused(&json!({"sub": "a"}));
        refused(&json!({"sub": "a", "exp": now() + 60, "nbf": now() + 60}));
        refused(&json!({"sub": "a", "exp": now() + 60, "nbf": "soon"}));
        for payload in [
            r#"{"sub":"a","exp":1e400}"#,
            r#"{"sub":"a","exp":1,"exp":9999999999}"#,
        ] {
            assert!(
                auth()
                    .verify(&sign_text(r#"{"alg":"HS256"}"#, payload))
                    .is_err(),
                "{payload}"
            );
        }
        let skewed = json!({"sub": "a", "exp": now() - 2, "nbf": now() + 2});
        assert!(
            auth()
                .verify(&sign(Algorithm::HS256, SECRET, &skewed))
                .is_ok(),
            "leeway"
        );
    }

    #[test]
    fn the_subject_must_be_a_user_id() {
        refused(&json!({"exp": now() + 60}));
        refused(&json!({"sub": "", "exp": now() + 60}));
        refused(&json!({"sub": 7, "exp": now() + 60}));
        refused(&json!({"sub": "a\nb", "exp": now() + 60}));
        refused(&json!({"sub": "a".repeat(129), "exp": now() + 60}));
        refused(&json!({"sub": "a", "exp": now() + 60, "rooms": {"x": "admin"}}));
    }

    #[test]
    fn issuer_and_audience_are_checked_when_set() {
        let strict = Auth::new(&AuthSection {
            issuer: "https://id.example".to_owned(),
            audience: "hubbub".to_owned(),
            ..section()
        })
        .unwrap();
        let claims = |iss: Option<&str>, aud: Option<Value>| {
            let mut claims = json!({"sub": "a", "exp": now() + 60});
            if let Some(iss) = iss {
                claims["iss"] = iss.into();
            }
            if let Some(aud) = aud {
                claims["aud"] = aud;
            }
            strict
                .verify(&sign(Algorithm::HS256, SECRET, &claims))
                .is_ok()
        };
        let issuer = Some("https://id.example");
        assert!(claims(issuer, Some(json!("hubbub"))));
        assert!(claims(issuer, Some(json!(["other", "hubbub"]))));
        assert!(!claims(issuer, Some(json!("other"))));
        assert!(!claims(issuer, None));
        assert!(!claims(None, Some(json!("hubbub"))));
        assert!(!claims(Some("https://evil.example"), Some(json!("hubbub"))));
    }

    #[test]
    fn a_long_or_broken_token_is_refused() {
        let long = sign(
            Algorithm::HS256,
            SECRET,
            &json!({"sub": "a", "exp": now() + 60, "x": "y".repeat(9000)}),
        );
        assert!(matches!(auth().verify(&long), Err(TokenError::TooLong)));
        for broken in ["", ".", "..", "a.b", "a.b.c", "\u{0}", "🐙.🐙.🐙"] {
            assert!(auth().verify(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn impossible_settings_are_refused_by_name() {
        let refusal = |section: &AuthSection| Auth::new(section).unwrap_err();
        let short = AuthSection {
            secret: "short".to_owned(),
            ..AuthSection::default()
        };
        assert_eq!(refusal(&short), AuthError::ShortSecret(5));
        let jwt = AuthSection {
            mode: AuthMode::Jwt,
            ..AuthSection::default()
        };
        assert_eq!(refusal(&jwt), AuthError::NoSecret);
        let key = AuthSection {
            public_key: "x".to_owned(),
            ..section()
        };
        assert_eq!(refusal(&key), AuthError::NotThereYet("auth.public_key"));
        let url = AuthSection {
            jwks_url: "x".to_owned(),
            ..section()
        };
        assert_eq!(refusal(&url), AuthError::NotThereYet("auth.jwks_url"));
    }

    #[test]
    fn without_a_secret_nothing_is_proven_until_the_cluster_gives_one() {
        let auth = Auth::new(&AuthSection::default()).unwrap();
        assert!(!auth.has_secret());
        assert!(matches!(auth.verify("a.b.c"), Err(TokenError::NotReady)));
        auth.provide_secret(&[7; 32]);
        let grant = Grant {
            sub: UserId::new("a").unwrap(),
            name: None,
            rooms: None,
            lifetime: Duration::from_secs(60),
        };
        let (token, _) = auth.mint(grant).unwrap();
        assert!(auth.verify(&token).is_ok());
    }
}
