//! What operators see, on their own port only.

use std::time::Duration;

use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::eventually;
use hubbub_tests::http::get;
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
