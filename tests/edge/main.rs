//! The edge of a node: handshakes, tokens, bad bytes, bad commands, time-outs, drain, operators.

mod commands;
mod drain;
mod frames;
mod handshake;
mod kept;
mod noise;
mod ops;
mod timeouts;
mod tokens;
