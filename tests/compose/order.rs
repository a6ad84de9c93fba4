//! One room, received over every published port. Bare connections show what the nodes sent.

use std::time::Duration;

use futures_util::future::join_all;
use hubbub_client::ClientConfig;
use hubbub_tests::load::{Outcome, flood};
use hubbub_tests::oracle::assert_kept;
use hubbub_tests::recorder::Recorder;

use crate::stack::{Door, Stack};

/// Within the burst that one connection may send.
const EACH: usize = 20;
const HEARD: Duration = Duration::from_secs(20);

pub(crate) async fn all_doors_hear_the_same(stack: &Stack) {
    let doors = [
        Door::Balancer,
        Door::RoundRobin,
        Door::Nginx,
        Door::NginxRoundRobin,
        Door::Gateway(1),
        Door::Gateway(2),
        Door::Gateway(3),
    ];
    let mut bare = Vec::new();
    let mut clients = Vec::new();
    for door in doors {
        let name = format!("{door:?}");
        bare.push(Recorder::raw(&format!("bare {name}"), stack.address(door), "order").await);
        let config = ClientConfig::new([stack.url(door)]);
        clients.push((
            name.clone(),
            Recorder::resuming(&name, config, "order").await,
        ));
    }
    let floods = clients
        .iter()
        .map(|(name, recorder)| flood(recorder.client(), "order", name, EACH));
    let outcome = Outcome::of_all(join_all(floods).await);
    let count = doors.len() * EACH;
    assert_eq!(outcome.acked.len(), count, "{outcome:?}");
    let all: Vec<&Recorder> = bare
        .iter()
        .chain(clients.iter().map(|(_, client)| client))
        .collect();
    for recorder in &all {
        recorder.wait_count(count, HEARD).await;
        assert_eq!(recorder.notes().disconnects, Vec::<String>::new());
    }
    let logs: Vec<_> = all.iter().map(|recorder| recorder.heard()).collect();
    let summary = assert_kept(&logs, &outcome.acked, &[]);
    println!(
        "{} ports: {} messages, identical in {} logs",
        doors.len(),
        summary.events,
        summary.clients
    );
}
