//! Nodes and Redis killed, frozen and cut off under load: a delay is allowed, loss is not.

#![expect(clippy::print_stdout, reason = "tests print their figures")]

mod node_death;
mod presence_death;
mod redis_death;
mod redis_freeze;
mod redis_link;
mod redis_loss;
mod subscription;
mod workload;
