//! A program that asks by plain HTTP, with a token.

use std::net::SocketAddr;

use hubbub_tests::cluster::Cluster;
use hubbub_tests::http::{Answer, exchange};
use hubbub_tests::people;
use serde_json::Value;

/// Someone who asks one node.
pub(crate) struct Asker {
    pub(crate) address: SocketAddr,
    /// Header lines that each request has.
    headers: String,
}

impl Asker {
    /// Nobody in particular.
    pub(crate) fn stranger(address: SocketAddr) -> Self {
        Self {
            address,
            headers: String::new(),
        }
    }

    /// The bearer of a token.
    pub(crate) fn bearer(address: SocketAddr, token: &str) -> Self {
        Self::stranger(address).with(&format!("authorization: Bearer {token}"))
    }

    /// A user of a node.
    pub(crate) fn user(cluster: &Cluster, number: usize, user: &str) -> Self {
        Self::bearer(cluster.address(number), &people::token(user))
    }

    /// With one more header line.
    pub(crate) fn with(mut self, header: &str) -> Self {
        self.headers.push_str(header);
        self.headers.push_str("\r\n");
        self
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, Some(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send("PATCH", path, Some(body)).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let body = body.map(|body| ("application/json", body.to_string()));
        let body = body.as_ref().map(|(kind, text)| (*kind, text.as_bytes()));
        self.send_raw(method, path, body).await
    }

    /// Any method, any body.
    pub(crate) async fn send_raw(
        &self,
        method: &str,
        path: &str,
        body: Option<(&str, &[u8])>,
    ) -> Answer {
        let Self { address, headers } = self;
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}"
        );
        if let Some((kind, body)) = body {
            request += &format!("content-type: {kind}\r\ncontent-length: {}\r\n", body.len());
        }
        let mut request = (request + "\r\n").into_bytes();
        request.extend_from_slice(body.map_or(&[][..], |(_, body)| body));
        exchange(*address, &request).await.expect("an HTTP answer")
    }

    /// The JSON of what is there.
    pub(crate) async fn read(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        answer.json()
    }
}

/// What every refusal is: a problem with status and code, which nobody keeps or takes for a page.
pub(crate) fn assert_problem(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    for (name, value) in [
        ("content-type", "application/problem+json"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{answer:?}");
    }
    let problem = answer.json();
    assert_eq!(problem["status"], status, "{problem}");
    assert_eq!(problem["code"], code, "{problem}");
    let detail = problem["detail"].as_str();
    assert!(detail.is_some_and(|detail| detail.len() > 5), "{problem}");
}
