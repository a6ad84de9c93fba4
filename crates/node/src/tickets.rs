//! Tickets: a token's worth in an address, for clients that can send no header. They are random, good
//! for a minute and no longer than the token that they stand for, and only their digest is kept.

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::Identity;
use crate::error::CommandError;
use crate::node::Node;
use crate::orders::now_ms;

/// The longest life of a ticket: enough for a page to connect.
const LIFE: Duration = Duration::from_secs(60);
const BYTES: usize = 32;

/// Stands for an identity for a short time.
pub struct Ticket {
    /// Goes into an address, and into no log.
    pub secret: String,
    /// Milliseconds since 1970.
    pub expires: u64,
}

/// How often a ticket opens a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TicketUse {
    /// It is used up.
    Once,
    /// Until it expires: an `EventSource` comes back by itself, to the same address.
    UntilExpiry,
}

impl Node {
    /// Makes a ticket for this identity, good on every node. It ends with the identity's token.
    ///
    /// # Errors
    /// The broker's failure.
    pub async fn issue_ticket(&self, identity: &Identity) -> Result<Ticket, CommandError> {
        let mut random = [0; BYTES];
        getrandom::fill(&mut random).map_err(|error| {
            tracing::error!(%error, "the system gives no random bytes");
            CommandError::Internal
        })?;
        let secret = hex(&random);
        let content = serde_json::to_string(identity).map_err(|error| {
            tracing::error!(%error, "an identity cannot be written");
            CommandError::Internal
        })?;
        let digest = digest(&secret);
        let now = now_ms();
        let expires = end_of(identity, now);
        let life = Duration::from_millis(expires.saturating_sub(now));
        let kept = self.broker.keep_ticket(&digest, &content, life);
        kept.await.map_err(CommandError::of_read)?;
        Ok(Ticket { secret, expires })
    }

    /// The identity that a ticket stands for; `None`: it is none, has expired or is used up.
    ///
    /// # Errors
    /// The broker's failure.
    pub async fn redeem_ticket(
        &self,
        secret: &str,
        how: TicketUse,
    ) -> Result<Option<Identity>, CommandError> {
        let is_ticket = secret.len() == 2 * BYTES && secret.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_ticket {
            return Ok(None);
        }
        let once = how == TicketUse::Once;
        let found = self.broker.ticket(&digest(secret), once).await;
        let Some(content) = found.map_err(CommandError::of_read)? else {
            return Ok(None);
        };
        let holder: Identity = serde_json::from_str(&content).map_err(|error| {
            tracing::error!(%error, "a ticket cannot be read");
            CommandError::Internal
        })?;
        // The broker's clock may be another one.
        Ok(Some(holder).filter(|holder| !holder.has_expired()))
    }
}

/// When a ticket made now ends, in milliseconds since 1970.
fn end_of(identity: &Identity, now: u64) -> u64 {
    let longest = now.saturating_add(u64::try_from(LIFE.as_millis()).unwrap_or(u64::MAX));
    identity.expires.map_or(longest, |end| end.min(longest))
}

/// From it nobody comes back to the ticket.
fn digest(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use hubbub_protocol::{User, UserId};

    use super::*;

    #[test]
    fn a_ticket_ends_after_a_minute_or_with_its_token() {
        let user = User {
            id: UserId::new("eve").unwrap(),
            name: "Eve".into(),
        };
        let until = |expires| Identity {
            expires,
            ..Identity::of(user.clone())
        };
        assert_eq!(end_of(&until(None), 1_000), 61_000);
        assert_eq!(end_of(&until(Some(90_000)), 1_000), 61_000);
        assert_eq!(end_of(&until(Some(3_000)), 1_000), 3_000);
        assert_eq!(end_of(&until(Some(500)), 1_000), 500);
    }
}
