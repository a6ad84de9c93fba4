//! Edits, reactions and deletions: what history shows, and what is removed for good.

use std::path::Path;

use hubbub_archive::{Archive, HistorySpan};
use hubbub_protocol::Envelope;
use hubbub_protocol::fold::MESSAGE_REACTIONS;
use serde_json::json;

use crate::fixture::{Fixture, Script, id, offsets, texts, value};

const NEWEST: HistorySpan = HistorySpan::Before(None);
/// A word that occurs only in these tests.
const CANARY: &str = "zqxcanaryxqz";

async fn only(fixture: &Fixture, script: &Script) -> Envelope {
    let page = fixture
        .archive
        .history(&script.room, NEWEST, 10)
        .await
        .unwrap();
    let [only] = page.try_into().unwrap();
    only
}

pub(crate) async fn history_shows_the_newest_edit(fixture: Fixture) {
    let mut lobby = Script::new("lobby");
    lobby.say("alice", "one");
    lobby.edit("alice", 1, "two");
    let early = lobby.batch();
    lobby.edit("alice", 1, "three @bob");
    let late = lobby.batch();
    // A newer edit wins, even if an older one is stored after it.
    let mut first = early.clone();
    first.events.truncate(1);
    for batch in [first, late, early] {
        fixture.archive.append(&[batch]).await.unwrap();
    }
    let message = value(&only(&fixture, &lobby).await);
    assert_eq!(message["body"], json!({"text": "three @bob"}));
    assert_eq!(message["mentions"], json!(["bob"]));
    assert_eq!(message["edited"]["offset"], 3);
    assert_eq!(message["edited"]["by"]["id"], "alice");
    assert_eq!(
        fixture.archive.edits_of(&lobby.room, 1).await.unwrap(),
        [2, 3]
    );
    let raw = fixture
        .archive
        .event(&lobby.room, 1)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(value(&raw)["body"], json!({"text": "three @bob"}));
    assert_eq!(value(&raw)["edited"]["offset"], 3);
}

