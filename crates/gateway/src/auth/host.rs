//! [`Hosts`]: the names under which a node is known, against DNS rebinding.
//!
//! A page of a stranger can let the name of its own host lead to this node. Its requests have the same
//! origin as that page then, for the browser, and tell that name in `Host`. So a name counts only if it is
//! listed, or if no stranger can give it an address.

use std::net::IpAddr;

use axum::http::HeaderMap;
use axum::http::header::HOST;
use axum::http::uri::Authority;

use super::origin::Origin;

/// The names of a node.
#[derive(Debug, Default)]
pub(crate) struct Hosts(Vec<String>);

impl Hosts {
    /// The hosts of these origins and base URLs, and further names. Those that have none are passed over.
    pub(crate) fn new<'a>(
        origins: impl IntoIterator<Item = &'a String>,
        names: impl IntoIterator<Item = &'a String>,
    ) -> Self {
        let origins = origins.into_iter().filter_map(|it| Origin::parse(it).ok());
        let names = names.into_iter().filter_map(|it| name_of(it));
        Self(
            origins
                .map(|it| it.host().to_owned())
                .chain(names)
                .collect(),
        )
    }

    /// Whether a `Host` header, with or without a port, names this node. Listed names do; so do addresses,
    /// the names of this machine for itself, and names without a dot, such as those of containers: nobody
    /// outside the network gives them an address.
    pub(crate) fn knows(&self, host: &str) -> bool {
        let Some(name) = name_of(host) else {
            return false;
        };
        let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        is_address || !name.contains('.') || name.ends_with(".localhost") || self.0.contains(&name)
    }

    /// Whether every `Host` of a request is known. A request without one comes from no browser.
    pub(crate) fn knows_all(&self, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(HOST).iter();
        hosts.all(|host| host.to_str().is_ok_and(|host| self.knows(host)))
    }
}

/// The name in lower case, without port and without the dot of the root.
fn name_of(host: &str) -> Option<String> {
    let authority: Authority = host.parse().ok()?;
    let name = authority.host().trim_end_matches('.').to_ascii_lowercase();
    (!name.is_empty() && !host.contains(['@', '*'])).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_that_are_listed_or_that_no_stranger_can_take() {
        let url = "https://Chat.example.com:8443".to_owned();
        let name = "metrics.example.com".to_owned();
        let hosts = Hosts::new([&url], [&name]);
        for known in [
            "chat.example.com",
            "CHAT.example.com:8443",
            "chat.example.com.:443",
            "metrics.example.com:9090",
            "localhost:3000",
            "chat.localhost",
            "127.0.0.1:3000",
            "[::1]:3000",
            "10.1.2.3",
            "gateway-1:9090",
        ] {
            assert!(hosts.knows(known), "{known}");
        }
        for unknown in [
            "evil.example",
            "evil.example:3000",
            "chat.example.com.evil",
            "xchat.example.com",
            "127.0.0.1.evil.example",
            "127.0.0.1.nip.io",
            "localhost.evil.example",
            "a@localhost",
            "*",
            "",
            ":3000",
        ] {
            assert!(!hosts.knows(unknown), "{unknown}");
        }
    }
}
