//! A TCP proxy that does harm on demand, for each direction by itself and while it runs.

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

/// What happens to the bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// They pass.
    Pass,
    /// They wait until the fault changes; so does the end of the stream.
    Hold,
    /// They are swallowed.
    Drop,
    /// They arrive later by a random time up to this, in order.
    Jitter(Duration),
    /// At most so many bytes a second.
    Throttle(u64),
    /// One chunk in so many waits for so long, as where a packet was lost and is sent again.
    Stall(u32, Duration),
}

/// Which way the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server behind the proxy.
    ToServer,
    /// From the server to the client.
    ToClient,
    /// Both.
    Both,
}

/// Which connections: a node has one to Redis for commands and one for its subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Every other one.
    Commands,
    /// One on which SUBSCRIBE was written.
    Subscription,
}

/// The proxy; dropped, it and its connections are gone.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    _task: AbortOnDropHandle<()>,
}

impl Proxy {
    /// A proxy in front of `server`, passing.
    ///
    /// # Panics
    /// When it cannot listen.
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

    /// Where clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the fault of a direction, for all connections, also those to come.
    pub fn set(&self, direction: Direction, fault: Fault) {
        self.state.send_modify(|state| {
            state.commands.set(direction, fault);
            state.subscription.set(direction, fault);
        });
    }

    /// Sets the fault of a direction for one kind of connections, also those to come.
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

    /// Leaves the connections that are there hanging for ever, as a firewall that has forgotten
    /// them; new ones pass.
    pub fn strand(&self) {
        self.state.send_modify(|state| state.strandings += 1);
    }

    /// Whether new connections are refused, as by a host on which nobody listens.
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
