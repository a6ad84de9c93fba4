//! Prometheus as its profile starts it: it reaches all targets and answers every query of the
//! dashboard.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hubbub_tests::deadline::eventually;
use hubbub_tests::http::exchange;
use serde_json::Value;

use crate::crowd::Crowd;
use crate::monitoring::{dashboard, expressions};
use crate::stack::Stack;

/// Grafana has a profile of its own and no image here.
const UP: &str = "docker compose --profile monitoring up --detach";
/// Six times its interval: a rate takes two samples.
const SCRAPED: Duration = Duration::from_secs(30);
/// The value that Grafana uses for `$__rate_interval` with samples every 5 s.
const RATE_INTERVAL: &str = "20s";
const TARGETS: &str = "sum(up)";
const MESSAGES: &str = "sum(rate(hubbub_messages_in_total[$__rate_interval]))";

pub(crate) async fn every_panel_has_figures(stack: &Stack, crowd: &Crowd) {
    let before = crowd.losses();
    let shown = crowd.talk_during(async {
        let start = Instant::now();
        stack.documented(UP).await;
        let took = start.elapsed();
        let address = address(stack);
        eventually("four targets are up", SCRAPED, async || {
            (ask(address, TARGETS).await?.first() == Some(&4.0)).then_some(())
        })
        .await;
        let expressions = expressions(&dashboard());
        for expression in &expressions {
            let what = format!("values for {expression}");
            eventually(&what, SCRAPED, async || {
                let figures = ask(address, expression).await?;
                let is_shown = !figures.is_empty();
                (is_shown && (expression != MESSAGES || figures[0] > 0.0)).then_some(())
            })
            .await;
        }
        (took, expressions.len())
    });
    let ((took, count), _) = shown.await;
    assert_eq!(crowd.losses(), before, "no client was disconnected");
    println!("Prometheus: up in {took:.1?}, four targets, values for {count} expressions");
}

fn address(stack: &Stack) -> SocketAddr {
    let port = stack.get("HUBBUB_PROMETHEUS_PORT").parse();
    SocketAddr::from(([127, 0, 0, 1], port.expect("a port")))
}

/// The values of an expression, one for each line of its panel; `None` if there is no answer yet.
async fn ask(address: SocketAddr, expression: &str) -> Option<Vec<f64>> {
    let expression = expression.replace("$__rate_interval", RATE_INTERVAL);
    let query: String = expression
        .bytes()
        .map(|byte| format!("%{byte:02X}"))
        .collect();
    // HTTP/1.0 avoids a chunked answer.
    let request = format!("GET /api/v1/query?query={query} HTTP/1.0\r\nhost: {address}\r\n\r\n");
    let answer = exchange(address, request.as_bytes()).await?;
    assert_eq!(answer.status, 200, "{expression}: {}", answer.body);
    let answer = answer.json();
    let rows = answer["data"]["result"]
        .as_array()
        .expect("an instant vector");
    Some(rows.iter().map(value).collect())
}

fn value(row: &Value) -> f64 {
    let value = row["value"][1].as_str().expect("a time and a value");
    value.parse().expect("a number, or NaN")
}
