//! The load processes, seen from their parent. Each holds as many connections as a process may.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use futures_util::future::try_join_all;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::access::Access;
use crate::clock;
use crate::error::BenchError;
use crate::floor::FloorOrder;
use crate::plan::{Churn, Load, LoadCounts, Order, Plan, Reply};
use crate::tally::merge;
use crate::usage;

/// The time from an order to its first message, so that all processes have received the order.
const LEAD: Duration = Duration::from_millis(100);

/// A child process that takes orders. It is killed when dropped.
#[derive(Debug)]
pub(crate) struct ChildProcess {
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl ChildProcess {
    fn start(what: &[&str]) -> Result<Self, BenchError> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("bench")
            .args(what)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let orders = child.stdin.take().expect("stdin is piped");
        let answers = child.stdout.take().expect("stdout is piped");
        Ok(Self {
            child,
            orders,
            answers: BufReader::new(answers).lines(),
        })
    }

    async fn tell(&mut self, order: &impl Serialize) -> Result<(), BenchError> {
        let mut line = serde_json::to_vec(order).map_err(std::io::Error::from)?;
        line.push(b'\n');
        self.orders.write_all(&line).await?;
        Ok(())
    }

    async fn line(&mut self) -> Result<String, BenchError> {
        let line = self.answers.next_line().await?;
        line.ok_or_else(|| BenchError::Worker("the process has ended".to_owned()))
    }

    async fn answer<T: DeserializeOwned>(&mut self) -> Result<T, BenchError> {
        let line = self.line().await?;
        Ok(serde_json::from_str(&line).map_err(std::io::Error::from)?)
    }
}

/// The floor, in a process of its own so that its cost can be measured.
#[derive(Debug)]
pub(crate) struct FloorProcess {
    process: ChildProcess,
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
}

impl FloorProcess {
    /// Starts a floor. With a Redis, it is one node of the relay.
    pub(crate) async fn start(redis: Option<SocketAddr>) -> Result<Self, BenchError> {
        let redis = redis.map(|redis| redis.to_string());
        let mut what = vec!["floor"];
        if let Some(redis) = &redis {
            what.extend(["--redis", redis]);
        }
        let mut process = ChildProcess::start(&what)?;
        let address = process.line().await?;
        Ok(Self {
            address: address.parse().map_err(|_| {
                BenchError::Worker(format!("the floor printed no address but: {address}"))
            })?,
            pid: process.child.id().unwrap_or_default(),
            process,
        })
    }
}

/// The members, and how they are spread over processes.
#[derive(Debug, Clone)]
pub(crate) struct FleetPlan {
    pub(crate) nodes: Vec<SocketAddr>,
    pub(crate) access: Access,
    pub(crate) processes: usize,
    pub(crate) members: usize,
    pub(crate) rooms: usize,
    /// The prefix of all names.
    pub(crate) name: String,
}

/// All load processes of one cluster.
#[derive(Debug)]
pub(crate) struct Fleet {
    workers: Vec<ChildProcess>,
    pub(crate) plan: FleetPlan,
    /// The number of the next load's first message.
    base: u64,
}

impl Fleet {
    /// Starts the processes and opens all connections.
    pub(crate) async fn connect(plan: FleetPlan) -> Result<Self, BenchError> {
        let processes = plan.processes.clamp(1, plan.members.max(1));
        usage::check_open_files(plan.members.div_ceil(processes))?;
        let workers = (0..processes).map(|_| ChildProcess::start(&["worker"]));
        let mut fleet = Self {
            workers: workers.collect::<Result<_, _>>()?,
            plan,
            base: 0,
        };
        let plans: Vec<_> = (0..processes)
            .map(|number| Order::Connect(fleet.plan(number, processes)))
            .collect();
        fleet.order(&plans).await?;
        Ok(fleet)
    }

    fn plan(&self, number: usize, processes: usize) -> Plan {
        let FleetPlan {
            nodes,
            access,
            members,
            rooms,
            name,
            ..
        } = self.plan.clone();
        let is_local = nodes
            .iter()
            .all(|node| node.ip().is_loopback() && node.is_ipv4());
        // Each process has its own source addresses, and so its own ports.
        let first_source = Ipv4Addr::from(0x7F00_0002 + ((number as u32) << 8));
        Plan {
            nodes,
            first: number,
            step: processes,
            end: members,
            rooms,
            name,
            access,
            first_source: is_local.then_some(first_source),
        }
    }

