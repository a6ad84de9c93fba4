//! `hubbub healthcheck`: one HTTP request, for containers that have no curl. A degraded node answers
//! 200 and counts as healthy: no other node could serve better.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::process::print;
use crate::args::HealthcheckArgs;

const PATIENCE: Duration = Duration::from_secs(3);
/// An answer needs no more.
const MAX_ANSWER_BYTES: u64 = 16 * 1024;

/// The reason why the node does not count as ready.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HealthError {
    #[error("--url {0}: expected http://HOST[:PORT][/PATH]")]
    Url(String),
    #[error("{0}: {1}")]
    Unreachable(String, io::Error),
    #[error("{0} did not answer within 3 s")]
    Silent(String),
    #[error("{0} did not answer in HTTP")]
    NoHttp(String),
    #[error("{status} from {url}: {body}")]
    NotReady {
        url: String,
        status: u16,
        body: String,
    },
    #[error("{0}")]
    Io(#[from] io::Error),
}

pub(crate) fn healthcheck(args: &HealthcheckArgs) -> Result<(), HealthError> {
    let body = Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(ask(&args.url))?;
    print(&format!("{body}\n"))?;
    Ok(())
}

async fn ask(url: &str) -> Result<String, HealthError> {
    let (address, host, path) = parse_url(url).ok_or_else(|| HealthError::Url(url.to_owned()))?;
    let answer = timeout(PATIENCE, get(&address, host, path))
        .await
        .map_err(|_| HealthError::Silent(url.to_owned()))?
        .map_err(|error| HealthError::Unreachable(url.to_owned(), error))?;
    let (status, body) =
        parse_answer(&answer).ok_or_else(|| HealthError::NoHttp(url.to_owned()))?;
    if status == 200 {
        return Ok(body);
    }
    Err(HealthError::NotReady {
        url: url.to_owned(),
        status,
        body,
    })
}

async fn get(address: &str, host: &str, path: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    // HTTP/1.0: the answer is not chunked and ends with the connection.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream
        .take(MAX_ANSWER_BYTES)
        .read_to_end(&mut answer)
        .await?;
    Ok(answer)
}

/// Address to connect to, host as written, path.
fn parse_url(url: &str) -> Option<(String, &str, &str)> {
    let rest = url.strip_prefix("http://")?;
    let (host, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/"),
    };
    if host.is_empty() || url.contains([' ', '\r', '\n', '@']) {
        return None;
    }
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let address = if has_port {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    Some((address, host, path))
}

fn parse_answer(answer: &[u8]) -> Option<(u16, String)> {
    let answer = String::from_utf8_lossy(answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head
        .strip_prefix("HTTP/1.")?
        .split(' ')
        .nth(1)?
        .parse()
        .ok()?;
    Some((status, body.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_plain_http() {
        let parsed = parse_url("http://127.0.0.1:9090/readyz").unwrap();
        assert_eq!(
            parsed,
            ("127.0.0.1:9090".to_owned(), "127.0.0.1:9090", "/readyz")
        );
        assert_eq!(
            parse_url("http://node").unwrap(),
            ("node:80".to_owned(), "node", "/")
        );
        assert_eq!(parse_url("http://[::1]:1/x").unwrap().0, "[::1]:1");
        for bad in ["https://h/", "h:1", "http://", "http:///x", "http://h/ x"] {
            assert!(parse_url(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn an_answer_has_a_status_and_words() {
        let answer = b"HTTP/1.0 503 Service Unavailable\r\na: b\r\n\r\nnot ready: redis\n";
        assert_eq!(
            parse_answer(answer).unwrap(),
            (503, "not ready: redis".to_owned())
        );
        let degraded = b"HTTP/1.0 200 OK\r\n\r\ndegraded: redis may evict\n";
        assert_eq!(
            parse_answer(degraded).unwrap(),
            (200, "degraded: redis may evict".to_owned())
        );
        assert!(parse_answer(b"+PONG\r\n").is_none());
    }
}
