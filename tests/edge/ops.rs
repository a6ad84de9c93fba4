//! What operators see, on their own port only.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::eventually;
use hubbub_tests::http::{exchange, get};
use hubbub_tests::operator::{KEY, KEYED, look, request};
use serde_json::json;

#[tokio::test]
async fn health_and_metrics_are_on_the_ops_port_only() {
    let cluster = Cluster::memory(1, &[]).await;
    let (clients, ops) = (cluster.address(0), cluster.ops(0));
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(get(ops, path).await.status, 200, "{path}");
        assert_eq!(
            get(clients, path).await.status,
            404,
            "{path} is not for clients"
        );
    }
    assert_eq!(get(ops, "/").await.status, 404);
}

#[tokio::test]
async fn metrics_count_what_happens() {
    let cluster = Cluster::memory(1, &[]).await;
    let mut raw = cluster.raw(0).await;
    raw.join("lobby").await;
    for _ in 0..3 {
        raw.ask(json!({"type": "send", "room": "lobby", "body": 1}))
            .await;
    }
    raw.next_of("message").await;
    let metrics = get(cluster.ops(0), "/metrics").await.body;
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.starts_with("hubbub_"), "{line}");
    }
    for part in [
        "connections",
        "rooms",
        "messages",
        "deliveries",
        "repairs",
        "resumes",
    ] {
        assert!(metrics.contains(part), "{part} is missing in\n{metrics}");
    }
}

/// `promtool check metrics` reads what a client without `Accept` gets; its rules are these.
#[tokio::test]
async fn metrics_are_text_unless_openmetrics_is_asked_for() {
    let cluster = Cluster::memory(1, &[("auth.secret", "0123456789abcdef0123456789abcdef")]).await;
    let mut raw = cluster.raw(0).await;
    raw.join("lobby").await;
    let ops = cluster.ops(0);
    let answer = get(ops, "/metrics").await;
    let kind = answer.header("content-type").expect("a content type");
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    check_metrics(&answer.body);

    let accept = "accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";
    let request =
        format!("GET /metrics HTTP/1.1\r\nhost: {ops}\r\n{accept}connection: close\r\n\r\n");
    let answer = exchange(ops, request.as_bytes()).await.expect("an answer");
    let kind = answer.header("content-type").expect("a content type");
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    assert!(answer.body.ends_with("# EOF\n"), "a whole exposition");
}

/// The rules of `promtool check metrics`, and `promtool` itself where it is installed.
fn check_metrics(text: &str) {
    let (mut helped, mut types) = (BTreeSet::new(), BTreeMap::new());
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", name, help] => {
                assert!(!help.is_empty(), "{line}");
                assert!(helped.insert(name), "help is given once: {line}");
            }
            ["#", "TYPE", name, kind] => {
                assert!(helped.contains(name), "help comes first: {line}");
                assert!(types.insert(name, kind).is_none(), "{line}");
                let is_lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
                assert!(name.chars().all(is_lower), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                for end in ["_count", "_sum", "_bucket", "_ms", "_milliseconds", "_kb"] {
                    assert!(!name.ends_with(end), "{line}");
                }
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            }
            ["#", ..] => panic!("a comment of another format: {line}"),
            _ => {
                let name = line.split(['{', ' ']).next().unwrap_or_default();
                let ends = ["_bucket", "_sum", "_count"];
                let family = ends.iter().find_map(|end| name.strip_suffix(end));
                let is_known = types.contains_key(name)
                    || family.is_some_and(|family| types.get(family) == Some(&"histogram"));
                assert!(is_known, "a sample without a type: {line}");
            }
        }
    }
    assert!(types.len() > 20, "{types:?}");
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else { return };
    let mut stdin = promtool.stdin.take().expect("a pipe");
    stdin.write_all(text.as_bytes()).expect("promtool reads");
    drop(stdin);
    let output = promtool.wait_with_output().expect("promtool ends");
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn operators_are_told_in_fitting_words_that_redis_is_away() {
    let mut cluster = Cluster::redis(1, &[KEYED]).await;
    let ops = cluster.ops(0);
    assert_eq!(look(ops, "/admin/nodes").await["nodes"][0]["node"], "gw-0");
    cluster.redis_mut().kill9();
    for path in ["/admin/nodes", "/admin/connections", "/admin/rooms"] {
        let bearer = format!("authorization: Bearer {KEY}\r\n");
        let answer = request(ops, "GET", path, &bearer, "").await;
        let told = answer.json()["detail"].to_string();
        assert_eq!(answer.status, 503, "{path}: {answer:?}");
        assert!(
            told.contains("the cluster cannot be asked now"),
            "{path}: {told}"
        );
        assert!(!told.contains("stored"), "{path}: {told}");
    }
}

#[tokio::test]
async fn a_redis_that_begins_to_evict_degrades_the_node_until_it_is_healed() {
    let mut cluster = Cluster::redis(1, &[]).await;
    let ops = cluster.ops(0);
    let policies = [("allkeys-lru", "degraded: "), ("noeviction", "ready\n")];
    for (policy, first_line) in policies {
        let set = ["CONFIG", "SET", "maxmemory-policy", policy];
        let _: String = cluster.redis_mut().command(&set).await;
        eventually(
            "the policy is noticed",
            Duration::from_secs(20),
            async || {
                let answer = get(ops, "/readyz").await;
                assert_eq!(answer.status, 200, "{answer:?}");
                let is_named = answer.body.contains(&format!("from {policy} back"));
                let is_noticed = answer.body.starts_with(first_line);
                (is_noticed && is_named == (policy != "noeviction")).then_some(())
            },
        )
        .await;
    }
}
