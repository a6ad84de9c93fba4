//! A TCP proxy that does harm on demand, for each direction by itself and while it runs.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;

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
    /// They arrive later by this much.
    Delay(Duration),
    /// At most so many bytes a second.
    Throttle(u64),
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

#[derive(Debug, Clone, Copy)]
struct State {
    to_server: Fault,
    to_client: Fault,
    refusing: bool,
    /// Counts the resets; each ends the connections that are there.
    resets: u64,
    /// Counts the strandings; each holds the connections that are there for ever.
    strandings: u64,
}

/// One direction of one connection.
#[derive(Debug, Clone, Copy)]
struct Lane {
    direction: Direction,
    /// How many strandings there were when the connection was made.
    strandings: u64,
}

impl Lane {
    fn fault(self, state: &State) -> Fault {
        match self.direction {
            _ if state.strandings != self.strandings => Fault::Hold,
            Direction::ToServer => state.to_server,
            Direction::ToClient | Direction::Both => state.to_client,
        }
    }
}

/// The proxy; dropped, it and its connections are gone.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    _task: AbortOnDropHandle<()>,
}

/// Chunks between reading and writing: this bounds what `Delay` keeps.
const CHUNKS: usize = 256;
const CHUNK: usize = 16 * 1024;

impl Proxy {
    /// A proxy in front of `server`, passing.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn start(server: SocketAddr) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let listener = TcpListener::bind(address).await.expect("the port is free");
        let state = watch::Sender::new(State {
            to_server: Fault::Pass,
            to_client: Fault::Pass,
            refusing: false,
            resets: 0,
            strandings: 0,
        });
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
        self.state.send_modify(|state| match direction {
            Direction::ToServer => state.to_server = fault,
            Direction::ToClient => state.to_client = fault,
            Direction::Both => (state.to_server, state.to_client) = (fault, fault),
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

async fn connection(client: TcpStream, server: SocketAddr, mut state: watch::Receiver<State>) {
    let Ok(server) = TcpStream::connect(server).await else {
        // The server behind refuses: so do we, as far as an accepted connection can.
        let _ = client.set_zero_linger();
        return;
    };
    // Small frames must not wait for each other here.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let State {
        resets, strandings, ..
    } = *state.borrow();
    let lane = |direction| Lane {
        direction,
        strandings,
    };
    let (client_read, mut client_write) = client.into_split();
    let (server_read, mut server_write) = server.into_split();
    let (for_there, for_back) = (state.clone(), state.clone());
    let both = async {
        let there = pump(
            client_read,
            &mut server_write,
            for_there,
            lane(Direction::ToServer),
        );
        let back = pump(
            server_read,
            &mut client_write,
            for_back,
            lane(Direction::ToClient),
        );
        tokio::try_join!(there, back).map(|_| ())
    };
    let reset = state.wait_for(|state| state.resets != resets);
    let is_abrupt = tokio::select! {
        ended = both => ended.is_err(),
        _ = reset => true,
    };
    if is_abrupt {
        for half in [client_write, server_write] {
            // One that is closed already needs no reset.
            let _ = half.as_ref().set_zero_linger();
            // Dropped as it is, it would say a regular end first.
            half.forget();
        }
    }
}

/// Moves one direction until its end, and closes the other side then.
async fn pump(
    reader: OwnedReadHalf,
    writer: &mut OwnedWriteHalf,
    state: watch::Receiver<State>,
    lane: Lane,
) -> io::Result<()> {
    let (chunks, queue) = mpsc::channel(CHUNKS);
    tokio::try_join!(take(reader, chunks), give(queue, writer, state, lane)).map(|_| ())
}

type Chunk = (Instant, Vec<u8>);

async fn take(mut reader: OwnedReadHalf, chunks: mpsc::Sender<Chunk>) -> io::Result<()> {
    loop {
        let mut chunk = vec![0; CHUNK];
        let length = reader.read(&mut chunk).await?;
        chunk.truncate(length);
        if length == 0 || chunks.send((Instant::now(), chunk)).await.is_err() {
            return Ok(());
        }
    }
}

async fn give(
    mut chunks: mpsc::Receiver<Chunk>,
    writer: &mut OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    lane: Lane,
) -> io::Result<()> {
    while let Some((came, chunk)) = chunks.recv().await {
        match not_held(&mut state, lane).await {
            Fault::Pass | Fault::Hold => writer.write_all(&chunk).await?,
            Fault::Drop => {}
            Fault::Delay(delay) => {
                sleep_until(came + delay).await;
                writer.write_all(&chunk).await?;
            }
            Fault::Throttle(rate) => throttle(&chunk, rate, writer).await?,
        }
    }
    not_held(&mut state, lane).await;
    writer.shutdown().await
}

/// The present fault, once it is not `Hold`.
async fn not_held(state: &mut watch::Receiver<State>, lane: Lane) -> Fault {
    // An error means that the proxy is gone, and this task with it.
    let _ = state
        .wait_for(|state| lane.fault(state) != Fault::Hold)
        .await;
    lane.fault(&state.borrow())
}

/// Writes in slices of about 20 ms.
async fn throttle(chunk: &[u8], rate: u64, writer: &mut OwnedWriteHalf) -> io::Result<()> {
    let slice = usize::try_from(rate / 50).unwrap_or(usize::MAX).max(1);
    for part in chunk.chunks(slice) {
        writer.write_all(part).await?;
        sleep(Duration::from_secs_f64(part.len() as f64 / rate as f64)).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deadline::within;

    const SOON: Duration = Duration::from_secs(10);

    /// A proxy in front of a server that sends back whatever comes.
    async fn echo() -> (Proxy, AbortOnDropHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap()).await;
        let server = tokio::spawn(async move {
            let mut sockets = JoinSet::new();
            while let Ok((mut socket, _)) = listener.accept().await {
                sockets.spawn(async move {
                    let (mut read, mut write) = socket.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        (proxy, AbortOnDropHandle::new(server))
    }

    async fn round(socket: &mut TcpStream) -> io::Result<Duration> {
        let start = Instant::now();
        socket.write_all(b"x").await?;
        socket.read_exact(&mut [0]).await?;
        Ok(start.elapsed())
    }

    #[tokio::test]
    async fn bytes_pass_wait_and_go_on() {
        let (proxy, _server) = echo().await;
        let mut socket = TcpStream::connect(proxy.address()).await.unwrap();
        within("pass", SOON, round(&mut socket)).await.unwrap();
        proxy.set(Direction::ToClient, Fault::Hold);
        socket.write_all(b"x").await.unwrap();
        let mut byte = [0];
        let early = tokio::time::timeout(Duration::from_millis(100), socket.read(&mut byte)).await;
        assert!(early.is_err(), "held");
        proxy.set(Direction::Both, Fault::Pass);
        within("go on", SOON, socket.read_exact(&mut byte))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn dropped_bytes_never_come() {
        let (proxy, _server) = echo().await;
        let mut socket = TcpStream::connect(proxy.address()).await.unwrap();
        within("pass", SOON, round(&mut socket)).await.unwrap();
        proxy.set(Direction::ToServer, Fault::Drop);
        socket.write_all(b"lost").await.unwrap();
        let early = tokio::time::timeout(Duration::from_millis(100), socket.read_u8()).await;
        assert!(early.is_err(), "swallowed");
        proxy.set(Direction::Both, Fault::Pass);
        socket.write_all(b"y").await.unwrap();
        let next = within("go on", SOON, socket.read_u8()).await.unwrap();
        assert_eq!(next, b'y');
    }

    #[tokio::test]
    async fn a_stranded_connection_hangs_and_a_new_one_passes() {
        let (proxy, _server) = echo().await;
        let mut old = TcpStream::connect(proxy.address()).await.unwrap();
        within("pass", SOON, round(&mut old)).await.unwrap();
        proxy.strand();
        let mut new = TcpStream::connect(proxy.address()).await.unwrap();
        within("pass", SOON, round(&mut new)).await.unwrap();
        old.write_all(b"x").await.unwrap();
        let early = tokio::time::timeout(Duration::from_millis(100), old.read_u8()).await;
        assert!(early.is_err(), "hangs");
    }

    #[tokio::test]
    async fn delay_and_throttle_take_their_time() {
        let (proxy, _server) = echo().await;
        let mut socket = TcpStream::connect(proxy.address()).await.unwrap();
        proxy.set(Direction::ToServer, Fault::Delay(Duration::from_millis(80)));
        let took = within("delayed", SOON, round(&mut socket)).await.unwrap();
        assert!(took >= Duration::from_millis(80), "{took:?}");
        proxy.set(Direction::ToServer, Fault::Throttle(10_000));
        let start = Instant::now();
        socket.write_all(&[1; 2_000]).await.unwrap();
        let mut back = [0; 2_000];
        within("throttled", SOON, socket.read_exact(&mut back))
            .await
            .unwrap();
        assert!(start.elapsed() >= Duration::from_millis(150));
    }

    #[tokio::test]
    async fn a_reset_is_a_reset_and_a_refusal_a_refusal() {
        let (proxy, _server) = echo().await;
        let mut socket = TcpStream::connect(proxy.address()).await.unwrap();
        within("pass", SOON, round(&mut socket)).await.unwrap();
        proxy.reset();
        let end = within("reset", SOON, socket.read_u8()).await.unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::ConnectionReset);
        proxy.refuse(true);
        let refused = async || {
            let refused = TcpStream::connect(proxy.address()).await.err()?;
            (refused.kind() == io::ErrorKind::ConnectionRefused).then_some(())
        };
        crate::deadline::eventually("refused", SOON, refused).await;
        proxy.refuse(false);
        let back = async || TcpStream::connect(proxy.address()).await.ok();
        let (mut socket, _) = crate::deadline::eventually("listens again", SOON, back).await;
        within("pass", SOON, round(&mut socket)).await.unwrap();
    }
}
