//! Search: the hits, who may see them, their pages, and any query text.

use std::time::{Duration, Instant};

use hubbub_archive::{
    AllowedRooms, Archive, ArchiveError, NewRoom, RoomPattern, SearchCursor, SearchPage,
    SearchQuery,
};
use hubbub_tests::deadline::eventually;
use serde_json::{Map, json};
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;

use crate::fixture::{Fixture, Script, id, room, texts, user};

fn query(text: &str) -> SearchQuery {
    SearchQuery {
        text: text.to_owned(),
        room: None,
        from: None,
        before: None,
        limit: 10,
        reader: id("reader"),
        allowed: None,
    }
}

async fn search(archive: &Archive, query: &SearchQuery) -> SearchPage {
    archive.search(query).await.unwrap()
}

/// The texts of the hits, newest first.
async fn found(archive: &Archive, query: &SearchQuery) -> Vec<String> {
    let hits = search(archive, query).await.hits;
    texts(&hits.into_iter().map(|hit| hit.event).collect::<Vec<_>>())
}

pub(crate) async fn words_and_phrases_are_found(fixture: Fixture) {
    let archive = &fixture.archive;
    let mut lobby = Script::new("lobby");
    for text in [
        "The quick brown fox",
        "a QUICK e-mail: quick@example.com",
        "brown, quick",
        "Größe 東京に行く \u{0}zero",
    ] {
        lobby.say("alice", text);
    }
    lobby.say_body("alice", None, &json!("only a quick string"));
    lobby.say_body("alice", None, &json!({"other": "quick"}));
    lobby.store(archive).await;
    let offsets = async |text: &str| -> Vec<u64> {
        let hits = search(archive, &query(text)).await.hits;
        hits.iter().map(|hit| hit.event.position.offset).collect()
    };
    assert_eq!(offsets("quick").await, [5, 3, 2, 1]);
    assert_eq!(offsets("Brown QUICK").await, [3, 1]);
    assert_eq!(offsets("\"quick brown\"").await, [1]);
    assert_eq!(offsets("e-mail").await, [2]);
    assert_eq!(offsets("example").await, [2]);
    assert_eq!(offsets("GRÖßE").await, [4]);
    assert_eq!(offsets("東京").await, [4]);
    assert_eq!(offsets("zero").await, [4]);
    for none in ["quic", "京東", "quick nothing", "", "!?", "r1"] {
        assert_eq!(offsets(none).await, Vec::<u64>::new(), "{none}");
    }
    let page = search(archive, &query("fox brown")).await;
    let highlight = serde_json::to_value(&page.hits[0].highlight).unwrap();
    let expected = json!([
        {"text": "The quick ", "hit": false}, {"text": "brown", "hit": true},
        {"text": " ", "hit": false}, {"text": "fox", "hit": true}
    ]);
    assert_eq!(highlight, expected);
}

/// What is written, what is looked for, and whether it is found: the same answers on both databases.
const FINDS: &[(&str, &str, bool)] = &[
    // Case, accents, width and form make no difference, on either side.
    ("Größe", "GROSSE", true),
    ("Größe", "große", true),
    ("Straße", "strasse", true),
    ("resume", "résumé", true),
    ("re\u{301}sume\u{301}", "résumé", true),
    ("Łódź and Smørrebrød", "lodz smorrebrod", true),
    ("ｆｕｌｌ ｗｉｄｔｈ", "full width", true),
    ("ﬁnal", "final", true),
    ("Ёлка", "елка", true),
    ("Σίσυφος", "ΣΊΣΥΦΟΣ", true),
    ("مُحَمَّد", "محمد", true),
    ("ﾄｳｷｮｳ", "トウキョウ", true),
    ("か\u{3099}くせい", "がくせい", true),
    ("かくせい", "がくせい", false),
    ("हिन्दी", "हिन्दी", true),
    ("कि", "क", false),
    ("Donau\u{ad}dampf", "donaudampf", true),
    ("\u{378}\u{1f9ff}", "\u{1f9ff}", true),
    // Beginnings of words.
    ("looking", "loo*", true),
    ("looking", "LOO*", true),
    ("looking", "looking*", true),
    ("looking", "loo", false),
    ("looking", "oki*", false),
    ("looking", "*king", false),
    ("a new yorker", "\"new yor*\"", true),
    ("a newer yorker", "\"new yor*\"", false),
    ("looking", "l*", false),
    ("l", "l*", true),
    ("Éclair", "ecl*", true),
    ("안녕하세요", "안녕*", true),
    ("東京都", "東京*", true),
    ("v2.10.3-rc1", "v2.10*", true),
    // Emoji.
    ("fine 👍🏽", "👍", true),
    ("fine 👍", "👍🏿", true),
    ("fine👍", "fine", true),
    ("👍", "👎", false),
    ("❤\u{fe0f}", "❤", true),
    ("👩\u{200d}🚀 up", "🚀", true),
    ("👩\u{200d}🚀 up", "👩\u{200d}🚀", true),
    ("🇩🇪", "🇩🇪", true),
    ("🇮🇩🇪🇸", "🇩🇪", false),
    ("🥳 \u{1fae8}", "\u{1fae8}", true),
    // What PostgreSQL's own parser would take apart or together.
    ("12abc 1e10 a_b", "12abc", true),
    ("12abc 1e10 a_b", "1e10", true),
    ("mail me@example.com", "example", true),
    ("see /usr/local/bin", "\"usr local\"", true),
    ("5-10", "10", true),
];

