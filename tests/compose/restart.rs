//! Recreates the gateways one after the other, as for an upgrade, and reloads HAProxy while clients
//! send.

use std::time::Duration;

use hubbub_tests::deadline::eventually;
use hubbub_tests::raw::Raw;

use crate::crowd::Crowd;
use crate::stack::{Door, Stack};
use crate::start::GATEWAYS;

const FLOWING: Duration = Duration::from_secs(25);
const RELOADED: Duration = Duration::from_secs(30);

pub(crate) async fn each_gateway_in_turn(stack: &Stack, crowd: &Crowd) {
    stack.documented("docker compose build").await;
    let restarts = crowd.talk_during(async {
        // The first gateway has no clients after its kill, so it comes last.
        for gateway in GATEWAYS.iter().cycle().skip(1).take(GATEWAYS.len()) {
            recreate(stack, crowd, gateway).await;
        }
        crowd.more(&crowd.members[0], 20, FLOWING).await;
    });
    let ((), head) = restarts.await;
    println!("all at the head {head:.1?} after the last answer");
}

/// Checks that each client on that gateway moves once, and that no other client is disconnected.
async fn recreate(stack: &Stack, crowd: &Crowd, gateway: &str) {
    let before = crowd.losses();
    let nodes: Vec<String> = crowd.members.iter().map(|member| member.node()).collect();
    let line = format!("docker compose up --detach --wait --force-recreate {gateway}");
    let (_, took) = stack.documented(&line).await;
    let balanced = stack.balanced(&GATEWAYS).await;
    let mut moved = 0;
    for ((member, before), node) in crowd.members.iter().zip(before).zip(&nodes) {
        let losses = member.diary().losses[before..].to_vec();
        let expected = usize::from(node == gateway);
        moved += expected;
        assert_eq!(
            losses.len(),
            expected,
            "{} on {node}: {losses:?}",
            member.name
        );
    }
    assert!(moved > 0, "{gateway} had clients");
    println!(
        "{gateway} drained and recreated in {took:.1?}, used by HAProxy {balanced:.1?} later: \
         {moved} clients moved, once each"
    );
}

pub(crate) async fn a_reload_of_haproxy_cuts_nobody(stack: &Stack, crowd: &Crowd) {
    let before = crowd.losses();
    let loaded = async || {
        let logs = stack
            .shell("docker compose logs --no-log-prefix haproxy")
            .await;
        logs.matches("Loading success").count()
    };
    let first = loaded().await;
    let reload = Box::pin(async {
        stack
            .documented("docker compose kill --signal HUP haproxy")
            .await;
        eventually("HAProxy has reloaded", RELOADED, async || {
            (loaded().await > first).then_some(())
        })
        .await;
        stack.balanced(&GATEWAYS).await;
        let mut raw = Raw::connect(stack.address(Door::Balancer)).await;
        raw.next_of("welcome").await;
        crowd.more(&crowd.members[0], 20, FLOWING).await;
    });
    crowd.talk_during(reload).await;
    assert_eq!(crowd.losses(), before, "no client was disconnected");
    println!("HAProxy reloaded: no client disconnected");
}
