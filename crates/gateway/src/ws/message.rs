//! Messages of the native protocol: a long one is paid for before it is read.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use hubbub_node::{Reservation, Session};
use hubbub_protocol::CloseCode;

use super::socket::{Data, End, Reader};
use crate::state::GatewayState;

/// A text message, and what it costs until it has been dealt with.
pub(super) struct Message {
    pub(super) text: String,
    /// `None`: it is short. On the heap, so that an idle connection does not carry its size.
    paid: Option<Box<Reservation>>,
}

/// The payer of what is read.
pub(super) enum Purse<'a> {
    /// Somebody of whom only the address is known.
    Stranger(&'a GatewayState, IpAddr),
    /// A session. `busy`: while it waits, pongs are not read.
    Session(&'a Session, &'a AtomicBool),
}

impl Message {
    /// Reads the next message. Cancel safe.
    ///
    /// # Errors
    /// How the connection ends: 1013 where its address or its user has too much under way.
    pub(super) async fn read(reader: &mut Reader<'_>, purse: Purse<'_>) -> Result<Self, End> {
        let mut paid: Option<Box<Reservation>> = None;
        loop {
            match reader.next_data().await? {
                Data::Text(text) => return Ok(Self { text, paid }),
                Data::Binary(_) => return Err(End::Ours(CloseCode::Unsupported)),
                Data::Large(bytes) => {
                    // The smaller reservation is returned first: nobody waits while holding one.
                    drop(paid.take());
                    paid = Some(Box::pin(purse.pay(bytes)).await?);
                    reader.admit(bytes);
                }
            }
        }
    }

    /// The text's memory goes; the reservation stays until the returned value is dropped, since what was
    /// made of the text may be as large.
    pub(super) fn finish(self) -> Option<Box<Reservation>> {
        self.paid
    }
}

impl Purse<'_> {
    async fn pay(&self, bytes: usize) -> Result<Box<Reservation>, End> {
        let paid = match self {
            Self::Stranger(gateway, client) => gateway.pay_for_message(*client, bytes).await,
            Self::Session(session, busy) => {
                busy.store(true, Ordering::Relaxed);
                let paid = session.admit_message(bytes).await;
                busy.store(false, Ordering::Relaxed);
                paid
            }
        };
        let paid = paid.map_err(|error| {
            tracing::debug!(%error, bytes, "a long message cannot be read now");
            End::Ours(CloseCode::TryLater)
        })?;
        Ok(Box::new(paid))
    }
}
