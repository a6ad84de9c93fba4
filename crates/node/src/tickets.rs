//! Tickets: a token's worth in an address, for clients that can send no header. They are random, good
//! for a minute, and only their digest is kept.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use crate::Identity;
use crate::error::CommandError;
use crate::node::Node;

/// Enough for a page to connect.
const LIFE: Duration = Duration::from_secs(60);
const BYTES: usize = 32;

/// What stands for an identity for a short time.
pub struct Ticket {
    /// Goes into an address, and into no log.
    pub secret: String,
    /// Milliseconds since 1970.
    pub expires: u64,
}

/// How often a ticket opens a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TicketUse {
    /// It is used up.
    Once,
    /// Until it expires: an `EventSource` comes back by itself, to the same address.
    UntilExpiry,
}

impl Node {
    /// Makes a ticket for this identity, good on every node.
    ///
    /// # Errors
    /// What the broker cannot do now.
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
        let kept = self.broker.keep_ticket(&digest, &content, LIFE);
        kept.await.map_err(CommandError::of_read)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let expires = now.unwrap_or_default() + LIFE;
        Ok(Ticket {
            secret,
            expires: u64::try_from(expires.as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// Whoever a ticket stands for; `None`: it is none, has expired or is used up.
    ///
    /// # Errors
    /// What the broker cannot do now.
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
        serde_json::from_str(&content).map_err(|error| {
            tracing::error!(%error, "a ticket cannot be read");
            CommandError::Internal
        })
    }
}

/// From it nobody comes back to the ticket.
fn digest(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
