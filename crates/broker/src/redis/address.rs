//! Builds the Redis client from the section `redis`: the address, TLS, and the accepted
//! certificates.

use std::net::IpAddr;
use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::io::tcp::socket2::TcpKeepalive;
use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
    TlsCertificates,
};
use tracing::warn;

use crate::{BrokerError, RedisSection};

fn bad<T>(why: impl Into<String>) -> Result<T, BrokerError> {
    Err(BrokerError::BadUrl(why.into()))
}

/// Reads the section and adds the TCP settings that every connection needs: no delay, keepalive,
/// and a limit on unacknowledged bytes, so that the kernel too detects a half-open connection.
pub(crate) fn client(section: &RedisSection) -> Result<Client, BrokerError> {
    let url = &section.url;
    let tls = match url.split("://").next().unwrap_or_default() {
        "redis" => false,
        "rediss" => true,
        "redis+sentinel" | "redis+cluster" => {
            return bad("Sentinel and Cluster are not supported yet, use redis://host:port");
        }
        _ => return bad("expected redis[s]://[[user]:password@]host[:port][/db]"),
    };
    // A password may have a comma in it.
    let hosts = url
        .rsplit_once('@')
        .map_or(url.as_str(), |(_, hosts)| hosts);
    if hosts.contains(',') || url.contains(",redis") {
        return bad("a list of URLs (shards) is not supported yet, give one URL");
    }
    if url.contains('#') {
        return bad(
            "what follows # is not taken: write %23 for a # in a password; redis.tls_insecure = true \
             turns checks of certificates off",
        );
    }
    let is_odd = |error: redis::RedisError| BrokerError::BadUrl(error.to_string());
    let info = if section.tls_insecure && tls {
        // The redis crate reads this setting from the URL's fragment.
        format!("{url}#insecure").into_connection_info()
    } else {
        url.as_str().into_connection_info()
    };
    let info = ours(info.map_err(is_odd)?);
    match info.addr() {
        ConnectionAddr::TcpTls { .. } => {
            Client::build_with_tls(info, certificates(section)?).map_err(is_odd)
        }
        ConnectionAddr::Tcp(..) if section.has_tls_settings() => {
            bad("redis.tls_* settings need a URL that begins with rediss://")
        }
        ConnectionAddr::Tcp(..) => Client::open(info).map_err(is_odd),
        _ => bad("expected a host and port"),
    }
}

fn ours(info: ConnectionInfo) -> ConnectionInfo {
    let tcp = TcpSettings::default()
        .set_nodelay(true)
        .set_user_timeout(Duration::from_secs(5))
        .set_keepalive(
            TcpKeepalive::new()
                .with_time(Duration::from_secs(5))
                .with_interval(Duration::from_secs(5))
                .with_retries(3),
        );
    let settings = info.redis_settings().clone();
    let settings = settings.set_protocol(ProtocolVersion::RESP3);
    info.set_tcp_settings(tcp).set_redis_settings(settings)
}

fn certificates(section: &RedisSection) -> Result<TlsCertificates, BrokerError> {
    // The redis crate uses the process's default provider. If the build has two providers, it
    // cannot choose one by itself.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let client_tls = match (&*section.tls_cert, &*section.tls_key) {
        ("", "") => None,
        ("", _) | (_, "") => {
            return bad("redis.tls_cert and redis.tls_key belong together: set both or neither");
        }
        (cert, key) => Some(ClientTlsConfig {
            client_cert: read("redis.tls_cert", cert)?,
            client_key: read("redis.tls_key", key)?,
        }),
    };
    let root_cert = match &*section.tls_ca {
        "" => None,
        ca => Some(read("redis.tls_ca", ca)?),
    };
    Ok(TlsCertificates {
        client_tls,
        root_cert,
    })
}

fn read(setting: &str, path: &str) -> Result<Vec<u8>, BrokerError> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) => return bad(format!("{setting}: cannot read {path}: {error}")),
    };
    if text.windows(11).any(|window| window == b"-----BEGIN ") {
        Ok(text)
    } else {
        bad(format!("{setting}: {path} is not in PEM form"))
    }
}

/// Warns at start if others can read or change the traffic to Redis.
pub(crate) fn warn_of_the_way(client: &Client) {
    match client.get_connection_info().addr() {
        ConnectionAddr::Tcp(host, _) if !is_loopback(host) => warn!(
            host,
            "redis is on another host and without TLS: anyone on the network path can read and change \
             everything, use rediss://"
        ),
        ConnectionAddr::TcpTls {
            host,
            insecure: true,
            ..
        } => warn!(
            host,
            "redis.tls_insecure: anyone can pretend to be this redis"
        ),
        _ => {}
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(url: &str) -> RedisSection {
        RedisSection {
            url: url.to_owned(),
            ..RedisSection::default()
        }
    }

    fn refusal(section: &RedisSection) -> String {
        client(section).unwrap_err().to_string()
    }

    #[test]
    fn urls_that_cannot_work_say_why() {
        assert!(client(&section("redis://user:secret@localhost:6379/1")).is_ok());
        assert!(client(&section("rediss://user:secret@localhost:6379/1")).is_ok());
        assert!(client(&section("redis://user:a,b@localhost:6379/1")).is_ok());
        for (url, why) in [
            ("localhost:6379", "expected redis"),
            ("redis+sentinel://a", "Sentinel"),
            ("redis://a,redis://b", "shards"),
            ("redis://user:secret@a,redis://user:secret@b", "shards"),
            ("rediss://a#insecure", "redis.tls_insecure"),
            ("redis://:pa#ss@a", "%23"),
        ] {
            assert!(refusal(&section(url)).contains(why), "{url}");
        }
    }

    #[test]
    fn tls_settings_need_tls_and_files() {
        let with = |url: &str, change: fn(&mut RedisSection)| {
            let mut section = section(url);
            change(&mut section);
            section
        };
        let plain = with("redis://a", |s| s.tls_insecure = true);
        assert!(refusal(&plain).contains("rediss://"));
        let half = with("rediss://a", |s| s.tls_key = "/nowhere/key".to_owned());
        assert!(refusal(&half).contains("redis.tls_cert"));
        let missing = with("rediss://a", |s| s.tls_ca = "/nowhere/ca.pem".to_owned());
        assert!(refusal(&missing).contains("/nowhere/ca.pem"));
        let other = with("rediss://a", |s| s.tls_ca = "/dev/null".to_owned());
        assert!(refusal(&other).contains("PEM"));
        let insecure = with("rediss://a", |s| s.tls_insecure = true);
        let client = client(&insecure).unwrap();
        let address = client.get_connection_info().addr().clone();
        assert!(matches!(
            address,
            ConnectionAddr::TcpTls { insecure: true, .. }
        ));
    }

    #[test]
    fn loopback_is_known() {
        for here in ["localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"] {
            assert!(is_loopback(here), "{here}");
        }
        for there in ["redis", "10.0.0.1", "localhost.example"] {
            assert!(!is_loopback(there), "{there}");
        }
    }
}
