//! A TCP proxy that injects faults while it runs, for each direction separately.

mod pump;
mod state;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use self::pump::connection;
use self::state::State;
use crate::port::free_port;

/// What the proxy does with the bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It passes them on.
    Pass,
    /// It holds them until the fault changes, and the end of the stream too.
    Hold,
    /// It discards them.
    Drop,
    /// It delays them by a random time up to this, in order.
    Jitter(Duration),
    /// It passes at most this many bytes per second.
    Throttle(u64),
    /// It delays one chunk in this many by this time, like the retransmission of a lost packet.
    Stall(u32, Duration),
}

/// The direction of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server behind the proxy.
    ToServer,
    /// From the server to the client.
    ToClient,
    /// Both directions.
    Both,
}

/// The kind of a connection. A node has one connection to Redis for commands and one for its
/// subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// All other connections.
    Commands,
    /// Connections on which SUBSCRIBE was written.
    Subscription,
}

/// The proxy. It and its connections end when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    _task: AbortOnDropHandle<()>,
}

impl Proxy {
    /// Starts a proxy in front of `server`, without faults.
    ///
    /// # Panics
    /// Panics if it cannot listen.
    pub async fn start(server: SocketAddr) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let listener = TcpListener::bind(address).await.expect("the port is free");
        let state = watch::Sender::new(State::passing());
        let task = tokio::spawn(serve(listener, address, server, state.subscribe()));
        Self {
            address,
            state,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// The address for clients.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the fault of a direction, for all present and future connections.
    pub fn set(&self, direction: Direction, fault: Fault) {
        self.state.send_modify(|state| {
            state.commands.set(direction, fault);
            state.subscription.set(direction, fault);
        });
    }

    /// Sets the fault of a direction for present and future connections of one kind.
    pub fn set_kind(&self, kind: Kind, direction: Direction, fault: Fault) {
        self.state.send_modify(|state| match kind {
            Kind::Commands => state.commands.set(direction, fault),
            Kind::Subscription => state.subscription.set(direction, fault),
        });
    }

    /// Ends all connections with a reset (RST) on both sides.
    pub fn reset(&self) {
        self.state.send_modify(|state| state.resets += 1);
    }

    /// Holds the present connections for ever, like a firewall that has lost their state. New
    /// connections pass.
    pub fn strand(&self) {
        self.state.send_modify(|state| state.strandings += 1);
    }

    /// Sets whether new connections are refused, as on a host where nobody listens.
    pub fn refuse(&self, refusing: bool) {
        self.state.send_modify(|state| state.refusing = refusing);
    }
}

async fn serve(
    listener: TcpListener,
    address: SocketAddr,
    server: SocketAddr,
    mut state: watch::Receiver<State>,
) {
    let mut connections = JoinSet::new();
    let mut listener = Some(listener);
    loop {
        let refusing = state.borrow_and_update().refusing;
        if refusing {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(address).await.ok();
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = accepted => if let Ok((client, _)) = accepted {
                connections.spawn(connection(client, server, state.clone()));
            },
            changed = state.changed() => if changed.is_err() {
                return;
            },
            Some(_) = connections.join_next() => {}
        }
    }
}
