//! A client's line under hyper that a handler can take over together with the head of its answer, without
//! hyper's buffers around it. An upgrade does the same, but only for clients that ask for one.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use crate::pipe::Pipe;

/// The stream as hyper has it.
#[derive(Debug)]
pub(crate) struct Hijackable {
    /// Gone once it was handed over.
    stream: Option<Pipe>,
    hijack: Arc<HijackHandle>,
}

/// By which a handler takes the stream of its connection.
#[derive(Debug, Default)]
pub(crate) struct HijackHandle(Mutex<Option<PendingHijack>>);

#[derive(Debug)]
struct PendingHijack {
    /// The bytes that hyper has written since.
    written: Vec<u8>,
    taker: oneshot::Sender<Hijacked>,
}

/// The stream, and what has to be written to it first: the answer's head.
#[derive(Debug)]
pub(crate) struct Hijacked {
    pub(crate) stream: Pipe,
    pub(crate) written: Vec<u8>,
}

impl HijackHandle {
    /// From now on hyper writes nowhere; when it has done with the answer, which must say
    /// `Connection: close`, the stream comes out of the receiver. Nothing comes if the client has gone.
    pub(crate) fn take(&self) -> oneshot::Receiver<Hijacked> {
        let (taker, taken) = oneshot::channel();
        let claimed = PendingHijack {
            written: Vec::new(),
            taker,
        };
        *self.0.lock() = Some(claimed);
        taken
    }

    /// Keeps what would have been written; `None`: the stream is hyper's still.
    fn keep(&self, bytes: &[IoSlice<'_>]) -> Option<usize> {
        let mut hijack = self.0.lock();
        let written = &mut hijack.as_mut()?.written;
        let before = written.len();
        for bytes in bytes {
            written.extend_from_slice(bytes);
        }
        Some(written.len() - before)
    }
}

impl Hijackable {
    pub(crate) fn new(stream: Pipe, hijack: Arc<HijackHandle>) -> Self {
        Self {
            stream: Some(stream),
            hijack,
        }
    }

    /// The stream itself.
    pub(crate) fn into_inner(self) -> Option<Pipe> {
        self.stream
    }

    fn stream(self: Pin<&mut Self>) -> io::Result<Pin<&mut Pipe>> {
        let stream = self.get_mut().stream.as_mut();
        stream
            .map(Pin::new)
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl AsyncRead for Hijackable {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Hijackable {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.hijack.keep(&[IoSlice::new(bytes)]) {
            Some(kept) => Poll::Ready(Ok(kept)),
            None => self.stream()?.poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.hijack.keep(bytes) {
            Some(kept) => Poll::Ready(Ok(kept)),
            None => self.stream()?.poll_write_vectored(context, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream
            .as_ref()
            .is_none_or(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.stream {
            Some(_) => self.stream()?.poll_flush(context),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Where the stream was claimed, this is when hyper has done with it.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let claimed = this.hijack.0.lock().take();
        match (claimed, this.stream.as_mut()) {
            (None, Some(stream)) => Pin::new(stream).poll_shutdown(context),
            (Some(PendingHijack { written, taker }), Some(_)) => {
                let stream = this.stream.take().expect("it was just looked at");
                // The claimant may have gone: then the connection ends here.
                drop(taker.send(Hijacked { stream, written }));
                Poll::Ready(Ok(()))
            }
            (_, None) => Poll::Ready(Ok(())),
        }
    }
}
