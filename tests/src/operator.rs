//! An operator with the key for a node's admin API.

use std::net::SocketAddr;

use serde_json::Value;

use crate::http::{Answer, exchange};
use crate::process::Setting;

/// The value of `ops.token` in clusters with an operator.
pub const KEY: &str = "operators-key-operators-key-0123";
/// The setting with this key.
pub const KEYED: Setting<'_> = ("ops.token", KEY);

/// Sends a request to this ops port.
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

/// Reads a page of the admin API.
///
/// # Panics
/// Panics if the request is refused.
pub async fn look(ops: SocketAddr, path: &str) -> Value {
    let answer = request(ops, "GET", path, &bearer(), "").await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json()
}

/// Sends an admin command, for example `POST /admin/ban`, and returns the answer.
pub async fn try_order(ops: SocketAddr, order: &str, body: &Value) -> Answer {
    let (method, path) = order.split_once(' ').unwrap_or(("POST", order));
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    request(ops, method, path, &bearer(), &body).await
}

/// Sends an admin command that must succeed.
///
/// # Panics
/// Panics if the command is refused.
pub async fn order(ops: SocketAddr, order: &str, body: Value) -> Value {
    let answer = try_order(ops, order, &body).await;
    assert_eq!(answer.status, 200, "{order} {body}: {answer:?}");
    answer.json()
}
