//! Who is there: tokens, guests, and which pages may ask.

pub(crate) mod bearer;
pub mod guest;
mod jwt;
pub mod origin;

pub use jwt::{Auth, AuthError, Grant, TokenError};
