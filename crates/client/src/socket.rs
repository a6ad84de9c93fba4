//! One WebSocket connection. It is opened up to `welcome`, then read and written side by side.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{Sink, SinkExt, StreamExt};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::config::Credentials;
use crate::frame::{Incoming, Welcome, read};
use crate::guest::{self, GuestError};
use crate::stream::{ByteStream, Trust, connect};
use crate::url::NodeUrl;

/// The end of a connection, or of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) code: Option<u16>,
    pub(crate) reason: String,
    pub(crate) retry_after: Option<Duration>,
    /// Whether another attempt with the same settings is useless.
    pub(crate) is_final: bool,
}

impl Ending {
    pub(crate) fn abrupt(reason: impl Into<String>) -> Self {
        Self {
            code: None,
            reason: reason.into(),
            retry_after: None,
            is_final: false,
        }
    }

    fn closed(frame: Option<CloseFrame>) -> Self {
        let Some(frame) = frame else {
            return Self::abrupt("closed without a code");
        };
        let code = u16::from(frame.code);
        Self {
            code: Some(code),
            reason: frame.reason.as_str().to_owned(),
            retry_after: None,
            is_final: !hubbub_protocol::CloseCode::is_resumable(code),
        }
    }
}

impl From<Error> for Ending {
    fn from(error: Error) -> Self {
        let retry_after = match &error {
            Error::Http(response) => retry_after(response.headers()),
            _ => None,
        };
        Self {
            retry_after,
            ..Self::abrupt(error.to_string())
        }
    }
}

impl From<GuestError> for Ending {
    fn from(error: GuestError) -> Self {
        let mut ending = Self::abrupt(error.to_string());
        if let GuestError::Refused {
            status,
            retry_after,
        } = error
        {
            ending.retry_after = retry_after;
            ending.is_final = (400..500).contains(&status) && ![408, 429].contains(&status);
        }
        ending
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

type Stream = WebSocketStream<ByteStream>;

/// An open connection.
#[derive(Debug)]
pub(crate) struct Socket {
    reader: SplitStream<Stream>,
    writer: Writer,
    /// The server pings more often than this. A server that sends nothing for this time is dead.
    silence: Duration,
    heard: Instant,
}

#[derive(Debug)]
struct Writer {
    sink: SplitSink<Stream, Message>,
    /// Frames to write. The limits of open requests bound them, and [`Socket::QUEUE`] bounds signals.
    queue: VecDeque<Message>,
    is_dirty: bool,
}

/// The parts of a new connection.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) socket: Socket,
    pub(crate) welcome: Welcome,
    /// The accepted token, for the next connection.
    pub(crate) token: String,
}

/// Connects and waits for `welcome`.
pub(crate) async fn open(
    url: NodeUrl,
    trust: Trust,
    credentials: Credentials,
    within: Duration,
) -> Result<Opened, Ending> {
    match timeout(within, handshake(&url, &trust, credentials)).await {
        Ok(result) => result,
        Err(_) => Err(Ending::abrupt("no connection in time")),
    }
}

async fn handshake(
    url: &NodeUrl,
    trust: &Trust,
    credentials: Credentials,
) -> Result<Opened, Ending> {
    let token = match credentials {
        Credentials::Token(token) => token,
        Credentials::Guest { name } => guest::request(url, trust, name.as_deref()).await?.token,
    };
    let mut request = url.websocket().into_client_request()?;
    let bearer = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| Ending::abrupt("the token cannot stand in a header"))?;
    request.headers_mut().insert(header::AUTHORIZATION, bearer);
    let bytes = connect(url, trust).await.map_err(Error::Io)?;
    let config = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .write_buffer_size(16 * 1024);
    let (stream, _) = client_async_with_config(request, bytes, Some(config)).await?;
    let (sink, mut reader) = stream.split();
    let welcome = first_frame(&mut reader).await?;
    let writer = Writer {
        sink,
        queue: VecDeque::new(),
        is_dirty: false,
    };
    let ping = Duration::from_millis(welcome.ping_ms);
    let socket = Socket {
        reader,
        writer,
        silence: ping.mul_f64(1.25) + Duration::from_secs(10),
        heard: Instant::now(),
    };
    Ok(Opened {
        socket,
        welcome,
        token,
    })
}

