//! Archives with a full disk, with a server that is away, locked or paused, and with other users of
//! the same file or server.

use std::time::Duration;

use hubbub_archive::{Archive, ArchiveError, ArchiveSection, HistorySpan, RoomBatch};
use hubbub_protocol::Frame;
use hubbub_tests::deadline::{eventually, within};
use hubbub_tests::disk::SmallDisk;
use hubbub_tests::pgbouncer::PgBouncer;
use hubbub_tests::postgres::Postgres;
use sqlx::{Connection, PgConnection, SqliteConnection};
use tempfile::TempDir;

use crate::fixture::{Fixture, Script, offsets, room, section};

/// Much longer than an answer should take: twice the statement timeout.
const ANSWER: Duration = Duration::from_secs(20);
const NEWEST: HistorySpan = HistorySpan::Before(None);

/// Settings with short time-outs, so that the tests need not wait long.
fn impatient(url: &str) -> ArchiveSection {
    ArchiveSection {
        statement_timeout: Duration::from_secs(1),
        ..section(url)
    }
}

async fn open(section: &ArchiveSection) -> Archive {
    let archive = Archive::open(section).await.unwrap().unwrap();
    archive.connect().await.unwrap();
    archive
}

fn one(script: &mut Script, text: &str) -> RoomBatch {
    script.say("alice", text);
    script.batch()
}

/// Checks that an append is refused for now, with the right error.
async fn refused(archive: &Archive, batch: &RoomBatch) {
    let append = archive.append(std::slice::from_ref(batch));
    let error = within("an answer", ANSWER, append).await.unwrap_err();
    assert!(matches!(error, ArchiveError::Unavailable(_)), "{error:?}");
    assert_eq!(archive.health(), Some(error.to_string()));
    let page = archive.history(&batch.room, NEWEST, 10);
    let error = within("an answer", ANSWER, page).await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
}

/// Checks that the same append succeeds in the end, once.
async fn goes_on(archive: &Archive, batch: &RoomBatch) {
    eventually("the archive is back", ANSWER, async || {
        archive.append(std::slice::from_ref(batch)).await.ok()
    })
    .await;
    assert_eq!(archive.health(), None);
    let check = archive.check(&batch.room).await.unwrap();
    assert!(check.is_whole(), "{check:?}");
    let page = archive.history(&batch.room, NEWEST, 10).await.unwrap();
    assert_eq!(page.last(), batch.events.last());
}

#[tokio::test]
async fn a_full_disk_stores_nothing_and_recovers() {
    let dir = TempDir::new().unwrap();
    let disk = SmallDisk::mount(dir.path(), 8 << 20);
    let archive = open(&section(&format!(
        "sqlite://{}/archive.db",
        dir.path().display()
    )))
    .await;
    let mut lobby = Script::new("lobby");
    archive.append(&[one(&mut lobby, "first")]).await.unwrap();
    disk.fill();
    // The file itself may have some free space left.
    let text = "x".repeat(16 << 10);
    let mut stored = 1;
    let refused = loop {
        let batch = one(&mut lobby, &text);
        match archive.append(std::slice::from_ref(&batch)).await {
            Ok(()) => stored += 1,
            Err(error) => {
                assert!(matches!(error, ArchiveError::Full), "{error:?}");
                break batch;
            }
        }
        assert!(stored < 1000, "the disk is full");
    };
    // The append fails every time; reading still works.
    for _ in 0..5 {
        let error = archive
            .append(std::slice::from_ref(&refused))
            .await
            .unwrap_err();
        assert!(error.is_retryable(), "{error:?}");
        assert_eq!(archive.count(&lobby.room).await.unwrap(), stored);
    }
    assert!(archive.is_unwritable(), "until something is written");
    let health = archive.health();
    assert_eq!(health, Some(ArchiveError::Full.to_string()));
    disk.free();
    goes_on(&archive, &refused).await;
    assert_eq!(archive.count(&lobby.room).await.unwrap(), stored + 1);
    archive.close().await;
}

#[tokio::test]
async fn a_full_disk_is_tried_until_it_has_room() {
    let dir = TempDir::new().unwrap();
    let disk = SmallDisk::mount(dir.path(), 8 << 20);
    let url = format!("sqlite://{}/archive.db", dir.path().display());
    let archive = open(&section(&url)).await;
    let mut lobby = Script::new("lobby");
    disk.fill();
    let text = "x".repeat(16 << 10);
    while archive.append(&[one(&mut lobby, &text)]).await.is_ok() {}
    assert!(archive.is_unwritable());
    let keeper = archive.clone();
    let keeper = tokio::spawn(async move { keeper.keep_writable().await });
    disk.free();
    let writable = async || (!archive.is_unwritable()).then_some(());
    eventually("nobody else has to write", ANSWER, writable).await;
    keeper.abort();
    archive.close().await;
}

