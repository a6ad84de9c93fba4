//! One HTTP request with the operators' key, which is never printed.

use std::io;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::error::AdminError;

const PATIENCE: Duration = Duration::from_secs(10);
/// A page needs no more.
const MAX_ANSWER_BYTES: u64 = 16 * 1024 * 1024;

/// A node, and the key to it.
pub(super) struct Client {
    address: String,
    host: String,
    key: String,
}

/// The node's answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
}

impl Client {
    pub(super) fn new(url: &str, key: &str) -> Result<Self, AdminError> {
        let host = url
            .strip_prefix("http://")
            .map(|rest| rest.trim_end_matches('/'));
        let is_odd = |host: &&str| host.is_empty() || host.contains(['/', ' ', '@', '\r', '\n']);
        let host = host.filter(|host| !is_odd(host));
        let host = host.ok_or_else(|| AdminError::Url(url.to_owned()))?;
        let port = host.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        let address = match port {
            Some(Ok(_)) => host.to_owned(),
            Some(Err(_)) | None => format!("{host}:80"),
        };
        Ok(Self {
            address,
            host: host.to_owned(),
            key: key.to_owned(),
        })
    }

    pub(super) async fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, AdminError> {
        let answer = timeout(PATIENCE, self.exchange(method, path, body));
        let answer = answer
            .await
            .map_err(|_| AdminError::Silent(self.host.clone()))?
            .map_err(|error| AdminError::Unreachable(self.host.clone(), error))?;
        parse(&answer).ok_or_else(|| AdminError::NoHttp(self.host.clone()))
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(&self.address).await?;
        let body = body.map(Value::to_string).unwrap_or_default();
        // HTTP/1.0: the answer is not chunked and ends with the connection.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.host,
            self.key,
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        let mut limited = stream.take(MAX_ANSWER_BYTES);
        limited.read_to_end(&mut answer).await?;
        Ok(answer)
    }
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let answer = std::str::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?;
    Some(Answer {
        status: status.parse().ok()?,
        body: serde_json::from_str(body).unwrap_or(Value::Null),
    })
}

/// Makes a text safe in a path or a query.
pub(super) fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_plain_http() {
        let address = |url: &str| Client::new(url, "k").map(|client| client.address).ok();
        assert_eq!(
            address("http://127.0.0.1:9090/").as_deref(),
            Some("127.0.0.1:9090")
        );
        assert_eq!(address("http://node").as_deref(), Some("node:80"));
        for bad in ["https://h", "h:1", "http://", "http://u@h", "http://h/path"] {
            assert_eq!(address(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_answer_has_a_status_and_json() {
        let answer = parse(b"HTTP/1.0 403 Forbidden\r\na: b\r\n\r\n{\"detail\":\"off\"}").unwrap();
        assert_eq!(
            (answer.status, answer.body["detail"].as_str()),
            (403, Some("off"))
        );
        assert!(parse(b"+PONG\r\n").is_none());
    }
}
