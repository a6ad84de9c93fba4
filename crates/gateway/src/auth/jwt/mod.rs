//! [`Auth`]: whose tokens count. A token is a JSON Web Token, or one of the keys for programs.

mod error;
mod fault;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hubbub_node::{Identity, RoomGrants};
use hubbub_protocol::{User, UserId};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use parking_lot::RwLock;

pub use self::error::{AuthError, TokenError};
use super::api_keys::{self, ApiKeys};
use super::claims::{Claims, Moment, NewClaims};
use super::cookie::CookieName;
use super::guest::GUEST_PREFIX;
use super::jwks::Jwks;
use super::keys::{Key, LEEWAY_SECONDS, Rules, Signer, private_key, public_keys};
use super::name::{check_name, without_turns};
use super::secrets::Secrets;
use crate::config::{ApiKey, AuthMode, AuthSection};

/// The longest token that is looked at.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// The longest id of a token.
const MAX_ID_BYTES: usize = 256;
/// Below this a secret can be guessed.
const MIN_SECRET_BYTES: usize = 32;
/// The most secrets in `auth.secret`: each is tried.
const MAX_SECRETS: usize = 8;
/// How long the identity of a token lasts at least from its proof, in milliseconds. A token that has
/// expired counts for the leeway only while it is being proved.
const GRACE_MS: u64 = 1_000;

/// The content of a new token.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The user.
    pub sub: UserId,
    /// Shown to others.
    pub name: Option<String>,
    /// `None`: every room that is not private.
    pub rooms: Option<RoomGrants>,
    /// From now.
    pub lifetime: Duration,
}

/// A shared secret, as both sides use it.
struct Secret {
    check: Key,
    sign: EncodingKey,
}

impl Secret {
    fn new(secret: &[u8], rules: &Rules) -> Self {
        Self {
            check: Key::of_secret(secret, rules),
            sign: EncodingKey::from_secret(secret),
        }
    }
}

/// The signer of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signed {
    /// The shared secret, with which this server makes its guests' tokens.
    BySecret,
    ByOthers,
}

/// Checks and makes tokens. In guest mode without `auth.secret` it cannot make guests until the
/// cluster's secret is provided.
pub struct Auth {
    mode: AuthMode,
    rules: Rules,
    cookie: CookieName,
    /// The first signs, all check. Those of the settings stay; the cluster's may be replaced.
    secrets: RwLock<Arc<[Secret]>>,
    /// Tried one after the other.
    public: Vec<Key>,
    jwks: Option<Jwks>,
    signer: Option<Signer>,
    api_keys: ApiKeys,
}

impl Auth {
    /// Takes over the settings.
    ///
    /// # Errors
    /// [`AuthError`] names the setting that cannot work.
    pub fn new(section: &AuthSection, api_keys: &[ApiKey]) -> Result<Self, AuthError> {
        let rules = Rules::new(section);
        let mut public = match section.public_key.as_str() {
            "" => Vec::new(),
            setting => public_keys(setting, &rules)?,
        };
        let signer = match section.private_key.as_str() {
            "" => None,
            setting => {
                let (signer, key) = private_key(setting, &rules)?;
                public.push(key);
                Some(signer)
            }
        };
        let jwks = match section.jwks_url.as_str() {
            "" => None,
            url => Some(Jwks::new(url, section.jwks_refresh, &rules)?),
        };
        let secrets = &section.secret;
        if let Some(same) = api_keys.iter().find(|it| secrets.contains(&it.key)) {
            return Err(AuthError::SharedSecret(same.name.clone()));
        }
        check_lengths(secrets)?;
        let has_none = secrets.is_empty();
        let secrets = secrets.iter().map(|it| Secret::new(it.as_bytes(), &rules));
        let auth = Self {
            mode: section.mode,
            cookie: CookieName::new(&section.cookie)?,
            secrets: RwLock::new(secrets.collect()),
            rules,
            public,
            jwks,
            signer,
            api_keys: ApiKeys::new(api_keys)?,
        };
        let has_no_key = has_none && auth.public.is_empty() && auth.jwks.is_none();
        if has_no_key && section.mode == AuthMode::Jwt {
            Err(AuthError::NoKey)
        } else {
            Ok(auth)
        }
    }

    /// Gives the cluster's secrets in place of those that were given before: the first signs, all check.
    /// They are for guest mode without `auth.secret`, and nobody else may call this.
    pub fn provide_secrets(&self, secrets: &[[u8; MIN_SECRET_BYTES]]) {
        let secrets = secrets.iter().map(|it| Secret::new(it, &self.rules));
        let mut known = self.secrets.write();
        *known = secrets.collect();
    }

    fn secrets(&self) -> Arc<[Secret]> {
        Arc::clone(&self.secrets.read())
    }

