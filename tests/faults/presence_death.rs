//! A node killed by -9: its members leave in time, announced once, and no others.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hubbub_client::new_guest;
use hubbub_tests::cluster::Cluster;
use hubbub_tests::raw::Raw;
use hubbub_tests::redis::{Fsync, Redis};
use serde_json::{Value, json};

/// Five times the goal of 10 s.
const GONE: Duration = Duration::from_secs(50);
const ROOM: &str = "ghosts";

async fn enter(cluster: &Cluster, number: usize, name: &str) -> Raw {
    let url = format!("http://{}", cluster.address(1));
    let guest = new_guest(&url, Some(name)).await.expect("a guest token");
    let mut raw = Raw::connect_as(cluster.address(number), &guest.token).await;
    raw.join(ROOM).await;
    raw
}

/// Reads presence frames until `name` has left; counts who left how often.
async fn read_until_left(raw: &mut Raw, name: &str, left: &mut BTreeMap<String, u32>) {
    while !left.contains_key(name) {
        let frame = raw.next_of("presence").await;
        for user in frame["left"].as_array().into_iter().flatten() {
            let name = user["name"].as_str().unwrap_or_default().to_owned();
            *left.entry(name).or_default() += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_a_killed_node_leave_once() {
    let redis = Redis::start(Fsync::EverySecond).await;
    let mut cluster = Cluster::processes(redis, 3, &[]).await;
    let mut watchers = [
        enter(&cluster, 1, "Ann").await,
        enter(&cluster, 2, "Al").await,
    ];
    let _ghosts = [
        enter(&cluster, 0, "Bob").await,
        enter(&cluster, 0, "Cy").await,
    ];
    cluster.process(0).kill9();
    let killed = Instant::now();
    let mut counts = [BTreeMap::new(), BTreeMap::new()];
    for (watcher, left) in watchers.iter_mut().zip(&mut counts) {
        let gone = async {
            read_until_left(watcher, "Bob", left).await;
            read_until_left(watcher, "Cy", left).await;
        };
        hubbub_tests::deadline::within("the dead node's members leave", GONE, gone).await;
    }
    let gone = killed.elapsed();
    // One that leaves after them shows that nothing was announced twice.
    let mut marker = enter(&cluster, 2, "Dee").await;
    marker.ask(json!({"type": "leave", "room": ROOM})).await;
    for (watcher, left) in watchers.iter_mut().zip(&mut counts) {
        read_until_left(watcher, "Dee", left).await;
        let expected = ["Bob", "Cy", "Dee"].map(|name| (name.to_owned(), 1));
        assert_eq!(*left, BTreeMap::from(expected));
        let members = watcher.ask(json!({"type": "members", "room": ROOM})).await;
        let mut names: Vec<&Value> = members["members"]
            .as_array()
            .expect("a list of users")
            .iter()
            .map(|user| &user["name"])
            .collect();
        names.sort_by_key(|name| name.to_string());
        assert_eq!(names, [&json!("Al"), &json!("Ann")]);
    }
    println!("members of a killed node were gone after {gone:.2?}");
}
