//! Posts to one endpoint: signed requests with a timeout, over kept connections.

use std::error::Error;
use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use hyper::rt::Executor;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::TokioTimer;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::config::{Webhook, WebhookError};
use crate::post::Post;
use crate::secret::signature;

/// The most requests in flight to one endpoint. Further deliveries wait.
pub(crate) const REQUESTS: usize = 16;
/// An idle connection is closed after this time.
const IDLE: Duration = Duration::from_secs(30);
/// So many bytes of a response are read and discarded, so that its connection can be reused.
const ANSWER_BYTES: usize = 16 * 1_024;
const AGENT: &str = concat!("Hubbub/", env!("CARGO_PKG_VERSION"));

/// Why an event is not delivered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostError {
    #[error("the endpoint answered {status}")]
    Refused {
        status: StatusCode,
        /// The pause that the response asks for.
        retry_after: Option<Duration>,
    },
    #[error("the endpoint did not answer in time")]
    Late,
    #[error("the endpoint cannot be reached: {0}")]
    Unreachable(String),
}

impl PostError {
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            Self::Late | Self::Unreachable(_) => None,
        }
    }
}

/// Posts to one endpoint.
#[derive(Debug)]
pub(crate) struct Poster {
    uri: Uri,
    key: hmac::Key,
    timeout: Duration,
    client: HttpClient,
    /// Ends the connections when the poster is dropped.
    _connections: DropGuard,
}

/// The HTTP client. It follows no redirects, because only the settings say where a signed body goes.
#[derive(Debug)]
enum HttpClient {
    Plain(Client<HttpConnector, Full<Bytes>>),
    Tls(Client<HttpsConnector<HttpConnector>, Full<Bytes>>),
}

/// Runs the connections' tasks until the poster is dropped.
#[derive(Debug, Clone)]
struct Connections(CancellationToken);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Connections {
    fn execute(&self, connection: F) {
        tokio::spawn(self.0.clone().run_until_cancelled_owned(connection));
    }
}

impl Poster {
    pub(crate) fn new(webhook: &Webhook) -> Result<Self, WebhookError> {
        let uri = webhook.uri()?;
        let closed = CancellationToken::new();
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(webhook.timeout));
        tcp.enforce_http(false);
        let builder = client_builder(&closed);
        let client = match uri.scheme_str() {
            Some("https") => {
                let tls = HttpsConnectorBuilder::new().with_native_roots()?;
                HttpClient::Tls(builder.build(tls.https_only().enable_http1().wrap_connector(tcp)))
            }
            _ => HttpClient::Plain(builder.build(tcp)),
        };
        Ok(Self {
            uri,
            key: webhook.key()?,
            timeout: webhook.timeout,
            client,
            _connections: closed.drop_guard(),
        })
    }

    /// Returns when the endpoint has accepted the event.
    pub(crate) async fn post(&self, post: &Post) -> Result<(), PostError> {
        timeout(self.timeout, self.request_once(post))
            .await
            .unwrap_or(Err(PostError::Late))
    }

    async fn request_once(&self, post: &Post) -> Result<(), PostError> {
        let request = self.build_request(post);
        let answer = match &self.client {
            HttpClient::Plain(client) => client.request(request),
            HttpClient::Tls(client) => client.request(request),
        };
        let answer = answer.await;
        let answer = answer.map_err(|error| PostError::Unreachable(causes(&error)))?;
        let status = answer.status();
        let retry_after = retry_after(&answer);
        discard(answer.into_body()).await;
        if status.is_success() {
            Ok(())
        } else {
            Err(PostError::Refused {
                status,
                retry_after,
            })
        }
    }

    fn build_request(&self, post: &Post) -> Request<Full<Bytes>> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let timestamp = since.unwrap_or_default().as_secs();
        let signature = signature(&self.key, &post.id, timestamp, &post.body);
        Request::post(self.uri.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, AGENT)
            .header("webhook-id", &post.id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(Full::new(post.body.clone()))
            .expect("room ids, epochs, numbers and base64 can stand in headers")
    }
}

fn client_builder(closed: &CancellationToken) -> Builder {
    let mut client = Client::builder(Connections(closed.clone()));
    client
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(REQUESTS);
    client
}

/// Reads a short response to its end, so that the next request can reuse its connection.
async fn discard(mut body: Incoming) {
    let mut read = 0;
    while read < ANSWER_BYTES
        && let Some(Ok(frame)) = body.frame().await
    {
        read += frame.data_ref().map_or(0, Bytes::len);
    }
}

/// The value of `Retry-After` in seconds. Dates are ignored.
fn retry_after(answer: &Response<Incoming>) -> Option<Duration> {
    let text = answer.headers().get(RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// The text of an error's innermost source, which says most.
fn causes(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
