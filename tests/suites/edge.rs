//! The edge of a node: handshakes, tokens, bad bytes, bad commands, time-outs, drain, operators.

#[path = "edge/commands.rs"]
mod commands;
#[path = "edge/drain.rs"]
mod drain;
#[path = "edge/frames.rs"]
mod frames;
#[path = "edge/handshake.rs"]
mod handshake;
#[path = "edge/ops.rs"]
mod ops;
#[path = "edge/timeouts.rs"]
mod timeouts;
#[path = "edge/tokens.rs"]
mod tokens;
