//! A node's declaration: the values of every setting that the nodes of a cluster compare.

use hubbub_broker::{Broker, Declared, Rule};
use hubbub_gateway::AuthMode;
use hubbub_gateway::auth::public_key_blocks;
use hubbub_webhooks::Webhook;

use super::compared::SETTINGS;
use super::digest::Digester;
use crate::config::Settings;

/// Everything that a node with these settings declares.
pub(super) fn declare(
    settings: &Settings,
    archive_id: Option<&str>,
    cluster_secret: &[u8; 32],
) -> Vec<Declared> {
    let values = values(settings, archive_id, &Digester::new(cluster_secret));
    let may_differ = |setting: &str| settings.redis.may_differ.iter().any(|it| it == setting);
    let rows = SETTINGS.iter().zip(values);
    rows.map(|((setting, rule, harm), values)| {
        let rule = if may_differ(setting) {
            Rule::Free
        } else {
            *rule
        };
        Declared::new(setting, rule, values, harm)
    })
    .collect()
}

/// The values of [`SETTINGS`].
fn values(
    settings: &Settings,
    archive_id: Option<&str>,
    digester: &Digester,
) -> [Vec<String>; SETTINGS.len()] {
    let (auth, history, limits) = (&settings.auth, &settings.history, &settings.limits);
    let secrets = secrets(settings, digester);
    let public_keys: Vec<String> = public_key_blocks(auth)
        .iter()
        .map(|key| digester.digest(key))
        .collect();
    let jwks_urls = optional(&auth.jwks_url);
    let keys = [&secrets[..], &public_keys, &jwks_urls].concat();
    let webhooks = &settings.webhooks;
    [
        one(Broker::PROTOCOL),
        one(digester.digest("cluster secret")),
        one("single"),
        one(Broker::PARTITIONS),
        archive_id.map(str::to_owned).into_iter().collect(),
        one(match auth.mode {
            AuthMode::Guest => "guest",
            AuthMode::Jwt => "jwt",
        }),
        secrets,
        public_keys,
        jwks_urls,
        keys,
        optional(&auth.issuer),
        optional(&auth.audience),
        one(history.stream_len),
        one(history.stream_bytes.as_u64()),
        one(history.cluster_bytes.as_u64()),
        one(history.archive_backlog),
        one(humantime::format_duration(history.stream_ttl)),
        one(humantime::format_duration(history.meta_ttl)),
        digest_all(&settings.rooms, digester),
        webhooks
            .iter()
            .map(|it| digester.digest(&deliveries(it)))
            .collect(),
        webhooks
            .iter()
            .map(|it| digester.digest(&format!("{} {}", it.queue().name, it.secret.expose())))
            .collect(),
        digest_all(&settings.api_keys, digester),
        one(settings.ack.level.as_str()),
        optional(&auth.cookie),
        settings.http.allowed_origins.clone(),
        settings.http.public_urls.clone(),
        settings
            .http
            .trusted_proxies
            .iter()
            .map(ToString::to_string)
            .collect(),
        one(settings.http.forwarded_header.as_str()),
        one(&settings.socketio.default_room),
        one(limits.body_bytes.as_u64()),
        one(limits.user_sends_per_second),
        one(limits.user_new_rooms_per_minute),
    ]
}

fn one(value: impl ToString) -> Vec<String> {
    vec![value.to_string()]
}

/// An empty text is no value.
fn optional(text: &str) -> Vec<String> {
    match text {
        "" => Vec::new(),
        text => one(text),
    }
}

/// Digests of the secrets that sign tokens. In guest mode without `auth.secret` that is the cluster's.
fn secrets(settings: &Settings, digester: &Digester) -> Vec<String> {
    let auth = &settings.auth;
    if auth.secret.is_empty() && auth.mode == AuthMode::Guest {
        return one("the cluster's");
    }
    let secrets = auth.secret.iter();
    secrets.map(|secret| digester.digest(secret)).collect()
}

/// One digest for each table of a list.
fn digest_all<T: serde::Serialize>(tables: &[T], digester: &Digester) -> Vec<String> {
    let digest = |table: &T| {
        let json = serde_json::to_string(table).expect("plain structs always serialize");
        digester.digest(&json)
    };
    tables.iter().map(digest).collect()
}

