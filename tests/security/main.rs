//! Bad input and attacks row by row, each test named after its row (README.md has the table); TLS,
//! the PROXY protocol, and the least rights that SECURITY.md tells.

#![expect(clippy::print_stdout, reason = "tests print their figures")]

mod autobahn;
mod closed;
mod commands;
mod flood;
mod forwarded;
mod frames;
mod handshake;
mod headers;
mod heads;
mod hosts;
mod idle;
mod large;
mod logs;
mod paid;
mod positions;
mod proxy;
mod reactions;
mod rights;
mod searches;
mod secure;
mod slow;
mod storage;
mod stores;
mod tls;