/// A pooler that lends sessions to several clients would answer with the results of their statements.
#[tokio::test]
async fn a_pooler_that_shares_sessions_is_refused() {
    let postgres = Postgres::shared().await;
    let direct = postgres.database().await;
    // As it is installed it knows no `options`; with this line it drops them.
    let dropped = "ignore_startup_parameters = extra_float_digits,options";
    for (mode, more) in [
        ("transaction", ""),
        ("transaction", dropped),
        ("statement", dropped),
        ("session", dropped),
    ] {
        let pooler = PgBouncer::start(&postgres, mode, more).await;
        let section = section(&pooler.url(&direct));
        let archive = Archive::open(&section).await.unwrap().unwrap();
        let connect = within("an answer", ANSWER, archive.connect());
        let error = connect.await.unwrap_err();
        assert!(
            matches!(error, ArchiveError::Pooled(_)),
            "{mode} {more}: {error:?}"
        );
        assert!(!error.is_retryable(), "{error}");
        archive.close().await;
    }
    let archive = open(&section(&direct)).await;
    archive.close().await;
}

/// The look at sessions finds a pooler that passes the settings on, too.
#[tokio::test]
async fn sessions_that_are_shared_are_found_by_their_backend() {
    let postgres = Postgres::shared().await;
    let direct = postgres.database().await;
    let (_, name) = direct.rsplit_once('/').unwrap();
    let idle = format!("ALTER DATABASE {name} SET idle_in_transaction_session_timeout = '10s'");
    postgres.run("postgres", &idle).await;
    let dropped = "ignore_startup_parameters = extra_float_digits,options";
    let pooler = PgBouncer::start(&postgres, "transaction", dropped).await;
    let shared = Archive::open(&section(&pooler.url(&direct))).await;
    let error = shared.unwrap().unwrap().connect().await.unwrap_err();
    assert!(error.to_string().contains("several clients"), "{error}");
    let pooler = PgBouncer::start(&postgres, "session", dropped).await;
    open(&section(&pooler.url(&direct))).await.close().await;
}

/// A database that was made anew gets its tables without a restart.
#[tokio::test]
async fn an_empty_database_gets_its_tables() {
    let postgres = Postgres::start().await;
    let url = postgres.database().await;
    let (_, name) = url.rsplit_once('/').unwrap();
    let archive = open(&impatient(&url)).await;
    let mut lobby = Script::new("lobby");
    archive.append(&[one(&mut lobby, "before")]).await.unwrap();
    let drop = format!("DROP DATABASE {name} WITH (FORCE)");
    postgres.run("postgres", &drop).await;
    let create = format!("CREATE DATABASE {name}");
    postgres.run("postgres", &create).await;
    let batch = one(&mut lobby, "after");
    let append = || archive.append(std::slice::from_ref(&batch));
    let missing = async || matches!(append().await, Err(ArchiveError::NoSchema(_))).then_some(());
    eventually("the tables are missed", ANSWER, missing).await;
    assert!(!archive.is_ready() && archive.was_reached());
    archive.connect().await.unwrap();
    append().await.unwrap();
    assert!(archive.is_ready());
    archive.close().await;
}

#[tokio::test]
async fn a_server_that_stops_is_waited_for() {
    let mut postgres = Postgres::start().await;
    let archive = open(&impatient(&postgres.database().await)).await;
    let mut lobby = Script::new("lobby");
    archive.append(&[one(&mut lobby, "before")]).await.unwrap();
    postgres.stop().await;
    let batch = one(&mut lobby, "meanwhile");
    refused(&archive, &batch).await;
    postgres.restart().await;
    goes_on(&archive, &batch).await;
    postgres.kill9();
    let batch = one(&mut lobby, "again");
    refused(&archive, &batch).await;
    postgres.restart().await;
    goes_on(&archive, &batch).await;
}

#[tokio::test]
async fn a_frozen_server_is_waited_for() {
    let postgres = Postgres::start().await;
    let archive = open(&impatient(&postgres.database().await)).await;
    let mut lobby = Script::new("lobby");
    archive.append(&[one(&mut lobby, "before")]).await.unwrap();
    postgres.pause();
    let batch = one(&mut lobby, "meanwhile");
    refused(&archive, &batch).await;
    postgres.resume();
    goes_on(&archive, &batch).await;
}

