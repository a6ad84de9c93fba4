//! One member of one room: a bare WebSocket with small buffers, so that many fit.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt, TryStreamExt, stream};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::error::BenchError;

/// How long a handshake or a join may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Handshakes at one time.
const AT_ONCE: usize = 64;

/// A guest, joined to its room.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) number: usize,
    pub(crate) stream: WebSocketStream<TcpStream>,
}

/// Which member goes where.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) number: usize,
    pub(crate) authority: String,
    pub(crate) room: String,
}

/// Brings all members to their places, some at a time.
pub(crate) async fn join_all(places: Vec<Place>) -> Result<Vec<Member>, BenchError> {
    stream::iter(places.into_iter().map(Member::join))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

impl Member {
    async fn join(place: Place) -> Result<Self, BenchError> {
        let Place {
            number,
            authority,
            room,
        } = place;
        let failed = |source| BenchError::Connection {
            number,
            source: Box::new(source),
        };
        let stream = timeout(PATIENCE, connect(&authority)).await;
        let stream = stream.map_err(|_| failed(Error::Io(std::io::ErrorKind::TimedOut.into())));
        let mut member = Self {
            number,
            stream: stream?.map_err(failed)?,
        };
        // Before the welcome: a node waits a little for a guest's first word.
        member
            .send(format!(r#"{{"type":"join","id":1,"room":"{room}"}}"#))
            .await?;
        member.expect("welcome").await?;
        member.expect("joined").await?;
        Ok(member)
    }

    pub(crate) async fn send(&mut self, frame: String) -> Result<(), BenchError> {
        let number = self.number;
        let sent = self.stream.send(Message::text(frame)).await;
        sent.map_err(|source| BenchError::Connection {
            number,
            source: Box::new(source),
        })
    }

    /// The next text frame; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<tokio_tungstenite::tungstenite::Utf8Bytes> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return Some(text),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Waits for a frame of this type; presence may come before it.
    async fn expect(&mut self, expected: &'static str) -> Result<(), BenchError> {
        let wanted = format!(r#"{{"type":"{expected}""#);
        let answer = |got: &str| BenchError::Answer {
            number: self.number,
            expected,
            got: got.to_owned(),
        };
        let (silence, end) = (answer("nothing in time"), answer("the end"));
        loop {
            let Ok(frame) = timeout(PATIENCE, self.next()).await else {
                return Err(silence);
            };
            let Some(frame) = frame else { return Err(end) };
            if frame.starts_with(&wanted) {
                return Ok(());
            }
            if frame.starts_with(r#"{"type":"error""#) {
                return Err(BenchError::Answer {
                    number: self.number,
                    expected,
                    got: frame.as_str().to_owned(),
                });
            }
        }
    }
}

async fn connect(authority: &str) -> Result<WebSocketStream<TcpStream>, Error> {
    let request = format!("ws://{authority}/v1/ws").into_client_request()?;
    let socket = TcpStream::connect(authority).await?;
    socket.set_nodelay(true)?;
    let config = WebSocketConfig::default()
        .read_buffer_size(1024)
        .write_buffer_size(0);
    let (stream, _) = client_async_with_config(request, socket, Some(config)).await?;
    Ok(stream)
}
