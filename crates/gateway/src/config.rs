//! The gateway's settings: where it listens, whom it believes, who may come in.

use std::fmt;
use std::time::Duration;

use hubbub_node::RoomGrants;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::auth::origin::{Origin, OriginError};

/// Section `http`: the clients' side.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSection {
    /// Address and port that clients connect to; port 0 takes any free one.
    pub bind: String,
    /// Origins whose pages may connect, exact, such as `https://chat.example.com`; `["*"]` allows
    /// all, and cookies are then ignored. Empty: only pages that this node serves itself.
    pub allowed_origins: Vec<String>,
    /// Networks of the proxies whose `X-Forwarded-For` and `Forwarded` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Base URLs of nodes that a browser may fail over to. They stand in the web client's page,
    /// the page may connect to them, and the pages that they serve may connect here.
    pub public_urls: Vec<String>,
}

impl Default for HttpSection {
    fn default() -> Self {
        Self {
            bind: "127.0.0.1:3000".to_owned(),
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            public_urls: Vec::new(),
        }
    }
}

impl HttpSection {
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
                .try_for_each(|text| Origin::parse(text).map(drop))?;
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
    /// Guards `/admin/*`.
    pub token: String,
}

impl Default for OpsSection {
    fn default() -> Self {
        Self {
            bind: "127.0.0.1:9090".to_owned(),
            token: String::new(),
        }
    }
}

/// Who may connect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Anyone, as a guest; tokens signed with the secret count too.
    #[default]
    Guest,
    /// Only who brings a token.
    Jwt,
}

/// Section `auth`: whose tokens count.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthSection {
    /// Who may connect.
    pub mode: AuthMode,
    /// Signs and checks tokens (HS256, HS384, HS512); at least 32 bytes. Empty in guest mode: one
    /// random secret for the cluster.
    pub secret: String,
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
}

impl Default for AuthSection {
    fn default() -> Self {
        Self {
            mode: AuthMode::default(),
            secret: String::new(),
            public_key: String::new(),
            private_key: String::new(),
            jwks_url: String::new(),
            jwks_refresh: Duration::from_secs(5 * 60),
            issuer: String::new(),
            audience: String::new(),
        }
    }
}

/// A table `[[api_key]]`: a key for a program, which it sends as `Authorization: Bearer`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// Whose it is; its user is `key:NAME`.
    pub name: String,
    /// At least 32 characters.
    pub key: String,
    /// What it may do, as the `rooms` claim of a token: `{ "*" = "rwp" }`; none: as a token without the
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
    fn debug_output_holds_no_secret() {
        let auth = AuthSection {
            secret: "canary".to_owned(),
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
