//! Endpoints that fail.

use std::time::Duration;

use hubbub_tests::deadline::eventually;
use hubbub_tests::receiver::{Mood, Receiver};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::fixture::{Brokers, SOON, cluster, sum};

on_both_brokers!(
    what_fails_is_tried_again_until_it_is_taken,
    what_is_deleted_while_an_endpoint_is_down_is_told_without_its_body,
    an_event_that_is_never_taken_is_a_dead_letter,
    a_slow_endpoint_holds_up_nobody_else,
    an_endpoint_that_is_down_is_asked_seldom_and_told_everything_later,
    what_has_left_the_stream_is_counted,
);

async fn what_fails_is_tried_again_until_it_is_taken(brokers: Brokers) {
    let receiver = Receiver::start().await;
    receiver.be(Mood::Status(500));
    let table = receiver.table("timeout = \"300ms\"\nevents = [\"message\"]");
    let cluster = cluster(brokers, &table).await;
    let mut alice = cluster.user(0, "alice").await;
    alice.join("lobby").await;
    for text in ["one", "two", "three"] {
        alice.say("lobby", text).await;
    }
    let asked = async |count| {
        let asked = async || (receiver.told().len() >= count).then_some(());
        eventually("it was asked", SOON, asked).await;
    };
    asked(2).await;
    receiver.be(Mood::Silent);
    asked(4).await;
    // Another address is none of ours.
    receiver.be(Mood::Status(302));
    asked(5).await;
    assert!(receiver.taken().is_empty());
    let firsts: Vec<_> = receiver.told().iter().map(|told| told.id.clone()).collect();
    assert!(firsts.iter().all(|id| *id == firsts[0]), "{firsts:?}");
    receiver.be(Mood::Fine);
    let taken = receiver.wait_taken(3, 3 * SOON).await;
    assert_eq!(taken[2].body["event"]["body"]["text"], "three");
    assert_eq!(
        sum(&cluster, "hubbub_webhook_dead_letters_total").await,
        0.0
    );
    assert!(sum(&cluster, "hubbub_webhook_failed_attempts_total").await >= 5.0);
}

async fn what_is_deleted_while_an_endpoint_is_down_is_told_without_its_body(brokers: Brokers) {
    let receiver = Receiver::start().await;
    let text = |body: &Value| body["event"]["body"]["text"].as_str().map(str::to_owned);
    // The first holds the room until the next page has both others; then the second is refused.
    receiver.judge(move |body| match text(body).as_deref() {
        Some("first") => Mood::Slow(Duration::from_millis(1_500)),
        _ => Mood::Status(503),
    });
    let table = receiver.table("events = [\"message\", \"deleted\"]");
    let cluster = cluster(brokers, &table).await;
    let mut alice = cluster.user(0, "alice").await;
    alice.join("lobby").await;
    alice.say("lobby", "first").await;
    let asked = async |wanted: &str| {
        let is_asked = async || {
            let told = receiver.told();
            let mut texts = told.iter().filter_map(|told| text(&told.body));
            texts.any(|text| text == wanted).then_some(())
        };
        eventually("it was asked", SOON, is_asked).await;
    };
    asked("first").await;
    alice.say("lobby", "second").await;
    let target = alice.say("lobby", "a secret").await;
    asked("second").await;
    alice
        .ask(json!({"type": "delete", "room": "lobby", "target": target}))
        .await;
    receiver.be(Mood::Fine);
    let taken = receiver.wait_taken(4, 3 * SOON).await;
    assert_eq!(taken[2].body["event"]["deleted"], true, "{:?}", taken[2]);
    assert_eq!(taken[3].event(), "deleted");
    let all = format!("{:?}", receiver.told());
    assert!(!all.contains("a secret"), "{all}");
}

