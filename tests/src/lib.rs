//! Shared tools of the test suites: real Redis, nodes in this process and as the real binary, a TCP
//! proxy that injects faults, clients that record what they receive, and the verifier of their
//! logs.

pub mod certificates;
pub mod child;
pub mod cluster;
pub mod deadline;
pub mod disk;
pub mod haproxy;
pub mod http;
pub mod issuer;
pub mod jwks;
pub mod ledger;
pub mod load;
pub mod local;
pub mod metrics;
pub mod nginx;
pub mod operator;
pub mod oracle;
pub mod people;
pub mod pgbouncer;
pub mod port;
pub mod postgres;
pub mod process;
pub mod procfs;
pub mod proxy;
pub mod raw;
pub mod receiver;
pub mod recorder;
pub mod redis;
pub mod socketio;
pub mod sse;
pub mod wire;
