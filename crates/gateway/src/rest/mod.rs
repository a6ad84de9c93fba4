//! Plain HTTP resources.

pub(crate) mod guests;
