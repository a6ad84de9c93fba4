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

/// Accepts clients and makes the two halves of each connection.
pub trait Handler: Send + Sync + 'static {
    /// The findings of the handshake.
    type Handshake: Send + 'static;
    /// The permits that a WebSocket's own TCP connection has taken and gives back at its end.
    type Permits: Send + 'static;
    /// The half that receives the client's messages.
    type Inbound: Inbound<Permits = Self::Permits>;
    /// The half that sends to it.
    type Outbound: Outbound;

    /// The headers that let an allowed page read any answer.
    ///
    /// # Errors
    /// The answer to a page that is not allowed.
    fn cors(&self, request: &Request) -> Result<HeaderMap, Box<Response>>;

    /// Decides whether a new connection may come in.
    ///
    /// # Errors
    /// The answer to a client that may not.
    fn admit(&self, request: &Request) -> Result<Self::Handshake, Box<Response>>;

    /// Takes what a WebSocket has to hold that goes on for a connection begun by polling.
    fn permits(&self, request: &Request) -> Self::Permits;

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

    /// Makes the two halves; both live in the connection's one task.
    fn open(&self, handshake: Self::Handshake) -> (Self::Inbound, Self::Outbound);

    /// Called when a connection has ended.
    fn ended(&self, inbound: &Self::Inbound, end: Ended);

    /// Called when a connection's task has panicked.
    fn panicked(&self);
}

/// A message from the client.
#[derive(Debug)]
pub enum ClientMessage<'a> {
    /// Text.
    Text(&'a str),
    /// Bytes.
    Binary(Bytes),
}

/// Receives a client's messages, one after the other.
pub trait Inbound: Send + 'static {
    /// See [`Handler::Permits`].
    type Permits: Send + 'static;

    /// Pays for a long message before it is read. Waits first until the client has read what is on its way to it.
    ///
    /// # Errors
    /// Why the connection must end.
    fn pay(&mut self, bytes: usize) -> impl Future<Output = Result<Paid, CloseCode>> + Send;

    /// Deals with one message. Waiting here stops the client.
    ///
    /// # Errors
    /// Why the connection must end.
    fn receive(
        &mut self,
        message: ClientMessage<'_>,
    ) -> impl Future<Output = Result<(), CloseCode>> + Send;

    /// Counts a packet that carries no message, such as a pong.
    ///
    /// # Errors
    /// Why the connection must end: there were too many of them.
    fn count_packet(&mut self) -> Result<(), CloseCode>;

    /// The connection goes on over a WebSocket.
    fn moved(&mut self, permits: Self::Permits);

    /// Ends, and returns what the connection gives back when its socket is closed too.
    fn into_permits(self) -> Self::Permits;
}

/// Sends to the client. In every poll of the task the inbound half comes first, so what it leaves for
/// the outbound half needs no waker.
pub trait Outbound: Send + 'static {
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
