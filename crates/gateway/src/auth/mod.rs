//! Who is there: tokens, guests, and which pages may ask.

mod api_keys;
pub(crate) mod bearer;
mod claims;
pub mod guest;
mod jwks;
mod jwt;
mod keys;
pub mod name;
pub mod origin;

pub use api_keys::ApiKeyError;
pub use jwks::BadUrl;
pub use jwt::{Auth, AuthError, Grant, TokenError};
pub use keys::{KeyError, public_key_blocks};
