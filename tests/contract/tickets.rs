//! Tickets: every node accepts them until they expire, once or several times.

use std::time::Duration;

use hubbub_tests::deadline::eventually;

use crate::fixture::Pair;

const MINUTE: Duration = Duration::from_secs(60);

pub(crate) async fn a_ticket_is_good_on_every_node_until_it_is_used(pair: Pair) {
    let (a, b) = (&pair.a.broker, &pair.b.broker);
    a.keep_ticket("d1", "alice \u{1f419}", MINUTE)
        .await
        .unwrap();
    for broker in [a, b] {
        let content = broker.ticket("d1", false).await.unwrap();
        assert_eq!(content.as_deref(), Some("alice \u{1f419}"));
    }
    assert!(b.ticket("d1", true).await.unwrap().is_some());
    for once in [true, false] {
        assert_eq!(a.ticket("d1", once).await.unwrap(), None);
    }
    assert_eq!(a.ticket("never", true).await.unwrap(), None);
}

pub(crate) async fn a_ticket_expires(pair: Pair) {
    let (a, b) = (&pair.a.broker, &pair.b.broker);
    a.keep_ticket("d2", "alice", Duration::from_millis(100))
        .await
        .unwrap();
    eventually("the ticket expires", Duration::from_secs(5), async || {
        b.ticket("d2", false).await.unwrap().is_none().then_some(())
    })
    .await;
}
