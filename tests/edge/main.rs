//! The edge of a node: handshakes, tokens, bad bytes, bad commands, time-outs, drain, operators.

mod admin;
mod commands;
mod drain;
mod frames;
mod handshake;
mod limits;
mod ops;
mod timeouts;
mod tokens;
