//! The gateway's settings: where it listens, whom it believes, who may come in.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hubbub_node::RoomGrants;
use ipnet::IpNet;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::address::canonical;
use crate::auth::Secrets;
use crate::auth::origin::{Origin, OriginError};

/// Section `http`: the clients' side.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSection {
    /// Address and port that clients connect to; port 0 takes any free one.
    pub bind: String,
    /// Origins whose pages may connect, exact, such as `https://chat.example.com` or, of an
    /// application, `capacitor://localhost`; `["*"]` allows all, and cookies are then ignored. Empty:
    /// only pages that this node serves itself.
    pub allowed_origins: Vec<String>,
    /// Addresses and networks of the proxies whose `forwarded_header` is believed.
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which these proxies write the client's address. No other one is read.
    pub forwarded_header: ForwardedHeader,
    /// Whether each connection to `bind` begins with a PROXY header of version 2 that names the
    /// client. Only `trusted_proxies` may connect then.
    pub proxy_protocol: bool,
    /// File with the certificate and those above it, PEM; empty: no TLS. Read again when it changes.
    pub tls_cert: String,
    /// File with the certificate's private key, PEM.
    pub tls_key: String,
    /// Base URLs of nodes that a browser may fail over to. They stand in the web client's page,
    /// the page may connect to them, and the pages that they serve may connect here. Their hosts are
    /// the names under which this node is known, beside addresses and names without a dot.
    pub public_urls: Vec<String>,
}

impl Default for HttpSection {
    fn default() -> Self {
        Self {
            bind: "127.0.0.1:3000".to_owned(),
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::XForwardedFor,
            proxy_protocol: false,
            tls_cert: String::new(),
            tls_key: String::new(),
            public_urls: Vec::new(),
        }
    }
}

/// A header in which proxies write where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, and `X-Forwarded-Proto` for the scheme.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl ForwardedHeader {
    /// As the settings write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }
}

/// Reads networks; an address is the network that it is alone in.
fn networks<'de, D: Deserializer<'de>>(list: D) -> Result<Vec<IpNet>, D::Error> {
    let list = Vec::<String>::deserialize(list)?;
    let network = |text: &String| {
        let address = text.parse::<IpAddr>().map(IpNet::from);
        let network = address.or_else(|_| text.parse()).map(canonical);
        network.map_err(|_| {
            D::Error::custom(format_args!(
                "{text:?} is neither an address nor a network such as 10.0.0.0/8"
            ))
        })
    };
    list.iter().map(network).collect()
}

impl HttpSection {
    /// Whether clients come over TLS of ours.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        !self.tls_cert.is_empty()
    }

    /// Checks what its types do not.
    ///
    /// # Errors
    /// [`OriginError`] names the entry and the form it must have.
    pub fn check(&self) -> Result<(), OriginError> {
        if self.allowed_origins.iter().any(|origin| origin == "*") {
            if self.allowed_origins.len() > 1 {
                return Err(OriginError::StarAndOthers);
            }
        } else {
            self.allowed_origins
                .iter()
                .try_for_each(|text| Origin::parse_any(text).map(drop))?;
        }
        self.public_urls
            .iter()
            .try_for_each(|text| Origin::parse(text).map(drop))
    }
}

/// Section `ops`: the operators' side, never on the clients' port.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpsSection {
    /// Address and port of `/livez`, `/readyz` and `/metrics`; empty: none.
    pub bind: String,
    /// Guards `/admin/*`, which is off without one; at least 32 bytes.
    pub token: String,
    /// Further names of this port, such as `metrics.example.com`, beside the hosts of
    /// `http.public_urls`, addresses and names without a dot. Requests by other names are refused.
    pub hosts: Vec<String>,
}

impl Default for OpsSection {
    fn default() -> Self {
        Self {
            bind: "127.0.0.1:9090".to_owned(),
            token: String::new(),
            hosts: Vec::new(),
        }
    }
}

/// The least bytes of `ops.token`.
const MIN_TOKEN_BYTES: usize = 32;

/// An operators' port that strangers could use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpsError {
    /// It could be guessed.
    #[error("ops.token has {0} bytes, at least {MIN_TOKEN_BYTES} are needed: openssl rand -hex 32")]
    ShortToken(usize),
    /// Nobody could tell an operator from a stranger.
    #[error(
        "ops.bind = {0} can be reached from outside: set ops.token (openssl rand -hex 32), or bind \
         it to 127.0.0.1 or to an address of a private network"
    )]
    Open(IpAddr),
}

