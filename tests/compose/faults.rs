//! Kills a gateway and pauses Redis with the engine's own commands while clients send.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::crowd::Crowd;
use crate::docs::START;
use crate::stack::Stack;
use crate::start::GATEWAYS;

/// Five times the goal for a client to be back on another node and at the head.
const BACK: Duration = Duration::from_secs(25);
const PAUSED: Duration = Duration::from_secs(5);

pub(crate) async fn a_killed_gateway_costs_a_reconnect(stack: &Stack, crowd: &Crowd) {
    let victims = crowd.on("gateway-1");
    assert!(victims.len() >= 2, "the balancers spread their clients");
    let safe = crowd.on("gateway-2")[0];
    let before = crowd.losses();
    let killed = crowd.talk_during(async {
        crowd.more(safe, 20, BACK).await;
        let container = stack.container("gateway-1").await;
        let killed = Instant::now();
        stack.shell(&format!("docker kill {container}")).await;
        for victim in &victims {
            let is_back = "is back on another node";
            victim
                .wait(is_back, BACK, |diary| diary.nodes.len() >= 2)
                .await;
        }
        let connected = killed.elapsed();
        let top = safe.diary().top;
        for victim in &victims {
            victim
                .wait("the head", BACK, |diary| diary.top >= top)
                .await;
        }
        let back = killed.elapsed();
        crowd.more(safe, 20, BACK).await;
        (connected, back)
    });
    let ((connected, back), _) = killed.await;
    for (member, before) in crowd.members.iter().zip(before) {
        let lost = member.diary().losses.len() > before;
        let was_there = victims.iter().any(|victim| victim.name == member.name);
        assert_eq!(
            lost,
            was_there,
            "{}: {:?}",
            member.name,
            member.diary().losses
        );
    }
    println!(
        "docker kill of a gateway: its {} clients are connected again after {connected:.1?} and \
         at the head after {back:.1?} (goal 5 s)",
        victims.len()
    );
    // A container that was killed by hand stays stopped until somebody starts it.
    let (_, took) = stack.documented(START).await;
    stack.balanced(&GATEWAYS).await;
    println!("started again by docker compose up in {took:.1?}");
}

pub(crate) async fn a_paused_redis_costs_a_delay(stack: &Stack, crowd: &Crowd) {
    let before = crowd.losses();
    let someone = &crowd.members[0];
    let paused = crowd.talk_during(async {
        crowd.more(someone, 20, BACK).await;
        stack.shell("docker compose pause redis").await;
        sleep(PAUSED).await;
        stack.shell("docker compose unpause redis").await;
        crowd.more(someone, 20, BACK).await;
    });
    let ((), head) = paused.await;
    assert_eq!(crowd.losses(), before, "no client was disconnected");
    println!(
        "docker pause of Redis for 5 s: no client disconnected, all at the head {head:.1?} later"
    );
    stack.balanced(&GATEWAYS).await;
}
