//! One system of a fan-out comparison: a cluster or the floor, with its members connected.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::args::{FanoutArgs, Form};
use crate::access::Access;
use crate::error::BenchError;
use crate::fleet::{Fleet, FleetPlan, FloorProcess};
use crate::node::Cluster;
use crate::plan::{Load, LoadCounts};
use crate::redis::Redis;
use crate::report::Report;
use crate::usage;

/// Bytes of an event around its body. A bare PUBLISH carries them too.
const ENVELOPE: usize = 260;

pub(super) struct System<'a> {
    name: String,
    fleet: Fleet,
    server: Server<'a>,
    rounds: Vec<Round>,
}

enum Server<'a> {
    Cluster(&'a Cluster),
    Floor {
        processes: Vec<FloorProcess>,
        join_us: u64,
        /// The Redis between several floors.
        redis: Option<&'a Redis>,
    },
}

/// One measurement.
struct Round {
    seen: LoadCounts,
    /// CPU time of all nodes, in nanoseconds.
    cpu: Option<u64>,
    redis: Option<RedisCost>,
}

/// CPU time of Redis for a round's messages, in nanoseconds, without its idle load.
struct RedisCost {
    messages: u64,
    used: u64,
    bare: u64,
}

impl<'a> System<'a> {
    pub(super) async fn of_cluster(
        args: &FanoutArgs,
        form: &Form,
        name: &str,
        cluster: &'a Cluster,
    ) -> Result<Self, BenchError> {
        let plan = plan(args, form, cluster.addresses(), cluster.access.clone());
        Self::connect(name.to_owned(), plan, Server::Cluster(cluster)).await
    }

    pub(super) async fn of_floor(
        args: &FanoutArgs,
        form: &Form,
        join: u64,
    ) -> Result<Self, BenchError> {
        let processes = vec![FloorProcess::start(None).await?];
        let plan = plan(args, form, vec![processes[0].address], Access::default());
        let name = match join {
            0 => "floor".to_owned(),
            join => format!("floor, joined {join} ms"),
        };
        let server = Server::Floor {
            processes,
            join_us: join * 1000,
            redis: None,
        };
        Self::connect(name, plan, server).await
    }

    /// Two nodes that do one bare PUBLISH per message and one `send` per subscriber.
    pub(super) async fn of_relay(
        args: &FanoutArgs,
        form: &Form,
        redis: &'a Redis,
    ) -> Result<Self, BenchError> {
        let address = redis.address()?;
        let start = || FloorProcess::start(Some(address));
        let processes = vec![start().await?, start().await?];
        let nodes = processes.iter().map(|process| process.address).collect();
        let plan = plan(args, form, nodes, Access::default());
        let server = Server::Floor {
            processes,
            join_us: 0,
            redis: Some(redis),
        };
        Self::connect("relay".to_owned(), plan, server).await
    }

