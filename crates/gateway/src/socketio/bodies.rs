//! The bodies of HTTP requests and answers: long ones are paid for.

use std::net::IpAddr;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use axum::response::Response;
use http_body_util::BodyExt;

use super::engine::{Engine, text};
use super::handler::{Handler, Paid};
use super::refusal::Refusal;
use crate::paid;
use crate::ws::decoder::FREE_BYTES;

/// Bytes in memory for each byte of a client's body: what has come, and what is made of it.
const BODY_COPIES: usize = 3;

impl<D: Handler> Engine<D> {
    /// Pays for a body that is long, or may become so.
    pub(super) async fn pay(
        &self,
        client: IpAddr,
        length: Option<usize>,
    ) -> Result<Option<Paid>, Refusal> {
        let most = self.options.max_payload;
        let bytes = length.unwrap_or(most).min(most);
        if bytes <= FREE_BYTES {
            return Ok(None);
        }
        let bytes = bytes.saturating_mul(BODY_COPIES);
        let paid = self.handler.pay(client, bytes).await;
        paid.map(Some).map_err(Refusal::Handler)
    }

    /// Pays for a long answer, which then counts until it is written. An answer that cannot be paid for is
    /// lost: the client loses its session and resumes in a new one.
    pub(super) async fn permits(&self, client: IpAddr, body: String) -> Result<Response, Refusal> {
        let paid = if body.len() > FREE_BYTES {
            Some(self.handler.pay(client, body.len()).await)
        } else {
            None
        };
        let paid = paid.transpose().map_err(Refusal::Handler)?;
        let mut answer = text(body);
        if let Some(paid) = paid {
            paid::attach(&mut answer, paid);
        }
        Ok(answer)
    }
}

/// The length that a request says its body has; `None`: it says none.
pub(super) fn length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads on for a while where a body is too large, so that its sender gets the answer.
pub(super) async fn read_body(mut body: Body, max_bytes: usize) -> Result<Vec<u8>, Refusal> {
    let mut read = Vec::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::Bad("the body broke off"))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        length += data.len();
        if length <= max_bytes {
            read.extend_from_slice(&data);
        } else if length > 4 * max_bytes {
            break;
        }
    }
    if length > max_bytes {
        return Err(Refusal::TooLarge);
    }
    Ok(read)
}
