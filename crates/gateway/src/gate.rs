//! What every door of one node shares.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use axum::http::HeaderMap;
use axum::http::header::{HOST, ORIGIN};
use hubbub_node::{
    Amount, CommandError, Identity, Limits, Node, Payer, Reservation, Session, TicketUse,
    address_key,
};
use hubbub_protocol::{CloseCode, Command, Request};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::address::Proxies;
use crate::admission::{AddressSlot, Admission, Permit};
use crate::auth::Auth;
use crate::auth::guest::{GuestPace, new_guest};
use crate::auth::origin::{Origin, OriginPolicy};
use crate::error::ApiError;
use crate::handover::Claim;
use crate::metrics::Metrics;
use crate::tls::Certificates;

/// Characters of what a client wrote that a log line shows.
const MAX_SHOWN: usize = 100;

/// The node behind the doors, and who may pass.
pub(crate) struct Gate {
    pub(crate) node: Arc<Node>,
    pub(crate) auth: Arc<Auth>,
    pub(crate) origins: OriginPolicy,
    pub(crate) guests: GuestPace,
    pub(crate) proxies: Proxies,
    pub(crate) admission: Arc<Admission>,
    pub(crate) metrics: Arc<Metrics>,
    /// Holds every connection's task, HTTP and upgraded.
    pub(crate) tasks: TaskTracker,
    /// Ends what is not yet, or no longer, a session of the node's.
    pub(crate) closing: CancellationToken,
    pub(crate) phase: Phase,
    /// Of the clients' port, where it has TLS.
    pub(crate) certificates: Option<Arc<Certificates>>,
}

/// The peer of one TCP connection, as handlers see it.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// Whether the connection itself is encrypted; see [`Gate::is_secure`].
    pub(crate) tls: bool,
    /// Operators need none.
    pub(crate) permit: Option<Arc<Permit>>,
    /// Taken at once from a direct peer; behind a trusted proxy each client takes its own.
    pub(crate) slot: Option<Arc<AddressSlot>>,
    /// Takes the TCP connection out of HTTP's hands.
    pub(crate) claim: Arc<Claim>,
}

impl Gate {
    pub(crate) fn limits(&self) -> &Limits {
        &self.node.config().limits
    }

    /// Where the client really is.
    pub(crate) fn client(&self, peer: &Peer, headers: &HeaderMap) -> IpAddr {
        self.proxies.client(peer.address.ip(), headers)
    }

    /// Somebody who brings no token, in guest mode; without a name one is made up.
    pub(crate) fn new_guest(
        &self,
        client: IpAddr,
        name: Option<String>,
    ) -> Result<Identity, CommandError> {
        self.guests.take(client).map_err(|wait| {
            self.metrics.rejected("guests");
            let retry_after_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
            CommandError::RateLimited { retry_after_ms }
        })?;
        Ok(new_guest(name))
    }

    /// Reserves work for a client of whom only the address is known.
    pub(crate) async fn reserve(
        &self,
        client: IpAddr,
        amount: Amount,
    ) -> Result<Reservation, CommandError> {
        self.node.reserve(&stranger(client), amount).await
    }

    /// Pays for a long message of somebody who has no session yet, before it is read.
    pub(crate) async fn pay_for_message(
        &self,
        client: IpAddr,
        bytes: usize,
    ) -> Result<Reservation, CommandError> {
        self.node.reserve_message(&stranger(client), bytes).await
    }

    /// Looks for whoever a ticket stands for; the client's address pays for the look.
    pub(crate) async fn redeem_ticket(
        &self,
        client: IpAddr,
        ticket: &str,
        how: TicketUse,
    ) -> Result<Option<Identity>, CommandError> {
        let _reservation = self.reserve(client, Amount::read(0)).await?;
        self.node.redeem_ticket(ticket, how).await
    }

    /// Hands a command to the session; the token of a `refresh` is proved first.
    pub(crate) async fn handle(&self, session: &mut Session, request: Request) {
        let Command::Refresh { token } = &request.command else {
            return session.handle(request).await;
        };
        let id = request.id.as_ref();
        if !session.admits_refresh(id) {
            return;
        }
        match self.auth.verify(token).await {
            Ok(identity) => session.refresh(id, identity).await,
            Err(error) if error.is_temporary() => session.fail(id, &CommandError::Unavailable),
            Err(error) => {
                tracing::debug!(%error, "token refused");
                session.close(CloseCode::BadToken);
            }
        }
    }

    /// The origin of the pages that this node serves to this client.
    fn own_origin(&self, peer: &Peer, headers: &HeaderMap) -> Option<Origin> {
        let host = headers.get(HOST)?.to_str().ok()?;
        Origin::of_host(self.is_secure(peer, headers), host)
    }

    /// Whether nobody on the way can read what the client sends: TLS of ours, or of a proxy that is
    /// believed.
    pub(crate) fn is_secure(&self, peer: &Peer, headers: &HeaderMap) -> bool {
        peer.tls || self.proxies.is_secure(peer.address.ip(), headers)
    }

    /// Refuses foreign pages. Says whether there was an allowed `Origin`; programs send none.
    pub(crate) fn check_origin(&self, peer: &Peer, headers: &HeaderMap) -> Result<bool, ApiError> {
        let mut origins = headers.get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else {
            return Ok(false);
        };
        let own = self.own_origin(peer, headers);
        let allowed = origins.next().is_none()
            && origin
                .to_str()
                .is_ok_and(|origin| self.origins.allows(origin, own.as_ref()));
        if allowed {
            return Ok(true);
        }
        self.metrics.rejected("origin");
        let shown = String::from_utf8_lossy(origin.as_bytes());
        let shown: String = shown.chars().take(MAX_SHOWN).collect();
        tracing::debug!(peer = %peer.address, origin = ?shown, ?own, "origin refused");
        Err(ApiError::Origin)
    }
}

/// A client of whom only the address is known.
fn stranger(client: IpAddr) -> Payer {
    Payer {
        address: Some(address_key(client)),
        ..Payer::default()
    }
}

/// How far the node is on its way out.
#[derive(Debug, Default)]
pub(crate) struct Phase(AtomicU8);

impl Phase {
    const LEAVING: u8 = 1;
    const DRAINING: u8 = 2;

    /// From now on `/readyz` says no; whoever comes is still served, until balancers know.
    pub(crate) fn leave(&self) {
        self.0.fetch_max(Self::LEAVING, Ordering::Relaxed);
    }

    /// From now on nobody new is let in.
    pub(crate) fn drain(&self) {
        self.0.fetch_max(Self::DRAINING, Ordering::Relaxed);
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= Self::LEAVING
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= Self::DRAINING
    }
}