pub(crate) async fn words_are_folded_alike_everywhere(fixture: Fixture) {
    let archive = &fixture.archive;
    for (index, (written, ..)) in FINDS.iter().enumerate() {
        let mut script = Script::new(&format!("room-{index}"));
        script.say("alice", written);
        script.store(archive).await;
    }
    for (index, (written, text, is_found)) in FINDS.iter().enumerate() {
        let query = SearchQuery {
            room: Some(room(&format!("room-{index}"))),
            ..query(text)
        };
        let hits = search(archive, &query).await.hits;
        assert_eq!(!hits.is_empty(), *is_found, "{text} in {written}");
        for hit in hits {
            assert!(
                hit.highlight.iter().any(|part| part.hit),
                "{text} in {written}"
            );
        }
    }
}

/// As after an update from a version with other words: nothing is found by the new ones yet.
pub(crate) async fn earlier_messages_are_entered_again(fixture: Fixture) {
    let archive = &fixture.archive;
    let mut lobby = Script::new("lobby");
    for number in 0..7 {
        lobby.say("alice", &format!("Käse {number}"));
    }
    lobby.say("alice", "Käse deleted");
    lobby.edit("alice", 2, "Brot");
    lobby.delete("alice", 8);
    lobby.store(archive).await;
    assert!(!archive.rebuild_search(3).await.unwrap(), "all are new");
    match &fixture.postgres {
        Some(_) => {
            fixture
                .run("UPDATE events SET search = to_tsvector('simple', 'x')")
                .await
        }
        None => fixture.run("DELETE FROM search").await,
    }
    fixture
        .run("INSERT INTO unsearched SELECT max(id) + 1 FROM events")
        .await;
    // One that came meanwhile is not entered twice.
    lobby.say("alice", "Käse after");
    lobby.edit("alice", 1, "Käse edited");
    lobby.store(archive).await;
    assert!(archive.rebuild_search(3).await.unwrap());
    assert_eq!(
        found(archive, &query("kase 6")).await,
        ["Käse 6"],
        "the newest first"
    );
    assert_eq!(found(archive, &query("kase 2")).await, Vec::<String>::new());
    while archive.rebuild_search(3).await.unwrap() {}
    assert_eq!(found(archive, &query("kase")).await.len(), 7);
    assert_eq!(found(archive, &query("kase edited")).await, ["Käse edited"]);
    assert_eq!(found(archive, &query("brot")).await, ["Brot"]);
    assert_eq!(
        found(archive, &query("deleted")).await,
        Vec::<String>::new()
    );
}

pub(crate) async fn what_is_edited_or_deleted_is_found_as_it_is_now(fixture: Fixture) {
    let archive = &fixture.archive;
    let mut lobby = Script::new("lobby");
    lobby.say("alice", "old");
    lobby.say("alice", "old and gone");
    lobby.store(archive).await;
    lobby.edit("alice", 1, "new");
    lobby.react("bob", 1, "x", true);
    lobby.delete("alice", 2);
    lobby.store(archive).await;
    assert_eq!(found(archive, &query("old")).await, Vec::<String>::new());
    assert_eq!(found(archive, &query("gone")).await, Vec::<String>::new());
    let page = search(archive, &query("new")).await;
    assert_eq!(page.hits[0].highlight[0].text, "new");
    let event = crate::fixture::value(&page.hits[0].event);
    assert_eq!(
        (&event["body"]["text"], &event["edited"]["offset"]),
        (&json!("new"), &json!(3))
    );
    assert_eq!(event["reactions"][0]["count"], 1);
    // An edit to a text without words removes the old words.
    lobby.edit("alice", 1, "!");
    lobby.store(archive).await;
    assert_eq!(found(archive, &query("new")).await, Vec::<String>::new());
    lobby.edit("alice", 1, "back");
    lobby.store(archive).await;
    assert_eq!(found(archive, &query("back")).await, ["back"]);
}

