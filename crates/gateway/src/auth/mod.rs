//! Authentication: tokens, guests, and the pages that may connect.

mod api_keys;
pub(crate) mod bearer;
mod claims;
pub(crate) mod cookie;
pub mod guest;
pub(crate) mod host;
mod jwks;
mod jwt;
mod keys;
pub mod name;
pub mod origin;
mod secrets;

pub use api_keys::ApiKeyError;
pub use cookie::BadCookieName;
pub use jwks::BadUrl;
pub use jwt::{Auth, AuthError, Grant, TokenError};
pub use keys::{KeyError, public_key_blocks};
pub use secrets::Secrets;
