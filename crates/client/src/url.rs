//! The URLs of nodes: `http://host:port`, `wss://host/v1/ws` and the forms between.

use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::tungstenite::http::Uri;

use crate::error::ConfigError;

/// A node's checked address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeUrl {
    /// `host:port`, for the TCP connection and the `Host` header.
    pub(crate) authority: String,
    /// The host that the node's certificate must name. `None` without TLS.
    pub(crate) server: Option<ServerName<'static>>,
    /// The part before `/v1/`, without a slash at its end.
    pub(crate) prefix: String,
}

impl NodeUrl {
    pub(crate) fn parse(url: &str) -> Result<Self, ConfigError> {
        let bad = |reason: &str| ConfigError::BadUrl {
            url: url.to_owned(),
            reason: reason.to_owned(),
        };
        let (is_tls, rest) = match url.split_once("://") {
            None => (false, url),
            Some(("http" | "ws", rest)) => (false, rest),
            Some(("https" | "wss", rest)) => (true, rest),
            Some(_) => return Err(bad("use http://, https://, ws:// or wss://")),
        };
        let uri: Uri = format!("ws://{rest}")
            .parse()
            .map_err(|error| bad(&format!("{error}")))?;
        let authority = uri.authority().ok_or_else(|| bad("the host is missing"))?;
        if authority.as_str().contains('@') {
            return Err(bad("a user name does not belong here; use a token"));
        }
        if uri.query().is_some() {
            return Err(bad("a query does not belong here; use a token"));
        }
        let host = authority.host();
        if host.is_empty() {
            return Err(bad("the host is missing"));
        }
        let server = if is_tls {
            let name = host.trim_start_matches('[').trim_end_matches(']');
            let name = ServerName::try_from(name.to_owned());
            Some(name.map_err(|_| bad("no certificate can name this host"))?)
        } else {
            None
        };
        let port = authority
            .port_u16()
            .unwrap_or(if is_tls { 443 } else { 80 });
        let path = uri.path();
        let prefix = path.strip_suffix("/v1/ws").unwrap_or(path);
        Ok(Self {
            authority: format!("{host}:{port}"),
            server,
            prefix: prefix.trim_end_matches('/').to_owned(),
        })
    }

    /// The WebSocket endpoint.
    pub(crate) fn websocket(&self) -> String {
        let scheme = if self.server.is_some() { "wss" } else { "ws" };
        format!("{scheme}://{}{}/v1/ws", self.authority, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_form_of_a_url_leads_to_the_endpoint() {
        for (given, endpoint) in [
            ("127.0.0.1:3000", "ws://127.0.0.1:3000/v1/ws"),
            ("http://127.0.0.1:3000/", "ws://127.0.0.1:3000/v1/ws"),
            ("ws://node:3000/v1/ws", "ws://node:3000/v1/ws"),
            ("http://chat.example", "ws://chat.example:80/v1/ws"),
            ("http://example/chat/", "ws://example:80/chat/v1/ws"),
            ("ws://[::1]:3000", "ws://[::1]:3000/v1/ws"),
            ("https://chat.example", "wss://chat.example:443/v1/ws"),
            ("wss://127.0.0.1:3000/x", "wss://127.0.0.1:3000/x/v1/ws"),
            ("wss://[::1]", "wss://[::1]:443/v1/ws"),
        ] {
            assert_eq!(NodeUrl::parse(given).unwrap().websocket(), endpoint);
        }
    }

    #[test]
    fn an_invalid_url_is_refused_with_a_reason() {
        for (given, reason) in [
            ("https://not_a.name!", "cannot be used"),
            ("ftp://chat.example", "use http://"),
            ("http://", "cannot be used"),
            ("http://me:pw@chat.example", "user name"),
            ("http://chat.example/?token=x", "use a token"),
        ] {
            let error = NodeUrl::parse(given).unwrap_err().to_string();
            assert!(error.contains(reason), "{given}: {error}");
        }
    }
}
