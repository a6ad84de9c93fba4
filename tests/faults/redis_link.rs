//! One node's link to Redis reset, held, stranded or refused, the others' well: its clients stay
//! connected and miss nothing.

use std::net::SocketAddr;
use std::time::Duration;

use hubbub_tests::cluster::Cluster;
use hubbub_tests::load::pace;
use hubbub_tests::oracle::assert_kept;
use hubbub_tests::proxy::{Direction, Fault, Proxy};
use hubbub_tests::recorder::{Notes, Recorder};
use hubbub_tests::redis::{Fsync, Redis};
use serde_json::json;
use tokio::time::sleep;

use crate::workload::{ROOM, TO_HEAD};

/// Three nodes of which the first reaches Redis through the proxy.
struct Link {
    proxy: Proxy,
    cluster: Cluster,
    /// On the node behind the proxy.
    cut: Recorder,
    /// On a node with a direct link; sends.
    well: Recorder,
}

impl Link {
    async fn start() -> Self {
        let redis = Redis::start(Fsync::EverySecond).await;
        let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], redis.port()))).await;
        let (direct, proxied) = (redis.url(), format!("redis://{}", proxy.address()));
        let cluster = Cluster::over_urls(redis, &[proxied, direct], &[]).await;
        let cut = cluster.record_raw(0, ROOM).await;
        let well = cluster.record(1, ROOM).await;
        Self {
            proxy,
            cluster,
            cut,
            well,
        }
    }

    /// Sends from the healthy node while the other one's link suffers.
    async fn suffer(&self, title: &str, harm: impl AsyncFnOnce(&Proxy)) {
        let (outcome, healed) =
            tokio::join!(pace(self.well.client(), ROOM, "well", 200, DURING), async {
                sleep(Duration::from_secs(1)).await;
                harm(&self.proxy).await;
                let behind = self.well.top();
                self.cut.wait_offset(behind, TO_HEAD).await
            });
        assert!(outcome.refused.is_empty() && outcome.unknown.is_empty());
        let top = outcome.acked.iter().map(|acked| acked.offset).max();
        for recorder in [&self.well, &self.cut] {
            recorder.wait_offset(top.unwrap_or(0), TO_HEAD).await;
        }
        let logs = [self.cut.heard(), self.well.heard()];
        let summary = assert_kept(&logs, &outcome.acked, &[]);
        assert_eq!(
            self.cut.notes(),
            Notes::default(),
            "its client noticed nothing"
        );
        println!(
            "{title}: at the head {healed:.2?} after it healed, {} events identical",
            summary.events
        );
    }
}

/// How long is sent.
const DURING: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_reset_again_and_again() {
    let link = Link::start().await;
    let harm = async |proxy: &Proxy| {
        for _ in 0..8 {
            proxy.reset();
            sleep(Duration::from_millis(500)).await;
        }
    };
    link.suffer("link reset 8 times", harm).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_held_for_four_seconds() {
    let link = Link::start().await;
    let harm = async |proxy: &Proxy| {
        proxy.set(Direction::Both, Fault::Hold);
        sleep(Duration::from_secs(4)).await;
        proxy.set(Direction::Both, Fault::Pass);
    };
    link.suffer("link held for 4 s", harm).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_swallows_what_redis_says() {
    let link = Link::start().await;
    let harm = async |proxy: &Proxy| {
        proxy.set(Direction::ToClient, Fault::Drop);
        sleep(Duration::from_secs(4)).await;
        proxy.reset();
        proxy.set(Direction::ToClient, Fault::Pass);
    };
    link.suffer("answers swallowed for 4 s", harm).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_refused_for_three_seconds() {
    let link = Link::start().await;
    let harm = async |proxy: &Proxy| {
        proxy.refuse(true);
        proxy.reset();
        sleep(Duration::from_secs(3)).await;
        proxy.refuse(false);
    };
    link.suffer("link refused for 3 s", harm).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_dead_and_does_not_say_so() {
    let link = Link::start().await;
    let harm = async |proxy: &Proxy| {
        proxy.strand();
        // Nothing heals this one: messages that come now must be found missing.
        link.well.wait_count(link.well.count() + 50, TO_HEAD).await;
    };
    link.suffer("link stranded", harm).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_last_message_followed_by_silence_is_found() {
    let link = Link::start().await;
    let mut sender = link.cluster.raw(1).await;
    sender.join(ROOM).await;
    let send = json!({"type": "send", "room": ROOM, "body": 1});
    sender.ask(send.clone()).await;
    link.cut.wait_count(1, TO_HEAD).await;
    link.proxy.strand();
    sender.ask(send).await;
    let found = link.cut.wait_count(2, TO_HEAD).await;
    assert_eq!(link.cut.notes(), Notes::default());
    println!("a lost last message was found after {found:.2?}");
}