impl OpsSection {
    /// Checks what its types do not.
    ///
    /// # Errors
    /// [`OpsError`] says what has to change.
    pub fn check(&self) -> Result<(), OpsError> {
        if (1..MIN_TOKEN_BYTES).contains(&self.token.len()) {
            return Err(OpsError::ShortToken(self.token.len()));
        }
        match self.bind.parse::<SocketAddr>() {
            Ok(address) => self.check_reach(address.ip()),
            // A name, or nothing.
            Err(_) => Ok(()),
        }
    }

    /// Without a token the port may be reached from this machine and its private networks only.
    pub(crate) fn check_reach(&self, address: IpAddr) -> Result<(), OpsError> {
        if self.token.is_empty() && is_public(address) {
            Err(OpsError::Open(address))
        } else {
            Ok(())
        }
    }
}

/// Whether strangers may come to this address. All addresses of a machine may be such.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let is_shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            !(v4.is_loopback() || v4.is_private() || v4.is_link_local() || is_shared)
        }
        IpAddr::V6(v6) => !(v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local()),
    }
}

/// The clients that may connect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Anyone, as a guest; tokens signed with the secret count too.
    #[default]
    Guest,
    /// Only clients with a token.
    Jwt,
}

/// Section `auth`: whose tokens count.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthSection {
    /// The clients that may connect.
    pub mode: AuthMode,
    /// Signs and checks tokens (HS256, HS384, HS512); at least 32 bytes. A list: the first signs, all
    /// check. Empty in guest mode: one random secret for the cluster.
    pub secret: Secrets,
    /// Checks tokens (RS256, ES256, EdDSA): one or more public keys in PEM, or the path of a file with
    /// them.
    pub public_key: String,
    /// Signs what `hubbub token` makes, in place of the secret, and checks it: a private key in PEM, or
    /// the path of a file with it.
    pub private_key: String,
    /// Where an identity provider keeps its public keys (JWKS): `https`, or `http` on this machine.
    pub jwks_url: String,
    /// How often they are fetched again; a key that is not known makes it earlier.
    #[serde(with = "humantime_serde")]
    pub jwks_refresh: Duration,
    /// The `iss` that a token must have; empty: not checked.
    pub issuer: String,
    /// The `aud` that a token must have; empty: not checked.
    pub audience: String,
    /// The name of the cookie that carries a token, the one that is read; empty: `__Host-hubbub_token`
    /// over TLS and `hubbub_token` on plain HTTP.
    pub cookie: String,
}

impl Default for AuthSection {
    fn default() -> Self {
        Self {
            mode: AuthMode::default(),
            secret: Secrets::default(),
            public_key: String::new(),
            private_key: String::new(),
            jwks_url: String::new(),
            jwks_refresh: Duration::from_secs(5 * 60),
            issuer: String::new(),
            audience: String::new(),
            cookie: String::new(),
        }
    }
}

/// A table `[[api_key]]`: a key for a program, which it sends as `Authorization: Bearer`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// The owner's name; the user is `key:NAME`.
    pub name: String,
    /// At least 32 characters.
    pub key: String,
    /// The rights, as the `rooms` claim of a token: `{ "*" = "rwp" }`; none: as a token without the
    /// claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rooms: Option<RoomGrants>,
}

// Written by hand so that no log can hold a secret.
impl fmt::Debug for OpsSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpsSection")
            .field("bind", &self.bind)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for AuthSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthSection")
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_need_a_token() {
        let check = |bind: &str, token: &str| {
            let ops = OpsSection {
                bind: bind.to_owned(),
                token: token.to_owned(),
                ..OpsSection::default()
            };
            ops.check()
        };
        for near in [
            "127.0.0.1:1",
            "[::1]:1",
            "10.0.0.7:1",
            "192.168.1.1:1",
            "[fd00::1]:1",
            "",
        ] {
            assert_eq!(check(near, ""), Ok(()), "{near}");
        }
        for far in ["0.0.0.0:1", "[::]:1", "203.0.113.7:1", "[2001:db8::1]:1"] {
            assert!(matches!(check(far, ""), Err(OpsError::Open(_))), "{far}");
            assert_eq!(check(far, &"k".repeat(32)), Ok(()), "{far}");
        }
        assert_eq!(check("127.0.0.1:1", "short"), Err(OpsError::ShortToken(5)));
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let auth = AuthSection {
            secret: "canary".to_owned().into(),
            private_key: "canary".to_owned(),
            ..AuthSection::default()
        };
        let ops = OpsSection {
            token: "canary".to_owned(),
            ..OpsSection::default()
        };
        let key = ApiKey {
            name: "billing".to_owned(),
            key: "canary".to_owned(),
            rooms: None,
        };
        assert!(!format!("{auth:?} {ops:?} {key:?}").contains("canary"));
    }
}
