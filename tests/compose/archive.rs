//! History in PostgreSQL. The chat continues without it, and messages sent meanwhile are stored
//! later.

use std::time::Duration;

use hubbub_tests::deadline::eventually;
use tokio::time::sleep;

use crate::crowd::Crowd;
use crate::docs::START;
use crate::member::Diary;
use crate::stack::Stack;
use crate::start::GATEWAYS;

/// The time for all clients to receive a message: five times the goal.
const HEARD: Duration = Duration::from_secs(25);
/// How long PostgreSQL is stopped.
const AWAY: Duration = Duration::from_secs(10);
/// The time for the archive to catch up afterwards: five times the goal of 30 s.
const CAUGHT_UP: Duration = Duration::from_secs(150);
/// These commands are in the documentation too.
const VERIFY: &str = "docker compose exec gateway-1 hubbub archive verify";
const EXPORT: &str = "docker compose exec -T gateway-1 hubbub archive export lobby";
const BACKUP: &str = "docker compose exec -T postgres pg_dump -U hubbub -Fc hubbub > hubbub.dump";
const STOP: &str = "docker compose stop haproxy gateway-1 gateway-2 gateway-3";
const RESTORE: &str = "docker compose exec -T postgres pg_restore -U hubbub -d hubbub --clean --if-exists < hubbub.dump";
/// Clients that found nobody for a while ask again every 20 s.
const BACK: Duration = Duration::from_secs(90);

pub(crate) async fn chat_goes_on_without_postgres(stack: &Stack, crowd: &Crowd) {
    let before = crowd.losses();
    let someone = &crowd.members[0];
    let away = crowd.talk_during(async {
        crowd.more(someone, 20, HEARD).await;
        stack.shell("docker compose stop postgres").await;
        crowd.more(someone, 20, HEARD).await;
        sleep(AWAY).await;
        crowd.more(someone, 20, HEARD).await;
        stack.shell("docker compose start postgres").await;
        crowd.more(someone, 20, HEARD).await;
    });
    away.await;
    assert_eq!(crowd.losses(), before, "no client was disconnected");
    eventually("the archive has everything", CAUGHT_UP, async || {
        let report = stack.try_shell(VERIFY).await;
        report.status.success().then_some(())
    })
    .await;
    let (report, took) = stack.documented(VERIFY).await;
    println!(
        "PostgreSQL away for {AWAY:?}: no client disconnected; verified in {took:.1?}:\n{report}"
    );
    let (events, _) = stack.documented(EXPORT).await;
    assert!(events.lines().all(|line| line.starts_with("{\"type\":")));
}

/// The database is dumped and restored while the gateways are stopped: the archive is whole, and clients go on.
pub(crate) async fn a_backup_is_restored(stack: &Stack, crowd: &Crowd) {
    stack.documented(BACKUP).await;
    let someone = &crowd.members[0];
    // What was said after the backup is still in Redis.
    crowd.talk_during(crowd.more(someone, 20, HEARD)).await;
    stack.documented(STOP).await;
    stack.documented(RESTORE).await;
    stack.shell("rm hubbub.dump").await;
    stack.documented(START).await;
    stack.balanced(&GATEWAYS).await;
    for member in &crowd.members {
        let is_there = |diary: &Diary| diary.is_connected;
        member.wait("is back", BACK, is_there).await;
    }
    crowd.talk_during(crowd.more(someone, 20, BACK)).await;
    eventually("the archive has everything", CAUGHT_UP, async || {
        let report = stack.try_shell(VERIFY).await;
        report.status.success().then_some(())
    })
    .await;
    println!("the archive was restored from a backup and is whole");
}
