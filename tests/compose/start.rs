//! Starts a cluster from nothing and removes it again.

use crate::docs::START;
use crate::stack::{Door, Stack};

/// The three gateways of every cluster.
pub(crate) const GATEWAYS: [&str; 3] = ["gateway-1", "gateway-2", "gateway-3"];

/// Runs the first command of the documentation, and the commands of the profiles.
pub(crate) async fn from_nothing(stack: &Stack) {
    let (_, took) = stack.documented(START).await;
    println!(
        "docker compose up: image built and all healthy after {:.1} min",
        minutes(took)
    );
    let balanced = stack.balanced(&GATEWAYS).await;
    println!("HAProxy has all three gateways {balanced:.1?} later");
    let (listed, _) = stack.documented("docker compose ps").await;
    for service in GATEWAYS.iter().chain(&["redis", "postgres", "haproxy"]) {
        let line = listed.lines().find(|line| line.contains(service));
        assert!(
            line.is_some_and(|line| line.contains("(healthy)")),
            "{service}:\n{listed}"
        );
    }
    let (logs, _) = stack.documented("docker compose logs gateway-1").await;
    assert!(logs.contains("node started"), "{logs}");
    stack
        .documented("docker compose --profile nginx up --detach --wait")
        .await;
    // Grafana has no stand-in image here, so only its configuration is checked.
    stack
        .shell("docker compose --profile monitoring --profile grafana config --quiet")
        .await;
    let page = hubbub_tests::http::get(stack.address(Door::Balancer), "/").await;
    assert_eq!(page.status, 200);
}

/// Checks that `down` removes everything except the data.
pub(crate) async fn down_leaves_only_the_volumes(stack: &Stack) {
    let (_, took) = stack.documented("docker compose --profile '*' down").await;
    println!("docker compose down took {took:.1?}");
    assert_eq!(left(stack, "ps --all").await, "", "no container is left");
    assert_eq!(left(stack, "network ls").await, "", "no network is left");
    let project = stack.get("COMPOSE_PROJECT_NAME");
    let expected = ["postgres-data", "prometheus-data", "redis-data", "secrets"];
    let expected = expected.map(|name| format!("{project}_{name}")).join("\n");
    assert_eq!(left(stack, "volume ls").await, expected);
}

/// Checks that `down --volumes` removes the data too.
pub(crate) async fn nothing_at_all_is_left(stack: &Stack) {
    stack
        .documented("docker compose --profile '*' down --volumes")
        .await;
    for list in ["ps --all", "network ls", "volume ls"] {
        assert_eq!(left(stack, list).await, "", "{list}");
    }
}

async fn left(stack: &Stack, list: &str) -> String {
    let project = stack.get("COMPOSE_PROJECT_NAME");
    let label = format!("label=com.docker.compose.project={project}");
    let listed = stack
        .shell(&format!("docker {list} --quiet --filter {label} | sort"))
        .await;
    listed.trim().to_owned()
}

fn minutes(took: std::time::Duration) -> f64 {
    took.as_secs_f64() / 60.0
}