/// A webhook's declared settings: all but its secret and its patience.
fn deliveries(webhook: &Webhook) -> String {
    let queue = webhook.queue();
    let mut events: Vec<&str> = queue.events.iter().map(|event| event.as_str()).collect();
    events.sort_unstable();
    let mut rooms = queue.rooms;
    rooms.sort_unstable();
    let parts = serde_json::json!([queue.name, webhook.url, events, rooms]);
    parts.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocked(change: impl FnOnce(&mut Settings)) -> Vec<&'static str> {
        compare(change, |_| {})
    }

    /// The settings that differ so that `here` stays out of a cluster with `there`.
    fn compare(
        here: impl FnOnce(&mut Settings),
        there: impl FnOnce(&mut Settings),
    ) -> Vec<&'static str> {
        let (mut own, mut other) = (base(), base());
        here(&mut own);
        there(&mut other);
        let declare = |settings| declare(settings, Some("id"), &[7; 32]);
        let (own, other) = (declare(&own), declare(&other));
        let pairs = own.iter().zip(&other);
        let blocked = pairs.filter(|(own, other)| own.is_blocked_by(other.values()));
        blocked.map(|(own, _)| own.setting).collect()
    }

    fn base() -> Settings {
        let mut settings = Settings::default();
        settings.auth.secret = "a".repeat(32).into();
        settings
    }

    #[test]
    fn equal_nodes_agree() {
        assert_eq!(blocked(|_| {}), [""; 0]);
    }

    #[test]
    fn what_loses_splits_or_exposes_data_blocks() {
        assert_eq!(blocked(|s| s.auth.mode = AuthMode::Jwt), ["auth.mode"]);
        let other_secret = blocked(|s| s.auth.secret = "b".repeat(32).into());
        assert_eq!(other_secret, ["auth.secret", "auth keys"]);
        assert_eq!(
            blocked(|s| s.history.stream_len = 1),
            ["history.stream_len"]
        );
        assert_eq!(
            blocked(|s| s.history.stream_bytes = bytesize::ByteSize::b(1)),
            ["history.stream_bytes"]
        );
        assert_eq!(
            blocked(|s| s.history.archive_backlog = 1),
            ["history.archive_backlog"]
        );
        assert_eq!(
            blocked(|s| s.history.stream_ttl /= 2),
            ["history.stream_ttl"]
        );
        assert_eq!(blocked(|s| s.history.meta_ttl *= 2), ["history.meta_ttl"]);
        let table = || hubbub_node::RoomRule {
            pattern: "a*".to_owned(),
            ..hubbub_node::RoomRule::default()
        };
        assert_eq!(blocked(|s| s.rooms = vec![table()]), ["room"]);
        let issuer = |s: &mut Settings| s.auth.issuer = "https://id.example".to_owned();
        assert_eq!(compare(|_| {}, issuer), ["auth.issuer"]);
        let key = |url: &'static str| move |s: &mut Settings| s.auth.jwks_url = url.to_owned();
        assert_eq!(
            compare(key("https://a/"), key("https://b/")),
            ["auth.jwks_url"]
        );
    }

    #[test]
    fn what_may_change_node_by_node_does_not_block() {
        assert_eq!(blocked(|s| s.limits.user_sends_per_second = 1), [""; 0]);
        assert_eq!(
            blocked(|s| s.http.allowed_origins = vec!["https://a.example".to_owned()]),
            [""; 0]
        );
        assert_eq!(
            blocked(|s| s.auth.issuer = "https://id.example".to_owned()),
            [""; 0]
        );
        assert_eq!(
            blocked(|s| s.auth.jwks_url = "https://id.example".to_owned()),
            [""; 0]
        );
    }

    /// The settings that a change makes differ from those of another node.
    fn differing(change: impl FnOnce(&mut Settings)) -> Vec<&'static str> {
        let mut changed = base();
        change(&mut changed);
        let declare = |settings| declare(settings, Some("id"), &[7; 32]);
        let (own, other) = (declare(&changed), declare(&base()));
        let pairs = own.iter().zip(&other);
        let differing = pairs.filter(|(own, other)| own.values() != other.values());
        differing.map(|(own, _)| own.setting).collect()
    }

    #[test]
    fn differences_in_how_clients_are_known_are_reported_and_do_not_block() {
        let check = |change: fn(&mut Settings), setting| {
            assert_eq!(differing(change), [setting]);
            assert_eq!(blocked(change), [""; 0]);
        };
        check(|s| s.auth.cookie = "chat".to_owned(), "auth.cookie");
        check(
            |s| s.http.public_urls = vec!["https://chat.example".to_owned()],
            "http.public_urls",
        );
        check(
            |s| s.http.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()],
            "http.trusted_proxies",
        );
        check(
            |s| s.http.forwarded_header = hubbub_gateway::ForwardedHeader::Forwarded,
            "http.forwarded_header",
        );
        check(
            |s| s.history.cluster_bytes = bytesize::ByteSize::mib(1),
            "history.cluster_bytes",
        );
    }

    #[test]
    fn lists_of_secrets_agree_where_they_overlap() {
        let list = |secrets: [char; 2]| {
            let secrets = secrets.map(|letter| letter.to_string().repeat(32));
            move |s: &mut Settings| s.auth.secret = serde_json::from_value(secrets.into()).unwrap()
        };
        assert_eq!(blocked(list(['b', 'a'])), [""; 0]);
        assert_eq!(compare(list(['a', 'b']), list(['b', 'c'])), [""; 0]);
        assert_eq!(
            compare(list(['a', 'b']), list(['c', 'd'])),
            ["auth.secret", "auth keys"]
        );
    }

    #[test]
    fn a_named_setting_may_differ() {
        let change = |s: &mut Settings| {
            s.history.stream_len = 1;
            s.redis.may_differ = vec!["history.stream_len".to_owned()];
        };
        assert_eq!(blocked(change), [""; 0]);
    }

    #[test]
    fn nothing_secret_is_declared() {
        let mut settings = base();
        settings.auth.secret = "canary".repeat(6).into();
        let declared = format!("{:?}", declare(&settings, None, &[7; 32]));
        assert!(!declared.contains("canary"), "{declared}");
    }
}
