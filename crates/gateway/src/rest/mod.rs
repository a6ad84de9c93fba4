//! Plain HTTP resources, one a file; what they share: who asks (`caller`), from which page (`cors`),
//! and what they say (`body`, `query`).

pub(crate) mod body;
mod caller;
pub(crate) mod cors;
pub(crate) mod guests;
pub(crate) mod me;
pub(crate) mod members;
pub(crate) mod messages;
mod path;
pub(crate) mod query;
pub(crate) mod rooms;
pub(crate) mod search;