async fn first_frame(reader: &mut SplitStream<Stream>) -> Result<Welcome, Ending> {
    loop {
        match reader.next().await {
            Some(Ok(Message::Text(text))) => match read(text.as_str()) {
                Ok(Incoming::Welcome(welcome)) => return Ok(welcome),
                _ => return Err(Ending::abrupt("the first frame is no welcome")),
            },
            Some(Ok(Message::Close(frame))) => return Err(Ending::closed(frame)),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error.into()),
            None => return Err(Ending::abrupt("closed before the welcome")),
        }
    }
}

impl Socket {
    /// If this many frames wait for the socket, signals are dropped.
    const QUEUE: usize = 512;

    /// Queues a frame, which [`Socket::progress`] writes.
    pub(crate) fn queue(&mut self, frame: String) {
        self.writer.queue.push_back(Message::text(frame));
        self.writer.is_dirty = true;
    }

    /// Queues a signal, or drops it if too many frames wait already.
    pub(crate) fn queue_if_idle(&mut self, frame: String) {
        if self.writer.queue.len() < Self::QUEUE {
            self.queue(frame);
        }
    }

    /// Writes the queued frames and, if `reading`, reads the next one. Cancel safe.
    ///
    /// # Errors
    /// The connection has ended.
    pub(crate) async fn progress(&mut self, reading: bool) -> Result<String, Ending> {
        if !reading {
            self.heard = Instant::now();
        }
        loop {
            let Self {
                reader,
                writer,
                silence,
                heard,
            } = self;
            let message = tokio::select! {
                written = std::future::poll_fn(|cx| writer.poll_flush(cx)), if writer.is_dirty => {
                    written?;
                    continue;
                }
                message = reader.next(), if reading => message,
                () = sleep_until(*heard + *silence), if reading => {
                    return Err(Ending::abrupt("the server is silent"));
                }
                else => std::future::pending().await,
            };
            *heard = Instant::now();
            match message {
                Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
                Some(Ok(Message::Close(frame))) => return Err(Ending::closed(frame)),
                // The library answers pings. This protocol has no binary frames.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Err(Ending::abrupt("the connection ended")),
            }
        }
    }

    /// Sends a close frame and waits briefly for the answer.
    pub(crate) async fn close(mut self) {
        const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
        let closing = async {
            self.writer.sink.send(Message::Close(None)).await?;
            while let Some(Ok(_)) = self.reader.next().await {}
            Ok::<(), Error>(())
        };
        // The server drops the connection anyway, so a failure changes nothing.
        let _ = timeout(CLOSE_TIMEOUT, closing).await;
    }
}

impl Writer {
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut sink = std::pin::Pin::new(&mut self.sink);
        while !self.queue.is_empty() {
            ready!(sink.as_mut().poll_ready(cx))?;
            if let Some(message) = self.queue.pop_front() {
                sink.as_mut().start_send(message)?;
            }
        }
        ready!(sink.poll_flush(cx))?;
        self.is_dirty = false;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

    #[test]
    fn only_45xx_is_final() {
        for (code, is_final) in [(1012, false), (4408, false), (4501, true), (4505, true)] {
            let ending = Ending::closed(Some(CloseFrame {
                code: CloseCode::from(code),
                reason: "x".into(),
            }));
            assert_eq!((ending.code, ending.is_final), (Some(code), is_final));
        }
        assert!(!Ending::closed(None).is_final);
    }

    #[test]
    fn a_refused_guest_is_final_and_a_full_node_is_not() {
        for (status, is_final) in [(404, true), (403, true), (429, false), (503, false)] {
            let retry_after = Some(Duration::from_secs(2));
            let ending = Ending::from(GuestError::Refused {
                status,
                retry_after,
            });
            assert_eq!(
                (ending.is_final, ending.retry_after),
                (is_final, retry_after)
            );
        }
    }
}
