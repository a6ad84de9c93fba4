//! Nodes and Redis die while events are delivered.

use std::collections::HashSet;
use std::time::Duration;

use hubbub_client::{Client, Start};
use hubbub_protocol::RoomId;
use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::eventually;
use hubbub_tests::load::{Outcome, flood};
use hubbub_tests::people::SIGNED;
use hubbub_tests::process::FILE;
use hubbub_tests::receiver::{Receiver, Told};
use hubbub_tests::redis::{Fsync, Redis};
use tokio::task::JoinSet;

use crate::fixture::SOON;

const MESSAGES: usize = 10_000;
const SENDERS: usize = 8;
/// A lease lives for 6 s, a delivery takes less than a millisecond.
const ALL: Duration = Duration::from_secs(180);

/// `epoch:offset` of what was acked, with its room.
fn acked(outcomes: &[(String, Outcome)]) -> HashSet<String> {
    let places = outcomes.iter().flat_map(|(room, outcome)| {
        let place = move |acked: &hubbub_tests::oracle::Acked| {
            format!("{room}:{}:{}", acked.epoch, acked.offset)
        };
        outcome.acked.iter().map(place)
    });
    places.collect()
}

fn ids(told: &[Told]) -> HashSet<String> {
    told.iter().map(|told| told.id.clone()).collect()
}

/// Eight clients on all nodes, two in a room, send so much in all.
fn send_all(cluster: &Cluster, messages: usize) -> JoinSet<(String, Outcome)> {
    let mut senders = JoinSet::new();
    for number in 0..SENDERS {
        let config = cluster.client(number);
        senders.spawn(async move {
            let room = format!("room-{}", number / 2);
            let (client, mut events) = Client::start(config).expect("good URLs");
            let reader = tokio::spawn(async move { while events.recv().await.is_some() {} });
            let id = RoomId::new(&room).expect("a good room id");
            let joined = client.join(&id, Start::Now).await;
            joined.expect("everybody may join");
            let sender = format!("s{number}");
            let outcome = flood(&client, &room, &sender, messages / SENDERS).await;
            client.close().await;
            reader.abort();
            (room, outcome)
        });
    }
    senders
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_messages_and_a_killed_node() {
    let receiver = Receiver::start().await;
    let table = receiver.table("events = [\"message\"]");
    let redis = Redis::start(Fsync::EverySecond).await;
    let mut cluster = Cluster::processes(redis, 3, &[SIGNED, (FILE, &table)]).await;
    // From then on deliveries keep up with the sends.
    let mut early = cluster.user(1, "early").await;
    early.join("early").await;
    early.say("early", "hello").await;
    receiver.wait_taken(1, SOON).await;
    let mut senders = send_all(&cluster, MESSAGES);
    let begun = async || (receiver.told().len() > MESSAGES / 10).then_some(());
    eventually("deliveries are under way", ALL, begun).await;
    cluster.process(0).kill9();
    let mut outcomes = Vec::new();
    while let Some(outcome) = senders.join_next().await {
        outcomes.push(outcome.expect("a sender does not panic"));
    }
    let acked = acked(&outcomes);
    let unknown: usize = outcomes
        .iter()
        .map(|(_, outcome)| outcome.unknown.len())
        .sum();
    assert_eq!(
        (acked.len(), unknown),
        (MESSAGES, 0),
        "every send was acked"
    );
    let complete = async || acked.is_subset(&ids(&receiver.taken())).then_some(());
    let ((), took) = eventually("every message was told", ALL, complete).await;
    receiver.assert_in_order();
    let (all, once) = (receiver.told().len(), receiver.taken().len());
    println!("{once} messages told by {all} requests, the last {took:.2?} after the last ack");
    assert!(all - once < 200, "few are told twice: {all} requests");
}

/// A dead node's users leave, and that is told as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_of_a_killed_node_are_told_to_have_left() {
    let receiver = Receiver::start().await;
    let table = receiver.table("events = [\"joined\", \"left\"]");
    let redis = Redis::start(Fsync::EverySecond).await;
    let mut cluster = Cluster::processes(redis, 3, &[SIGNED, (FILE, &table)]).await;
    let mut people = Vec::new();
    for number in 0..30 {
        let mut raw = cluster.user(0, &format!("user-{number}")).await;
        raw.join(&format!("room-{}", number % 3)).await;
        people.push(raw);
    }
    receiver.wait_taken(30, SOON).await;
    cluster.process(0).kill9();
    let taken = receiver.wait_taken(60, 3 * SOON).await;
    let left: HashSet<_> = taken[30..]
        .iter()
        .filter(|told| told.event() == "left")
        .map(|told| told.body["user"]["id"].as_str().expect("an id").to_owned())
        .collect();
    assert_eq!(left.len(), 30, "each left once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_restarts_in_the_middle() {
    let mut receiver = Receiver::start().await;
    let table = receiver.table("events = [\"message\"]");
    let redis = Redis::start(Fsync::Always).await;
    let mut cluster = Cluster::processes(redis, 2, &[SIGNED, (FILE, &table)]).await;
    let mut senders = send_all(&cluster, 2_000);
    let begun = async || (receiver.told().len() > 100).then_some(());
    eventually("deliveries are under way", ALL, begun).await;
    receiver.fall().await;
    cluster.redis_mut().kill9();
    cluster.redis_mut().restart().await;
    receiver.rise().await;
    let mut outcomes = Vec::new();
    while let Some(outcome) = senders.join_next().await {
        outcomes.push(outcome.expect("a sender does not panic"));
    }
    let acked = acked(&outcomes);
    let complete = async || acked.is_subset(&ids(&receiver.taken())).then_some(());
    let ((), took) = eventually("every acked message was told", ALL, complete).await;
    receiver.assert_in_order();
    println!(
        "{} acked messages were told, the last {took:.2?} after the last ack",
        acked.len()
    );
}
