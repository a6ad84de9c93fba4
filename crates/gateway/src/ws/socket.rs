//! One upgraded socket, from open to close. It buffers nothing while it is idle: bytes are read
//! and written through the thread's own buffers, and only what is incomplete stays with it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hubbub_node::{Limits, Line, ReadDelay};
use hubbub_protocol::{CloseCode, Frame};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::{Instant, timeout_at};

use super::decoder::{Decoder, Incoming, MessageLimits};
use super::wire::{Opcode, encode, encode_close};
use crate::closed::Closed;
use crate::pipe::Pipe;

/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;
/// Frames are joined up to about so many bytes for one write.
const WRITE_BYTES: usize = 64 * 1024;
/// Pings and pongs that a client may send in a second; beyond, kept up: close 4429.
const CONTROLS_PER_SECOND: f32 = 20.0;
/// Pings and pongs at once.
const CONTROLS_BURST: f32 = 40.0;
/// How long a closing connection waits for the other side.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

thread_local! {
    static READ: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
    static WRITE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The server closes it.
    Ours(CloseCode),
    /// The client closed it, with this code.
    Theirs(Option<u16>),
    /// It broke.
    Gone,
}

impl From<End> for Closed {
    fn from(end: End) -> Self {
        match end {
            End::Ours(code) => Self::Server(code),
            End::Theirs(code) => Self::Client(code),
            End::Gone => Self::Network,
        }
    }
}

/// The client's line and what is incomplete on it.
#[derive(Debug)]
pub(crate) struct Socket {
    decoder: Decoder,
    assembly: Assembly,
    controls: Controls,
    shared: Arc<Shared>,
}

/// A message as it came.
#[derive(Debug)]
pub(crate) enum Data {
    /// One of up to so many bytes is on its way, and is read only after [`Reader::admit`].
    Large(usize),
    Text(String),
    Binary(Vec<u8>),
}

/// How long a message has been incomplete.
#[derive(Debug)]
struct Assembly {
    timeout: Duration,
    /// When its first bytes were here; `None`: nothing is incomplete.
    began: Option<Instant>,
}

/// The stream, and what the reading side leaves for the writing side. Both live in one task and the
/// reading side is polled first, so whatever it leaves is seen in the same poll and needs no waker.
/// Delivery may write too, from any thread, while nothing is unsent.
#[derive(Debug)]
struct Shared {
    stream: Pipe,
    /// Whole frames, or the rest of one, that go out before anything else. Locked by whoever
    /// writes, for as long as it does.
    unsent: Mutex<Vec<u8>>,
    pong: AtomicBool,
}

impl Line for Shared {
    fn send(&self, frames: &mut VecDeque<Frame>) -> bool {
        let mut unsent = self.unsent();
        if !unsent.is_empty() {
            return true;
        }
        let mut next = std::iter::from_fn(|| {
            let frame = frames.pop_front()?;
            Some((Opcode::Text, frame.into_bytes()))
        });
        // A broken connection is found by its task, which sees it at the socket too.
        !matches!(self.write(&mut unsent, &mut next), Ok(Progress::Done))
    }
}

/// A bucket of control frames, filled evenly.
#[derive(Debug)]
struct Controls {
    left: f32,
    filled: Instant,
}

impl Controls {
    fn take(&mut self) -> Result<(), End> {
        let now = Instant::now();
        let refill = now.duration_since(self.filled).as_secs_f32() * CONTROLS_PER_SECOND;
        self.left = (self.left + refill).min(CONTROLS_BURST) - 1.0;
        self.filled = now;
        if self.left < 0.0 {
            Err(End::Ours(CloseCode::Flooding))
        } else {
            Ok(())
        }
    }
}

impl Socket {
    /// Takes over after the upgrade; `early` are bytes that came with the request.
    pub(crate) fn new(stream: Pipe, early: &[u8], limits: &Limits) -> Self {
        let bytes = usize::try_from(limits.frame_bytes.as_u64());
        let messages = MessageLimits {
            bytes: bytes.unwrap_or(usize::MAX),
            fragments: limits.fragments,
            binary: false,
        };
        Self::with_limits(stream, early, messages, limits.assemble_timeout)
    }

