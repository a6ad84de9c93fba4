//! An operator who has the key to a node's admin API.

use std::net::SocketAddr;

use serde_json::Value;

use crate::http::{Answer, exchange};
use crate::process::Setting;

/// `ops.token` of clusters with an operator.
pub const KEY: &str = "operators-key-operators-key-0123";
/// The setting that says so.
pub const KEYED: Setting<'_> = ("ops.token", KEY);

/// Asks the node whose operators' port this is.
pub async fn request(
    ops: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> Answer {
    let kind = if body.is_empty() {
        ""
    } else {
        "content-type: application/json\r\n"
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {ops}\r\n{headers}{kind}content-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = exchange(ops, request.as_bytes()).await;
    answer.expect("an HTTP answer")
}

fn bearer() -> String {
    format!("authorization: Bearer {KEY}\r\n")
}

/// What an operator is shown.
///
/// # Panics
/// When it is refused.
pub async fn look(ops: SocketAddr, path: &str) -> Value {
    let answer = request(ops, "GET", path, &bearer(), "").await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json()
}

/// What became of an operator's order: `POST /admin/ban`.
pub async fn try_order(ops: SocketAddr, order: &str, body: &Value) -> Answer {
    let (method, path) = order.split_once(' ').unwrap_or(("POST", order));
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    request(ops, method, path, &bearer(), &body).await
}

/// An order that is carried out.
///
/// # Panics
/// When it is refused.
pub async fn order(ops: SocketAddr, order: &str, body: Value) -> Value {
    let answer = try_order(ops, order, &body).await;
    assert_eq!(answer.status, 200, "{order} {body}: {answer:?}");
    answer.json()
}