    pub(crate) async fn join(&mut self) -> Result<(), BenchError> {
        self.order_all(Order::Join).await?;
        Ok(())
    }

    /// Runs a load. The floors send its messages, if there are any; else the members do.
    pub(crate) async fn run(
        &mut self,
        mut load: Load,
        floors: Option<(&mut [FloorProcess], u64)>,
    ) -> Result<LoadCounts, BenchError> {
        load.base = self.base;
        load.start = clock::now() + LEAD.as_nanos() as u64;
        self.base += load.count;
        let Some((floors, join_us)) = floors else {
            return self.order_all(Order::Run(load)).await;
        };
        let room_step = floors.len();
        for (first_room, floor) in floors.iter_mut().enumerate() {
            let order = FloorOrder {
                load,
                rooms: self.plan.rooms,
                name: self.plan.name.clone(),
                join_us,
                first_room,
                room_step,
            };
            floor.process.tell(&order).await?;
        }
        let done = try_join_all(floors.iter_mut().map(|floor| floor.process.line()));
        let (_, seen) = tokio::try_join!(done, self.order_all(Order::Run(load)))?;
        Ok(seen)
    }

    pub(crate) async fn churn(&mut self, rate: f64, count: u64) -> Result<LoadCounts, BenchError> {
        let share = self.workers.len() as f64;
        let churn = Churn {
            start: clock::now() + LEAD.as_nanos() as u64,
            rate: rate / share,
            count: (count as f64 / share) as u64,
        };
        self.order_all(Order::Churn(churn)).await
    }

    /// Announces that this node will end. The workers answer when its clients are back on the
    /// others.
    pub(crate) async fn resume(
        &mut self,
        dying: usize,
        nodes: &[SocketAddr],
    ) -> Result<LoadCounts, BenchError> {
        let orders: Vec<_> = (0..self.workers.len())
            .map(|number| {
                let plan = self.plan(number, self.workers.len());
                let ended = plan.members().filter(|&member| plan.node(member) == dying);
                Order::Resume {
                    ended: ended.count(),
                    nodes: nodes.to_vec(),
                }
            })
            .collect();
        self.order(&orders).await
    }

    async fn order_all(&mut self, order: Order) -> Result<LoadCounts, BenchError> {
        let orders = vec![order; self.workers.len()];
        self.order(&orders).await
    }

    async fn order(&mut self, orders: &[Order]) -> Result<LoadCounts, BenchError> {
        let told = self.workers.iter_mut().zip(orders);
        let replies = try_join_all(told.map(async |(worker, order)| {
            worker.tell(order).await?;
            worker.answer::<Reply>().await
        }));
        let mut sum = LoadCounts::default();
        for reply in replies.await? {
            match reply {
                Reply::Done { .. } => {}
                Reply::LoadCounts(seen) => sum.add(*seen),
                Reply::Failed(reason) => return Err(BenchError::Worker(reason)),
            }
        }
        Ok(sum)
    }
}

impl LoadCounts {
    /// Adds the counts of another process or another round.
    pub(crate) fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.acked += other.acked;
        self.refused += other.refused;
        self.expected += other.expected;
        self.deliveries += other.deliveries;
        self.duplicates += other.duplicates;
        self.disordered += other.disordered;
        self.lagged += other.lagged;
        self.ended += other.ended;
        self.reads += other.reads;
        for (sum, counts) in [
            (&mut self.same, other.same),
            (&mut self.cross, other.cross),
            (&mut self.acks, other.acks),
        ] {
            for (value, count) in counts {
                *sum.entry(value).or_default() += count;
            }
        }
    }

    /// Deliveries that never came.
    pub(crate) fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.deliveries)
    }

    /// A quantile in milliseconds, 0 if nothing was counted.
    pub(crate) fn quantile(counts: &[&crate::plan::Counts], quantile: f64) -> f64 {
        let mut histogram = crate::tally::histogram();
        for counts in counts {
            merge(&mut histogram, counts);
        }
        histogram.value_at_quantile(quantile) as f64 / 1000.0
    }

    /// Returns an error if a promise was broken.
    pub(crate) fn check(&self) -> Result<(), BenchError> {
        let (lost, duplicates, disordered) = (self.lost(), self.duplicates, self.disordered);
        let unanswered = self.sent.saturating_sub(self.acked);
        if lost + duplicates + disordered + unanswered > 0 {
            return Err(BenchError::Broken {
                lost,
                duplicates,
                disordered,
                unanswered,
            });
        }
        Ok(())
    }
}
