//! Log lines that clients cause. Each is written while there are few; above a rate they are only counted,
//! so that no crowd and no attacker fills the log. With `RUST_LOG=hubbub_gateway=debug` all are written.

use std::time::Duration;

use hubbub_outage::Sampler;
use tracing::Level;

/// Lines about single connections, and in what time.
const CONNECTIONS: (u32, Duration) = (50, Duration::from_secs(1));
/// Lines about refused tokens, and in what time.
const TOKENS: (u32, Duration) = (10, Duration::from_secs(10));
/// Between two lines that say how many were left out.
const INTERVAL: Duration = Duration::from_secs(10);

/// Which lines are written.
#[derive(Debug)]
pub(crate) struct ClientLines {
    connections: Sampler,
    tokens: Sampler,
}

impl Default for ClientLines {
    fn default() -> Self {
        Self {
            connections: Sampler::new(CONNECTIONS.0, CONNECTIONS.1),
            tokens: Sampler::new(TOKENS.0, TOKENS.1),
        }
    }
}

impl ClientLines {
    /// Whether a line about a connection is written: it was opened, refused or closed.
    pub(crate) fn admits_connection(&self) -> bool {
        is_verbose() || self.connections.admits()
    }

    /// Whether a line about a refused token is written.
    pub(crate) fn admits_token(&self) -> bool {
        is_verbose() || self.tokens.admits()
    }

    /// Says now and then how many lines were left out, for as long as the gateway is open.
    pub(crate) async fn keep(&self) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            self.tell_left_out();
        }
    }

    /// Says how many lines were left out since it was last said.
    pub(crate) fn tell_left_out(&self) {
        let lines = self.connections.take_left_out();
        if lines > 0 {
            tracing::info!(
                lines,
                "too many lines about connections, some were left out"
            );
        }
        let lines = self.tokens.take_left_out();
        if lines > 0 {
            tracing::info!(
                lines,
                "too many lines about refused tokens, some were left out"
            );
        }
    }
}

fn is_verbose() -> bool {
    tracing::enabled!(Level::DEBUG)
}
