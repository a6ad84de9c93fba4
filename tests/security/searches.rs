//! C56: searches that are meant to cost much. They end by themselves, with their time or with their
//! client, and nobody else notices.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::eventually;
use hubbub_tests::http::{self, Answer};
use hubbub_tests::metrics::Metrics;
use hubbub_tests::people::{SIGNED, token};
use tokio::task::JoinSet;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(60);
/// Messages of 16 KB in which two words stand everywhere.
const MESSAGES: usize = 200;
/// Searches at once, of so many users.
const SEARCHES: usize = 32;
const USERS: usize = 8;

async fn get(address: SocketAddr, path: &str, user: &str) -> Answer {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\
         Connection: close\r\n\r\n",
        token(user)
    );
    let answer = http::exchange(address, request.as_bytes());
    let answer = timeout(DEADLINE, answer).await.expect("an answer in time");
    answer.expect("an answer")
}

/// The limits of sends are lifted to fill the room quickly; all else is as by default.
fn settings() -> [(&'static str, &'static str); 3] {
    [
        SIGNED,
        ("limits.sends_per_second", "0"),
        ("limits.user_sends_per_second", "0"),
    ]
}

async fn attack(cluster: Cluster) {
    let mut mallory = cluster.user(0, "mallory").await;
    mallory.join("spam").await;
    let text = "a b ".repeat(4_000);
    for _ in 0..MESSAGES {
        mallory.say("spam", &text).await;
    }
    let address = cluster.address(0);
    let in_archive = async || {
        let page = get(address, "/v1/search?q=a&limit=1", "mallory").await;
        (page.status == 200 && page.json()["hits"][0].is_object()).then_some(())
    };
    eventually("the archive has it", DEADLINE, in_archive).await;

    let phrase = "a%20".repeat(31);
    let path = format!("/v1/search?q=%22{phrase}a%22&limit=1");
    let mut searches = JoinSet::new();
    for number in 0..SEARCHES {
        let (path, user) = (path.clone(), format!("mallory-{}", number % USERS));
        searches.spawn(async move {
            let start = Instant::now();
            let search = get(address, &path, &user);
            // Every second one goes away at once.
            if number % 2 == 1 {
                drop(timeout(Duration::from_millis(20), search).await);
                return None;
            }
            Some((search.await.status, start.elapsed()))
        });
    }
    let mut slowest = Duration::ZERO;
    for path in ["/v1/rooms/spam/messages?limit=1", "/v1/rooms", "/v1/me"] {
        let start = Instant::now();
        assert_eq!(get(address, path, "alice").await.status, 200, "{path}");
        slowest = slowest.max(start.elapsed());
    }
    let mut longest = Duration::ZERO;
    while let Some(ended) = searches.join_next().await {
        if let Some((status, took)) = ended.expect("no panic") {
            // 429: its user has searched enough; 503: too many at once, or it took too long.
            assert!([200, 429, 503].contains(&status), "{status}");
            longest = longest.max(took);
        }
    }
    println!("the longest search took {longest:?}, others waited {slowest:?} at most");
    // Waiting for a reservation, for a connection, and the search itself: two seconds each.
    assert!(longest < Duration::from_secs(20), "{longest:?}");
    let free = async || {
        let reserved = Metrics::read(cluster.ops(0)).await.get("reserved_bytes");
        (reserved == 0.0).then_some(())
    };
    eventually("everything is given back", DEADLINE, free).await;
    let ready = http::get(cluster.ops(0), "/readyz").await;
    assert!(ready.body.starts_with("ready"), "{}", ready.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c56_heavy_searches_in_sqlite_starve_nobody() {
    attack(Cluster::sqlite(1, &settings()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c56_heavy_searches_in_postgresql_starve_nobody() {
    attack(Cluster::postgres(1, &settings()).await).await;
}
