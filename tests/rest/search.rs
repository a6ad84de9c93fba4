//! `GET /v1/search`: words, filters, pages, and only what the caller may read.

use std::time::Duration;

use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::eventually;
use serde_json::{Value, json};

use crate::asking::{Asker, assert_problem};

on_both_archives!(words_are_found_and_shown, only_readable_rooms_are_searched,);

const DEADLINE: Duration = Duration::from_secs(20);

fn texts(page: &Value) -> Vec<&str> {
    let hits = page["hits"].as_array().expect("hits");
    let text = |hit: &'_ Value| hit["event"]["body"]["text"].as_str().map(str::len);
    assert!(hits.iter().all(|hit| text(hit).is_some()), "{page}");
    hits.iter()
        .filter_map(|hit| hit["event"]["body"]["text"].as_str())
        .collect()
}

/// Searches until there are so many hits: in a cluster the archive follows the chat.
async fn find(asker: &Asker, query: &str, count: usize) -> Value {
    let path = format!("/v1/search?{query}");
    let (page, _) = eventually("the archive has it", DEADLINE, async || {
        let page = asker.read(&path).await;
        (page["hits"].as_array().map(Vec::len) == Some(count)).then_some(page)
    })
    .await;
    page
}

async fn words_are_found_and_shown(cluster: Cluster) {
    let (mut alice, mut bob) = (cluster.user(0, "alice").await, cluster.user(1, "bob").await);
    alice.join("zoo").await;
    bob.join("zoo").await;
    alice.join("sea").await;
    alice.say("zoo", "The quick brown fox").await;
    bob.say("zoo", "a fox, quick as ever").await;
    let eve = Asker::user(&cluster, 0, "eve");
    // Rooms come to the archive by themselves: what it has already is older than what is said now.
    find(&eve, "q=quick", 2).await;
    alice.say("sea", "no fox here, just fish").await;
    let all = find(&eve, "q=fox", 3).await;
    assert_eq!(
        texts(&all),
        [
            "no fox here, just fish",
            "a fox, quick as ever",
            "The quick brown fox"
        ],
        "newest first"
    );
    assert_eq!(all.get("next"), None);
    let shown = &all["hits"][2]["highlight"];
    assert_eq!(
        shown,
        &json!([{"text": "The quick brown ", "hit": false}, {"text": "fox", "hit": true}])
    );
    assert_eq!(texts(&find(&eve, "q=quick%20fox", 2).await).len(), 2);
    let phrase = find(&eve, "q=%22quick%20brown%22", 1).await;
    assert_eq!(texts(&phrase), ["The quick brown fox"]);
    let begun = find(&eve, "q=QUI*%20BRO*", 1).await;
    assert_eq!(texts(&begun), ["The quick brown fox"]);
    assert_eq!(
        begun["hits"][0]["highlight"][1],
        json!({"text": "quick", "hit": true})
    );
    let in_room = find(&eve, "q=fox&room=sea", 1).await;
    assert_eq!(in_room["hits"][0]["event"]["room"], "sea");
    let of_bob = find(&eve, "q=fox&from=bob", 1).await;
    assert_eq!(of_bob["hits"][0]["event"]["from"]["id"], "bob");

    let first = find(&eve, "q=fox&limit=2", 2).await;
    let next = first["next"].as_str().expect("there is one more");
    let second = find(&eve, &format!("q=fox&limit=2&before={next}"), 1).await;
    assert_eq!(texts(&second), ["The quick brown fox"]);
    assert_eq!(second.get("next"), None);
    assert_eq!(texts(&find(&eve, "q=elephant", 0).await).len(), 0);
    for bad in [
        "",
        "q=",
        "q=%20",
        "q=a&q=b",
        "q=a&before=x",
        "q=a&limit=x",
        "q=a&from=",
    ] {
        let answer = eve.get(&format!("/v1/search?{bad}")).await;
        assert_problem(&answer, 400, "bad_frame");
    }
    assert_problem(&eve.get("/v1/search?q=a&room=a%20b").await, 400, "bad_room");
    // Nothing else in a query has a meaning.
    for odd in [
        "%22",
        "AND",
        "fox*",
        "fox%27%29%3B--",
        "NEAR(",
        "%00",
        "%F0%9F%90%99",
    ] {
        let answer = eve.get(&format!("/v1/search?q={odd}")).await;
        assert_eq!(answer.status, 200, "{odd}: {answer:?}");
    }
}

async fn only_readable_rooms_are_searched(cluster: Cluster) {
    let alice = Asker::user(&cluster, 0, "alice");
    let new = json!({"room": "vault", "private": true, "members": ["bob"]});
    assert_eq!(alice.post("/v1/rooms", &new).await.status, 201);
    let mut raw = cluster.user(0, "alice").await;
    for room in ["vault", "dm:alice:bob", "plaza"] {
        raw.join(room).await;
        raw.say(room, "treasure map").await;
    }
    let (bob, eve) = (
        Asker::user(&cluster, 1, "bob"),
        Asker::user(&cluster, 1, "eve"),
    );
    find(&bob, "q=treasure", 3).await;
    let found = find(&eve, "q=treasure", 1).await;
    assert_eq!(found["hits"][0]["event"]["room"], "plaza");
    for room in ["vault", "dm:alice:bob"] {
        let answer = eve.get(&format!("/v1/search?q=treasure&room={room}")).await;
        assert_problem(&answer, 403, "forbidden");
    }
    let rights = json!({"rooms": {"plaza*": "r"}});
    let token = hubbub_tests::people::token_with("bob", &rights);
    let narrow = Asker::bearer(cluster.address(0), &token);
    let found = find(&narrow, "q=treasure", 1).await;
    assert_eq!(found["hits"][0]["event"]["room"], "plaza");
}
