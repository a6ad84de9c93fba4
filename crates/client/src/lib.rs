//! The Rust client of Hubbub. It connects to any of several nodes, reconnects, resumes its rooms without
//! loss and retries its sends without duplicates.
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
//! * every event of a joined room is handed out once and in order, over any number of reconnects. If
//!   a resume is incomplete, the client says so ([`Joined::recovered`], [`ClientEvent::Reset`]). An
//!   event that the server numbers again after that is handed out as [`ClientEvent::Repeated`];
//! * every send has exactly one result, and a retried send is stored once;
//! * edits, deletions and reactions are sends like any other;
//! * whatever ends a connection, except a close code 45xx, leads to a new one.
//!
//! `https://` and `wss://` URLs use TLS with the system's certificate authorities or those of
//! [`ClientConfig::tls`]. [`Client::refresh`] sends a new token before the old one expires.
//!
//! Events are handed out through one bounded queue. While it is full, the client does not read its
//! socket (back-pressure). Nothing is lost, but replies wait as well, so read the events in a task of
//! their own. If the application does not read for longer than the server's ping time-out, the server
//! disconnects the client, which resumes when the application reads again.

mod backoff;
mod client;
mod client_event;
mod config;
mod connection;
mod cursor;
mod driver;
mod error;
mod event;
mod frame;
mod guest;
mod liveness;
mod outbox;
mod outgoing;
mod pace;
mod reply;
mod requests;
mod rooms;
mod seen;
mod socket;
mod stream;
mod url;

pub use client::{Client, Receipt};
pub use client_event::ClientEvent;
pub use config::{ClientConfig, Credentials, Start};
pub use error::{ConfigError, Refusal, RequestError};
pub use event::{Event, EventKind};
pub use guest::{Guest, GuestError, new_guest};
pub use reply::{History, Joined, Members, RoomInfo, Sent};
pub use tokio_rustls::rustls;
