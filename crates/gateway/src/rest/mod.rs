//! Plain HTTP resources, one a file; what they share: who asks (`caller`), from which page (`cors`),
//! and what they say (`body`, `query`).

pub(crate) mod body;
pub(crate) mod caller;
pub(crate) mod changes;
pub(crate) mod cors;
pub(crate) mod guests;
mod idempotency;
pub(crate) mod me;
pub(crate) mod members;
pub(crate) mod messages;
pub(crate) mod path;
pub(crate) mod query;
pub(crate) mod rooms;
pub(crate) mod search;
pub(crate) mod sends;
pub(crate) mod session;
pub(crate) mod signals;
pub(crate) mod tickets;
