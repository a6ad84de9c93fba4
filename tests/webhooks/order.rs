//! What is told, and in which order.

use std::time::Duration;

use hubbub_tests::deadline::eventually;
use hubbub_tests::receiver::{Receiver, Told};
use serde_json::json;

use crate::fixture::{Brokers, SOON, cluster, sum};

on_both_brokers!(
    everything_is_told_in_order_and_signed,
    a_webhook_is_told_what_it_asks_for,
    what_was_deleted_meanwhile_is_told_without_its_body,
    joins_and_leaves_are_told_once,
);

fn events(taken: &[Told]) -> Vec<&str> {
    taken.iter().map(Told::event).collect()
}

async fn everything_is_told_in_order_and_signed(brokers: Brokers) {
    let receiver = Receiver::start().await;
    let cluster = cluster(brokers, &receiver.table("")).await;
    let mut alice = cluster.user(0, "alice").await;
    alice.join("lobby").await;
    let first = alice.say("lobby", "one").await;
    let mut bob = cluster.user(1, "bob").await;
    bob.join("lobby").await;
    bob.say("lobby", "two").await;
    // Told before it is edited.
    receiver.wait_taken(4, SOON).await;
    let change = json!({"type": "edit", "room": "lobby", "target": first, "body": {"text": "1"}});
    alice.ask(change).await;
    let react = json!({"type": "react", "room": "lobby", "target": first, "key": "👍", "on": true});
    bob.ask(react).await;
    // Told before it is deleted.
    receiver.wait_taken(6, SOON).await;
    alice
        .ask(json!({"type": "delete", "room": "lobby", "target": first}))
        .await;
    bob.ask(json!({"type": "leave", "room": "lobby"})).await;
    let taken = receiver.wait_taken(8, SOON).await;
    assert_eq!(
        events(&taken),
        [
            "joined", "message", "joined", "message", "edited", "reacted", "deleted", "left"
        ]
    );
    assert_eq!(taken[1].body["event"]["body"], json!({"text": "one"}));
    assert_eq!(taken[1].body["event"]["from"]["id"], "alice");
    assert_eq!(taken[4].body["event"]["target"], first);
    assert_eq!(taken[7].body["user"], json!({"id": "bob", "name": "BOB"}));
    assert!(sum(&cluster, "hubbub_webhook_delivered_total").await >= 8.0);
    let empty = async || (sum(&cluster, "hubbub_webhook_waiting_rooms").await == 0.0).then_some(());
    eventually("nothing waits", SOON, empty).await;
}

async fn a_webhook_is_told_what_it_asks_for(brokers: Brokers) {
    let (teams, deleted) = (Receiver::start().await, Receiver::start().await);
    let tables = teams.table("rooms = [\"team-*\"]\nevents = [\"message\"]")
        + &deleted.table("events = [\"deleted\"]");
    let cluster = cluster(brokers, &tables).await;
    let mut alice = cluster.user(2, "alice").await;
    for room in ["lobby", "team-a"] {
        alice.join(room).await;
        let target = alice.say(room, "hello").await;
        alice
            .ask(json!({"type": "delete", "room": room, "target": target}))
            .await;
        alice.say(room, "again").await;
    }
    let of_teams = teams.wait_taken(2, SOON).await;
    assert_eq!(events(&of_teams), ["message", "message"]);
    assert!(of_teams.iter().all(|told| told.room() == "team-a"));
    let mut of_deleted = deleted.wait_taken(2, SOON).await;
    of_deleted.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(events(&of_deleted), ["deleted", "deleted"]);
    assert_eq!(of_deleted[0].room(), "lobby");
    // Nothing else is on its way.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((teams.told().len(), deleted.told().len()), (2, 2));
}

async fn what_was_deleted_meanwhile_is_told_without_its_body(brokers: Brokers) {
    let mut receiver = Receiver::down();
    let cluster = cluster(brokers, &receiver.table("")).await;
    let mut alice = cluster.user(0, "alice").await;
    alice.join("lobby").await;
    let target = alice.say("lobby", "a secret").await;
    let edit =
        json!({"type": "edit", "room": "lobby", "target": target, "body": {"text": "a secret!"}});
    alice.ask(edit).await;
    alice
        .ask(json!({"type": "delete", "room": "lobby", "target": target}))
        .await;
    receiver.rise().await;
    let taken = receiver.wait_taken(4, 3 * SOON).await;
    assert_eq!(events(&taken), ["joined", "message", "edited", "deleted"]);
    assert_eq!(taken[1].body["event"]["deleted"], true);
    let all = format!("{:?}", receiver.told());
    assert!(!all.contains("a secret"), "{all}");
}

async fn joins_and_leaves_are_told_once(brokers: Brokers) {
    let receiver = Receiver::start().await;
    let cluster = cluster(brokers, &receiver.table("events = [\"joined\", \"left\"]")).await;
    // Two connections of one user are one member, on two nodes too.
    let mut first = cluster.user(0, "alice").await;
    first.join("lobby").await;
    let mut second = cluster.user(1, "alice").await;
    second.join("lobby").await;
    first.ask(json!({"type": "leave", "room": "lobby"})).await;
    second.say("lobby", "still here").await;
    second.ask(json!({"type": "leave", "room": "lobby"})).await;
    let mut bob = cluster.user(2, "bob").await;
    bob.join("lobby").await;
    drop(bob);
    let taken = receiver.wait_taken(4, SOON).await;
    assert_eq!(events(&taken), ["joined", "left", "joined", "left"]);
    let names: Vec<_> = taken
        .iter()
        .map(|told| &told.body["user"]["name"])
        .collect();
    assert_eq!(names, ["ALICE", "ALICE", "BOB", "BOB"]);
    assert_eq!(receiver.told().len(), 4, "each once, without a fault");
}
