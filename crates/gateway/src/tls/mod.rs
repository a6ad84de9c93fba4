//! TLS of our own, for who has no balancer that does it.

mod certificates;
mod stream;

pub(crate) use certificates::Certificates;
pub use certificates::TlsError;
pub(crate) use stream::TlsStream;