pub(crate) async fn only_readable_rooms_are_searched(fixture: Fixture) {
    let archive = &fixture.archive;
    let secret = NewRoom {
        room: room("secret"),
        title: None,
        topic: None,
        private: true,
        created_by: user("alice"),
        members: vec![id("bob")],
        settings: Map::new(),
    };
    archive.create_room(&secret).await.unwrap();
    for name in ["lobby", "team-a", "team-b", "secret", "dm:alice:bob"] {
        let mut script = Script::new(name);
        script.say("alice", &format!("word in {name}"));
        script.say("bob", &format!("word by bob in {name}"));
        script.store(archive).await;
    }
    let rooms = async |reader: &str, allowed: Option<Vec<AllowedRooms>>| -> Vec<String> {
        let query = SearchQuery {
            reader: id(reader),
            from: Some(id("alice")),
            allowed,
            ..query("word")
        };
        let found = found(archive, &query).await;
        found
            .iter()
            .map(|text| text["word in ".len()..].to_owned())
            .collect()
    };
    assert_eq!(rooms("carol", None).await, ["team-b", "team-a", "lobby"]);
    let all = ["dm:alice:bob", "secret", "team-b", "team-a", "lobby"];
    assert_eq!(rooms("bob", None).await, all);
    let yes = |rooms: RoomPattern| AllowedRooms {
        rooms,
        is_allowed: true,
    };
    let no = |rooms: RoomPattern| AllowedRooms {
        rooms,
        is_allowed: false,
    };
    let beginning = |prefix: &str| RoomPattern::Prefix(prefix.to_owned());
    let whole = |name: &str| RoomPattern::Exact(name.to_owned());
    let prefix = |prefix: &str| yes(beginning(prefix));
    let exact = |name: &str| yes(whole(name));
    assert_eq!(rooms("bob", Some(vec![prefix("")])).await, all);
    // The longest match wins, in any order, and a whole name wins over a prefix.
    for allowed in [
        vec![prefix(""), no(beginning("team-")), exact("team-a")],
        vec![
            exact("team-a"),
            no(beginning("team-a")),
            no(beginning("team-")),
            prefix(""),
        ],
    ] {
        let expected = ["dm:alice:bob", "secret", "team-a", "lobby"];
        assert_eq!(rooms("bob", Some(allowed)).await, expected);
    }
    let allowed = vec![prefix("t"), no(whole("team-a"))];
    assert_eq!(rooms("bob", Some(allowed)).await, ["team-b"]);
    assert_eq!(rooms("bob", Some(vec![])).await, Vec::<String>::new());
    let some = vec![
        prefix("team-"),
        exact("secret"),
        exact("team"),
        exact("lobb_"),
    ];
    assert_eq!(
        rooms("bob", Some(some.clone())).await,
        ["secret", "team-b", "team-a"]
    );
    assert_eq!(rooms("carol", Some(some)).await, ["team-b", "team-a"]);
    let one = SearchQuery {
        room: Some(room("team-a")),
        ..query("word")
    };
    assert_eq!(
        found(archive, &one).await,
        ["word by bob in team-a", "word in team-a"]
    );
    for name in ["secret", "none"] {
        let one = SearchQuery {
            room: Some(room(name)),
            ..query("word")
        };
        assert_eq!(found(archive, &one).await, Vec::<String>::new());
    }
}

pub(crate) async fn pages_of_hits_meet_without_a_seam(fixture: Fixture) {
    let archive = &fixture.archive;
    let mut lobby = Script::new("lobby");
    for number in 0..25 {
        lobby.say("alice", &format!("common {number}"));
        lobby.say("alice", "other");
    }
    lobby.store(archive).await;
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let page = search(
            archive,
            &SearchQuery {
                before,
                ..query("common")
            },
        )
        .await;
        all.extend(page.hits.into_iter().map(|hit| hit.event));
        before = page
            .next
            .map(|next| SearchCursor::parse(&next.to_string()).unwrap());
        if before.is_none() {
            break;
        }
    }
    let expected: Vec<String> = (0..25)
        .rev()
        .map(|number| format!("common {number}"))
        .collect();
    assert_eq!(texts(&all), expected);
    assert_eq!(SearchCursor::parse("1 OR 1"), None);
    let many = SearchQuery {
        limit: usize::MAX,
        ..query("common")
    };
    assert_eq!(search(archive, &many).await.hits.len(), 25);
}

