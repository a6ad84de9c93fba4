//! Tests that kill, pause and cut off nodes and Redis under load. A delay is allowed, loss is not.
//! `README.md` beside this file lists the rows and their figures.

#![expect(clippy::print_stdout, reason = "tests print their figures")]

mod arena;
mod balancer;
mod footprint;
mod injectors;
mod presence;
mod prober;
mod publisher;
mod row;
mod scale;
mod watcher;
mod workload;

mod apart;
mod archive;
mod client_link;
mod herd;
mod link;
mod machine;
mod mix;
mod nemesis;
mod node_dies;
mod older_redis;
mod redis_dies;
mod redis_refuses;
mod redis_slow;
mod subscription;
