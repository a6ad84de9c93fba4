//! Requests guest tokens with one small HTTP request. So this crate needs no HTTP library.

use std::io::ErrorKind;
use std::time::Duration;

use hubbub_protocol::User;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::error::ConfigError;
use crate::stream::{Trust, connect, trust};
use crate::url::NodeUrl;

/// A guest of the cluster.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Guest {
    /// The token, which proves the guest's identity on every node.
    pub token: String,
    /// The guest's user.
    pub user: User,
    /// The time at which the token expires, in milliseconds since 1970.
    pub expires: u64,
}

/// Shows the guest without the token.
impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guest")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// The reason why there is no guest token.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// The URL cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The node cannot be reached.
    #[error("cannot request a guest token: {0}")]
    Io(#[from] std::io::Error),
    /// The node refused the request.
    #[error("the node refused a guest token: status {status}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The pause before another try.
        retry_after: Option<Duration>,
    },
    /// The response is not a guest's token.
    #[error("the response to POST /v1/guests is not a guest's token")]
    BadAnswer,
}

/// The most bytes of a response. A token and a user take a few hundred.
const ANSWER_LIMIT: u64 = 64 * 1024;

/// Requests a guest token from a node. `url` has one of the forms of a client's URLs.
///
/// # Errors
/// The request failed. There is no time-out except the network's own.
pub async fn new_guest(url: &str, name: Option<&str>) -> Result<Guest, GuestError> {
    let url = NodeUrl::parse(url)?;
    let trust = trust(std::slice::from_ref(&url), &None)?;
    request(&url, &trust, name).await
}

pub(crate) async fn request(
    url: &NodeUrl,
    trust: &Trust,
    name: Option<&str>,
) -> Result<Guest, GuestError> {
    let NodeUrl {
        authority, prefix, ..
    } = url;
    let body = match name {
        Some(name) => serde_json::json!({ "name": name }).to_string(),
        None => "{}".to_owned(),
    };
    let length = body.len();
    let request = format!(
        "POST {prefix}/v1/guests HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    let mut socket = connect(url, trust).await?;
    socket.write_all(request.as_bytes()).await?;
    socket.flush().await?;
    let mut answer = Vec::new();
    match socket.take(ANSWER_LIMIT).read_to_end(&mut answer).await {
        // Half a response is not valid JSON, so an end without a TLS close notification hides nothing.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
        read => drop(read?),
    }
    read_answer(&answer)
}

fn read_answer(answer: &[u8]) -> Result<Guest, GuestError> {
    let answer = std::str::from_utf8(answer).map_err(|_| GuestError::BadAnswer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(GuestError::BadAnswer)?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let status: u16 = status
        .and_then(|status| status.parse().ok())
        .ok_or(GuestError::BadAnswer)?;
    if !(200..300).contains(&status) {
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            let is_meant = name.eq_ignore_ascii_case("retry-after");
            is_meant.then(|| value.trim().parse().ok()).flatten()
        };
        let retry_after = lines.find_map(header).map(Duration::from_secs);
        return Err(GuestError::Refused {
            status,
            retry_after,
        });
    }
    serde_json::from_str(body).map_err(|_| GuestError::BadAnswer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_read_and_its_token_not_printed() {
        let answer = "HTTP/1.1 201 Created\r\ncontent-length: 9\r\n\r\n\
            {\"token\":\"abc\",\"user\":{\"id\":\"guest-1\",\"name\":\"Ann\"},\"expires\":5}";
        let guest = read_answer(answer.as_bytes()).unwrap();
        assert_eq!((guest.token.as_str(), guest.expires), ("abc", 5));
        assert!(!format!("{guest:?}").contains("abc"));
    }

    #[test]
    fn a_refusal_keeps_status_and_retry_after() {
        let answer = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3\r\n\r\n";
        let error = read_answer(answer).unwrap_err();
        let GuestError::Refused {
            status,
            retry_after,
        } = error
        else {
            panic!("{error:?}")
        };
        assert_eq!((status, retry_after), (503, Some(Duration::from_secs(3))));
        assert!(matches!(read_answer(b"hello"), Err(GuestError::BadAnswer)));
    }
}