pub(crate) async fn any_text_is_a_query(fixture: Fixture) {
    let archive = &fixture.archive;
    let mut lobby = Script::new("lobby");
    lobby.say("alice", "drop table students");
    lobby.store(archive).await;
    for text in [
        "'; DROP TABLE events; --",
        "\"unclosed",
        "\"\"\" \"'\"",
        "words:drop OR room:r1",
        "NEAR(a b, 5) AND NOT c*",
        "a & b | !c <-> d:*",
        "-drop +table ^students",
        "\\ \\' \0 \u{202e} %_ $1 ?1 :x",
        "{} () [] <> col : ",
        &"x ".repeat(5000),
        &"(".repeat(5000),
        &"é".repeat(5000),
    ] {
        for room_id in [None, Some(room("lobby"))] {
            let query = SearchQuery {
                room: room_id,
                ..query(text)
            };
            let result = archive.search(&query).await;
            assert!(result.is_ok(), "{text:.40}: {result:?}");
        }
    }
    assert_eq!(
        found(archive, &query("DROP; 'students")).await,
        ["drop table students"]
    );
}

/// Messages whose words stand at thousands of places, as they were indexed once.
const HEAVY: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) \
    INSERT INTO search (rowid, words, room) \
    SELECT 1000000 + i, replace(hex(zeroblob(2000)), '00', 'a b '), 'r1' FROM n";

async fn reopened(fixture: &mut Fixture, search_timeout: Duration) {
    fixture.section.search_pool = 1;
    fixture.section.search_timeout = search_timeout;
    fixture.reopen().await;
}

#[tokio::test]
async fn a_heavy_search_in_sqlite_ends_with_its_time_and_with_its_caller() {
    let mut fixture = Fixture::sqlite().await;
    let mut lobby = Script::new("lobby");
    lobby.say("alice", "needle");
    lobby.store(&fixture.archive).await;
    fixture.run(HEAVY).await;
    let heavy = query("\"a a a a a a a a\"");
    reopened(&mut fixture, Duration::from_millis(20)).await;
    let error = fixture.archive.search(&heavy).await.unwrap_err();
    assert!(matches!(error, ArchiveError::SearchTimeout(_)), "{error}");
    assert_eq!(fixture.archive.health(), None, "the archive is well");

    reopened(&mut fixture, Duration::from_secs(60)).await;
    let start = Instant::now();
    let given_up = timeout(Duration::from_millis(20), fixture.archive.search(&heavy)).await;
    assert!(given_up.is_err(), "it takes longer");
    // The only connection is free again, though the search before was not over.
    assert_eq!(found(&fixture.archive, &query("needle")).await, ["needle"]);
    let freed = start.elapsed();
    let start = Instant::now();
    fixture.archive.search(&heavy).await.unwrap();
    assert!(
        freed < start.elapsed(),
        "{freed:?}, the whole search takes {:?}",
        start.elapsed()
    );
}

/// A lock stands for a search that takes long.
#[tokio::test]
async fn a_heavy_search_in_postgresql_ends_with_its_time_and_with_its_caller() {
    let mut fixture = Fixture::postgres().await;
    let mut lobby = Script::new("lobby");
    lobby.say("alice", "needle");
    lobby.store(&fixture.archive).await;
    reopened(&mut fixture, Duration::from_millis(100)).await;
    let mut other = PgConnection::connect(&fixture.section.url).await.unwrap();
    let mut lock = other.begin().await.unwrap();
    sqlx::query("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *lock)
        .await
        .unwrap();
    let error = fixture.archive.search(&query("needle")).await.unwrap_err();
    assert!(matches!(error, ArchiveError::SearchTimeout(_)), "{error}");
    assert_eq!(fixture.archive.health(), None, "the archive is well");

    reopened(&mut fixture, Duration::from_secs(60)).await;
    let waiting = "SELECT count(*) FROM pg_stat_activity \
        WHERE datname = current_database() AND query LIKE '%TSQUERY%' AND state = 'active' \
        AND pid <> pg_backend_pid()";
    let fixture = &fixture;
    let is_active = async |count: i64| (fixture.number(waiting).await == count).then_some(());
    let deadline = Duration::from_secs(20);
    {
        let needle = query("needle");
        let search = fixture.archive.search(&needle);
        let seen = eventually("the search runs", deadline, async || is_active(1).await);
        tokio::select! {
            result = search => panic!("the table is locked: {result:?}"),
            ((), _) = seen => {}
        }
    }
    eventually("the search was stopped", deadline, async || {
        is_active(0).await
    })
    .await;
    lock.rollback().await.unwrap();
    assert_eq!(found(&fixture.archive, &query("needle")).await, ["needle"]);
}
