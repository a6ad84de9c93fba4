//! The inputs of Grafana, which has no image here: every target of Prometheus answers, and every
//! metric on the dashboard exists on a target.

use std::collections::BTreeSet;

use hubbub_tests::raw::{Raw, upgrade_request};
use serde_json::Value;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::stack::{Door, Stack, top};

const FOLDER: &str = "deploy/monitoring";

pub(crate) async fn the_dashboard_shows_what_there_is(stack: &Stack) {
    cause_a_refusal(stack).await;
    let mut known = BTreeSet::from(["up".to_owned()]);
    let targets = targets();
    for (host, port) in &targets {
        let figures = stack.fetch(host, *port, "/metrics").await;
        let figures = figures.unwrap_or_else(|| panic!("{host}:{port} has no metrics"));
        known.extend(figures.lines().filter_map(sample_name));
    }
    let dashboard = dashboard();
    let mut shown = BTreeSet::new();
    for expression in expressions(&dashboard) {
        let names = metric_names(&expression);
        assert!(!names.is_empty(), "no metric in {expression}");
        shown.extend(names);
    }
    let missing: Vec<_> = shown.difference(&known).collect();
    assert!(
        missing.is_empty(),
        "on the dashboard, but on no target: {missing:?}"
    );
    for topic in [
        "hubbub_connections",
        "hubbub_messages_in_total",
        "hubbub_delivery_seconds_bucket",
        "hubbub_repairs_total",
        "hubbub_redis_up",
        "haproxy_server_status",
    ] {
        assert!(shown.contains(topic), "{topic} is missing on the dashboard");
    }
    same_data_source(&dashboard);
    println!(
        "dashboard: {} names, all in the metrics of {} targets",
        shown.len(),
        targets.len()
    );
}

/// Refuses a connection on each gateway. Some metrics have no sample before that.
async fn cause_a_refusal(stack: &Stack) {
    for door in Door::GATEWAYS {
        let mut request = upgrade_request(stack.address(door));
        let evil = HeaderValue::from_static("http://evil.example");
        request.headers_mut().insert("origin", evil);
        assert!(
            Raw::try_open(request).await.is_err(),
            "a page of another origin is refused"
        );
    }
}

fn read(file: &str) -> String {
    let path = top().join(FOLDER).join(file);
    match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

pub(crate) fn dashboard() -> Value {
    let text = read("grafana/dashboards/hubbub.json");
    serde_json::from_str(&text).expect("the dashboard is JSON")
}

/// Every `host:port` that Prometheus scrapes.
fn targets() -> Vec<(String, u16)> {
    let text = read("prometheus/prometheus.yml");
    let lists = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- targets: [")?.strip_suffix(']'));
    let target = |target: &str| {
        let (host, port) = target.trim().split_once(':').expect("host:port");
        (host.to_owned(), port.parse().expect("a port"))
    };
    let targets: Vec<_> = lists.flat_map(|list| list.split(',').map(target)).collect();
    assert_eq!(targets.len(), 4, "three gateways and HAProxy");
    targets
}

pub(crate) fn expressions(dashboard: &Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    targets
        .map(|target| target["expr"].as_str().expect("an expression").to_owned())
        .collect()
}

/// The metric names in an expression: those of Hubbub, those of HAProxy, and `up`.
fn metric_names(expression: &str) -> Vec<String> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words
        .filter(|word| *word == "up" || word.starts_with("hubbub_") || word.starts_with("haproxy_"))
        .map(str::to_owned)
        .collect()
}

fn sample_name(line: &str) -> Option<String> {
    let name = line.split(['{', ' ']).next()?;
    (!name.is_empty() && name != "#").then(|| name.to_owned())
}

fn same_data_source(dashboard: &Value) {
    let source = read("grafana/provisioning/datasources/prometheus.yml");
    let mut uids = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("uid: "));
    let uid = uids.next_back().expect("the data source has a uid");
    for panel in dashboard["panels"].as_array().expect("panels") {
        if panel["type"] != "row" {
            assert_eq!(panel["datasource"]["uid"], uid, "{}", panel["title"]);
        }
    }
    let provider = read("grafana/provisioning/dashboards/hubbub.yml");
    assert!(
        provider.contains("path: /etc/hubbub/dashboards"),
        "where the file is mounted"
    );
}
