//! The verifier behind `hubbub verify` and the tests. It checks what clients received against each
//! other and against the answers that senders got.
//!
//! | | Promise | Anomaly |
//! |---|---|---|
//! | O1 | a client that stayed or resumed misses nothing that was acked | [`Anomaly::LostWrite`], [`Anomaly::Behind`] |
//! | O2 | nothing comes twice, and no event has two places in one epoch | [`Anomaly::Duplicate`], [`Anomaly::NumberedTwice`] |
//! | O3 | offsets go up by one within an epoch, and never back over epochs | [`Anomaly::Hole`], [`Anomaly::OutOfOrder`] |
//! | O4 | all clients receive the same bytes at the same place | [`Anomaly::Difference`] |
//! | O5 | a refused send is not stored; an accepted send is stored at most once, at the place that its ack names | [`Anomaly::Phantom`], [`Anomaly::StoredTwice`], [`Anomaly::Misplaced`] |
//! | O6 | the order of each sender is kept | [`Anomaly::SenderOrder`] |
//!
//! Only a `reset`, or a `joined` that says `recovered: false`, allows a client to skip events.
//! Skipped events are counted. Skipped events of the epoch that the client was told of are counted
//! apart: a node should have delivered those.
//!
//! After a failover the server numbers again the events that it has kept, in a new epoch and under
//! the same message ID. Such an event may come again to a client that was told of the new epoch. To
//! a client that was not told, the new epoch is [`Anomaly::OutOfOrder`]. An acked event counts as
//! received at any of its places. The same ID at two places of one epoch is
//! [`Anomaly::NumberedTwice`].
//!
//! A place is stored once for all clients, as a digest of its bytes and the event's ID. A client is
//! stored as the runs of offsets that it received. So memory grows with events, not with
//! deliveries.

mod anomaly;
mod client;
mod line;
mod report;
mod room;
mod trail;
mod verifier;

pub use anomaly::{Anomaly, Place};
pub use client::ClientId;
pub use line::LineError;
pub use report::{Counts, Report, RoomReport};
pub use verifier::{Ack, Received, Start, Verifier};