    /// The same for a transport with limits of its own; `timeout` is from a message's first byte to
    /// its last.
    pub(crate) fn with_limits(
        stream: Pipe,
        early: &[u8],
        messages: MessageLimits,
        timeout: Duration,
    ) -> Self {
        let mut decoder = Decoder::new(messages);
        decoder.push(early);
        let assembly = Assembly {
            timeout,
            began: None,
        };
        let controls = Controls {
            left: CONTROLS_BURST,
            filled: Instant::now(),
        };
        Self {
            decoder,
            assembly,
            controls,
            shared: Arc::new(Shared {
                stream,
                unsent: Mutex::default(),
                pong: AtomicBool::new(false),
            }),
        }
    }

    /// The two directions.
    pub(crate) fn split(&mut self) -> (Reader<'_>, Writer<'_>) {
        let Self {
            decoder,
            assembly,
            controls,
            shared,
        } = self;
        (
            Reader {
                decoder,
                assembly,
                controls,
                shared,
                delay: None,
            },
            Writer { shared },
        )
    }

    /// For delivery, to write without this connection's task.
    pub(crate) fn line(&self) -> Arc<dyn Line> {
        Arc::clone(&self.shared) as _
    }

    /// Says goodbye and waits, for at most 5 s, until the other side has gone too.
    pub(crate) async fn finish(mut self: Box<Self>, end: End) {
        match end {
            End::Ours(code) => {
                encode_close(
                    Some(code.as_u16()),
                    code.reason(),
                    &mut self.shared.unsent(),
                );
            }
            // The reader has queued the answer.
            End::Theirs(_) => {}
            End::Gone => return,
        }
        // A client that takes no byte for `write_timeout` gets the one try that costs nothing.
        let slow = end == End::Ours(CloseCode::Slow);
        let patience = if slow { Duration::ZERO } else { CLOSE_PATIENCE };
        let farewell = async {
            let (_, writer) = self.split();
            while writer.try_write(&mut std::iter::empty())? == Progress::Blocked {
                writer.writable().await?;
            }
            // Bytes that nobody read would make the kernel reset the connection, and our last
            // words could be lost: so let the client get the close frame, and read until it has.
            self.shared.stream.shutdown().await?;
            self.discard().await
        };
        // An error means that the other side has gone: which is what was waited for.
        drop(tokio::time::timeout(patience, farewell).await);
    }

    async fn discard(&self) -> io::Result<()> {
        loop {
            self.shared.stream.readable().await?;
            match READ.with_borrow_mut(|buffer| self.shared.stream.try_read(buffer)) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The direction from the client.
pub(crate) struct Reader<'a> {
    decoder: &'a mut Decoder,
    assembly: &'a mut Assembly,
    controls: &'a mut Controls,
    shared: &'a Shared,
    /// The socket is not read before that has ended.
    delay: Option<ReadDelay>,
}

impl Reader<'_> {
    /// Has the socket not read before `rest` has ended. What has been read already is not held back.
    pub(crate) fn delay(&mut self, delay: ReadDelay) {
        self.delay = Some(delay);
    }

    /// Reads the message that [`Data::Large`] has announced.
    pub(crate) fn admit(&mut self, bytes: usize) {
        self.decoder.admit(bytes);
    }

    /// The next message. Pings are answered here. Cancel safe.
    ///
    /// # Errors
    /// How the connection ends.
    pub(crate) async fn next_data(&mut self) -> Result<Data, End> {
        loop {
            match self.decoder.next().map_err(End::Ours)? {
                Some(Incoming::Large(bytes)) => return Ok(Data::Large(bytes)),
                Some(Incoming::Text(text)) => {
                    self.assembly.began = None;
                    return Ok(Data::Text(text));
                }
                Some(Incoming::Binary(bytes)) => {
                    self.assembly.began = None;
                    return Ok(Data::Binary(bytes));
                }
                Some(Incoming::Ping(payload)) => {
                    self.controls.take()?;
                    encode(Opcode::Pong, &payload, &mut self.shared.unsent());
                }
                Some(Incoming::Pong) => {
                    self.controls.take()?;
                    self.shared.pong.store(true, Ordering::Relaxed);
                }
                Some(Incoming::Close(code)) => {
                    encode_close(code, "", &mut self.shared.unsent());
                    return Err(End::Theirs(code));
                }
                None => self.fill_in_time().await?,
            }
        }
    }

    /// An incomplete message has a deadline, which pings in between do not move.
    async fn fill_in_time(&mut self) -> Result<(), End> {
        if let Some(delay) = self.delay.take() {
            delay.await;
        }
        if !self.decoder.is_incomplete() {
            self.assembly.began = None;
            return self.fill().await;
        }
        let began = *self.assembly.began.get_or_insert_with(Instant::now);
        let deadline = began + self.assembly.timeout;
        // On the heap, so that an idle connection does not carry the timer's size.
        let filled = Box::pin(timeout_at(deadline, self.fill()));
        filled.await.unwrap_or(Err(End::Ours(CloseCode::Policy)))
    }

    async fn fill(&mut self) -> Result<(), End> {
        poll_fn(|cx| {
            READ.with_borrow_mut(|buffer| {
                loop {
                    match self.shared.stream.try_read(buffer) {
                        Ok(0) => return Poll::Ready(Err(End::Gone)),
                        Ok(length) => {
                            self.decoder.push(&buffer[..length]);
                            return Poll::Ready(Ok(()));
                        }
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {
                            if ready!(self.shared.stream.poll_read_ready(cx)).is_err() {
                                return Poll::Ready(Err(End::Gone));
                            }
                        }
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        Err(_) => return Poll::Ready(Err(End::Gone)),
                    }
                }
            })
        })
        .await
    }
}

/// Whether everything went out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Done,
    /// The socket takes no more now.
    Blocked,
}

