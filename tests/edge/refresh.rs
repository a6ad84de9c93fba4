//! Tokens that expire while their bearers are connected, and new ones for connections that stay.

use std::time::Duration;

use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::within;
use hubbub_tests::people::{SIGNED, now, token_with};
use hubbub_tests::raw::Raw;
use serde_json::{Value, json};

const FIVE_TIMES: Duration = Duration::from_secs(25);

fn lasting(user: &str, seconds: u64, more: Value) -> String {
    let mut claims = more;
    claims["exp"] = json!(now() + seconds);
    token_with(user, &claims)
}

async fn refresh(raw: &mut Raw, token: &str) -> Value {
    raw.ask(json!({"type": "refresh", "token": token})).await
}

#[tokio::test]
async fn an_expired_token_ends_the_connection_unless_there_is_a_new_one() {
    let cluster = Cluster::memory(1, &[SIGNED]).await;
    let address = cluster.address(0);
    let mut idle = Raw::connect_as(address, &lasting("alice", 3, json!({}))).await;
    let mut kept = Raw::connect_as(address, &lasting("alice", 3, json!({}))).await;
    let mut guest = Raw::connect(address).await;
    idle.join("lobby").await;
    kept.join("lobby").await;
    guest.join("lobby").await;
    let long = lasting("alice", 600, json!({}));
    let refreshed = refresh(&mut kept, &long).await;
    assert_eq!(refreshed["type"], "refreshed", "{refreshed}");
    let expires = refreshed["expires"].as_u64().expect("milliseconds");
    assert!(expires > (now() + 590) * 1_000 && expires <= (now() + 601) * 1_000);
    let code = within("the end of an expired token", FIVE_TIMES, idle.close_code()).await;
    assert_eq!(code, 4411);
    assert!(now() * 1_000 < expires, "the others had time to end too");
    kept.say("lobby", "still here").await;
    guest.say("lobby", "so am I").await;
}

#[tokio::test]
async fn a_refresh_takes_nobody_elses_place() {
    let cluster = Cluster::memory(1, &[SIGNED]).await;
    let address = cluster.address(0);
    for bad in [
        lasting("bob", 600, json!({})),
        "a.b.c".to_owned(),
        token_with("alice", &json!({"exp": now() - 60})),
        "x".repeat(9_000),
    ] {
        let mut raw = Raw::connect_as(address, &lasting("alice", 600, json!({}))).await;
        raw.join("lobby").await;
        raw.write(json!({"type": "refresh", "token": bad}).to_string())
            .await;
        assert_eq!(raw.close_code().await, 4501, "{bad:.40}");
    }
    let mut guest = Raw::connect(address).await;
    guest.join("lobby").await;
    let refresh = json!({"type": "refresh", "token": lasting("alice", 600, json!({}))});
    guest.write(refresh.to_string()).await;
    assert_eq!(
        guest.close_code().await,
        4501,
        "a guest who says hello too late"
    );
    let mut raw = Raw::connect_as(address, &lasting("alice", 600, json!({}))).await;
    assert_eq!(raw.refused(json!({"type": "refresh"})).await, "bad_frame");
    raw.join("lobby").await;
}

#[tokio::test]
async fn what_the_new_token_allows_holds_at_once() {
    let cluster = Cluster::memory(1, &[SIGNED]).await;
    let rooms = |rooms: Value| lasting("alice", 600, json!({ "rooms": rooms }));
    let all = rooms(json!({"*": "rw"}));
    let mut raw = Raw::connect_as(cluster.address(0), &all).await;
    for room in ["lobby", "news", "team"] {
        assert_eq!(raw.join(room).await["rights"], "rw");
    }
    let less = rooms(json!({"lobby": "rw", "news": "r"}));
    assert_eq!(refresh(&mut raw, &less).await["type"], "refreshed");
    let left = raw.next_of("left").await;
    assert_eq!(left["room"], "team");
    raw.say("lobby", "allowed").await;
    let send = |room: &str| json!({"type": "send", "room": room, "body": 1});
    assert_eq!(raw.refused(send("news")).await, "forbidden");
    assert_eq!(raw.refused(send("team")).await, "forbidden");
    for ask in ["join", "history", "members"] {
        let ask = json!({"type": ask, "room": "team"});
        assert_eq!(raw.refused(ask).await, "forbidden");
    }
    let since = json!({"type": "join", "room": "team", "since": {"epoch": "x", "offset": 0}});
    assert_eq!(
        raw.refused(since).await,
        "forbidden",
        "no place there counts either"
    );
    assert_eq!(refresh(&mut raw, &all).await["type"], "refreshed");
    raw.say("news", "again").await;
    raw.join("team").await;
}
