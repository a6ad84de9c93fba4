//! The kinds of durable events.

use serde::{Deserialize, Serialize};

/// The kind of an event: its frame's `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// A new message.
    Message,
    /// Another body for a message.
    Edited,
    /// A message has lost its body.
    Deleted,
    /// A reaction to a message, or its end.
    Reacted,
}
