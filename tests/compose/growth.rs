//! One setting adds a fourth gateway. HAProxy finds it, and drops it when it is gone.

use std::time::Duration;

use hubbub_tests::load::{Outcome, flood};
use hubbub_tests::oracle::assert_kept;
use hubbub_tests::recorder::Recorder;

use crate::crowd::Crowd;
use crate::docs::START;
use crate::member::Member;
use crate::stack::{Door, Stack};
use crate::start::GATEWAYS;

const ROOM: &str = "growth";
const EACH: usize = 10;
const HEARD: Duration = Duration::from_secs(20);

pub(crate) async fn a_fourth_gateway_comes_and_goes(stack: &mut Stack, crowd: &Crowd) {
    let before = crowd.losses();
    let (variable, _) = crate::docs::GROWTH.split_once('=').expect("NAME=VALUE");
    stack.set(variable, "1");
    let (_, took) = stack.documented(START).await;
    let four = [GATEWAYS.as_slice(), &["more1"]].concat();
    let found = stack.balanced(&four).await;

    let watcher = Recorder::raw("watcher", stack.address(Door::Gateway(1)), ROOM).await;
    let newcomer = Member::join("newcomer", vec![stack.url(Door::Balancer)], ROOM).await;
    let fourth = newcomer.node();
    assert!(
        !GATEWAYS.contains(&fourth.as_str()),
        "a new client gets the gateway with the fewest clients"
    );
    let mut outcomes = vec![flood(&newcomer.client, ROOM, "from-four", EACH).await];

    stack.set(variable, "0");
    let (_, left) = stack.documented(START).await;
    stack.balanced(&GATEWAYS).await;
    let moved = |diary: &crate::member::Diary| diary.nodes.len() == 2;
    newcomer.wait("is moved", HEARD, moved).await;
    assert_eq!(
        newcomer.diary().losses.len(),
        1,
        "{:?}",
        newcomer.diary().losses
    );
    assert!(GATEWAYS.contains(&newcomer.node().as_str()));
    outcomes.push(flood(&newcomer.client, ROOM, "from-three", EACH).await);

    let outcome = Outcome::of_all(outcomes);
    assert_eq!(outcome.acked.len(), 2 * EACH, "{outcome:?}");
    watcher.wait_count(2 * EACH, HEARD).await;
    newcomer
        .wait("everything", HEARD, |diary| diary.top >= 2 * EACH as u64)
        .await;
    assert_kept(&[watcher.heard(), newcomer.heard()], &outcome.acked, &[]);
    assert_eq!(crowd.losses(), before, "no other client was disconnected");
    println!(
        "a fourth gateway: up in {took:.1?}, found by HAProxy {found:.1?} later, drained in {left:.1?}"
    );
}