async fn an_event_that_is_never_taken_is_a_dead_letter(brokers: Brokers) {
    let receiver = Receiver::start().await;
    receiver.judge(|body| {
        if body["event"]["body"]["text"] == "poison" {
            Mood::Status(422)
        } else {
            Mood::Fine
        }
    });
    let table = receiver.table("give_up_after = \"1s\"\nevents = [\"message\"]");
    let cluster = cluster(brokers, &table).await;
    let mut alice = cluster.user(0, "alice").await;
    alice.join("lobby").await;
    for text in ["one", "poison", "three", "four"] {
        alice.say("lobby", text).await;
    }
    let taken = receiver.wait_taken(3, 6 * SOON).await;
    let texts: Vec<_> = taken
        .iter()
        .map(|told| &told.body["event"]["body"]["text"])
        .collect();
    assert_eq!(texts, ["one", "three", "four"]);
    assert_eq!(
        sum(&cluster, "hubbub_webhook_dead_letters_total").await,
        1.0
    );
    let refused = receiver.told().iter().filter(|told| !told.taken).count();
    assert!(refused >= 5, "tried {refused} times");
}

async fn a_slow_endpoint_holds_up_nobody_else(brokers: Brokers) {
    let (slow, quick) = (Receiver::start().await, Receiver::start().await);
    slow.be(Mood::Silent);
    let cluster = cluster(brokers, &(slow.table("") + &quick.table(""))).await;
    let mut alice = cluster.user(0, "alice").await;
    // More than may be on their way at once.
    for room in 0..40 {
        let room = format!("room-{room}");
        alice.join(&room).await;
        alice.say(&room, "hello").await;
    }
    quick.wait_taken(80, SOON).await;
    assert!(
        slow.told().len() <= 3 * 16,
        "one request a room, and few at once"
    );
}

async fn an_endpoint_that_is_down_is_asked_seldom_and_told_everything_later(brokers: Brokers) {
    let receiver = Receiver::start().await;
    receiver.be(Mood::Status(503));
    let cluster = cluster(brokers, &receiver.table("events = [\"message\"]")).await;
    let mut alice = cluster.user(1, "alice").await;
    for room in 0..60 {
        let room = format!("room-{room}");
        alice.join(&room).await;
        for _ in 0..5 {
            alice.say(&room, "hello").await;
        }
    }
    let down = Duration::from_secs(5);
    sleep(down).await;
    let asked = receiver.told().len();
    println!("asked {asked} times within {down:?} while 60 rooms waited");
    // Each of three nodes: 16 at once when it breaks, then one after the other with growing pauses.
    assert!(asked < 3 * (16 + 30), "asked {asked} times");
    assert!(sum(&cluster, "hubbub_webhook_broken").await >= 1.0);
    receiver.be(Mood::Fine);
    let risen = Instant::now();
    receiver.wait_taken(300, 6 * SOON).await;
    println!("all was told {:.2?} after it was back", risen.elapsed());
    assert_eq!(
        sum(&cluster, "hubbub_webhook_dead_letters_total").await,
        0.0
    );
}

async fn what_has_left_the_stream_is_counted(brokers: Brokers) {
    let mut receiver = Receiver::down();
    let table = receiver.table("events = [\"message\"]") + "[history]\nstream_len = 100\n";
    let cluster = cluster(brokers, &table).await;
    let mut alice = cluster.user(0, "alice").await;
    alice.join("lobby").await;
    for number in 0..400 {
        alice.say("lobby", &number.to_string()).await;
    }
    receiver.rise().await;
    let last = async || {
        let taken = receiver.taken();
        let last = taken.last()?;
        (last.body["event"]["body"]["text"] == "399").then_some(taken.len())
    };
    let (taken, _) = eventually("the last one is told", 3 * SOON, last).await;
    receiver.assert_in_order();
    let counted = async || {
        let dropped = sum(&cluster, "hubbub_webhook_dropped_total").await;
        // Redis drops whole nodes of a stream only.
        (dropped >= 100.0 && taken as f64 + dropped >= 400.0).then_some(dropped)
    };
    let (dropped, _) = eventually("what was dropped is counted", SOON, counted).await;
    println!("{taken} were told, {dropped} dropped");
}
