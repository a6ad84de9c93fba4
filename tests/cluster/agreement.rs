//! Nodes with different settings: which of them join one cluster, and what operators see of it.

use std::sync::Arc;
use std::time::Duration;

use hubbub_tests::deadline::eventually;
use hubbub_tests::http::{get, post_as};
use hubbub_tests::operator::{KEY, KEYED, look};
use hubbub_tests::people::{SECRET, SIGNED, token};
use hubbub_tests::postgres::Postgres;
use hubbub_tests::process::{FILE, NodeProcess, Setting, run};
use hubbub_tests::redis::{Fsync, Redis};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(30);
const ROOM_TABLE: &str = "[[room]]\nmatch = \"news\"\nrights = \"r\"\n";
const WEBHOOK_TABLE: &str = "[[webhook]]\nurl = \"http://127.0.0.1:9/hook\"\n\
    secret = \"0123456789abcdef0123456789abcdef\"\n";

/// A Redis, a database, and the node that lives there.
struct Lab {
    redis: Redis,
    postgres: Arc<Postgres>,
    archive: String,
}

impl Lab {
    async fn new() -> Self {
        let (redis, postgres) = (
            Redis::start(Fsync::EverySecond).await,
            Postgres::shared().await,
        );
        let archive = postgres.database().await;
        Self {
            redis,
            postgres,
            archive,
        }
    }

