//! One connection through the proxy.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::state::{Lane, State};
use super::{Direction, Fault};

/// Bytes that are held between reading and writing, in addition to the kernel's buffers.
const KEPT: usize = 256 * 1024;
const CHUNK: usize = 16 * 1024;
/// The kernel's receive buffer for the server. It is small, so that a held server soon cannot
/// write.
const AHEAD: u32 = 64 * 1024;
/// The number of bytes of a connection that are searched for its kind.
const INSPECTED: usize = 16 * 1024;

pub(super) async fn connection(
    client: TcpStream,
    server: SocketAddr,
    mut state: watch::Receiver<State>,
) {
    let Ok(server) = connect(server).await else {
        // The server refuses. The proxy does the same, as far as possible for an accepted
        // connection.
        let _ = client.set_zero_linger();
        return;
    };
    // Small frames must not wait for each other here.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let State {
        resets, strandings, ..
    } = *state.borrow();
    let is_subscription = Arc::new(AtomicBool::new(false));
    let lane = |direction| Lane {
        direction,
        strandings,
        is_subscription: Arc::clone(&is_subscription),
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
            // A closed connection needs no reset.
            let _ = half.as_ref().set_zero_linger();
            // Dropping the half would send a regular end first.
            half.forget();
        }
    }
}

async fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(AHEAD)?;
    socket.connect(server).await
}

/// Moves the bytes of one direction until its end, then closes the other side.
async fn pump(
    reader: OwnedReadHalf,
    writer: &mut OwnedWriteHalf,
    state: watch::Receiver<State>,
    lane: Lane,
) -> io::Result<()> {
    let (chunks, queue) = mpsc::unbounded_channel();
    let taken = take(reader, chunks, lane.clone());
    tokio::try_join!(taken, give(queue, writer, state, lane)).map(|_| ())
}

/// When the chunk came, its bytes, and its permit in the queue.
type Chunk = (Instant, Vec<u8>, OwnedSemaphorePermit);

async fn take(
    mut reader: OwnedReadHalf,
    chunks: mpsc::UnboundedSender<Chunk>,
    lane: Lane,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(KEPT));
    let mut seen = 0;
    loop {
        let mut chunk = vec![0; CHUNK];
        let length = reader.read(&mut chunk).await?;
        chunk.truncate(length);
        if length == 0 {
            return Ok(());
        }
        if seen < INSPECTED {
            lane.inspect(&chunk);
            seen += length;
        }
        let count = u32::try_from(length).expect("a chunk is small");
        let place = Arc::clone(&places).acquire_many_owned(count);
        let place = place.await.expect("the semaphore is never closed");
        if chunks.send((Instant::now(), chunk, place)).is_err() {
            return Ok(());
        }
    }
}

async fn give(
    mut chunks: mpsc::UnboundedReceiver<Chunk>,
    writer: &mut OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    lane: Lane,
) -> io::Result<()> {
    while let Some((came, chunk, _place)) = chunks.recv().await {
        match not_held(&mut state, &lane).await {
            Fault::Pass | Fault::Hold => {}
            Fault::Drop => continue,
            Fault::Jitter(most) => sleep_until(came + most.mul_f64(fastrand::f64())).await,
            Fault::Stall(one_in, pause) => {
                if fastrand::u32(..one_in) == 0 {
                    sleep(pause).await;
                }
            }
            Fault::Throttle(rate) => {
                throttle(&chunk, rate, writer).await?;
                continue;
            }
        }
        writer.write_all(&chunk).await?;
    }
    not_held(&mut state, &lane).await;
    writer.shutdown().await
}

/// Waits until the fault is not `Hold`, and returns it.
async fn not_held(state: &mut watch::Receiver<State>, lane: &Lane) -> Fault {
    // An error means that the proxy was dropped, and this task with it.
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
