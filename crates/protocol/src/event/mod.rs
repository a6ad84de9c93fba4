//! Durable events in a room, from draft to numbered envelope.
//!
//! The publishing node encodes an event once, as the frame that clients get. Only the broker knows
//! the event's place, so a draft's JSON is left open and [`seal`] closes it with `ts`, `epoch` and
//! `offset`. The publish script of the Redis broker does the same in Lua.

mod draft;
mod envelope;
mod kind;
mod open;
mod replacement;
mod stored;
#[cfg(test)]
mod tests;

pub use draft::{Change, ChangeKind, Draft};
pub use envelope::Envelope;
pub use kind::EventKind;
pub use open::{renumber, seal};
pub use replacement::Replacement;
pub use stored::{EditMark, StoredEvent};
