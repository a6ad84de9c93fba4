//! The data formats: commands of clients (`command`), frames for clients (`frame`, `event`) and packets
//! between nodes (`packet`). This crate has no I/O and no async.

pub mod body;
pub mod close;
pub mod command;
mod epoch;
pub mod error;
pub mod event;
pub mod fold;
pub mod frame;
pub mod id;
mod json;
mod mention;
pub mod order;
pub mod packet;
pub mod since;
pub mod socketio;
pub mod user;

pub use body::{Body, BodyView};
pub use close::CloseCode;
pub use command::{AckLevel, Command, DecodeError, Request, RequestId, decode_command};
pub use epoch::EpochOrder;
pub use error::ErrorCode;
pub use event::{Draft, Envelope, EventKind, StoredEvent};
pub use frame::Frame;
pub use id::{
    ConnectionId, Epoch, InvalidId, MessageId, NodeId, Nonce, Position, ReactionKey, RoomId,
    UserId, random_name,
};
pub use order::{Issued, Order, Subject, Tokens};
pub use packet::{Packet, PacketError, PresenceDelta};
pub use since::Since;
pub use user::User;

/// The native protocol's name, offered as WebSocket sub-protocol.
pub const NATIVE_PROTOCOL: &str = "hubbub.v1";
/// Offered beside [`NATIVE_PROTOCOL`], this sub-protocol prefix carries a token.
pub const BEARER_PROTOCOL_PREFIX: &str = "hubbub.bearer.";
