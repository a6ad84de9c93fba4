//! Who is here: the same on every node, counted by user and not by connection.

use std::collections::BTreeSet;
use std::time::Duration;

use hubbub_client::{Guest, new_guest};
use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::eventually;
use hubbub_tests::raw::Raw;
use serde_json::{Value, json};

on_both_brokers!(
    members_are_the_same_on_every_node,
    coming_and_going_is_announced_on_other_nodes,
    a_page_reload_is_not_announced,
    two_connections_of_one_user_are_one_member,
    the_list_of_rooms_names_members_and_offset,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_redis_makes_nobody_leave() {
    nobody_leaves_after(&["FLUSHALL"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_list_of_users_makes_nobody_leave() {
    let lost = "for _, key in ipairs(redis.call('KEYS', '*:users')) do redis.call('DEL', key) end return 'OK'";
    nobody_leaves_after(&["EVAL", lost, "0"]).await;
}

/// Nine guests on three nodes; Redis forgets who is there, and one of them leaves meanwhile.
async fn nobody_leaves_after(command: &[&str]) {
    let mut cluster = Cluster::redis(3, &[]).await;
    let ann = guest(&cluster, "Ann").await;
    let mut watcher = enter(&cluster, 1, &ann, "kept").await;
    let everyone: Vec<String> = (0..9).map(|number| format!("guest {number}")).collect();
    let everyone: Vec<&str> = everyone.iter().map(String::as_str).collect();
    let mut raws = Vec::new();
    for (number, name) in everyone.iter().enumerate() {
        let guest = guest(&cluster, name).await;
        raws.push(enter(&cluster, number, &guest, "kept").await);
    }
    heard(&mut watcher, "joined", &everyone).await;

    let _: String = cluster.redis_mut().command(command).await;
    let mut leaver = raws.pop().expect("nine guests");
    leaver.ask(json!({"type": "leave", "room": "kept"})).await;
    let still = [&everyone[..8], &["Ann"]].concat();
    let took = wait_members(&mut raws[0], "kept", &still).await;
    println!("everybody is registered again after {took:.2?}");
    // A newcomer is told as ever, and only he; whoever has really left is told once.
    let bob = guest(&cluster, "Bob").await;
    let _bob = enter(&cluster, 2, &bob, "kept").await;
    let (mut came, mut went) = (Vec::new(), Vec::new());
    while !(came.contains(&"Bob".to_owned()) && went.contains(&"guest 8".to_owned())) {
        let frame = watcher.next_of("presence").await;
        came.extend(names(&frame["joined"]));
        went.extend(names(&frame["left"]));
    }
    assert_eq!(
        (came, went),
        (vec!["Bob".to_owned()], vec!["guest 8".to_owned()])
    );
    let reply = watcher
        .ask(json!({"type": "members", "room": "kept"}))
        .await;
    assert_eq!(reply["count"], 10, "{reply}");
}

/// Presence is counted by the broker and told at most once a second: five times that and some.
const SOON: Duration = Duration::from_secs(15);

async fn guest(cluster: &Cluster, name: &str) -> Guest {
    let url = format!("http://{}", cluster.address(0));
    new_guest(&url, Some(name)).await.expect("a guest token")
}

async fn enter(cluster: &Cluster, number: usize, guest: &Guest, room: &str) -> Raw {
    let mut raw = Raw::connect_as(cluster.address(number), &guest.token).await;
    raw.join(room).await;
    raw
}

/// Names in a list of users.
fn names(users: &Value) -> BTreeSet<String> {
    let users = users.as_array().expect("a list of users");
    let name = |user: &Value| user["name"].as_str().map(str::to_owned);
    users.iter().filter_map(name).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Waits until `raw` is told that exactly these are present.
async fn wait_members(raw: &mut Raw, room: &str, expected: &[&str]) -> Duration {
    let expected = set(expected);
    let what = format!("members of {room} are {expected:?}");
    let ((), took) = eventually(&what, SOON, async || {
        let reply = raw.ask(json!({"type": "members", "room": room})).await;
        let present = names(&reply["members"]);
        assert_eq!(reply["count"], present.len(), "{reply}");
        (present == expected).then_some(())
    })
    .await;
    took
}

async fn members_are_the_same_on_every_node(cluster: Cluster) {
    let mut raws = Vec::new();
    for (number, name) in ["Ann", "Bob", "Cy"].into_iter().enumerate() {
        let guest = guest(&cluster, name).await;
        raws.push(enter(&cluster, number, &guest, "members").await);
    }
    for raw in &mut raws {
        wait_members(raw, "members", &["Ann", "Bob", "Cy"]).await;
    }
    let mut cy = raws.pop().expect("three of them");
    cy.ask(json!({"type": "leave", "room": "members"})).await;
    let took = wait_members(&mut raws[0], "members", &["Ann", "Bob"]).await;
    println!("a leave was seen on another node after {took:.2?}");
}

/// Reads presence frames until everyone in `wanted` was named in `field`; all names in it.
async fn heard(raw: &mut Raw, field: &str, wanted: &[&str]) -> BTreeSet<String> {
    let (mut seen, wanted) = (BTreeSet::new(), set(wanted));
    while !seen.is_superset(&wanted) {
        let frame = raw.next_of("presence").await;
        seen.extend(names(&frame[field]));
    }
    seen
}

async fn coming_and_going_is_announced_on_other_nodes(cluster: Cluster) {
    let ann = guest(&cluster, "Ann").await;
    let mut watcher = enter(&cluster, 0, &ann, "door").await;
    let bob = guest(&cluster, "Bob").await;
    let mut visitor = enter(&cluster, 1, &bob, "door").await;
    let came = heard(&mut watcher, "joined", &["Bob"]).await;
    assert!(came.is_subset(&set(&["Ann", "Bob"])), "{came:?}");
    visitor.ask(json!({"type": "leave", "room": "door"})).await;
    let went = heard(&mut watcher, "left", &["Bob"]).await;
    assert_eq!(went, set(&["Bob"]));
    // One whose connection ends goes too, a little later.
    let cy = guest(&cluster, "Cy").await;
    enter(&cluster, 2, &cy, "door").await.close().await;
    heard(&mut watcher, "left", &["Cy"]).await;
}

async fn a_page_reload_is_not_announced(cluster: Cluster) {
    let (ann, bob) = (guest(&cluster, "Ann").await, guest(&cluster, "Bob").await);
    let mut watcher = enter(&cluster, 0, &ann, "reload").await;
    let page = enter(&cluster, 1, &bob, "reload").await;
    heard(&mut watcher, "joined", &["Bob"]).await;
    page.close().await;
    let _page = enter(&cluster, 2, &bob, "reload").await;
    // Another one comes and goes; its delayed leave is certainly later than Bob's would be.
    let cy = guest(&cluster, "Cy").await;
    let visitor = enter(&cluster, 1, &cy, "reload").await;
    visitor.close().await;
    let mut others = BTreeSet::new();
    loop {
        let frame = watcher.next_of("presence").await;
        others.extend(names(&frame["joined"]));
        let left = names(&frame["left"]);
        others.extend(left.clone());
        if left.contains("Cy") {
            break;
        }
    }
    assert_eq!(others, set(&["Cy"]), "Bob's reload made no stir");
}

async fn two_connections_of_one_user_are_one_member(cluster: Cluster) {
    let (ann, bob) = (guest(&cluster, "Ann").await, guest(&cluster, "Bob").await);
    let mut watcher = enter(&cluster, 0, &ann, "twice").await;
    let mut one = enter(&cluster, 1, &bob, "twice").await;
    let two = enter(&cluster, 2, &bob, "twice").await;
    wait_members(&mut watcher, "twice", &["Ann", "Bob"]).await;
    one.ask(json!({"type": "leave", "room": "twice"})).await;
    // Whoever comes and goes after that shows that Bob's first leave changed nothing.
    let cy = guest(&cluster, "Cy").await;
    let mut visitor = enter(&cluster, 1, &cy, "twice").await;
    wait_members(&mut watcher, "twice", &["Ann", "Bob", "Cy"]).await;
    visitor.ask(json!({"type": "leave", "room": "twice"})).await;
    wait_members(&mut watcher, "twice", &["Ann", "Bob"]).await;
    two.close().await;
    wait_members(&mut watcher, "twice", &["Ann"]).await;
}

async fn the_list_of_rooms_names_members_and_offset(cluster: Cluster) {
    let (ann, bob) = (guest(&cluster, "Ann").await, guest(&cluster, "Bob").await);
    let mut here = enter(&cluster, 0, &ann, "alpha").await;
    here.join("beta").await;
    let _there = enter(&cluster, 1, &bob, "alpha").await;
    for _ in 0..2 {
        here.ask(json!({"type": "send", "room": "alpha", "body": 1}))
            .await;
    }
    let mut asker = cluster.raw(2).await;
    let expected = json!([
        {"room": "alpha", "members": 2, "offset": 2},
        {"room": "beta", "members": 1, "offset": 0},
    ]);
    eventually("the list is complete on a third node", SOON, async || {
        let reply = asker.ask(json!({"type": "rooms"})).await;
        let mut rooms = reply["rooms"].as_array().expect("a list of rooms").clone();
        rooms.sort_by_key(|room| room["room"].to_string());
        (Value::from(rooms) == expected).then_some(())
    })
    .await;
}