    /// Whether there is a shared secret.
    #[must_use]
    pub fn has_secret(&self) -> bool {
        !self.secrets().is_empty()
    }

    /// The name of the cookie that carries a token.
    pub(crate) fn cookie(&self) -> &CookieName {
        &self.cookie
    }

    /// The problem that keeps tokens from being checked or made; `None`: there is none.
    #[must_use]
    pub fn problem(&self) -> Option<&'static str> {
        if self.mode == AuthMode::Guest && !self.has_secret() {
            return Some("the cluster's secret for guest tokens is not known yet");
        }
        let has_keys = self.jwks.as_ref().is_none_or(Jwks::is_ready);
        (!has_keys).then_some("the keys at auth.jwks_url are not known")
    }

    /// Whether tokens could be checked and made at some time.
    #[must_use]
    pub fn was_ready(&self) -> bool {
        let has_secret = self.mode == AuthMode::Jwt || self.has_secret();
        has_secret && self.jwks.as_ref().is_none_or(Jwks::was_ready)
    }

    /// Keeps the keys at `auth.jwks_url` fresh; ends at once when there is no such setting.
    pub async fn keep_keys(self: Arc<Self>) {
        if let Some(jwks) = &self.jwks {
            jwks.keep().await;
        }
    }

    /// The clients that may connect.
    #[must_use]
    pub fn mode(&self) -> AuthMode {
        self.mode
    }

    /// Proves a token. Waits a moment where its key may have come since the keys were fetched.
    ///
    /// # Errors
    /// [`TokenError`] says why it does not count.
    pub async fn verify(&self, token: &str) -> Result<Identity, TokenError> {
        if let Some(identity) = self.api_keys.find(token) {
            return Ok(identity.clone());
        }
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let header = jsonwebtoken::decode_header(token)?;
        check_header(&header)?;
        match (self.prove(token, &header), &self.jwks) {
            (Err(TokenError::UnknownKey | TokenError::NoKeys), Some(jwks)) => {
                let kid = header.kid.as_deref();
                let has_looked = jwks.look_for(kid).await;
                let again = self.prove(token, &header);
                if has_looked && matches!(again, Err(TokenError::UnknownKey)) {
                    jwks.note_absent(kid);
                }
                again
            }
            (proved, _) => proved,
        }
    }

    /// The header says which of our keys may be meant, never what a key is used for.
    fn prove(&self, token: &str, header: &Header) -> Result<Identity, TokenError> {
        let algorithm = header.alg;
        // Keys without a name take any name for theirs, but nothing that is no name.
        let is_named = header.kid.as_deref().is_none_or(is_key_name);
        let mut refused = None;
        let secrets = self.secrets();
        let is_meant = |secret: &&Secret| is_named && secret.check.is_for(algorithm);
        for secret in secrets.iter().filter(is_meant) {
            match self.read(token, &secret.check, Signed::BySecret) {
                Err(TokenError::Invalid(error)) if is_other_key(&error) => refused = Some(error),
                done => return done,
            }
        }
        let is_meant = |key: &&Key| is_named && key.is_for(algorithm);
        for key in self.public.iter().filter(is_meant) {
            match self.read(token, key, Signed::ByOthers) {
                Err(TokenError::Invalid(error)) if is_other_key(&error) => refused = Some(error),
                done => return done,
            }
        }
        if let Some(jwks) = &self.jwks
            && is_asymmetric(algorithm)
        {
            let key = jwks.key(header.kid.as_deref(), algorithm)?;
            return self.read(token, &key, Signed::ByOthers);
        }
        if let Some(error) = refused {
            return Err(error.into());
        }
        let comes = self.mode == AuthMode::Guest && !self.has_secret();
        Err(if comes && !is_asymmetric(algorithm) {
            TokenError::NotReady
        } else {
            TokenError::UnknownKey
        })
    }

    fn read(&self, token: &str, key: &Key, signed: Signed) -> Result<Identity, TokenError> {
        let data = jsonwebtoken::decode::<Claims>(token, &key.decoding, &key.validation)?;
        let claims = data.claims;
        let id = UserId::new(&claims.sub)?;
        let is_guest = self.check_reserved(&claims, signed)?;
        let (now, issued) = (now_ms(), claims.iat.map(Moment::as_millis));
        if issued.is_some_and(|issued| issued > now.saturating_add(LEEWAY_SECONDS * 1_000)) {
            return Err(TokenError::IssuedLater);
        }
        let token_id = claims.jti.filter(|id| !id.is_empty());
        if token_id.as_ref().is_some_and(|id| id.len() > MAX_ID_BYTES) {
            return Err(TokenError::LongId);
        }
        // A name is for people only: an unusable one does not keep its bearer out.
        let name = claims
            .name
            .as_deref()
            .and_then(|name| check_name(name).ok());
        let user = User {
            id,
            name: name.unwrap_or_else(|| without_turns(&claims.sub)).into(),
        };
        Ok(Identity {
            user,
            rooms: claims.rooms,
            guest: is_guest,
            expires: Some(claims.exp.as_millis().max(now.saturating_add(GRACE_MS))),
            token_id,
            issued,
        })
    }

    /// A guest's id counts only in a token that was made for a guest here.
    fn check_reserved(&self, claims: &Claims, signed: Signed) -> Result<bool, TokenError> {
        if claims.sub.starts_with(api_keys::PREFIX) {
            return Err(TokenError::Reserved(api_keys::PREFIX));
        }
        if !claims.sub.starts_with(GUEST_PREFIX) {
            return Ok(false);
        }
        let is_ours = claims.guest && signed == Signed::BySecret && self.mode == AuthMode::Guest;
        if is_ours {
            Ok(true)
        } else {
            Err(TokenError::Reserved(GUEST_PREFIX))
        }
    }

    /// Makes a token and says when it expires, in milliseconds since 1970. It is signed with
    /// `auth.private_key` where there is one.
    ///
    /// # Errors
    /// [`TokenError::NotReady`] before there is a secret; [`TokenError::Reserved`].
    pub fn mint(&self, grant: &Grant) -> Result<(String, u64), TokenError> {
        for reserved in [GUEST_PREFIX, api_keys::PREFIX] {
            if grant.sub.as_str().starts_with(reserved) {
                return Err(TokenError::Reserved(reserved));
            }
        }
        match &self.signer {
            Some(signer) => self.sign(grant, false, signer.algorithm, &signer.encoding),
            None => self.sign_with_secret(grant, false),
        }
    }

    /// The same for a guest.
    ///
    /// # Errors
    /// [`TokenError::NotReady`] before there is a secret.
    pub fn mint_guest(&self, grant: &Grant) -> Result<(String, u64), TokenError> {
        self.sign_with_secret(grant, true)
    }

    fn sign_with_secret(&self, grant: &Grant, guest: bool) -> Result<(String, u64), TokenError> {
        let secrets = self.secrets();
        let secret = secrets.first().ok_or(TokenError::NotReady)?;
        self.sign(grant, guest, Algorithm::HS256, &secret.sign)
    }

    fn sign(
        &self,
        grant: &Grant,
        guest: bool,
        algorithm: Algorithm,
        key: &EncodingKey,
    ) -> Result<(String, u64), TokenError> {
        let iat = jsonwebtoken::get_current_timestamp();
        let exp = iat.saturating_add(grant.lifetime.as_secs());
        let claims = NewClaims {
            sub: grant.sub.as_str(),
            name: grant.name.as_deref(),
            rooms: grant.rooms.as_ref(),
            guest,
            jti: &format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..)),
            iat,
            exp,
            iss: &self.rules.issuer,
            aud: &self.rules.audience,
        };
        let token = jsonwebtoken::encode(&Header::new(algorithm), &claims, key)?;
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

