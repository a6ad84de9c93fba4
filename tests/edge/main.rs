//! The edge of a node: tokens, time-outs, drain, operators. Bad input has a suite of its own: `security`.

mod drain;
mod ops;
mod timeouts;
mod tokens;
