//! The edge of a node: tokens, time-outs, drain, operators. Bad input has a suite of its own: `security`.

mod admin;
mod balancer;
mod drain;
mod expired;
mod guests;
mod jwks;
mod kept;
mod keys;
mod limits;
mod ops;
mod policy;
mod refresh;
mod refused;
mod timeouts;
mod tokens;
