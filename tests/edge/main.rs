//! The edge of a node: handshakes, tokens, bad bytes, bad commands, time-outs, drain, operators.

mod admin;
mod commands;
mod drain;
mod frames;
mod guests;
mod handshake;
mod jwks;
mod kept;
mod keys;
mod limits;
mod noise;
mod ops;
mod policy;
mod refresh;
mod timeouts;
mod tokens;
