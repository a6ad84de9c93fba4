//! A client's connection, plain or over TLS, with the same few calls.

use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice, Read};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use crate::tls::TlsStream;

/// The layers between a client and its transport.
#[derive(Debug)]
pub(crate) enum Pipe {
    /// TCP alone.
    Plain(TcpStream),
    /// TLS over it, on the heap: most connections have none.
    Tls(Box<TlsStream>),
}

impl Pipe {
    /// The layer below.
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.tcp(),
        }
    }

    /// Reads what is there; 0 is the end.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => read_once(tcp, buffer),
            Self::Tls(tls) => tls.try_read(buffer),
        }
    }

    /// Writes as much as the socket takes now. What was not counted must be tried again, the same
    /// bytes first: over TLS a part of them may be on its way already.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.try_write(bytes),
            Self::Tls(tls) => tls.try_write(bytes),
        }
    }

    /// Ready when it makes sense to read again, after a read found nothing.
    pub(crate) fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp().poll_read_ready(context)
    }

    /// Ready when it makes sense to write again, after a write was cut short.
    pub(crate) fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp().poll_write_ready(context)
    }

    /// Waits as [`Self::poll_read_ready`]. Cancel safe.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.tcp().readable().await
    }

    /// Waits as [`Self::poll_write_ready`]. Cancel safe.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        self.tcp().writable().await
    }

    /// Ends the direction to the client, with TLS's goodbye where there is TLS.
    pub(crate) async fn shutdown(&self) -> io::Result<()> {
        if let Self::Tls(tls) = self {
            poll_fn(|context| tls.poll_goodbye(context)).await?;
        }
        SockRef::from(self.tcp()).shutdown(Shutdown::Write)
    }
}

/// Less than there is room for means that nothing more is here, so that nobody has to ask for it: the
/// runtime then waits for the next event, as its own reads do.
fn read_once(tcp: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut taken = None;
    let asked = tcp.try_io(Interest::READABLE, || {
        let length = (&*SockRef::from(tcp)).read(buffer)?;
        taken = Some(length);
        match length {
            part if part > 0 && part < buffer.len() => Err(ErrorKind::WouldBlock.into()),
            whole => Ok(whole),
        }
    });
    taken.map_or(asked, Ok)
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Self::Tls(tls) => loop {
                match tls.try_read(buffer.initialize_unfilled()) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        ready!(tls.tcp().poll_read_ready(context))?;
                    }
                    read => {
                        buffer.advance(read?);
                        return Poll::Ready(Ok(()));
                    }
                }
            },
        }
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Self::Tls(tls) => tls.poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(context, bytes),
            Self::Tls(tls) => {
                let first = bytes.iter().find(|bytes| !bytes.is_empty());
                tls.poll_write(context, first.map_or(&[], |bytes| bytes))
            }
        }
    }

    /// Over TLS a record for each small slice would cost more than joining them.
    fn is_write_vectored(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(context),
            Self::Tls(tls) => tls.poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(context),
            Self::Tls(tls) => tls.poll_shutdown(context),
        }
    }
}
