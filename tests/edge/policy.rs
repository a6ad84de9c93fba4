//! What may be done where a token does not say: the tables `[[room]]`, on every action, for guests too.

use std::time::Duration;

use hubbub_tests::cluster::Cluster;
use hubbub_tests::people::{SIGNED, token_with};
use hubbub_tests::process::FILE;
use hubbub_tests::raw::Raw;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

const ROOMS: &str = r#"
[[room]]
match = "news-*"
rights = "r"

[[room]]
match = "staff*"
guests = ""

[[room]]
match = "staff-open"
guests = "r"
"#;

async fn rights(raw: &mut Raw, room: &str) -> String {
    let joined = raw.ask(json!({"type": "join", "room": room})).await;
    let rights = joined["rights"].as_str().or(joined["code"].as_str());
    rights.unwrap_or_else(|| panic!("{joined}")).to_owned()
}

#[tokio::test]
async fn the_tables_hold_where_the_token_says_nothing() {
    let cluster = Cluster::memory(1, &[SIGNED, (FILE, ROOMS)]).await;
    let mut user = cluster.user(0, "alice").await;
    let mut guest = Raw::connect(cluster.address(0)).await;
    let editor = json!({"rooms": {"news-*": "rwm"}});
    let mut editor = cluster.user_with(0, "ed", &editor).await;
    for (room, for_user, for_guest, for_editor) in [
        ("lobby", "rw", "rw", "forbidden"),
        ("news-1", "r", "r", "rwm"),
        ("staff", "rw", "forbidden", "forbidden"),
        ("staff-open", "rw", "r", "forbidden"),
    ] {
        assert_eq!(rights(&mut user, room).await, for_user, "{room}");
        assert_eq!(rights(&mut guest, room).await, for_guest, "{room}");
        assert_eq!(rights(&mut editor, room).await, for_editor, "{room}");
    }
    let offset = editor.say("news-1", "headline").await;
    let actions = |room: &str| -> Vec<Value> {
        vec![
            json!({"type": "send", "room": room, "body": 1}),
            json!({"type": "edit", "room": room, "target": offset, "body": 2}),
            json!({"type": "delete", "room": room, "target": offset}),
            json!({"type": "react", "room": room, "target": offset, "key": "x"}),
        ]
    };
    for action in actions("news-1") {
        assert_eq!(user.refused(action.clone()).await, "forbidden", "{action}");
        assert_eq!(guest.refused(action).await, "forbidden");
    }
    for kind in ["history", "members", "join"] {
        let ask = json!({"type": kind, "room": "staff"});
        assert_eq!(guest.refused(ask).await, "forbidden", "{kind}");
    }
    user.say("staff", "among us").await;
    let rooms = guest.ask(json!({"type": "rooms"})).await;
    assert!(!rooms.to_string().contains(r#""staff""#), "{rooms}");
    let rooms = user.ask(json!({"type": "rooms"})).await;
    assert!(rooms.to_string().contains(r#""staff""#), "{rooms}");
}

#[tokio::test]
async fn absent_and_not_allowed_look_the_same_and_take_as_long() {
    let cluster = Cluster::sqlite(1, &[SIGNED]).await;
    let mut alice = cluster.user(0, "alice").await;
    alice.join("there").await;
    alice.say("there", "something").await;
    let narrow = token_with("bob", &json!({"rooms": {"lobby": "rw"}}));
    let mut bob = Raw::connect_as(cluster.address(0), &narrow).await;
    let mut took = [Duration::ZERO; 2];
    for round in 0..200 {
        let mut answers = Vec::new();
        for (which, room) in ["there", "absent"].into_iter().enumerate() {
            let kind = ["join", "history", "members"][round % 3];
            let began = Instant::now();
            let mut answer = bob.ask(json!({"type": kind, "room": room})).await;
            took[which] += began.elapsed();
            answer["id"] = Value::Null;
            answers.push(answer);
        }
        assert_eq!(answers[0], answers[1]);
        assert_eq!(answers[0]["code"], "forbidden");
        // Below the pace of questions.
        sleep(Duration::from_millis(2)).await;
    }
    let [there, absent] = took;
    let (less, more) = (there.min(absent), there.max(absent));
    let slack = Duration::from_millis(200);
    assert!(
        more <= less * 3 + slack,
        "there {there:?}, absent {absent:?}"
    );
}
