//! The handler behind an Engine.IO connection.

use std::future::Future;
use std::net::IpAddr;

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use hubbub_protocol::CloseCode;
use hubbub_protocol::socketio::Message;

/// The cost of a long message, given back when it is dropped.
pub type Paid = Box<dyn Send + Sync>;

/// Lets clients in and gives each its two ends.
pub trait Door: Send + Sync + 'static {
    /// The findings of the handshake.
    type Visitor: Send + 'static;
    /// The permits that a WebSocket's own TCP connection has taken and gives back at its end.
    type Hold: Send + 'static;
    /// The end that hears the client.
    type Ears: Ears<Hold = Self::Hold>;
    /// The end that speaks to it.
    type Mouth: Mouth;

    /// The headers that let an allowed page read any answer.
    ///
    /// # Errors
    /// The answer to a page that is not allowed.
    fn cors(&self, request: &Request) -> Result<HeaderMap, Box<Response>>;

    /// Decides whether a new connection may come in.
    ///
    /// # Errors
    /// The answer to who may not.
    fn admit(&self, request: &Request) -> Result<Self::Visitor, Box<Response>>;

    /// Takes what a WebSocket has to hold that goes on for a connection begun by polling.
    fn hold(&self, request: &Request) -> Self::Hold;

    /// Says which client a request comes from.
    fn client(&self, request: &Request) -> IpAddr;

    /// Reserves memory for a long HTTP body from a client, or to it.
    ///
    /// # Errors
    /// The answer to a client that has too much under way.
    fn pay(
        &self,
        client: IpAddr,
        bytes: usize,
    ) -> impl Future<Output = Result<Paid, Box<Response>>> + Send;

    /// Opens the two ends; both live in the connection's one task.
    fn open(&self, visitor: Self::Visitor) -> (Self::Ears, Self::Mouth);

    /// Hears how a connection has ended.
    fn ended(&self, ears: &Self::Ears, end: Ended);

    /// Hears that a connection ended by a fault of ours.
    fn panicked(&self);
}

/// A message from the client.
#[derive(Debug)]
pub enum Sound<'a> {
    /// Text.
    Text(&'a str),
    /// Bytes.
    Binary(Bytes),
}

/// Hears a client's messages, one after the other.
pub trait Ears: Send + 'static {
    /// See [`Door::Hold`].
    type Hold: Send + 'static;

    /// Pays for a long message before it is read. Waits first until the client takes what it is to hear.
    ///
    /// # Errors
    /// Why the connection must end.
    fn pay(&mut self, bytes: usize) -> impl Future<Output = Result<Paid, CloseCode>> + Send;

    /// Deals with one message. Waiting here stops the client.
    ///
    /// # Errors
    /// Why the connection must end.
    fn hear(&mut self, sound: Sound<'_>) -> impl Future<Output = Result<(), CloseCode>> + Send;

    /// Counts a packet that carries no message, such as a pong.
    ///
    /// # Errors
    /// Why the connection must end: there were too many of them.
    fn count_packet(&mut self) -> Result<(), CloseCode>;

    /// The connection goes on over a WebSocket.
    fn moved(&mut self, hold: Self::Hold);

    /// Ends, and returns what the connection gives back when its socket is closed too.
    fn into_hold(self) -> Self::Hold;
}

/// Says what the client is to hear. In every poll of the task the ears come first, so what they
/// leave for the mouth needs no waker.
pub trait Mouth: Send + 'static {
    /// Waits for messages and appends them. Asking again says that the last ones were written.
    /// Cancel safe.
    ///
    /// # Errors
    /// Why the connection ends, after what stands in `batch`.
    fn say(
        &mut self,
        batch: &mut Vec<Message>,
    ) -> impl Future<Output = Result<(), CloseCode>> + Send;

    /// Waits, while nothing can be written, until the connection is to end without it. Cancel safe.
    fn is_shed(&mut self) -> impl Future<Output = ()> + Send;

    /// Whether the client is in a namespace.
    fn has_joined(&self) -> bool;
}

/// How a connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The server closed it.
    ByUs(CloseCode),
    /// The client closed it.
    ByThem,
    /// It broke.
    Gone,
}
