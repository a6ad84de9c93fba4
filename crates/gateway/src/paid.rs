//! Answers that are counted until they are written: a client that does not read its answers keeps to
//! its budget.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use hubbub_node::Reservation;
use hyper::body::{Body as HttpBody, Buf, Frame, SizeHint};
use serde::Serialize;

use crate::error::ApiError;

/// Bytes that the connection gets at once; it asks for more when they are written.
const CHUNK_BYTES: usize = 64 * 1024;

/// The reservation of an answer, carried as an extension through all layers to [`hold`].
#[derive(Clone)]
struct Paid(#[expect(dead_code, reason = "held")] Arc<dyn Send + Sync>);

/// A body whose bytes stay reserved until the last of them is on its way.
struct Held {
    body: Body,
    /// Bytes of the body that the connection has not asked for yet.
    waiting: Bytes,
    /// `None`: everything has been given to the connection.
    paid: Option<Paid>,
}

/// Answers reserved work with JSON.
pub(crate) fn json(json: Vec<u8>, mut reservation: Reservation) -> Response {
    reservation.settle(json.len());
    let mut answer = ([(CONTENT_TYPE, "application/json")], json).into_response();
    attach(&mut answer, Box::new(reservation));
    answer
}

/// Lets an answer hold what was paid for it until it is written.
pub(crate) fn attach(answer: &mut Response, paid: Box<dyn Send + Sync>) {
    answer.extensions_mut().insert(Paid(Arc::from(paid)));
}

/// Answers reserved work with a value, written as JSON.
pub(crate) fn value<T: Serialize>(
    value: &T,
    reservation: Reservation,
) -> Result<Response, ApiError> {
    let encoded = serde_json::to_vec(value).map_err(|error| {
        tracing::error!(%error, "an answer cannot be written as JSON");
        ApiError::Internal
    })?;
    Ok(json(encoded, reservation))
}

/// Keeps an answer's bytes reserved until they are written; the last layer before the connection.
pub(crate) async fn hold(mut response: Response) -> Response {
    let Some(paid) = response.extensions_mut().remove::<Paid>() else {
        return response;
    };
    response.map(|body| {
        Body::new(Held {
            body,
            waiting: Bytes::new(),
            paid: Some(paid),
        })
    })
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.waiting.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.waiting = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                ended => {
                    self.paid = None;
                    return Poll::Ready(ended);
                }
            }
        }
        let next = CHUNK_BYTES.min(self.waiting.len());
        // A copy: a part of the page would keep the whole page, after its bytes have been given back.
        let chunk = Bytes::copy_from_slice(&self.waiting[..next]);
        self.waiting.advance(next);
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let waiting = self.waiting.len() as u64;
        let rest = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + waiting);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + waiting);
        }
        hint
    }
}
