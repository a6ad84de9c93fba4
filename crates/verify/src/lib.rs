//! The oracle behind `hubbub verify` and the tests: judges what clients heard against each other
//! and against what senders were told.
//!
//! | | Promise | Anomaly |
//! |---|---|---|
//! | O1 | nothing acked is missing at a client that stayed or resumed | [`Anomaly::LostWrite`], [`Anomaly::Behind`] |
//! | O2 | nothing comes twice, and no event has two places in one life | [`Anomaly::Duplicate`], [`Anomaly::NumberedTwice`] |
//! | O3 | offsets go up by one within an epoch, and never back over epochs | [`Anomaly::Hole`], [`Anomaly::OutOfOrder`] |
//! | O4 | all hear the same bytes at the same place | [`Anomaly::Difference`] |
//! | O5 | what was refused is not there, what was sent once is there at most once, and where its ack says | [`Anomaly::Phantom`], [`Anomaly::StoredTwice`], [`Anomaly::Misplaced`] |
//! | O6 | one sender's order is kept | [`Anomaly::SenderOrder`] |
//!
//! Only a `reset`, or a `joined` that says `recovered: false`, allows a client to jump. What it
//! jumped over is counted as skipped, apart for events of the life that it was told of: a node
//! should have delivered those.
//!
//! After a failover the server numbers events again that it has kept, in a new life and under the
//! same message id. Such an event may come again to a client that was told of the new life; to a
//! client that was not told, the new life is [`Anomaly::OutOfOrder`]. An acked event counts as heard
//! at whichever place a client heard it. Within one life the same id at two places is
//! [`Anomaly::NumberedTwice`].
//!
//! A place is kept once for all clients, as a digest of its bytes and the event's id, and a client
//! as the runs of offsets that it heard, so the memory grows with events and not with deliveries.

mod anomaly;
mod line;
mod report;
mod room;
mod trail;
mod verifier;

pub use anomaly::{Anomaly, Place};
pub use line::LineError;
pub use report::{Counts, Report, RoomReport};
pub use verifier::{Ack, ClientId, Heard, Start, Verifier};
