//! B26, B28 and B29: too few open files, too little CPU, and wrong clocks.

use std::process::{Child, Command};
use std::time::Duration;

use hubbub_tests::deadline::eventually;
use hubbub_tests::procfs;
use hubbub_tests::raw::{self, Raw};
use hubbub_tests::redis::Fsync;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::arena::{Arena, NODES};
use crate::row::Row;
use crate::scale::Scale;

/// Five times the goal of 1 s.
const ACCEPTS: Duration = Duration::from_secs(5);

fn shell(program: &str, args: &[&str]) {
    let status = Command::new(program).args(args).status();
    let status = status.unwrap_or_else(|error| panic!("{program} is missing: {error}"));
    assert!(status.success(), "{program} {args:?}: {status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b26_file_exhaustion() {
    let arena = Arena::start_with(Fsync::Always, |mut launch, number| {
        if number == 0 {
            let limit = ["prlimit", "--nofile=256:256"].map(str::to_owned);
            launch.through = limit.to_vec();
        }
        launch
    })
    .await;
    let injected = "one node may open 256 files, 400 clients come; then not one more";
    // One node holds few clients here, at any scale.
    let scale = Scale::short();
    let mut row = Row::start_in("B26", injected, arena, scale).await;
    row.fault().await;
    let (crowd, refused) = fill(&row.arena).await;
    row.say("taken", crowd.len());
    row.say("refused", refused);
    row.check(refused > 0, "clients beyond the limit were refused");
    // Now the system itself refuses new files.
    let pid = row.arena.node(0).await.pid();
    let open = procfs::open_files(pid).expect("the node runs");
    let limit = format!("--nofile={open}:{open}");
    shell("prlimit", &["--pid", &pid.to_string(), &limit]);
    let waiting: Vec<_> = (0..20)
        .map(|_| tokio::net::TcpStream::connect(row.arena.doors[0]))
        .collect();
    let waiting = futures_util::future::join_all(waiting).await;
    let (cpu, during) = (procfs::cpu(pid), Duration::from_secs(3));
    let others = procfs::cpu(row.arena.node(1).await.pid());
    sleep(during).await;
    let used = procfs::cpu(pid)
        .zip(cpu)
        .map(|(now, then)| now - then)
        .unwrap_or_default();
    let neighbour = procfs::cpu(row.arena.node(1).await.pid());
    let neighbour = neighbour
        .zip(others)
        .map(|(now, then)| now - then)
        .unwrap_or_default();
    let share = used.as_secs_f64() / during.as_secs_f64();
    row.say("cpu", format!("{:.0}%", share * 100.0));
    // The load itself costs as much as on the neighbour.
    let own = neighbour.as_secs_f64() / during.as_secs_f64();
    row.check(
        share <= 0.25 + own,
        format!("the node does not spin: {share:.2} of a core, {own:.2} on its neighbour"),
    );
    drop(waiting);
    drop(crowd);
    let freed = Instant::now();
    let door = row.arena.doors[0];
    let accepted = async || Raw::try_open(raw::upgrade_request(door)).await.ok();
    let (_, took) = eventually("the node accepts clients again", ACCEPTS, accepted).await;
    row.say_time("accepts", took.min(freed.elapsed()));
    row.healed(Instant::now()).await;
    for node in [1, 2] {
        row.expect_steady(node);
    }
    row.finish().await;
}

/// Connects as many clients as the node accepts. Returns them and how many were refused.
async fn fill(arena: &Arena) -> (Vec<Raw>, usize) {
    let (mut crowd, mut refused) = (Vec::new(), 0);
    for _ in 0..400 {
        match Raw::try_open(raw::upgrade_request(arena.doors[0])).await {
            Ok(raw) => crowd.push(raw),
            Err(_) => refused += 1,
        }
    }
    (crowd, refused)
}

/// A process that only uses CPU. It is killed when dropped.
struct Burner(Child);

impl Burner {
    fn start() -> Self {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", "0", "sh", "-c", "while :; do :; done"]);
        Self(command.spawn().expect("taskset can be started"))
    }
}

impl Drop for Burner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn pin(arena: &Arena, cpus: &str) {
    let mut pids = vec![arena.redis().await.pid()];
    for number in 0..NODES {
        pids.push(arena.node(number).await.pid());
    }
    for pid in pids {
        let args = ["--all-tasks", "--cpu-list", "--pid", cpus, &pid.to_string()];
        let output = Command::new("taskset")
            .args(args)
            .output()
            .expect("taskset");
        assert!(output.status.success(), "{output:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b28_cpu_starvation() {
    let injected = "all nodes and Redis on one core with two busy loops, for 6 s (full: 30 s)";
    let settings = [
        ("limits.ping_interval", "2s"),
        ("limits.pong_timeout", "10s"),
    ];
    let mut row = Row::start_with("B28", injected, Fsync::Always, &settings).await;
    row.fault().await;
    pin(&row.arena, "0").await;
    let burners = [Burner::start(), Burner::start()];
    sleep(row.scale.seconds(6, 30)).await;
    drop(burners);
    pin(&row.arena, "0-1").await;
    row.healed(Instant::now()).await;
    let mut closes = 0.0;
    for node in 0..NODES {
        let metrics = row.arena.metrics(node).await;
        closes += metrics.sum("closes_total");
    }
    row.say("closes", closes);
    row.check(closes == 0.0, "no client was closed as dead");
    row.finish().await;
}

const LIBRARY: &str = "libfaketime.so.1";

fn library() -> String {
    let places = [
        "x86_64-linux-gnu/faketime",
        "aarch64-linux-gnu/faketime",
        "faketime",
    ];
    let paths = places.map(|place| format!("/usr/lib/{place}/{LIBRARY}"));
    let found = paths
        .iter()
        .find(|path| std::path::Path::new(path).is_file());
    found
        .unwrap_or_else(|| panic!("{LIBRARY} is missing: install faketime"))
        .clone()
}

/// The clock of one node, as a file that the node reads.
struct Clock(TempDir);

impl Clock {
    fn new() -> Self {
        let clock = Self(TempDir::new().expect("a temporary directory can be made"));
        clock.set(3600);
        clock
    }

    fn path(&self) -> String {
        self.0.path().join("offset").to_string_lossy().into_owned()
    }

    /// Sets how many seconds the node is ahead.
    fn set(&self, seconds: i64) {
        std::fs::write(self.path(), format!("{seconds:+}\n")).expect("the file can be written");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b29_clock_skew() {
    let scale = Scale::of_run();
    let (clock, library) = (Clock::new(), library());
    let arena = Arena::start_with(Fsync::Always, |mut launch, number| {
        if number == 0 {
            launch.env.extend([
                ("LD_PRELOAD".to_owned(), library.clone()),
                ("FAKETIME_TIMESTAMP_FILE".to_owned(), clock.path()),
                ("FAKETIME_NO_CACHE".to_owned(), "1".to_owned()),
                ("DONT_FAKE_MONOTONIC".to_owned(), "1".to_owned()),
            ]);
        }
        launch
    })
    .await;
    let injected = "one node's clock 1 h ahead, 30 s back, then 1 h behind";
    let mut row = Row::start_in("B29", injected, arena, scale).await;
    row.fault().await;
    let skewed = node_clock(&row.arena).await;
    row.check(
        (3500..3700).contains(&skewed),
        format!("the clock is wrong by {skewed} s"),
    );
    for ahead in [3570, -3600] {
        clock.set(ahead);
        let took = row.reach_head(|_| true).await;
        row.say_time(&format!("head_at{ahead:+}"), took);
        sleep(Duration::from_secs(1)).await;
    }
    let skewed = node_clock(&row.arena).await;
    row.check(
        (-3700..-3500).contains(&skewed),
        format!("the clock is wrong by {skewed} s"),
    );
    row.healed(Instant::now()).await;
    for node in 0..NODES {
        row.expect_steady(node);
    }
    let tally = row.finish().await;
    assert_eq!(
        (tally.refused, tally.unknown),
        (0, 0),
        "every send was acked"
    );
}

/// How far the first node's clock is ahead of the second one's, in seconds. It compares tokens that
/// both nodes make.
async fn node_clock(arena: &Arena) -> i64 {
    let (one, other) = (expiry(arena, 0).await, expiry(arena, 1).await);
    (one - other) / 1000
}

/// The expiry of a guest's token from this node, in milliseconds since 1970.
async fn expiry(arena: &Arena, node: usize) -> i64 {
    let body = serde_json::json!({"name": "Ann"});
    let answer = hubbub_tests::http::post(arena.doors[node], "/v1/guests", &body).await;
    let expires = answer.json()["expires"].as_i64();
    expires.expect("the answer has the expiry")
}