/// The direction to the client.
pub(crate) struct Writer<'a> {
    shared: &'a Shared,
}

impl Writer<'_> {
    /// Queues a ping.
    pub(crate) fn ping(&self) {
        encode(Opcode::Ping, b"", &mut self.shared.unsent());
    }

    /// Whether a pong has come since this was last asked.
    pub(crate) fn take_pong(&self) -> bool {
        self.shared.pong.swap(false, Ordering::Relaxed)
    }

    /// Ready when the reading side has left something to be sent; see [`Shared`].
    pub(crate) async fn has_unsent(&self) {
        poll_fn(|_| {
            let empty = self.shared.unsent().is_empty();
            if empty {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
    }

    /// Waits until the socket takes bytes again.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        poll_fn(|cx| self.shared.stream.poll_write_ready(cx)).await
    }

    /// Sends what is unsent, then `frames`, joined into as few writes as possible. Frames that do
    /// not fit stay in the iterator, at most about one write's worth stays with the socket.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) fn try_write(
        &self,
        frames: &mut impl Iterator<Item = (Opcode, Bytes)>,
    ) -> io::Result<Progress> {
        self.shared.write(&mut self.shared.unsent(), frames)
    }
}

impl Shared {
    fn unsent(&self) -> MutexGuard<'_, Vec<u8>> {
        self.unsent.lock()
    }

    /// See [`Writer::try_write`].
    fn write(
        &self,
        unsent: &mut Vec<u8>,
        frames: &mut impl Iterator<Item = (Opcode, Bytes)>,
    ) -> io::Result<Progress> {
        WRITE.with_borrow_mut(|buffer| {
            // After an error it still holds what was another connection's.
            buffer.clear();
            loop {
                let sent = self.write_some(unsent)?;
                if sent < unsent.len() {
                    unsent.drain(..sent);
                    return Ok(Progress::Blocked);
                }
                *unsent = Vec::new();
                while buffer.len() < WRITE_BYTES {
                    let Some((opcode, payload)) = frames.next() else {
                        break;
                    };
                    encode(opcode, &payload, buffer);
                }
                if buffer.is_empty() {
                    return Ok(Progress::Done);
                }
                let sent = self.write_some(buffer)?;
                unsent.extend_from_slice(&buffer[sent..]);
                // One enormous frame must not stay with the thread for ever.
                buffer.clear();
                buffer.shrink_to(2 * WRITE_BYTES);
            }
        })
    }

    /// Writes until the socket takes no more; says how much it took.
    fn write_some(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut sent = 0;
        while sent < bytes.len() {
            match self.stream.try_write(&bytes[sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(length) => sent += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }
}
