//! Admin commands, questions to all nodes, and limits that count over all nodes.

use std::time::{Duration, Instant};

use hubbub_broker::{Claim, Control, Grant, PaceKind};
use hubbub_protocol::{Issued, Order, Subject, Tokens, UserId};

use crate::fixture::{Line, Pair, room, user};

fn id(name: &str) -> UserId {
    user(name).id
}

fn ban(name: &str) -> Order {
    Order::Ban {
        subject: Subject::User(id(name)),
        reason: Some("a reason with spaces".to_owned()),
    }
}

async fn rules(line: &mut Line) -> Vec<Issued> {
    match line.hear_control().await {
        Control::Rules(rules) => rules,
        other => panic!("{other:?}"),
    }
}

async fn next_order(line: &mut Line) -> Issued {
    loop {
        match line.hear_control().await {
            Control::Order(issued) => return issued,
            Control::Rules(_) | Control::Remains(_) => {}
            other @ (Control::Question(_) | Control::Access(_)) => panic!("{other:?}"),
        }
    }
}

pub(crate) async fn orders_reach_all_nodes_in_their_sequence(mut pair: Pair) {
    assert_eq!(rules(&mut pair.a).await, []);
    assert_eq!(rules(&mut pair.b).await, []);
    let orders = [
        Order::Kick {
            user: id("eve"),
            room: Some(room("lobby")),
        },
        ban("eve"),
        Order::Announce {
            room: None,
            text: "two\nlines".to_owned(),
        },
        Order::Unban {
            subject: Subject::User(id("eve")),
        },
    ];
    let mut given = Vec::new();
    for (number, order) in orders.iter().enumerate() {
        let line = if number % 2 == 0 { &pair.a } else { &pair.b };
        given.push(line.broker.issue(order, None).await.unwrap());
    }
    for line in [&mut pair.a, &mut pair.b] {
        for expected in &given {
            assert_eq!(next_order(line).await, *expected);
        }
    }
    assert!(
        given
            .windows(2)
            .all(|pair| pair[0].sequence < pair[1].sequence)
    );
}

pub(crate) async fn rules_last_for_nodes_that_come_later(pair: Pair) {
    let hour = Some(Duration::from_secs(3_600));
    let a = &pair.a.broker;
    let kept = a.issue(&ban("eve"), hour).await.unwrap();
    assert_eq!(kept.until, Some(kept.at() + 3_600_000));
    a.issue(&ban("bob"), None).await.unwrap();
    let unban = Order::Unban {
        subject: Subject::User(id("bob")),
    };
    a.issue(&unban, None).await.unwrap();
    let revoke = Order::Revoke {
        tokens: Tokens::Id("jti 7".to_owned()),
    };
    let revoked = a.issue(&revoke, None).await.unwrap();
    let kick = Order::Kick {
        user: id("bob"),
        room: None,
    };
    a.issue(&kick, None).await.unwrap();
    let mut late = pair.late().await;
    let mut found = rules(&mut late).await;
    found.sort_by_key(|rule| rule.sequence);
    assert_eq!(found, [kept, revoked], "a kick is not kept for later nodes");
    let next = pair.b.broker.issue(&kick, None).await.unwrap();
    assert_eq!(next_order(&mut late).await, next);
}

pub(crate) async fn a_rule_is_set_again_with_another_end(pair: Pair) {
    let a = &pair.a.broker;
    let short = Some(Duration::from_millis(50));
    a.issue(&ban("eve"), short).await.unwrap();
    let longer = a.issue(&ban("eve"), None).await.unwrap();
    a.issue(&ban("bob"), short).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let last = a.issue(&ban("mallory"), None).await.unwrap();
    let mut found = rules(&mut pair.late().await).await;
    found.sort_by_key(|rule| rule.sequence);
    assert_eq!(found, [longer, last]);
}

pub(crate) async fn all_nodes_are_asked_and_the_silent_ones_named(mut pair: Pair) {
    let (asks, answers) = (pair.a.broker.clone(), pair.b.broker.clone());
    let asked = tokio::spawn(async move { asks.ask("how are you?", Duration::from_secs(1)).await });
    let question = loop {
        if let Control::Question(question) = pair.b.hear_control().await {
            break question;
        }
    };
    assert_eq!(question.text, "how are you?");
    answers.answer(&question, "fine, thank you").await.unwrap();
    let heard = asked.await.unwrap().unwrap();
    assert_eq!(heard.heard, ["fine, thank you"]);
    assert_eq!(heard.silent.len(), 1, "{heard:?}");
}

pub(crate) async fn what_a_user_takes_counts_on_all_nodes(pair: Pair) {
    let second = Duration::from_secs(1);
    let claim = async |line: &Line, name: &str, given: u32| {
        let claim = Claim {
            kind: PaceKind::Sends,
            user: id(name),
            given: second * given,
            cost: second,
            burst: second * 40,
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        line.broker.claim(&claim, deadline).await.unwrap()
    };
    // `grant.ahead` shrinks while this runs.
    let about = |grant: Grant, is_allowed: bool, seconds: u32| {
        assert_eq!(grant.is_allowed, is_allowed, "{grant:?}");
        let most = second * seconds;
        assert!(
            grant.ahead <= most && grant.ahead + second * 8 > most,
            "{grant:?}"
        );
    };
    about(claim(&pair.a, "alice", 9).await, true, 10);
    about(claim(&pair.b, "alice", 19).await, true, 30);
    about(claim(&pair.a, "bob", 0).await, true, 1);
    about(claim(&pair.a, "alice", 30).await, false, 60);
    about(claim(&pair.b, "alice", 0).await, false, 60);
}
