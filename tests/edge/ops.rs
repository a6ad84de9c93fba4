//! What operators see, on their own port only.

use hubbub_tests::cluster::Cluster;
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
    assert!(metrics.ends_with("# EOF\n"), "a whole exposition");
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