#[tokio::test]
async fn a_locked_table_is_waited_for() {
    let postgres = Postgres::shared().await;
    let url = postgres.database().await;
    let archive = open(&impatient(&url)).await;
    let mut lobby = Script::new("lobby");
    archive.append(&[one(&mut lobby, "before")]).await.unwrap();
    let mut other = PgConnection::connect(&url).await.unwrap();
    let lock = "BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(lock).execute(&mut other).await.unwrap();
    let batch = one(&mut lobby, "meanwhile");
    refused(&archive, &batch).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    goes_on(&archive, &batch).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_asked_again() {
    let mut postgres = Postgres::start().await;
    let url = postgres.database().await;
    postgres.stop().await;
    let url = url.replace("tester@", "tester:hunter2@");
    let archive = Archive::open(&impatient(&url)).await.unwrap().unwrap();
    assert!(!archive.is_ready());
    assert_eq!(archive.health().as_deref(), Some("not connected yet"));
    let error = within("an answer", ANSWER, archive.connect())
        .await
        .unwrap_err();
    assert!(matches!(error, ArchiveError::Unavailable(_)), "{error:?}");
    let shown = format!("{error} {error:?} {archive:?} {:?}", archive.health());
    assert!(!shown.contains("hunter2"), "{shown}");
    let mut lobby = Script::new("lobby");
    let batch = one(&mut lobby, "too early");
    let error = archive
        .append(std::slice::from_ref(&batch))
        .await
        .unwrap_err();
    assert!(matches!(error, ArchiveError::Unavailable(_)), "{error:?}");
    postgres.restart().await;
    // The archive refuses appends until it has connected, because the schema may be another one.
    assert!(archive.append(std::slice::from_ref(&batch)).await.is_err());
    archive.connect().await.unwrap();
    assert!(archive.is_ready());
    goes_on(&archive, &batch).await;
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let fixture = Fixture::sqlite().await;
    fixture.archive.close().await;
    let mut file = SqliteConnection::connect(&fixture.section.url)
        .await
        .unwrap();
    sqlx::raw_sql("PRAGMA user_version = 1000")
        .execute(&mut file)
        .await
        .unwrap();
    file.close().await.unwrap();
    let error = Archive::open(&fixture.section).await.unwrap_err();
    assert!(
        matches!(error, ArchiveError::TooNew { found: 1000, .. }),
        "{error:?}"
    );

    let fixture = Fixture::postgres().await;
    let mut server = PgConnection::connect(&fixture.section.url).await.unwrap();
    let newer = "UPDATE hubbub_schema SET version = 1000";
    sqlx::raw_sql(newer).execute(&mut server).await.unwrap();
    let archive = Archive::open(&fixture.section).await.unwrap().unwrap();
    let error = archive.connect().await.unwrap_err();
    assert!(
        matches!(error, ArchiveError::TooNew { found: 1000, .. }),
        "{error:?}"
    );
    assert!(!archive.is_ready());
}

#[tokio::test]
async fn many_may_open_an_empty_server_at_once() {
    let postgres = Postgres::shared().await;
    let url = postgres.database().await;
    let open = |_| {
        let url = url.clone();
        tokio::spawn(async move { open(&section(&url)).await })
    };
    let opened: Vec<_> = (0..6).map(open).collect();
    for archive in opened {
        archive.await.unwrap().append(&[]).await.unwrap();
    }
}

#[tokio::test]
async fn one_of_many_gets_an_empty_file() {
    let dir = TempDir::new().unwrap();
    let url = format!("sqlite://{}/archive.db", dir.path().display());
    let open = |_| {
        let section = section(&url);
        tokio::spawn(async move { Archive::open(&section).await })
    };
    let opened: Vec<_> = (0..6).map(open).collect();
    let mut archives = Vec::new();
    for archive in opened {
        match archive.await.unwrap() {
            Ok(archive) => archives.extend(archive),
            Err(error) => assert!(matches!(error, ArchiveError::InUse { .. }), "{error:?}"),
        }
    }
    let [archive] = archives.try_into().unwrap();
    archive.append(&[]).await.unwrap();
}

#[tokio::test]
async fn a_file_belongs_to_one_archive() {
    let fixture = Fixture::sqlite().await;
    let mut lobby = Script::new("lobby");
    lobby.say("alice", "one");
    lobby.store(&fixture.archive).await;
    // A link leads to the same file.
    let link = fixture.dir.path().join("link.db");
    std::os::unix::fs::symlink(fixture.dir.path().join("archive.db"), &link).unwrap();
    let linked = section(&format!("sqlite://{}", link.display()));
    for section in [&fixture.section, &linked] {
        let error = Archive::open(section).await.unwrap_err();
        assert!(matches!(error, ArchiveError::InUse { .. }), "{error:?}");
        assert!(!error.is_retryable());
        assert!(error.to_string().contains("/archive.db"), "{error}");
    }
    // A reader may open the file and sees new events.
    let beside = Archive::open_to_read(&fixture.section);
    let beside = beside.await.unwrap().unwrap();
    assert_eq!(beside.count(&lobby.room).await.unwrap(), 1);
    lobby.say("alice", "two");
    let two = lobby.batch();
    let error = beside.append(std::slice::from_ref(&two)).await;
    assert!(!error.unwrap_err().is_retryable());
    fixture.archive.append(&[two]).await.unwrap();
    assert_eq!(beside.count(&lobby.room).await.unwrap(), 2);
    // The file is free once the archive was closed. A clone of the archive cannot write any more.
    let clone = fixture.archive.clone();
    fixture.archive.close().await;
    assert!(clone.append(&[]).await.is_err());
    let next = open(&fixture.section).await;
    assert_eq!(next.count(&lobby.room).await.unwrap(), 2);
    // The file is also free once all clones are dropped.
    drop(next);
    let last = open(&linked).await;
    lobby.say("alice", "three");
    lobby.store(&last).await;
    assert_eq!(beside.count(&lobby.room).await.unwrap(), 3);
    beside.close().await;
    last.close().await;
    // The file can be read without a node too.
    let alone = Archive::open_to_read(&linked).await.unwrap().unwrap();
    assert_eq!(alone.count(&lobby.room).await.unwrap(), 3);
    alone.close().await;
}

#[tokio::test]
async fn a_session_that_was_read_only_is_not_used_again() {
    let postgres = Postgres::shared().await;
    let url = postgres.database().await;
    let archive = open(&impatient(&url)).await;
    let mut lobby = Script::new("lobby");
    let mut other = PgConnection::connect(&url).await.unwrap();
    let name: String = sqlx::query_scalar("SELECT current_database()")
        .fetch_one(&mut other)
        .await
        .unwrap();
    let alter = async |other: &mut PgConnection, how: &str| {
        let sql = format!("ALTER DATABASE \"{name}\" {how} default_transaction_read_only");
        let sql = if how == "SET" { sql + " = on" } else { sql };
        let sql = format!("BEGIN READ WRITE; {sql}; COMMIT");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(other)
            .await
            .unwrap();
    };
    // All connections of the pool are opened while the database is read-only.
    alter(&mut other, "SET").await;
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    sqlx::raw_sql(kill).execute(&mut other).await.unwrap();
    let batch = one(&mut lobby, "meanwhile");
    let mut refusals = 0;
    while refusals < 3 {
        let append = archive.append(std::slice::from_ref(&batch));
        let error = within("an answer", ANSWER, append).await.unwrap_err();
        assert!(error.is_retryable(), "{error:?}");
        refusals += u32::from(matches!(error, ArchiveError::StaleSession(_)));
    }
    alter(&mut other, "RESET").await;
    goes_on(&archive, &batch).await;
}

/// Three messages, then a copy of the file, then two more.
async fn five_messages(fixture: &mut Fixture) -> (Script, std::path::PathBuf) {
    let mut lobby = Script::new("lobby");
    for text in ["one", "two", "three"] {
        lobby.say("alice", text);
    }
    lobby.store(&fixture.archive).await;
    // Closing the archive writes its log into the file.
    fixture.reopen().await;
    let copy = fixture.dir.path().join("copy.db");
    std::fs::copy(fixture.dir.path().join("archive.db"), &copy).unwrap();
    for text in ["four", "five"] {
        lobby.say("alice", text);
    }
    lobby.store(&fixture.archive).await;
    (lobby, copy)
}

#[tokio::test]
async fn a_restored_file_ends_all_lives() {
    let mut fixture = Fixture::sqlite().await;
    let (lobby, copy) = five_messages(&mut fixture).await;
    let life = fixture
        .archive
        .incarnation(&lobby.room)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((life.epoch.as_ref(), life.top), (Some(&lobby.epoch), 5));
    // An ordinary restart changes nothing.
    fixture.reopen().await;
    assert_eq!(
        fixture.archive.incarnation(&lobby.room).await.unwrap(),
        Some(life)
    );

    fixture.archive.close().await;
    std::fs::copy(&copy, fixture.dir.path().join("archive.db")).unwrap();
    let archive = open(&fixture.section).await;
    let life = archive.incarnation(&lobby.room).await.unwrap().unwrap();
    assert_eq!((life.epoch, life.top), (None, 5), "above the lost events");
    assert_eq!(archive.count(&lobby.room).await.unwrap(), 3);
    // The next epoch is an ordinary one, and the restored file is the valid one from now on.
    let mut next = Script::new("lobby");
    next.epoch = crate::fixture::epoch("next");
    next.top = 5;
    next.say("alice", "six");
    next.store(&archive).await;
    archive.close().await;
    let archive = open(&fixture.section).await;
    let life = archive.incarnation(&lobby.room).await.unwrap().unwrap();
    assert_eq!((life.epoch, life.top), (Some(next.epoch), 6));
}

#[tokio::test]
async fn a_lost_log_or_sidecar_ends_all_lives() {
    for lost in ["archive.db-wal", "archive.db.lock"] {
        let mut fixture = Fixture::sqlite().await;
        let (lobby, _) = five_messages(&mut fixture).await;
        // The same files as after a crash: the database and its log.
        let place = TempDir::new().unwrap();
        for name in ["archive.db", "archive.db-wal", "archive.db.lock"] {
            let (from, to) = (fixture.dir.path().join(name), place.path().join(name));
            std::fs::copy(&from, &to).unwrap();
        }
        std::fs::remove_file(place.path().join(lost)).unwrap();
        let url = format!("sqlite://{}/archive.db", place.path().display());
        let archive = open(&section(&url)).await;
        let life = archive.incarnation(&lobby.room).await.unwrap().unwrap();
        assert_eq!((life.epoch, life.top), (None, 5), "without {lost}");
    }
}

#[tokio::test]
async fn a_file_from_before_the_sidecar_keeps_its_lives() {
    let mut fixture = Fixture::sqlite().await;
    let (lobby, _) = five_messages(&mut fixture).await;
    fixture.archive.close().await;
    let file = fixture.dir.path().join("archive.db");
    let mut connection = SqliteConnection::connect(&fixture.section.url)
        .await
        .unwrap();
    let older =
        "DROP TABLE origin; DROP TABLE ended_lives; DROP TABLE unsearched; PRAGMA user_version = 4";
    sqlx::raw_sql(older).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    std::fs::write(file.with_extension("db.lock"), "").unwrap();
    let archive = open(&fixture.section).await;
    let life = archive.incarnation(&lobby.room).await.unwrap().unwrap();
    assert_eq!((life.epoch, life.top), (Some(lobby.epoch), 5));
}

#[tokio::test]
async fn a_file_that_is_taken_away_takes_no_more_events() {
    for name in ["archive.db", "archive.db-wal"] {
        let fixture = Fixture::sqlite().await;
        let mut lobby = Script::new("lobby");
        fixture
            .archive
            .append(&[one(&mut lobby, "before")])
            .await
            .unwrap();
        assert_eq!(fixture.archive.health(), None);
        let (file, away) = (
            fixture.dir.path().join(name),
            fixture.dir.path().join("away"),
        );
        std::fs::rename(&file, &away).unwrap();
        let problem = fixture.archive.health().unwrap();
        assert!(problem.contains("was removed"), "{problem}");
        assert_eq!(fixture.archive.lost_file(), Some(problem));
        let batch = one(&mut lobby, "meanwhile");
        let error = fixture.archive.append(std::slice::from_ref(&batch)).await;
        assert!(matches!(error, Err(ArchiveError::FileGone(_))), "{error:?}");
        assert!(!file.exists(), "no new file is created in its place");
        std::fs::rename(&away, &file).unwrap();
        goes_on(&fixture.archive, &batch).await;
    }
}

/// A refused batch closes its connection, and SQLite removes the log with the last one: no reader is open.
#[tokio::test]
async fn a_log_that_sqlite_removes_itself_is_not_missed() {
    let fixture = Fixture::sqlite().await;
    let log = fixture.dir.path().join("archive.db-wal");
    let mut lobby = Script::new("lobby");
    fixture
        .archive
        .append(&[one(&mut lobby, "before")])
        .await
        .unwrap();
    assert!(log.exists());
    let mut broken = Script::new("broken");
    let mut batch = one(&mut broken, "no message");
    batch.events[0].frame = Frame::from_json("{\"type\":\"message\"}".to_owned().into()).unwrap();
    let error = fixture.archive.append(&[batch]).await;
    assert!(
        matches!(error, Err(ArchiveError::BadEvent { .. })),
        "{error:?}"
    );
    eventually("the log is removed", ANSWER, async || {
        assert_eq!(fixture.archive.lost_file(), None);
        (!log.exists()).then_some(())
    })
    .await;
    let after = one(&mut lobby, "after");
    fixture.archive.append(&[after]).await.unwrap();
}

#[tokio::test]
async fn a_hard_link_is_the_same_file() {
    let fixture = Fixture::sqlite().await;
    let other = TempDir::new_in(fixture.dir.path()).unwrap();
    let link = other.path().join("other.db");
    std::fs::hard_link(fixture.dir.path().join("archive.db"), &link).unwrap();
    let linked = section(&format!("sqlite://{}", link.display()));
    let error = Archive::open(&linked).await.unwrap_err();
    assert!(matches!(error, ArchiveError::InUse { .. }), "{error:?}");
    fixture.archive.close().await;
    open(&linked).await.close().await;
}

#[tokio::test]
async fn who_only_reads_makes_nothing() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("archive.db");
    let section = section(&format!("sqlite://{}", path.display()));
    let error = Archive::open_to_read(&section).await.unwrap_err();
    assert!(matches!(error, ArchiveError::Open { .. }), "{error:?}");
    assert!(!path.exists());
    std::fs::write(&path, "").unwrap();
    let error = Archive::open_to_read(&section).await.unwrap_err();
    assert!(
        matches!(
            error,
            ArchiveError::TooOld { found: 0, .. } | ArchiveError::Open { .. }
        ),
        "{error:?}"
    );
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
}