    async fn connect(
        name: String,
        plan: FleetPlan,
        server: Server<'a>,
    ) -> Result<Self, BenchError> {
        let mut fleet = Fleet::connect(plan).await?;
        fleet.join().await?;
        Ok(Self {
            name,
            fleet,
            server,
            rounds: Vec::new(),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether this is the system that all others are compared with.
    pub(super) fn is_floor(&self) -> bool {
        matches!(
            self.server,
            Server::Floor {
                join_us: 0,
                redis: None,
                ..
            }
        )
    }

    /// Runs the load once.
    pub(super) async fn measure(
        &mut self,
        args: &FanoutArgs,
        form: &Form,
    ) -> Result<(), BenchError> {
        let load = Load {
            start: 0,
            rate: f64::from(form.rate),
            base: 0,
            count: u64::from(form.rate) * u64::from(args.seconds),
            payload: args.payload,
            senders: args.senders.min(form.members),
        };
        let round = match &mut self.server {
            Server::Cluster(cluster) => {
                let (redis, pids) = (cluster.redis.as_ref(), cluster.pids());
                measure(&mut self.fleet, redis, pids, load, None).await?
            }
            Server::Floor {
                processes,
                join_us,
                redis,
            } => {
                let load = Load { senders: 0, ..load };
                let pids = processes.iter().map(|process| process.pid).collect();
                let floors = Some((&mut processes[..], *join_us));
                measure(&mut self.fleet, *redis, Some(pids), load, floors).await?
            }
        };
        self.rounds.push(round);
        Ok(())
    }

    /// Microseconds of CPU per delivery.
    pub(super) fn cpu_micros(&self) -> Option<f64> {
        let each = |round: &Round| micros(round.cpu?, round.seen.deliveries);
        median(self.rounds.iter().filter_map(each).collect())
    }

    /// Returns an error if a promise was broken.
    pub(super) fn check(&self) -> Result<(), BenchError> {
        self.sum().check()
    }

    fn sum(&self) -> LoadCounts {
        let mut sum = LoadCounts::default();
        for round in &self.rounds {
            sum.add(round.seen.clone());
        }
        sum
    }

    pub(super) fn row(&self, form: &Form, floor_cpu: Option<f64>) -> Value {
        let sum = self.sum();
        let cpu = self.cpu_micros();
        let redis = self.rounds.iter().filter_map(|round| {
            let RedisCost {
                messages,
                used,
                bare,
            } = round.redis.as_ref()?;
            let each = micros(*used, *messages)?;
            Some((each, *used as f64 / (*bare).max(1) as f64))
        });
        let (redis, ratio): (Vec<_>, Vec<_>) = redis.unzip();
        let is_measured = |cross: f64| (!sum.cross.is_empty()).then_some(cross);
        json!({
            "load": form.name,
            "system": self.name,
            "cpu us": cpu,
            "x floor": floor_cpu.zip(cpu).map(|(floor, cpu)| cpu / floor),
            "p50": LoadCounts::quantile(&[&sum.same, &sum.cross], 0.5),
            "p99 same": LoadCounts::quantile(&[&sum.same], 0.99),
            "p99 cross": is_measured(LoadCounts::quantile(&[&sum.cross], 0.99)),
            "ack p99": (!sum.acks.is_empty()).then(|| LoadCounts::quantile(&[&sum.acks], 0.99)),
            "joined": sum.deliveries as f64 / sum.reads.max(1) as f64,
            "redis us": median(redis),
            "x publish": median(ratio),
            "delivered": sum.deliveries,
            "lost": sum.lost(),
            "twice": sum.duplicates,
            "disorder": sum.disordered,
            "lagged": sum.lagged,
        })
    }

    pub(super) fn add_curves(&self, form: &Form, report: &mut Report) {
        let sum = self.sum();
        if sum.cross.is_empty() {
            report.curve(form.name, &self.name, &sum.same);
        } else {
            report.curve(form.name, &format!("{}, same node", self.name), &sum.same);
            report.curve(
                form.name,
                &format!("{}, across nodes", self.name),
                &sum.cross,
            );
        }
    }
}

fn plan(
    args: &FanoutArgs,
    form: &Form,
    nodes: Vec<std::net::SocketAddr>,
    access: Access,
) -> FleetPlan {
    FleetPlan {
        nodes,
        access,
        processes: args.processes,
        members: form.rooms * form.members,
        rooms: form.rooms,
        name: format!("bench-{:08x}", fastrand::u32(..)),
    }
}

/// Runs the load and measures it. `pids` are the processes of all nodes, if known.
async fn measure(
    fleet: &mut Fleet,
    redis: Option<&Redis>,
    pids: Option<Vec<u32>>,
    load: Load,
    floors: Option<(&mut [FloorProcess], u64)>,
) -> Result<Round, BenchError> {
    let cpu = || pids.as_deref().map(usage::cpu_of).transpose();
    // The idle load of Redis, for as long as the load will take.
    let length = Duration::from_secs_f64(load.count as f64 / load.rate);
    let idle = match redis {
        Some(redis) => {
            let before = redis.cpu()?;
            sleep(length).await;
            redis.cpu()?.saturating_sub(before)
        }
        None => 0,
    };
    let redis_before = redis.map(Redis::cpu).transpose()?;
    let before = cpu()?;
    let seen = fleet.run(load, floors).await?;
    let cpu = before.zip(cpu()?);
    let redis = match (redis, redis_before) {
        (Some(redis), Some(before)) => {
            let used = redis.cpu()?.saturating_sub(before);
            let bytes = load.payload + ENVELOPE;
            let bare =
                tokio::task::block_in_place(|| redis.bare_publish(load.rate, load.count, bytes))?;
            Some(RedisCost {
                messages: load.count,
                used: used.saturating_sub(idle),
                bare: bare.saturating_sub(idle),
            })
        }
        _ => None,
    };
    Ok(Round {
        seen,
        cpu: cpu.map(|(before, after)| after.saturating_sub(before)),
        redis,
    })
}

/// Returns microseconds per item, from nanoseconds for all `count` items.
fn micros(nanos: u64, count: u64) -> Option<f64> {
    (count > 0).then(|| nanos as f64 / 1000.0 / count as f64)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(Vec::new()), None);
        assert_eq!(micros(3_000, 2), Some(1.5));
    }
}