    /// A node that uses both, with further settings; later ones count.
    fn spawn(&self, name: &str, more: &[Setting<'_>]) -> NodeProcess {
        let url = self.redis.url();
        let mut settings = vec![
            ("redis.url", url.as_str()),
            ("archive.url", &self.archive),
            ("history.stream_len", "1000"),
            SIGNED,
            KEYED,
        ];
        settings.extend(more);
        NodeProcess::spawn(name, &settings)
    }

    async fn start(&self, name: &str, more: &[Setting<'_>]) -> NodeProcess {
        let mut node = self.spawn(name, more);
        node.ready().await;
        node
    }
}

/// Waits until a node says that its settings differ; its whole answer.
async fn refused(node: &mut NodeProcess, why: &str) -> String {
    let ops = node.ops();
    let what = format!("{why} keeps a node out");
    let (body, _) = eventually(&what, DEADLINE, async || {
        let answer = hubbub_tests::http::try_get(ops, "/readyz").await?;
        assert_ne!(answer.status, 200, "{why}: {answer:?}");
        answer.body.contains(why).then_some(answer.body)
    })
    .await;
    body
}

#[tokio::test]
async fn what_loses_splits_or_exposes_data_keeps_a_starting_node_out() {
    let lab = Lab::new().await;
    let living = lab.start("living", &[]).await;
    let other_database = lab.postgres.database().await;
    let cases: [(&str, &[Setting<'_>]); 9] = [
        ("archive.url", &[("archive.url", "")]),
        ("archive.url", &[("archive.url", &other_database)]),
        (
            "auth.secret",
            &[("auth.secret", "another-secret-another-secret-01")],
        ),
        ("auth.mode", &[("auth.mode", "jwt")]),
        ("history.stream_len", &[("history.stream_len", "999")]),
        (
            "history.archive_backlog",
            &[("history.archive_backlog", "9")],
        ),
        ("history.meta_ttl", &[("history.meta_ttl", "40days")]),
        ("room", &[(FILE, ROOM_TABLE)]),
        ("webhook", &[(FILE, WEBHOOK_TABLE)]),
    ];
    let mut nodes: Vec<_> = cases
        .iter()
        .enumerate()
        .map(|(number, (_, more))| lab.spawn(&format!("late-{number}"), more))
        .collect();
    for ((setting, _), node) in cases.iter().zip(&mut nodes) {
        let why = format!("{setting} differs from node living");
        let body = refused(node, &why).await;
        assert!(body.starts_with("not ready: "), "{body}");
        assert!(
            !body.contains(SECRET) && !body.contains("another-secret"),
            "{body}"
        );
    }
    takes_no_clients(&nodes[0], &living).await;
    operators_see_who_differs(&nodes[0], &living).await;
    let log = living.log();
    let told = log
        .matches("a node with other settings waits to join")
        .count();
    eventually("each newcomer is told of once", DEADLINE, async || {
        let log = living.log();
        let told = log
            .matches("a node with other settings waits to join")
            .count();
        assert!(told <= cases.len(), "{log}");
        (told == cases.len()).then_some(())
    })
    .await;
    assert!(told <= cases.len() && !log.contains(SECRET), "{log}");
}

/// On every transport.
async fn takes_no_clients(node: &NodeProcess, living: &NodeProcess) {
    let clients = node.address();
    let alice = token("alice");
    let send = json!({"body": {"text": "hi"}});
    let stored = post_as(living.address(), &alice, "/v1/rooms/lobby/messages", &send).await;
    assert_eq!(stored.status, 201, "{stored:?}");
    let sent = post_as(clients, &alice, "/v1/rooms/lobby/messages", &send).await;
    assert_eq!(
        (sent.status, &sent.json()["code"]),
        (503, &json!("unavailable"))
    );
    for path in [
        "/v1/rooms/lobby/messages",
        "/v1/rooms/lobby/events",
        "/v1/ws",
        "/socket.io/?EIO=4&transport=polling",
    ] {
        assert_eq!(get(clients, path).await.status, 503, "{path}");
    }
    let deletion = "DELETE /admin/rooms/lobby/messages/1";
    let deleted = hubbub_tests::operator::try_order(node.ops(), deletion, &Value::Null).await;
    assert_eq!(deleted.status, 503, "{deleted:?}");
}

async fn operators_see_who_differs(waiting: &NodeProcess, living: &NodeProcess) {
    for node in [waiting, living] {
        let all = look(node.ops(), "/admin/settings").await;
        assert_eq!(
            (&all["agree"], &all["nodes"]),
            (&json!(false), &json!(["living"]))
        );
        let names = all["waiting"].as_array().expect("a list");
        assert!(names.contains(&json!("late-0")), "{all}");
        let setting = |name: &str| {
            let settings = all["settings"].as_array().expect("a list");
            let found = settings.iter().find(|it| it["setting"] == name);
            found.unwrap_or_else(|| panic!("{name} in {all}")).clone()
        };
        let archive = setting("archive.url");
        assert_eq!(
            (&archive["agrees"], &archive["required"]),
            (&json!(false), &json!(true))
        );
        assert_eq!(archive["values"]["late-0"], "none");
        assert_eq!(setting("protocol")["agrees"], true);
        assert!(!all.to_string().contains(SECRET));

        let url = format!("http://{}", node.ops());
        let output = run(&[("ops.token", KEY)], &["admin", "--url", &url, "settings"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{output:?}");
        let differs = |setting: &str| {
            let mut lines = text.lines();
            lines.any(|line| line.starts_with(setting) && line.contains("DIFFERS"))
        };
        assert!(differs("archive.url") && !differs("protocol"), "{text}");
        assert!(text.contains("late-0 waits to join"), "{text}");
    }
}

#[tokio::test]
async fn what_may_change_node_by_node_is_only_reported() {
    let redis = Redis::start(Fsync::EverySecond).await;
    let url = redis.url();
    let base: Setting<'_> = ("redis.url", &url);
    let first = NodeProcess::start("first", &[base]).await;
    let second = NodeProcess::start("second", &[base, ("limits.body_bytes", "8KiB")]).await;
    for (node, other) in [(&first, "second"), (&second, "first")] {
        let told = format!("limits.body_bytes differs from node {other}");
        eventually("the difference is logged", DEADLINE, async || {
            node.log().contains(&told).then_some(())
        })
        .await;
    }
    let may = [
        base,
        ("limits.body_bytes", "8KiB"),
        ("history.stream_len", "7"),
    ];
    let mut third = NodeProcess::spawn("third", &may);
    refused(&mut third, "history.stream_len differs from node").await;
    let named = [
        may[0],
        may[1],
        may[2],
        ("redis.may_differ", "history.stream_len"),
    ];
    let _deliberate = NodeProcess::start("deliberate", &named).await;
    let log = first.log();
    let told = log
        .matches("limits.body_bytes differs from node second")
        .count();
    assert_eq!(told, 1, "once: {log}");
}

#[tokio::test]
async fn a_waiting_node_joins_when_the_other_is_gone() {
    let redis = Redis::start(Fsync::EverySecond).await;
    let url = redis.url();
    let base: Setting<'_> = ("redis.url", &url);
    let mut living = NodeProcess::start("living", &[base]).await;
    let mut waiting = NodeProcess::spawn("waiting", &[base, ("history.stream_len", "7")]);
    refused(&mut waiting, "history.stream_len differs from node living").await;
    assert_eq!(get(living.ops(), "/readyz").await.status, 200, "it goes on");
    living.kill9();
    waiting.ready().await;
    let all = get(waiting.ops(), "/readyz").await.body;
    assert!(all.contains("settings: ok"), "{all}");
}

#[tokio::test]
async fn of_two_that_start_together_and_differ_one_waits() {
    let redis = Redis::start(Fsync::EverySecond).await;
    let url = redis.url();
    let base: Setting<'_> = ("redis.url", &url);
    let nodes = [
        NodeProcess::spawn("one", &[base, ("history.stream_len", "7")]),
        NodeProcess::spawn("two", &[base, ("history.stream_len", "8")]),
    ];
    let (bodies, _) = eventually("both have compared themselves", DEADLINE, async || {
        let mut bodies = Vec::new();
        for node in &nodes {
            let answer = hubbub_tests::http::try_get(node.ops(), "/readyz").await?;
            let has_decided = answer.status == 200 || answer.body.contains("differs from node");
            bodies.push(has_decided.then_some(answer)?);
        }
        Some(bodies)
    })
    .await;
    let ready = bodies.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(ready, 1, "{bodies:?}");
}

#[tokio::test]
async fn a_node_of_an_older_version_is_only_reported() {
    let redis = Redis::start(Fsync::EverySecond).await;
    let url = redis.url();
    let lease = ["ZADD", "hubbub:nodes", "9000000000000", "old:1.lease"];
    redis.command::<u64>(&lease).await;
    let node = NodeProcess::start("new", &[("redis.url", &url), KEYED]).await;
    let log = node.log();
    assert!(
        log.contains("it declares no settings, its version is older"),
        "{log}"
    );
    let all = look(node.ops(), "/admin/settings").await;
    assert_eq!(all["undeclared"], json!(["old"]), "{all}");
}
