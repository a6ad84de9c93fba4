//! `ETag` and `If-None-Match`: who has an answer already need not get it again.

use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use sha2::{Digest, Sha256};

/// Bytes of a tag: two answers never have the same by chance.
const TAG_BYTES: usize = 16;

/// Marks an answer of JSON, and leaves its body away where `known`, an `If-None-Match`, has its tag.
pub(crate) async fn mark(response: Response, known: Option<&HeaderValue>) -> Response {
    let kind = response.headers().get(CONTENT_TYPE);
    let is_json = kind.is_some_and(|kind| kind == "application/json");
    if response.status() != StatusCode::OK || !is_json {
        return response;
    }
    tagged(response, known).await
}

/// The same, whatever the answer holds. A tag that the answer has already is not computed again.
pub(crate) async fn tagged(response: Response, known: Option<&HeaderValue>) -> Response {
    let (mut head, mut body) = response.into_parts();
    let tag = match head.headers.get(ETAG) {
        Some(tag) => tag.clone(),
        None => {
            let Ok(bytes) = to_bytes(body, usize::MAX).await else {
                head.status = StatusCode::INTERNAL_SERVER_ERROR;
                return Response::from_parts(head, Body::empty());
            };
            let tag = tag(&bytes);
            body = bytes.into();
            head.headers.insert(ETAG, tag.clone());
            tag
        }
    };
    if !known.is_some_and(|known| names(known, &tag)) {
        return Response::from_parts(head, body);
    }
    head.status = StatusCode::NOT_MODIFIED;
    head.headers.remove(CONTENT_TYPE);
    head.headers.remove(CONTENT_LENGTH);
    Response::from_parts(head, Body::empty())
}

/// The tag of an answer, the same on every node.
pub(crate) fn tag(body: &[u8]) -> HeaderValue {
    let digest = Sha256::digest(body);
    let digits = digest[..TAG_BYTES].iter().map(|byte| format!("{byte:02x}"));
    let tag = format!("W/\"{}\"", digits.collect::<String>());
    HeaderValue::try_from(tag).expect("hexadecimal digits are a valid header value")
}

/// Whether a list of tags has this one; strong or weak makes no difference here.
fn names(list: &HeaderValue, tag: &HeaderValue) -> bool {
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let tag = bare(tag.to_str().unwrap_or_default());
    let mut listed = list.to_str().unwrap_or_default().split(',').map(bare);
    listed.any(|listed| listed == tag || listed == "*")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(body: &'static str) -> Response {
        let mut response = Response::new(Body::from(body));
        let kind = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }

    #[tokio::test]
    async fn who_has_it_gets_no_body() {
        let first = mark(json("{}"), None).await;
        let tag = first.headers()[ETAG].clone();
        assert_eq!(first.status(), StatusCode::OK);
        let several = HeaderValue::try_from(format!("\"x\", {}", tag.to_str().unwrap())).unwrap();
        for known in [tag.clone(), several, HeaderValue::from_static("*")] {
            let again = mark(json("{}"), Some(&known)).await;
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
            assert_eq!(again.headers()[ETAG], tag);
            assert!(to_bytes(again.into_body(), 10).await.unwrap().is_empty());
        }
        let mut marked = json("{}");
        marked.headers_mut().insert(ETAG, tag.clone());
        let marked = mark(marked, Some(&tag)).await;
        assert_eq!(marked.status(), StatusCode::NOT_MODIFIED);
        let other = mark(json("{\"a\":1}"), Some(&tag)).await;
        assert_eq!(other.status(), StatusCode::OK);
        assert_ne!(other.headers()[ETAG], tag);
    }
}
