//! The Rust client of Hubbub: it reconnects, resumes its rooms without loss and retries its sends
//! without doubles, on any of several nodes.
//!
//! ```no_run
//! use hubbub_client::{Client, ClientConfig, ClientEvent, Start};
//! use hubbub_protocol::RoomId;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = ClientConfig::new(["http://127.0.0.1:3000", "http://127.0.0.1:3001"]);
//! let (client, mut events) = Client::start(config)?;
//! let lobby = RoomId::new("lobby")?;
//! client.join(&lobby, Start::Recent(50)).await?;
//! let sent = client.send(&lobby, &serde_json::json!({"text": "hi"})).await?;
//! println!("kept as number {}", sent.offset);
//! while let Some(event) = events.recv().await {
//!     match event {
//!         ClientEvent::Event(event) => println!("{}: {:?}", event.offset, event.body),
//!         ClientEvent::Closed { code, reason } => eprintln!("over: {code:?} {reason}"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The client promises, as long as the server keeps its own promises:
//!
//! * every event of a joined room comes once and in order, over any number of reconnects; what
//!   could not be resumed is said ([`Joined::recovered`], [`ClientEvent::Reset`]), and an event that
//!   the server numbers again after that comes as [`ClientEvent::Repeated`];
//! * every send has exactly one result, and a retried send is stored once;
//! * edits, deletions and reactions are sends like any other;
//! * whatever ends a connection, except a close code 45xx, leads to a new one.
//!
//! `https://` and `wss://` URLs go over TLS, trusting whom the system trusts or
//! [`ClientConfig::tls`]. [`Client::refresh`] hands over a new token before the old one ends.
//!
//! Events come through one bounded queue. While it is full the client stops reading its socket
//! (back-pressure): nothing is lost, but answers wait as well, so read the events in a task of
//! their own. A reader that stays away for longer than the server's ping time-out is
//! disconnected by the server, and resumes when it reads again.

mod backoff;
mod client;
mod config;
mod driver;
mod error;
mod event;
mod frame;
mod guest;
mod line;
mod outbox;
mod outgoing;
mod pace;
mod patience;
mod requests;
mod rooms;
mod seen;
mod socket;
mod stream;
mod track;
mod url;

pub use client::{Client, Receipt};
pub use config::{ClientConfig, Credentials, Start};
pub use error::{ConfigError, Refusal, RequestError};
pub use event::{ClientEvent, Event, EventKind};
pub use frame::{History, Joined, Members, RoomInfo, Sent};
pub use guest::{Guest, GuestError, new_guest};
pub use tokio_rustls::rustls;
