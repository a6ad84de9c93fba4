//! Fetching the keys: one `GET`, of one URL, in bounded time and size, without redirects.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use axum::http::header::{ACCEPT, HOST};
use axum::http::{Request, StatusCode, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;

const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_BODY_BYTES: usize = 256 * 1024;

/// `auth.jwks_url` cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("auth.jwks_url must begin with https://, or with http:// on this machine (127.0.0.1)")]
pub struct BadUrl;

/// Why there are no new keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("the certificates that this machine trusts cannot be read: {0}")]
    Roots(std::io::Error),
    #[error("{0}")]
    Request(#[from] hyper_util::client::legacy::Error),
    #[error("it answers {0}")]
    Status(StatusCode),
    #[error("the answer breaks off or has more than {MAX_BODY_BYTES} bytes: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error("no whole answer within {TIMEOUT:?}")]
    Timeout,
    #[error("the answer is no set of keys: {0}")]
    NoSet(serde_json::Error),
    #[error("there is no key in it that is used here: RS256, ES256 or EdDSA, for signatures")]
    NoKey,
}

type HttpClient = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// Where the keys are.
pub(super) struct Source {
    url: Uri,
    /// Made at the first fetch.
    client: OnceLock<HttpClient>,
}

impl Source {
    pub(super) fn new(url: &str) -> Result<Self, BadUrl> {
        let url: Uri = url.parse().map_err(|_| BadUrl)?;
        let host = url.host().ok_or(BadUrl)?;
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        let is_here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
        let is_allowed = match url.scheme_str() {
            Some("https") => true,
            Some("http") => is_here,
            _ => false,
        };
        let has_password = url.authority().is_some_and(|it| it.as_str().contains('@'));
        if is_allowed && !has_password {
            Ok(Self {
                url,
                client: OnceLock::new(),
            })
        } else {
            Err(BadUrl)
        }
    }

    pub(super) async fn fetch(&self) -> Result<Bytes, FetchError> {
        timeout(TIMEOUT, self.get())
            .await
            .map_err(|_| FetchError::Timeout)?
    }

    async fn get(&self) -> Result<Bytes, FetchError> {
        let host = self.url.authority().expect("it has a host").as_str();
        let request = Request::get(self.url.clone())
            .header(HOST, host)
            .header(ACCEPT, "application/jwk-set+json, application/json")
            .body(Empty::new())
            .expect("the parts are valid");
        let response = self.client()?.request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_BODY_BYTES);
        let body = body.collect().await.map_err(FetchError::Body)?;
        Ok(body.to_bytes())
    }

    fn client(&self) -> Result<&HttpClient, FetchError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let connector = HttpsConnectorBuilder::new()
            .with_native_roots()
            .map_err(FetchError::Roots)?
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new())
            // A fetch is rare: no connection waits for the next.
            .pool_max_idle_per_host(0)
            .build(connector);
        Ok(self.client.get_or_init(|| client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_by_tls_or_from_this_machine() {
        for good in [
            "https://id.example.com/jwks.json",
            "http://127.0.0.1:8080/jwks",
            "http://[::1]:8080/jwks",
            "http://localhost/jwks",
        ] {
            assert!(Source::new(good).is_ok(), "{good}");
        }
        for bad in [
            "http://id.example.com/jwks.json",
            "http://127.0.0.1.evil.example/",
            "http://10.0.0.1/",
            "ftp://127.0.0.1/",
            "file:///etc/passwd",
            "https://user:password@id.example.com/",
            "/jwks.json",
            "",
        ] {
            assert!(Source::new(bad).is_err(), "{bad}");
        }
    }
}
