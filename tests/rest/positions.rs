//! Positions of event streams: with the message's id they prove which stream they are of.

use hubbub_tests::cluster::Cluster;
use hubbub_tests::people::SIGNED;
use hubbub_tests::redis::{Fsync, Redis};
use hubbub_tests::sse::Events;
use serde_json::json;

use crate::asking::Asker;
use crate::events::{EVENTS, MESSAGES, bearer, position, say};

on_both_archives!(a_position_proves_which_stream_it_is_of,);

async fn a_position_proves_which_stream_it_is_of(cluster: Cluster) {
    let alice = Asker::user(&cluster, 0, "alice");
    say(&alice, 2).await;
    let reaction = format!("{MESSAGES}/1/reactions/x");
    assert_eq!(alice.send("PUT", &reaction, None).await.status, 200);
    let first_message = format!("{MESSAGES}/1");
    let edit = alice.patch(&first_message, &json!({"body": "new"})).await;
    assert_eq!(edit.status, 200);
    let all = format!("{EVENTS}?recent=10");
    let mut first = Events::open(cluster.address(0), &all, &bearer("bob")).await;
    let mut ids = Vec::new();
    for kind in ["message", "message", "reacted", "edited"] {
        let event = first.next_of(kind).await;
        assert_eq!(event.id, Some(position(&event.data)), "{kind}");
        ids.extend(event.id);
    }
    let open = async |node: usize, last: &str| {
        let headers = format!("{}last-event-id: {last}\r\n", bearer("bob"));
        Events::open(cluster.address(node), EVENTS, &headers).await
    };
    // From every kind of event, in both forms.
    for (at, id) in ids.iter().enumerate() {
        let (without_message, _) = id.rsplit_once(':').expect("three parts");
        for last in [id, without_message] {
            let mut back = open(1, last).await;
            assert_eq!(back.next_of("joined").await.data["recovered"], true);
            let missed: Vec<u64> = (at as u64 + 2..=4).collect();
            assert_eq!(back.offsets(missed.len()).await, missed, "{last}");
        }
    }
    // A stream that brings nothing new does not forget the message.
    let mut back = open(1, &ids[3]).await;
    assert_eq!(back.next_of("joined").await.id.as_ref(), Some(&ids[3]));
    // Another event at that offset: the client has heard another stream, and is told.
    let (place, _) = ids[2].rsplit_once(':').expect("three parts");
    let forged = format!("{place}:01JANOTHERSTREAM");
    let mut lost = open(1, &forged).await;
    assert_eq!(lost.next_of("reset").await.data["offset"], 4);
    assert_eq!(lost.next_of("joined").await.data["recovered"], false);
    assert_eq!(lost.offsets(4).await, [1, 2, 3, 4], "the newest page");
    let path = format!("{EVENTS}?since={forged}");
    let mut lost = Events::open(cluster.address(0), &path, &bearer("bob")).await;
    lost.next_of("reset").await;
    let path = format!("{EVENTS}?also=news@{forged}&also=news@{}", ids[1]);
    let mut several = Events::open(cluster.address(0), &path, &bearer("bob")).await;
    several.next_of("joined").await;
    for recovered in [false, true] {
        let joined = several.next_of("joined").await;
        assert_eq!(joined.data["recovered"], recovered, "{joined:?}");
    }
}

/// Neither a node nor an archive remembers the events that Redis has lost; the client does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_is_told_of_a_fork_that_nobody_remembers() {
    let redis = Redis::start(Fsync::Always).await;
    let mut cluster = Cluster::processes(redis, 1, &[SIGNED]).await;
    say(&Asker::user(&cluster, 0, "alice"), 10).await;
    let older = cluster.redis_mut().copy();
    let alice = Asker::user(&cluster, 0, "alice");
    let all = format!("{EVENTS}?recent=10");
    let mut events = Events::open(cluster.address(0), &all, &bearer("bob")).await;
    say(&alice, 10).await;
    assert_eq!(events.offsets(20).await, (1..=20).collect::<Vec<_>>());
    cluster.process(0).kill9();
    let redis = cluster.redis_mut();
    redis.kill9();
    redis.put_back(&older);
    redis.restart().await;
    cluster.process(0).restart();
    cluster.process(0).ready().await;
    // Other events take the places from 11 on, and the one at which the client stands.
    say(&Asker::user(&cluster, 0, "alice"), 25).await;
    let mut back = events
        .resume(cluster.address(0), EVENTS, &bearer("bob"))
        .await;
    let reset = back.next_of("reset").await;
    assert_eq!(reset.data["room"], "news");
    assert_eq!(back.next_of("joined").await.data["recovered"], false);
    let page = back.offsets(35).await;
    assert!(page.is_sorted(), "all that the new stream has: {page:?}");
}
