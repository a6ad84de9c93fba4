//! The state that every transport of one node shares.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue};
use hubbub_node::{
    Amount, CommandError, Identity, Limits, Node, Payer, Reservation, Session, TicketUse,
    address_key,
};
use hubbub_outage::Outage;
use hubbub_protocol::{CloseCode, Command, Request};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::address::Proxies;
use crate::admission::{AddressSlot, Admission, Permit, Refusal};
use crate::auth::guest::{GuestPace, new_guest};
use crate::auth::host::Hosts;
use crate::auth::origin::{Origin, OriginPolicy};
use crate::auth::{Auth, bearer};
use crate::error::ApiError;
use crate::hijack::HijackHandle;
use crate::lines::ClientLines;
use crate::metrics::Metrics;
use crate::proof::TokenSource;
use crate::tls::Certificates;

/// Characters of what a client wrote that a log line shows.
const MAX_SHOWN: usize = 100;
/// Requests of pages that may not connect, and by names that this node is not known by.
static REFUSED: Outage = Outage::new();

/// The node behind the transports, and what decides who may connect.
pub(crate) struct GatewayState {
    pub(crate) node: Arc<Node>,
    pub(crate) auth: Arc<Auth>,
    pub(crate) origins: OriginPolicy,
    /// The names under which this node serves pages.
    pub(crate) hosts: Hosts,
    pub(crate) guests: GuestPace,
    pub(crate) proxies: Proxies,
    pub(crate) admission: Arc<Admission>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) lines: ClientLines,
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
    /// Whether the connection itself is encrypted; see [`GatewayState::is_secure`].
    pub(crate) tls: bool,
    pub(crate) permit: Option<Arc<Permit>>,
    /// Taken at once from a direct peer; behind a trusted proxy each client takes its own.
    pub(crate) slot: Option<Arc<AddressSlot>>,
    /// Takes the TCP connection out of HTTP's hands.
    pub(crate) hijack: Arc<HijackHandle>,
}

impl GatewayState {
    pub(crate) fn limits(&self) -> &Limits {
        &self.node.config().limits
    }

    /// Where the client really is.
    pub(crate) fn client(&self, peer: &Peer, headers: &HeaderMap) -> IpAddr {
        self.proxies.client(peer.address.ip(), headers)
    }

    /// A user without a token, in guest mode; without a name one is made up.
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

    /// The place at its address of a client whose connection stays: the one that its own TCP connection
    /// took, or, behind a trusted proxy, one that it takes now, as a new connection of its own address.
    pub(crate) fn take_place(
        &self,
        peer: &Peer,
        client: IpAddr,
    ) -> Result<Arc<AddressSlot>, Refusal> {
        let taken = match &peer.slot {
            Some(slot) => Ok(Arc::clone(slot)),
            None => self.admission.take_place(client).map(Arc::new),
        };
        taken.inspect_err(|refusal| self.metrics.rejected(refusal.as_str()))
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
    pub(crate) async fn handle(
        &self,
        token_source: TokenSource,
        session: &mut Session,
        request: Request,
    ) {
        let Command::Refresh { token } = &request.command else {
            return session.handle(request).await;
        };
        let id = request.id.as_ref();
        if !session.admits_refresh(id) {
            return;
        }
        match self.verify(token_source, token).await {
            Ok(identity) => session.refresh(id, identity).await,
            Err(error) if error.is_temporary() => session.fail(id, &CommandError::Unavailable),
            Err(_) => session.close(CloseCode::BadToken),
        }
    }

    /// The origin of the pages that this node serves to this client; `None`: under this name it serves
    /// none.
    fn own_origin(&self, peer: &Peer, headers: &HeaderMap) -> Option<Origin> {
        let host = headers.get(HOST)?.to_str().ok()?;
        if !self.hosts.knows(host) {
            return None;
        }
        Origin::of_host(self.is_secure(peer, headers), host)
    }

    /// The token that a request proves itself with by its head, `Authorization` first. `from_page`: it has
    /// an allowed `Origin`, or is a read of which the browser says that a page of ours makes it. A cookie
    /// counts for such pages only, and only under the one name that belongs to the connection.
    pub(crate) fn token<'a>(
        &self,
        peer: &Peer,
        headers: &'a HeaderMap,
        from_page: bool,
    ) -> Option<&'a str> {
        let has_cookies = self.origins.trusts_cookies() && from_page;
        let name = has_cookies.then(|| self.cookie(peer, headers));
        bearer::token(headers, name.as_deref())
    }

    /// The name of the cookie that may carry a token of this client.
    pub(crate) fn cookie(&self, peer: &Peer, headers: &HeaderMap) -> Cow<'static, str> {
        self.auth.cookie().of(self.is_secure(peer, headers))
    }

    /// Refuses to make a guest for a request without an `Origin` that came by a name which is not known
    /// here: a page of a stranger may have given this node that name.
    pub(crate) fn check_host(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        // Where any page may connect, this one may too.
        if !self.origins.trusts_cookies() || self.hosts.knows_all(headers) {
            return Ok(());
        }
        self.metrics.rejected("host");
        let host = shown(headers.get(HOST));
        if let Some(now) = REFUSED.fail(&host) {
            tracing::warn!(
                host,
                refused = now.failures,
                "a guest was refused, this node is not known by that name: add it to http.public_urls to let such guests in"
            );
        }
        Err(ApiError::Host("http.public_urls"))
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
        let (origin, host) = (shown(Some(origin)), shown(headers.get(HOST)));
        if let Some(now) = REFUSED.fail(&origin) {
            tracing::warn!(origin, host, client = %self.client(peer, headers), refused = now.failures,
                "a page was refused: add its origin to http.allowed_origins to let it in, or to http.public_urls if this node serves it");
        }
        Err(ApiError::Origin)
    }
}

/// A header's value for a log line.
fn shown(value: Option<&HeaderValue>) -> String {
    let value = value.map(|value| String::from_utf8_lossy(value.as_bytes()));
    value.unwrap_or_default().chars().take(MAX_SHOWN).collect()
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
