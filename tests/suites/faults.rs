//! Nodes and Redis killed, frozen and cut off under load: a delay is allowed, loss is not.

#![expect(clippy::print_stdout, reason = "tests print their figures")]

#[path = "faults/node_death.rs"]
mod node_death;
#[path = "faults/presence_death.rs"]
mod presence_death;
#[path = "faults/redis_death.rs"]
mod redis_death;
#[path = "faults/redis_freeze.rs"]
mod redis_freeze;
#[path = "faults/redis_link.rs"]
mod redis_link;
#[path = "faults/redis_loss.rs"]
mod redis_loss;
#[path = "faults/subscription.rs"]
mod subscription;
#[path = "faults/workload.rs"]
mod workload;