#[tokio::test]
async fn what_is_no_database_is_not_opened() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("notes.txt");
    std::fs::write(&path, "not a database, ".repeat(1000)).unwrap();
    for path in [
        path.display().to_string(),
        format!("{}/none/a.db", dir.path().display()),
    ] {
        let error = Archive::open(&section(&format!("sqlite://{path}")))
            .await
            .unwrap_err();
        assert!(matches!(error, ArchiveError::Open { .. }), "{error:?}");
        assert!(error.to_string().contains(&path), "{error}");
    }
    let nothing = Archive::open(&ArchiveSection::default()).await.unwrap();
    assert!(nothing.is_none());
}

/// For a moment, a partition can have two owners that append the same events.
pub(crate) async fn two_writers_of_the_same_are_harmless(fixture: Fixture) {
    let mut batches = Vec::new();
    let mut scripts = [Script::new("a"), Script::new("b"), Script::new("c")];
    for number in 0..40 {
        let mut parts = Vec::new();
        for script in &mut scripts {
            let said = script.say("alice", &format!("{number} @bob"));
            script.edit("alice", said, &format!("{number} again"));
            script.react("bob", said, "x", true);
            if number % 4 == 0 {
                script.delete("alice", said);
            }
            parts.push(script.batch());
        }
        batches.push(parts);
    }
    let writer = |backwards: bool| {
        let (archive, mut batches) = (fixture.archive.clone(), batches.clone());
        for parts in batches.iter_mut().filter(|_| backwards) {
            parts.reverse();
        }
        tokio::spawn(async move {
            for parts in batches {
                while let Err(error) = archive.append(&parts).await {
                    assert!(error.is_retryable(), "{error:?}");
                }
            }
        })
    };
    let writers = [writer(false), writer(true)];
    for writer in writers {
        within("both writers have finished", ANSWER * 3, writer)
            .await
            .unwrap();
    }
    for name in ["a", "b", "c"] {
        let check = fixture.archive.check(&room(name)).await.unwrap();
        assert!(check.is_whole(), "{check:?}");
        assert_eq!(check.lives[0].events, 130);
        let page = fixture
            .archive
            .history(&room(name), NEWEST, 100)
            .await
            .unwrap();
        assert_eq!(offsets(&page).len(), 40);
        for (number, event) in page.iter().enumerate() {
            let event = crate::fixture::value(event);
            match number % 4 {
                0 => assert_eq!(event["deleted"], true),
                _ => {
                    assert_eq!(event["body"]["text"], format!("{number} again"));
                    assert_eq!(event["reactions"][0]["count"], 1);
                }
            }
        }
    }
}
