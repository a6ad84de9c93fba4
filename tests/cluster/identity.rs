//! One database belongs to one cluster, which may lose its Redis; and private rooms on a node without an
//! archive.

use std::time::Duration;

use hubbub_tests::deadline::eventually;
use hubbub_tests::http::{Answer, get, post_as, try_get};
use hubbub_tests::operator::request;
use hubbub_tests::people::{SIGNED, token};
use hubbub_tests::postgres::Postgres;
use hubbub_tests::process::{NodeProcess, Setting, run};
use hubbub_tests::raw::Raw;
use hubbub_tests::redis::{Fsync, Redis};
use serde_json::json;

const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until a node's `/readyz` says this, and is not ready.
async fn refused(node: &NodeProcess, why: &str) -> String {
    let ops = node.ops();
    let (body, _) = eventually(why, DEADLINE, async || {
        let answer = try_get(ops, "/readyz").await?;
        assert_ne!(answer.status, 200, "{answer:?}");
        answer.body.contains(why).then_some(answer.body)
    })
    .await;
    body
}

fn adopt(archive: &str) -> (Option<i32>, String) {
    let output = run(&[], &["archive", "adopt", "--archive-url", archive]);
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

async fn send(node: &NodeProcess, room: &str) -> Answer {
    let path = format!("/v1/rooms/{room}/messages");
    post_as(node.address(), &token("alice"), &path, &json!({"body": 1})).await
}

#[tokio::test]
async fn an_emptied_redis_goes_on_with_its_archive() {
    let (mut redis, postgres) = (
        Redis::start(Fsync::EverySecond).await,
        Postgres::shared().await,
    );
    let (url, archive) = (redis.url(), postgres.database().await);
    let settings = [("redis.url", &*url), ("archive.url", &*archive), SIGNED];
    let mut node = NodeProcess::start("gw-0", &settings).await;
    assert_eq!(send(&node, "lobby").await.status, 201);
    let before: String = redis.command(&["GET", "hubbub:identity"]).await;

    redis.command::<String>(&["FLUSHALL"]).await;
    eventually(
        "a living node gives the identity back",
        DEADLINE,
        async || {
            let now: Option<String> = redis.command(&["GET", "hubbub:identity"]).await;
            (now.as_ref() == Some(&before)).then_some(())
        },
    )
    .await;
    let mut late = NodeProcess::start("gw-1", &settings).await;
    assert_eq!(send(&late, "lobby").await.status, 201);

    for node in [&mut node, &mut late] {
        node.kill9();
    }
    redis.kill9();
    redis.forget();
    redis.restart().await;
    let mut again = NodeProcess::start("gw-2", &settings).await;
    let now: String = redis.command(&["GET", "hubbub:identity"]).await;
    let cluster = |identity: &str| identity.split(' ').next().map(str::to_owned);
    assert_eq!(cluster(&now), cluster(&before), "the same cluster");
    assert_ne!(now, before, "with another home");
    assert_eq!(send(&again, "lobby").await.status, 201);

    again.sigterm();
    again.wait_exit(DEADLINE).await;
    redis.command::<String>(&["FLUSHALL"]).await;
    let mut last = NodeProcess::spawn("gw-3", &settings);
    let took = last.ready().await;
    assert!(
        took < Duration::from_secs(8),
        "its cluster ended in order: {took:?}"
    );
}

#[tokio::test]
async fn two_clusters_in_one_database_are_refused() {
    let (one, two) = (
        Redis::start(Fsync::EverySecond).await,
        Redis::start(Fsync::EverySecond).await,
    );
    let postgres = Postgres::shared().await;
    let (archive, other) = (postgres.database().await, postgres.database().await);
    let (one, two) = (one.url(), two.url());
    let settings = |redis, archive| [("redis.url", redis), ("archive.url", archive), SIGNED];
    let mut first = NodeProcess::start("first", &settings(&one, &archive)).await;
    let second = NodeProcess::spawn("second", &settings(&two, &archive));
    let mut more = settings(&one, &archive).to_vec();
    more.push(("redis.prefix", "other"));
    let third = NodeProcess::spawn("third", &more);
    for node in [&second, &third] {
        let body = refused(node, "this database belongs to cluster").await;
        assert!(body.contains("hubbub archive adopt"), "{body}");
    }
    let (code, text) = adopt(&archive);
    assert!(
        code == Some(2) && text.contains("uses this archive now"),
        "{text}"
    );
    assert_eq!(get(first.ops(), "/readyz").await.status, 200, "it goes on");
    drop((second, third));

    // A cluster of its own, which comes to the database of one that has ended.
    let mut own = NodeProcess::start("own", &settings(&two, &other)).await;
    own.kill9();
    first.sigterm();
    first.wait_exit(DEADLINE).await;
    let mut guest = NodeProcess::spawn("guest", &settings(&two, &archive));
    let body = refused(&guest, "and this Redis to cluster").await;
    assert!(body.contains("hubbub archive adopt"), "{body}");
    let (code, text) = adopt(&archive);
    assert_eq!(code, Some(0), "{text}");
    guest.ready().await;
}

#[tokio::test]
async fn a_private_room_is_closed_on_a_node_without_an_archive() {
    let (redis, postgres) = (
        Redis::start(Fsync::EverySecond).await,
        Postgres::shared().await,
    );
    let (url, archive) = (redis.url(), postgres.database().await);
    let base = [("redis.url", &*url), SIGNED];
    let with: Vec<Setting<'_>> = [&base[..], &[("archive.url", &archive)]].concat();
    let without: Vec<Setting<'_>> = [&base[..], &[("redis.may_differ", "archive.url")]].concat();
    let keeper = NodeProcess::start("keeper", &with).await;
    let bare = NodeProcess::start("bare", &without).await;

    // Somebody who is in the room when it becomes private has to go.
    let mut eve = Raw::connect_as(bare.address(), &token("eve")).await;
    let new = json!({"room": "vault"});
    let made = post_as(keeper.address(), &token("alice"), "/v1/rooms", &new).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(send(&keeper, "vault").await.status, 201);
    assert_eq!(eve.join("vault").await["type"], "joined");
    let change = patch(&keeper, "/v1/rooms/vault", r#"{"private":true}"#).await;
    assert_eq!(change.status, 200, "{change:?}");
    assert_eq!(eve.close_code().await, 4410);

    let mut eve = Raw::connect_as(bare.address(), &token("eve")).await;
    for command in [
        json!({"type": "join", "room": "vault"}),
        json!({"type": "history", "room": "vault"}),
        json!({"type": "members", "room": "vault"}),
    ] {
        assert_eq!(eve.refused(command).await, "forbidden");
    }
    let eve = format!("authorization: Bearer {}\r\n", token("eve"));
    for (method, path, body) in [
        ("POST", "/v1/rooms/vault/messages", r#"{"body":1}"#),
        ("GET", "/v1/rooms/vault/messages", ""),
        ("GET", "/v1/rooms/vault/members", ""),
        ("GET", "/v1/rooms/vault/events", ""),
        ("PUT", "/v1/rooms/vault/typing", r#"{"on":true}"#),
        ("PATCH", "/v1/rooms/vault/messages/1", r#"{"body":2}"#),
        ("PUT", "/v1/rooms/vault/messages/1/reactions/x", ""),
        ("DELETE", "/v1/rooms/vault/messages/1", ""),
    ] {
        let answer = request(bare.address(), method, path, &eve, body).await;
        assert_eq!(answer.status, 403, "{method} {path}: {answer:?}");
    }
    let rooms = request(bare.address(), "GET", "/v1/rooms", &eve, "").await;
    assert!(!rooms.body.contains("vault"), "{rooms:?}");
}

async fn patch(node: &NodeProcess, path: &str, body: &str) -> Answer {
    let alice = format!("authorization: Bearer {}\r\n", token("alice"));
    request(node.address(), "PATCH", path, &alice, body).await
}