fn check_lengths(secrets: &Secrets) -> Result<(), AuthError> {
    let count = secrets.iter().count();
    let mut lengths = secrets.iter().map(str::len).enumerate();
    match lengths.find(|(_, bytes)| *bytes < MIN_SECRET_BYTES) {
        Some((_, bytes)) if count == 1 => Err(AuthError::ShortSecret(bytes)),
        Some((index, bytes)) => {
            let number = index + 1;
            Err(AuthError::ShortSecretInList { number, bytes })
        }
        None if count > MAX_SECRETS => Err(AuthError::TooManySecrets),
        None => Ok(()),
    }
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// Keys come from the settings only.
fn check_header(header: &Header) -> Result<(), TokenError> {
    let strange = [
        ("crit", header.crit.is_some()),
        ("jwk", header.jwk.is_some()),
        ("jku", header.jku.is_some()),
        ("x5u", header.x5u.is_some()),
    ];
    match strange.into_iter().find(|(_, is_there)| *is_there) {
        Some((name, _)) => Err(TokenError::Header(name)),
        None => Ok(()),
    }
}

/// A path, an address or a piece of a query is meant for somebody who looks for keys there.
fn is_key_name(kid: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+=:@".contains(&byte);
    kid.len() <= MAX_ID_BYTES && !kid.contains("..") && kid.bytes().all(is_plain)
}

fn is_asymmetric(algorithm: Algorithm) -> bool {
    matches!(
        algorithm,
        Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA
    )
}

fn is_other_key(error: &jsonwebtoken::errors::Error) -> bool {
    matches!(
        error.kind(),
        jsonwebtoken::errors::ErrorKind::InvalidSignature
    )
}

#[cfg(test)]
mod tests;
