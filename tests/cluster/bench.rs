//! `hubbub bench` itself, with loads so small that only its counting is looked at, not its figures.

use std::process::{Command, Output};

use hubbub_tests::process::{binary, run};
use hubbub_tests::redis::{Fsync, Redis};
use serde_json::Value;
use tempfile::TempDir;

/// Runs a bench on nodes of its own and returns its JSON lines.
async fn bench(redis: &Redis, name: &'static str, args: &[&str]) -> Vec<Value> {
    let url = redis.url();
    let mut all = vec!["bench", name, "--json", "--redis-url", &url];
    all.extend(args);
    let all: Vec<String> = all.into_iter().map(str::to_owned).collect();
    let done = tokio::task::spawn_blocking(move || {
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        run(&[], &all)
    });
    rows(&done.await.expect("it is waited for"))
}

fn rows(output: &Output) -> Vec<Value> {
    let lines = String::from_utf8_lossy(&output.stdout);
    println!("{lines}");
    assert!(output.status.success(), "{output:?}");
    let parse = |line| serde_json::from_str(line).expect("a JSON line");
    lines.lines().map(parse).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fan_out_counts_every_delivery_beside_its_floors() {
    let redis = Redis::start(Fsync::EverySecond).await;
    let dir = TempDir::new().expect("a temporary directory can be made");
    let page = dir.path().join("page.html");
    let page = page.to_str().expect("a name in UTF-8");
    let load = "--rooms 3 --members 8 --rate 60 --seconds 1 --rounds 1 --nodes 2 --relay --html";
    let args: Vec<&str> = load.split(' ').chain([page]).collect();
    let rows = bench(&redis, "fanout", &args).await;
    let systems: Vec<_> = rows.iter().map(|row| row["system"].as_str()).collect();
    assert_eq!(systems, [Some("hubbub"), Some("relay"), Some("floor")]);
    for row in &rows {
        assert_eq!(row["delivered"], 60 * 8, "each member hears every message");
        for fault in ["lost", "twice", "disorder", "lagged"] {
            assert_eq!(row[fault], 0, "{fault}");
        }
        assert!(row["cpu us"].as_f64() > Some(0.0), "{row}");
        assert!(row["p50"].as_f64() > Some(0.0), "{row}");
    }
    assert_eq!(rows[2]["x floor"], 1.0);
    let both = ["p99 same", "p99 cross", "ack p99"].map(|name| rows[0][name].as_f64());
    assert!(both.iter().all(|figure| *figure > Some(0.0)), "{both:?}");

    let page = std::fs::read_to_string(page).expect("the page is written");
    assert!(page.contains("<svg"), "it has plots");
    for link in ["http:", "https:", "src=", "<link"] {
        assert!(!page.contains(link), "it needs nothing else, but {link}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_was_on_a_killed_node_is_counted_when_back() {
    let redis = Redis::start(Fsync::EverySecond).await;
    let rows = bench(&redis, "resume", &["--connections", "60", "--rooms", "3"]).await;
    let [row] = &rows[..] else {
        panic!("one line: {rows:?}")
    };
    assert_eq!((&row["back"], &row["not resumed"]), (&60.into(), &0.into()));
    let reads = row["stream reads"].as_u64().expect("a number");
    // One for each room and node, and a second one where the clients of a busy machine come in two waves.
    assert!((1..=12).contains(&reads), "for each room and node: {reads}");
}

const SMALL: &str = "--json --no-floor --rooms 2 --members 8 --rate 40 --seconds 1 --rounds 1";

#[track_caller]
fn check_small(rows: &[Value]) {
    let [row] = rows else {
        panic!("one line: {rows:?}")
    };
    assert_eq!(row["system"], "socketio");
    assert_eq!(row["delivered"], 40 * 8, "each member hears every message");
    assert_eq!((&row["lost"], &row["disorder"]), (&0.into(), &0.into()));
    assert!(row["ack p99"].as_f64() > Some(0.0), "{row}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_socketio_door_bears_the_same_load() {
    let redis = Redis::start(Fsync::EverySecond).await;
    let args: Vec<&str> = SMALL.split(' ').skip(1).collect();
    let args = [&args[..], &["--nodes", "2", "--protocol", "socketio"]].concat();
    check_small(&bench(&redis, "fanout", &args).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_system_bears_the_same_load() {
    for peer in ["socketio", "socketio-streams"] {
        let run = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/bench/peers/run");
        let mut command = Command::new(run);
        command
            .args([peer, "fanout"])
            .args(SMALL.split(' '))
            .env("HUBBUB", binary());
        let done = tokio::task::spawn_blocking(move || command.output());
        let output = done.await.expect("it is waited for");
        check_small(&rows(&output.expect("the script can be started")));
    }
}
