//! Retention, checks and exports.

use hubbub_archive::{HistorySpan, Hole, ReadMark, RoomPattern, SearchQuery};
use hubbub_protocol::RoomId;

use crate::fixture::{Fixture, Script, epoch, id, offsets, room};

pub(crate) async fn old_events_go_and_leave_no_hole(fixture: Fixture) {
    let archive = &fixture.archive;
    let mut lobby = Script::new("lobby");
    for number in 0..10 {
        lobby.say("alice", &format!("old {number} @bob"));
    }
    lobby.react("bob", 3, "x", true);
    lobby.ts = 50_000;
    lobby.say("alice", "young");
    lobby.edit("alice", 12, "young again");
    lobby.store(archive).await;
    assert_eq!(archive.expire(&lobby.room, 1_000, 100).await.unwrap(), 0);
    assert_eq!(archive.expire(&lobby.room, 40_000, 4).await.unwrap(), 4);
    let check = archive.check(&lobby.room).await.unwrap();
    assert!(check.is_whole(), "{check:?}");
    assert_eq!((check.lives[0].expired, check.lives[0].first), (4, 5));
    assert_eq!(archive.expire(&lobby.room, 40_000, 100).await.unwrap(), 7);
    assert_eq!(archive.expire(&lobby.room, 40_000, 100).await.unwrap(), 0);
    assert_eq!(archive.expire(&room("none"), 40_000, 100).await.unwrap(), 0);
    let check = archive.check(&lobby.room).await.unwrap();
    assert!(check.is_whole(), "{check:?}");
    assert_eq!((check.lives[0].expired, check.lives[0].events), (11, 2));
    // A repeated old event does not come back as a hole, and the room's offsets do not go back.
    let page = archive
        .history(&lobby.room, HistorySpan::Before(None), 10)
        .await
        .unwrap();
    assert_eq!(offsets(&page), [12]);
    assert_eq!(
        archive.incarnation(&lobby.room).await.unwrap().unwrap().top,
        13
    );
    let found = SearchQuery {
        text: "old".to_owned(),
        room: None,
        from: None,
        before: None,
        limit: 10,
        reader: id("bob"),
        allowed: None,
    };
    assert_eq!(archive.search(&found).await.unwrap().hits, []);
    let mark = ReadMark {
        user: id("bob"),
        room: lobby.room.clone(),
        offset: 0,
        is_join: true,
    };
    archive.save_reads(&[mark]).await.unwrap();
    let [entry] = archive
        .inbox(&id("bob"), 9)
        .await
        .unwrap()
        .try_into()
        .unwrap();
    assert_eq!((entry.unread, entry.mentions), (1, 0));
    archive.expire(&lobby.room, u64::MAX, 100).await.unwrap();
    assert_eq!(archive.count(&lobby.room).await.unwrap(), 0);
    assert!(archive.check(&lobby.room).await.unwrap().is_whole());
}

pub(crate) async fn holes_and_duplicates_are_found(fixture: Fixture) {
    let archive = &fixture.archive;
    let mut lobby = Script::new("lobby");
    lobby.say("alice", "1");
    lobby.top = 3;
    lobby.say("alice", "4");
    lobby.top = 6;
    lobby.say("alice", "7");
    let mut batch = lobby.batch();
    batch.base = Some(0);
    batch.holes.push(Hole {
        epoch: lobby.epoch.clone(),
        first: 5,
        last: 6,
        reason: "backlog".to_owned(),
    });
    let again = batch.events[0].clone();
    archive.append(&[batch]).await.unwrap();
    let check = archive.check(&lobby.room).await.unwrap();
    let [life] = check.lives.as_slice() else {
        panic!("{check:?}")
    };
    assert_eq!(
        (life.base, life.first, life.last, life.events),
        (Some(0), 1, 7, 3)
    );
    assert_eq!(life.holes, [(2, 3)]);
    assert_eq!(life.recorded[0].reason, "backlog");
    assert_eq!((check.duplicates, check.is_whole()), (0, false));
    // The same event under another offset, and another event under the same one.
    lobby.epoch = epoch("e2");
    lobby.top = 6;
    lobby.say("alice", "7 again");
    lobby.say("alice", "8");
    let mut batch = lobby.batch();
    batch.events[1].frame = again.frame.clone();
    let frame = batch.events[1]
        .frame
        .as_str()
        .replace("\"offset\":1}", "\"offset\":8}");
    let frame = frame.replace("\"epoch\":\"e1\"", "\"epoch\":\"e2\"");
    batch.events[1].frame = hubbub_protocol::Frame::from_json(frame.into()).unwrap();
    archive.append(&[batch]).await.unwrap();
    let check = archive.check(&lobby.room).await.unwrap();
    assert_eq!((check.duplicates, check.first_duplicate), (2, Some(7)));
    assert_eq!(check.lives.len(), 2);
    let none = archive.check(&room("none")).await.unwrap();
    assert!(none.is_whole() && none.lives.is_empty());
}

pub(crate) async fn a_room_is_exported_in_pages(fixture: Fixture) {
    let archive = &fixture.archive;
    let mut lobby = Script::new("lobby");
    for number in 0..25 {
        lobby.say("alice", &number.to_string());
        if number == 12 {
            lobby.epoch = epoch("e2");
        }
    }
    let batch = lobby.batch();
    archive.append(std::slice::from_ref(&batch)).await.unwrap();
    assert_eq!(archive.count(&lobby.room).await.unwrap(), 25);
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = archive
            .export(&lobby.room, after.as_ref(), 10)
            .await
            .unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.position.clone());
        all.extend(page);
    }
    assert_eq!(all, batch.events);
}

pub(crate) async fn rooms_are_listed_by_pattern(fixture: Fixture) {
    let archive = &fixture.archive;
    let names = ["Team", "a", "team", "team-1", "team-2", "team:x", "tean"];
    for name in names {
        let mut script = Script::new(name);
        script.say("alice", "hi");
        script.store(archive).await;
    }
    let list = async |pattern: &RoomPattern, after: Option<&str>, limit| -> Vec<String> {
        let after: Option<RoomId> = after.map(room);
        let rooms = archive.rooms(pattern, after.as_ref(), limit).await.unwrap();
        rooms.iter().map(ToString::to_string).collect()
    };
    let prefix = |prefix: &str| RoomPattern::Prefix(prefix.to_owned());
    assert_eq!(list(&prefix(""), None, 99).await, names);
    assert_eq!(
        list(&prefix("team"), None, 99).await,
        ["team", "team-1", "team-2", "team:x"]
    );
    assert_eq!(list(&prefix("team"), Some("team-1"), 1).await, ["team-2"]);
    assert_eq!(
        list(&RoomPattern::Exact("team".to_owned()), None, 9).await,
        ["team"]
    );
    assert_eq!(
        list(&RoomPattern::Exact("tea".to_owned()), None, 9).await,
        Vec::<String>::new()
    );
}
