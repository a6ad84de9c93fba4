//! Retries are safe: the same sender and nonce, on any node, is one message.

use hubbub_client::new_guest;
use hubbub_tests::cluster::Cluster;
use hubbub_tests::raw::Raw;
use serde_json::{Value, json};

on_both_brokers!(
    the_same_nonce_on_two_nodes_is_one_message,
    at_the_same_time_one_of_two_is_the_duplicate,
    another_body_is_a_conflict_and_another_user_is_not,
);

/// Two connections of one user, on the first two nodes, joined to the room.
async fn one_user_on_two_nodes(cluster: &Cluster) -> (Raw, Raw) {
    let url = format!("http://{}", cluster.address(0));
    let guest = new_guest(&url, Some("Ann")).await.expect("a guest token");
    let mut here = Raw::connect_as(cluster.address(0), &guest.token).await;
    let mut there = Raw::connect_as(cluster.address(1), &guest.token).await;
    for raw in [&mut here, &mut there] {
        let welcome = raw.next_of("welcome").await;
        assert_eq!(welcome["user"]["id"], guest.user.id.as_str());
        raw.join("nonce").await;
    }
    (here, there)
}

fn send(nonce: &str, body: Value) -> Value {
    json!({"type": "send", "room": "nonce", "nonce": nonce, "body": body})
}

async fn the_same_nonce_on_two_nodes_is_one_message(cluster: Cluster) {
    let (mut here, mut there) = one_user_on_two_nodes(&cluster).await;
    let first = here.ask(send("n1", json!("hi"))).await;
    assert_eq!(
        (&first["type"], &first["duplicate"]),
        (&json!("sent"), &json!(false))
    );
    let again = there.ask(send("n1", json!("hi"))).await;
    assert_eq!(
        (&again["type"], &again["duplicate"]),
        (&json!("sent"), &json!(true))
    );
    for field in ["epoch", "offset", "message", "ts"] {
        assert_eq!(first[field], again[field], "{field}");
    }
    // The next message has the next number: nothing was stored in between.
    let next = there.ask(send("n2", json!("next"))).await;
    assert_eq!(
        next["offset"].as_u64(),
        first["offset"].as_u64().map(|offset| offset + 1)
    );
    let mut heard = Vec::new();
    while heard.len() < 2 {
        let message = here.next_of("message").await;
        heard.push(message["nonce"].as_str().unwrap_or_default().to_owned());
    }
    assert_eq!(heard, ["n1", "n2"]);
}

async fn at_the_same_time_one_of_two_is_the_duplicate(cluster: Cluster) {
    let (mut here, mut there) = one_user_on_two_nodes(&cluster).await;
    for round in 0..50 {
        let command = send(&format!("race-{round}"), json!({ "round": round }));
        let (a, b) = tokio::join!(here.ask(command.clone()), there.ask(command));
        assert_eq!(
            (&a["type"], &b["type"]),
            (&json!("sent"), &json!("sent")),
            "{a} {b}"
        );
        assert_eq!((&a["offset"], &a["message"]), (&b["offset"], &b["message"]));
        assert_ne!(
            a["duplicate"], b["duplicate"],
            "one of them is the first: {a} {b}"
        );
        assert_eq!(a["offset"], round + 1);
    }
}

async fn another_body_is_a_conflict_and_another_user_is_not(cluster: Cluster) {
    let (mut here, mut there) = one_user_on_two_nodes(&cluster).await;
    let first = here.ask(send("n1", json!({"text": "hi"}))).await;
    let other = there.ask(send("n1", json!({"text": "ho"}))).await;
    assert_eq!(
        (&other["type"], &other["code"]),
        (&json!("error"), &json!("conflict"))
    );

    let mut stranger = cluster.raw(2).await;
    stranger.join("nonce").await;
    let theirs = stranger.ask(send("n1", json!({"text": "ho"}))).await;
    assert_eq!(
        (&theirs["type"], &theirs["duplicate"]),
        (&json!("sent"), &json!(false))
    );
    assert_ne!(theirs["offset"], first["offset"]);
}
