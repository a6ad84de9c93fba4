//! A node outlives its log, and signals that mean nothing to it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::time::Duration;

use hubbub_tests::deadline::eventually;
use hubbub_tests::http;
use hubbub_tests::metrics::Metrics;
use hubbub_tests::port::free_port;
use hubbub_tests::process::{NodeProcess, command};
use hubbub_tests::raw::{Heard, Raw};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(20);
const DROPPED: &str = "log_lines_dropped_total";

/// A node whose standard error is the test's affair. Dropped, it is killed.
struct Node {
    child: Child,
    http: SocketAddr,
    ops: SocketAddr,
    _dir: TempDir,
}

impl Node {
    async fn start(log: &str, stderr: Stdio) -> Self {
        let dir = TempDir::new().expect("a temporary directory can be made");
        let address = || SocketAddr::from(([127, 0, 0, 1], free_port()));
        let (http, ops) = (address(), address());
        let (bind, ops_bind) = (http.to_string(), ops.to_string());
        let settings = [
            ("http.bind", bind.as_str()),
            ("ops.bind", ops_bind.as_str()),
            ("limits.connections_per_address", "0"),
            ("limits.guests_per_minute", "0"),
        ];
        let mut command = command(&dir, &settings, &["serve"]);
        command
            .env("RUST_LOG", log)
            .env("HUBBUB_FAILPOINTS", "panic-in-session")
            .stdin(Stdio::null())
            .stderr(stderr);
        let child = command.spawn().expect("the binary can be started");
        Self {
            child,
            http,
            ops,
            _dir: dir,
        }
    }

    async fn ready(&mut self) {
        eventually("the node is ready", SOON, async || {
            self.assert_alive();
            let answer = http::try_get(self.ops, "/readyz").await?;
            (answer.status == 200).then_some(())
        })
        .await;
    }

    fn assert_alive(&mut self) {
        let ended = self.child.try_wait().expect("our own child can be asked");
        assert_eq!(ended, None, "the node has ended");
    }

    /// Connections come and go, a session panics, and the node goes on and counts the lines.
    async fn works_without_its_log(&mut self) {
        for _ in 0..20 {
            let mut raw = Raw::connect(self.http).await;
            raw.join("lobby").await;
        }
        let mut raw = Raw::connect(self.http).await;
        raw.join("lobby").await;
        let send = json!({"type": "send", "room": "lobby", "body": 1, "nonce": "panic-in-session"});
        raw.write(send.to_string()).await;
        while let Heard::Text(_) = raw.hear().await {}
        let mut raw = Raw::connect(self.http).await;
        raw.join("lobby").await;
        let metrics = Metrics::read(self.ops).await;
        assert!(metrics.get("panics_total") >= 1.0);
        assert!(metrics.get(DROPPED) > 0.0, "dropped lines are counted");
        self.assert_alive();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Only fails when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_full_disk_under_the_log_stops_nothing() {
    let full = File::options().write(true).open("/dev/full");
    let full = full.expect("Linux has /dev/full");
    let mut node = Node::start("info", full.into()).await;
    node.ready().await;
    node.works_without_its_log().await;
}

#[tokio::test]
async fn a_reader_of_the_log_who_has_gone_stops_nothing() {
    let mut node = Node::start("info", Stdio::piped()).await;
    let mut log = BufReader::new(node.child.stderr.take().expect("a pipe"));
    let mut first = String::new();
    log.read_line(&mut first).expect("the first line");
    assert!(first.contains("INFO"), "{first}");
    drop(log);
    node.ready().await;
    node.works_without_its_log().await;
}

/// A reader who stands still fills the pipe: lines are dropped, nobody waits for it, and when it reads
/// again it is told how many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_the_log_who_stands_still_stops_nothing() {
    let mut node = Node::start("trace", Stdio::piped()).await;
    let mut log = node.child.stderr.take().expect("a pipe");
    node.ready().await;
    let ops = node.ops;
    eventually("the pipe is full", SOON, async || {
        drop(Raw::connect(node.http).await);
        (Metrics::read(ops).await.get(DROPPED) > 0.0).then_some(())
    })
    .await;
    node.works_without_its_log().await;
    let reader = tokio::task::spawn_blocking(move || {
        let (mut read, mut bytes) = (String::new(), [0; 4096]);
        while !read.contains("lines were dropped") {
            let count = log.read(&mut bytes).expect("a pipe can be read");
            assert!(count > 0, "the node ended");
            read.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    });
    eventually("the reader is told", SOON, async || {
        drop(Raw::connect(node.http).await);
        reader.is_finished().then_some(())
    })
    .await;
    reader.await.expect("it was told");
}

#[tokio::test]
async fn sighup_is_logged_and_changes_nothing() {
    let mut node = NodeProcess::start("gw-hup", &[]).await;
    let mut raw = Raw::connect(node.address()).await;
    raw.join("lobby").await;
    let pid = i32::try_from(node.pid()).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a process id"), Signal::HUP).expect("it is ours");
    eventually("the signal is logged", SOON, async || {
        node.log().contains("SIGHUP ignored").then_some(())
    })
    .await;
    assert_eq!(node.exited(), None);
    let sent = raw
        .ask(json!({"type": "send", "room": "lobby", "body": 1}))
        .await;
    assert_eq!(sent["type"], "sent", "the connection stays: {sent}");
    assert_eq!(http::get(node.ops(), "/readyz").await.status, 200);
}

/// `hubbub config | head -1`.
#[test]
fn commands_whose_reader_has_gone_end_quietly() {
    let dir = TempDir::new().expect("a temporary directory can be made");
    for args in [&["config"][..], &["--help"], &["admin", "--help"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = command(&dir, &[], args);
        command.stdout(writer);
        let output = command.output().expect("the binary can be started");
        assert!(output.status.success(), "{args:?}: {output:?}");
        assert!(output.stderr.is_empty(), "{args:?}: {output:?}");
    }
    let full = File::options().write(true).open("/dev/full");
    let mut command = command(&dir, &[], &["config"]);
    command.stdout(full.expect("Linux has /dev/full"));
    let output = command.output().expect("the binary can be started");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && told.contains("No space left"),
        "{told}"
    );
}