/// Checks that an edit removes the old body everywhere: from the row of the message, from earlier
/// edits, from the words and the mentions, and from exports. Only the places stay.
pub(crate) async fn an_edit_takes_the_old_body_away(fixture: Fixture) {
    let archive = &fixture.archive;
    let mut lobby = Script::new("lobby");
    lobby.say("alice", &format!("{CANARY} @bob"));
    lobby.edit("alice", 1, &format!("again {CANARY}"));
    lobby.store(archive).await;
    lobby.edit("alice", 1, &format!("third {CANARY}"));
    // Message 77 no longer exists, but its edits do.
    lobby.edit("alice", 77, &format!("of nothing {CANARY}"));
    lobby.edit("alice", 77, "of nothing");
    // These edits are in one batch with the next one.
    lobby.edit("alice", 1, "clean");
    lobby.react("bob", 1, "x", true);
    lobby.store(archive).await;
    let raw = archive.events_after(&lobby.room, &lobby.epoch, 0, 99).await;
    let raw = raw.unwrap();
    assert_eq!(offsets(&raw), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(archive.export(&lobby.room, None, 99).await.unwrap(), raw);
    let message = value(&raw[0]);
    assert_eq!(
        (
            &message["body"],
            &message["edited"]["offset"],
            &message["mentions"]
        ),
        (&json!({"text": "clean"}), &json!(6), &json!(null))
    );
    assert_eq!(message["from"]["id"], "alice");
    for (edit, expected) in [
        (1, None),
        (2, None),
        (3, None),
        (4, Some("of nothing")),
        (5, Some("clean")),
    ] {
        let edit = value(&raw[edit]);
        assert_eq!(edit["body"]["text"].as_str(), expected, "{edit}");
        assert_eq!(edit["deleted"] == true, expected.is_none(), "{edit}");
    }
    let folded = value(&only(&fixture, &lobby).await);
    assert_eq!(folded["reactions"][0]["count"], 1);
    assert!(!is_anywhere(&fixture).await);
    fixture.archive.close().await;
    assert_eq!(files_with(fixture.dir.path(), CANARY), Vec::<String>::new());
}

/// Events that come from a stream may have been rewritten there.
pub(crate) async fn a_rewritten_message_is_stored_as_it_comes(fixture: Fixture) {
    let mut lobby = Script::new("lobby");
    lobby.say("alice", "one");
    lobby.edit("alice", 1, "two");
    lobby.edit("alice", 1, "three");
    let mut batch = lobby.batch();
    let newest = batch.events[2].clone();
    let newest = newest.read().unwrap();
    batch.events[0].take_edit(&lobby.room, &newest).unwrap();
    batch.events[1].bury(&lobby.room).unwrap();
    let sent = batch.events.clone();
    let late = batch.events.split_off(1);
    fixture.archive.append(&[batch.clone()]).await.unwrap();
    batch.events = late;
    fixture.archive.append(&[batch]).await.unwrap();
    let stored = fixture
        .archive
        .events_after(&lobby.room, &lobby.epoch, 0, 9)
        .await
        .unwrap();
    assert_eq!(stored, sent);
    let message = value(&only(&fixture, &lobby).await);
    assert_eq!(message["body"], json!({"text": "three"}));
}

pub(crate) async fn an_edit_of_nothing_is_only_an_event(fixture: Fixture) {
    let mut lobby = Script::new("lobby");
    lobby.say("alice", "one");
    lobby.react("alice", 1, "x", true);
    // The targets: a missing event, an event that is no message, the edit itself.
    for target in [99, 2, 3] {
        lobby.edit("alice", target, "never");
        lobby.react("alice", target, "x", true);
        lobby.delete("alice", target);
    }
    lobby.store(&fixture.archive).await;
    let message = only(&fixture, &lobby).await;
    assert_eq!(value(&message)["body"], json!({"text": "one"}));
    let events = fixture
        .archive
        .events_after(&lobby.room, &lobby.epoch, 0, 99)
        .await
        .unwrap();
    assert_eq!(events.len() as u64, lobby.top);
    assert_eq!(value(&events[1])["key"], "x");
    assert_eq!(value(&events[2])["body"], json!({"text": "never"}));
}

pub(crate) async fn reactions_are_counted_in_order(fixture: Fixture) {
    let mut lobby = Script::new("lobby");
    lobby.say("alice", "one");
    lobby.react("bob", 1, "👍", true);
    lobby.react("alice", 1, "a'b", true);
    lobby.react("alice", 1, "👍", true);
    lobby.react("bob", 1, "gone", true);
    lobby.store(&fixture.archive).await;
    // A reaction that is set already changes nothing; one that is removed and set again is new; a
    // removal ends it, in one batch too.
    lobby.react("bob", 1, "👍", true);
    lobby.react("alice", 1, "a'b", false);
    lobby.react("alice", 1, "a'b", true);
    lobby.react("bob", 1, "gone", false);
    lobby.react("bob", 1, "never", true);
    lobby.react("bob", 1, "never", false);
    lobby.store(&fixture.archive).await;
    let message = value(&only(&fixture, &lobby).await);
    let expected = json!([
        {"key": "👍", "count": 2, "users": ["bob", "alice"]},
        {"key": "a'b", "count": 1, "users": ["alice"]},
    ]);
    assert_eq!(message["reactions"], expected);
    for number in 0..60 {
        lobby.react(&format!("user-{number}"), 1, "👍", true);
    }
    lobby.store(&fixture.archive).await;
    let message = value(&only(&fixture, &lobby).await);
    assert_eq!(message["reactions"][0]["count"], 62);
    assert_eq!(
        message["reactions"][0]["users"].as_array().unwrap().len(),
        50
    );
}

pub(crate) async fn a_deletion_leaves_only_the_place(fixture: Fixture) {
    let mut lobby = Script::new("lobby");
    lobby.say("alice", &format!("{CANARY} @bob"));
    lobby.edit("alice", 1, &format!("again {CANARY}"));
    lobby.react("bob", 1, "x", true);
    lobby.say("bob", "stays");
    lobby.store(&fixture.archive).await;
    assert!(is_anywhere(&fixture).await);
    lobby.delete("alice", 1);
    // Changes that were already in progress when the message was deleted.
    lobby.edit("alice", 1, &format!("late {CANARY}"));
    lobby.react("bob", 1, "x", true);
    lobby.store(&fixture.archive).await;
    lobby.edit("alice", 1, &format!("later {CANARY}"));
    lobby.store(&fixture.archive).await;
    let page = fixture
        .archive
        .history(&lobby.room, NEWEST, 10)
        .await
        .unwrap();
    assert_eq!(offsets(&page), [1, 4]);
    assert_eq!(texts(&page), ["", "stays"]);
    let tombstone = json!({
        "type": "message", "room": "lobby", "message": page[0].message.as_str(),
        "from": {"id": "alice", "name": "ALICE"}, "deleted": true,
        "ts": 1001, "epoch": "e1", "offset": 1
    });
    assert_eq!(value(&page[0]), tombstone);
    let raw = fixture
        .archive
        .events_after(&lobby.room, &lobby.epoch, 0, 99)
        .await
        .unwrap();
    assert_eq!(offsets(&raw), [1, 2, 3, 4, 5, 6, 7, 8]);
    for edit in [1, 5, 7] {
        let edit = value(&raw[edit]);
        assert_eq!(
            (&edit["type"], &edit["deleted"]),
            (&json!("edited"), &json!(true))
        );
        assert_eq!(edit.get("body"), None);
    }
    let mut fixture = fixture;
    assert!(!is_anywhere(&fixture).await);
    fixture.archive.close().await;
    assert_eq!(files_with(fixture.dir.path(), CANARY), Vec::<String>::new());
    fixture.reopen().await;
    assert_eq!(
        fixture
            .archive
            .incarnation(&lobby.room)
            .await
            .unwrap()
            .unwrap()
            .top,
        8
    );
}

/// Uses many messages, large and small, so that database pages are split, merged and freed. A
/// reader beside it keeps the write-ahead log from being truncated.
pub(crate) async fn deletions_leave_nothing_in_the_files(fixture: Fixture) {
    let archive = &fixture.archive;
    let beside = Archive::open_to_read(&fixture.section).await.unwrap();
    let beside = beside.unwrap();
    beside.connect().await.unwrap();
    let mut lobby = Script::new("lobby");
    let mut doomed = Vec::new();
    for number in 0..400_usize {
        let filler = format!("word{number} ").repeat([0, 3, 60, 700, 3_000][number % 5]);
        let is_doomed = number % 3 != 0;
        let text = if is_doomed {
            format!("{filler}{CANARY}{number} {filler} {CANARY}")
        } else {
            format!("{filler}stays")
        };
        let said = lobby.say("alice", &text);
        if number % 2 == 0 {
            lobby.edit("alice", said, &text.to_uppercase().to_lowercase());
        }
        if is_doomed {
            doomed.push(said);
        }
        if number % 7 == 0 {
            lobby.store(archive).await;
        }
    }
    lobby.store(archive).await;
    for (number, said) in doomed.into_iter().enumerate() {
        lobby.delete("alice", said);
        if number % 5 == 0 {
            lobby.store(archive).await;
        }
    }
    lobby.store(archive).await;
    assert!(beside.count(&lobby.room).await.unwrap() > 400);
    assert!(!is_anywhere(&fixture).await);
    archive.close().await;
    assert_eq!(files_with(fixture.dir.path(), CANARY), Vec::<String>::new());
}

pub(crate) async fn a_tombstone_is_stored_as_one(fixture: Fixture) {
    let mut lobby = Script::new("lobby");
    lobby.say("alice", "secret");
    lobby.edit("alice", 1, "secret");
    let mut batch = lobby.batch();
    for event in &mut batch.events {
        event.bury(&lobby.room).unwrap();
    }
    lobby.delete("alice", 1);
    lobby.top += 1;
    let place = hubbub_protocol::Position {
        epoch: lobby.epoch.clone(),
        offset: lobby.top,
    };
    batch.events.extend(lobby.batch().events);
    batch.events.push(Envelope::vanished(&lobby.room, place));
    let sent = batch.events.clone();
    fixture.archive.append(&[batch]).await.unwrap();
    let stored = fixture
        .archive
        .events_after(&lobby.room, &lobby.epoch, 0, 9)
        .await
        .unwrap();
    assert_eq!(stored, sent);
    let page = fixture
        .archive
        .history(&lobby.room, NEWEST, 10)
        .await
        .unwrap();
    assert_eq!(offsets(&page), [1, 4]);
    assert!(page.iter().all(|event| value(event)["deleted"] == true));
}

pub(crate) async fn pages_meet_without_a_seam(fixture: Fixture) {
    let mut lobby = Script::new("lobby");
    let mut said = Vec::new();
    for number in 0..50 {
        said.push(lobby.say("alice", &number.to_string()));
        lobby.react("bob", 1, &number.to_string(), true);
    }
    lobby.store(&fixture.archive).await;
    let read = async |span, limit| {
        offsets(
            &fixture
                .archive
                .history(&lobby.room, span, limit)
                .await
                .unwrap(),
        )
    };
    let (mut up, mut down) = (Vec::new(), Vec::new());
    let mut before = None;
    loop {
        let page = read(HistorySpan::Before(before), 7).await;
        let Some(first) = page.first() else { break };
        before = Some(*first);
        up.splice(0..0, page);
    }
    let mut after = 0;
    loop {
        let page = read(HistorySpan::After(after), 7).await;
        let Some(last) = page.last() else { break };
        after = *last;
        down.extend(page);
    }
    assert_eq!(up, said);
    assert_eq!(down, said);
    assert_eq!(read(HistorySpan::Before(Some(4)), 9).await, [1, 3]);
    assert_eq!(
        read(HistorySpan::After(u64::MAX), 9).await,
        Vec::<u64>::new()
    );
    assert_eq!(read(NEWEST, 0).await, Vec::<u64>::new());
}

/// Whether any row of any table contains the canary.
async fn is_anywhere(fixture: &Fixture) -> bool {
    for table in fixture.tables().await {
        let sql = match fixture.postgres {
            Some(_) => format!("SELECT count(*) FROM {table} AS t WHERE t::text LIKE '%{CANARY}%'"),
            None => {
                let columns = fixture
                    .texts(&format!("SELECT name FROM pragma_table_info('{table}')"))
                    .await;
                let any = columns
                    .iter()
                    .map(|name| format!("CAST(\"{name}\" AS TEXT) LIKE '%{CANARY}%'"));
                let any: Vec<String> = any.collect();
                format!("SELECT count(*) FROM {table} WHERE {}", any.join(" OR "))
            }
        };
        if fixture.number(&sql).await > 0 {
            return true;
        }
    }
    false
}

/// The files of a folder that contain the bytes, and the positions.
fn files_with(dir: &Path, text: &str) -> Vec<String> {
    let files = std::fs::read_dir(dir).unwrap();
    let found = files.filter_map(|entry| {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let mut windows = bytes.windows(text.len());
        let at = windows.position(|window| window == text.as_bytes())?;
        Some(format!(
            "{} of {} bytes at {at}",
            path.display(),
            bytes.len()
        ))
    });
    found.collect()
}

/// Reactions of a version that took any number of them do not make a page larger than it may be.
pub(crate) async fn a_message_shows_a_bounded_number_of_reactions(fixture: Fixture) {
    let mut lobby = Script::new("lobby");
    lobby.say("alice", "hello");
    for number in 0..130 {
        lobby.react("bob", 1, &format!("k{number:03}"), true);
    }
    lobby.react("carol", 1, "k005", true);
    lobby.store(&fixture.archive).await;
    let page = fixture
        .archive
        .history(&lobby.room, HistorySpan::After(0), 1)
        .await
        .unwrap();
    let shown = value(&page[0])["reactions"].as_array().unwrap().clone();
    assert_eq!(shown.len(), MESSAGE_REACTIONS);
    assert_eq!(shown[5]["count"], 2, "{}", shown[5]);
    let keys = fixture
        .archive
        .reaction_keys(&lobby.room, 1, &id("carol"), 10)
        .await
        .unwrap();
    assert_eq!(keys.len(), 10);
    assert_eq!((keys[0].0.as_str(), keys[0].1), ("k005", true));
    assert!(keys[1..].iter().all(|(_, is_own)| !is_own));
}
