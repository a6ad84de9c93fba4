//! Why settings cannot work, and why a token does not count.

use jsonwebtoken::errors::ErrorKind;

use super::super::api_keys::ApiKeyError;
use super::super::cookie::BadCookieName;
use super::super::jwks::BadUrl;
use super::super::keys::KeyError;
use super::fault::words_of;
use super::{MAX_ID_BYTES, MAX_SECRETS, MAX_TOKEN_BYTES, MIN_SECRET_BYTES};

/// Why the settings cannot work.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Too easy to guess.
    #[error("auth.secret has {0} bytes; it needs at least {MIN_SECRET_BYTES}")]
    ShortSecret(usize),
    /// The same, in a list.
    #[error(
        "auth.secret: secret {number} of the list has {bytes} bytes; each needs at least \
         {MIN_SECRET_BYTES} (in a variable or a file, commas and lines separate secrets)"
    )]
    ShortSecretInList {
        /// Its place, from 1.
        number: usize,
        /// Its length.
        bytes: usize,
    },
    /// Too many to try.
    #[error("auth.secret holds more than {MAX_SECRETS} secrets")]
    TooManySecrets,
    /// `auth.cookie`.
    #[error(transparent)]
    Cookie(#[from] BadCookieName),
    /// Nobody could come in.
    #[error(
        "auth.mode = \"jwt\" needs auth.secret, auth.public_key or auth.jwks_url: nobody could come \
         in without"
    )]
    NoKey,
    /// One secret for two things.
    #[error("[[api_key]] {0}: its key is auth.secret too; each needs one of its own")]
    SharedSecret(String),
    /// `auth.public_key` or `auth.private_key`.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// `auth.jwks_url`.
    #[error(transparent)]
    JwksUrl(#[from] BadUrl),
    /// `[[api_key]]`.
    #[error(transparent)]
    ApiKey(#[from] ApiKeyError),
}

/// Why a token is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The cluster's secret is not known yet, since Redis has not answered.
    #[error("tokens cannot be checked or made yet: the cluster's secret is not known")]
    NotReady,
    /// The keys at `auth.jwks_url` are not known, or not any more.
    #[error("tokens cannot be checked now: the keys at auth.jwks_url are not known")]
    NoKeys,
    /// Not worth looking at.
    #[error("the token has more than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// Malformed, badly signed, expired, or for someone else.
    #[error("{}", words_of(.0))]
    Invalid(#[from] jsonwebtoken::errors::Error),
    /// It brings its own key, or asks for something that must be understood and is not.
    #[error("the token has a header {0:?}, which is not followed here")]
    Header(&'static str),
    /// `iat` lies in the future: an order to revoke older tokens would never reach it.
    #[error("the token's 'iat' lies in the future")]
    IssuedLater,
    /// No key of ours is meant.
    #[error("the token is signed with a key that is not known here")]
    UnknownKey,
    /// `sub` is no user id.
    #[error("the token's 'sub': {0}")]
    BadSubject(#[from] hubbub_protocol::InvalidId),
    /// `sub` is one that only this server gives.
    #[error("the token's 'sub' begins with {0:?}, as only the ids do that this server gives")]
    Reserved(&'static str),
    /// `jti` is no id.
    #[error("the token's 'jti' has more than {MAX_ID_BYTES} bytes")]
    LongId,
}

impl TokenError {
    /// Whether the same token may count in a moment.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::NotReady | Self::NoKeys)
    }

    /// The reason in one word, for metrics and logs.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotReady => "no_secret_yet",
            Self::NoKeys => "no_keys_now",
            Self::TooLong => "too_long",
            Self::Invalid(error) => reason_of(error.kind()),
            Self::Header(_) => "header",
            Self::IssuedLater => "issued_later",
            Self::UnknownKey => "unknown_key",
            Self::BadSubject(_) | Self::Reserved(_) => "subject",
            Self::LongId => "id",
        }
    }
}

/// The library's kinds of errors may become more.
fn reason_of(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ExpiredSignature => "expired",
        ErrorKind::ImmatureSignature => "not_yet_valid",
        ErrorKind::InvalidSignature => "signature",
        ErrorKind::InvalidAlgorithm
        | ErrorKind::InvalidAlgorithmName
        | ErrorKind::UnsupportedAlgorithm
        | ErrorKind::MissingAlgorithm => "algorithm",
        ErrorKind::InvalidIssuer => "issuer",
        ErrorKind::InvalidAudience => "audience",
        ErrorKind::MissingRequiredClaim(_) => "missing_claim",
        ErrorKind::InvalidClaimFormat(_) => "claim",
        ErrorKind::InvalidToken
        | ErrorKind::Base64(_)
        | ErrorKind::Json(_)
        | ErrorKind::Utf8(_) => "malformed",
        _ => "invalid",
    }
}
