//! The sender of something, as other clients see them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::UserId;

/// A user as shown to others: the token's `sub` and `name`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Stable and unique: rights, presence and deduplication go by it.
    pub id: UserId,
    /// For people; not unique, and never a key.
    pub name: Arc<str>,
}
