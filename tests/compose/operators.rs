//! Commands of an operator inside one gateway apply to the other gateways too.

use std::time::Duration;

use hubbub_tests::deadline::eventually;
use hubbub_tests::raw::Raw;

use crate::stack::{Door, Stack};
use crate::start::GATEWAYS;

/// The time for a drained gateway to run again: five times `drain.ready_delay` and a start.
const RESTARTED: Duration = Duration::from_secs(60);

pub(crate) async fn orders_hold_on_all_gateways(stack: &Stack) {
    let (mut eve, mut alice) = (
        member(stack, "eve", 3).await,
        member(stack, "alice", 2).await,
    );
    let connections = admin(stack, "connections --user eve").await;
    assert!(
        connections.contains("eve") && connections.contains("gateway-3"),
        "{connections}"
    );
    admin(stack, "ban --user eve --ttl 1d --reason spam").await;
    assert_eq!(eve.close_code().await, 4503);
    let bans = admin(stack, "bans").await;
    assert!(bans.contains("eve") && bans.contains("spam"), "{bans}");
    admin(stack, "revoke --user alice").await;
    assert_eq!(alice.close_code().await, 4504);
    let audit = admin(stack, "audit").await;
    assert!(
        ["ban", "eve", "revoke", "alice"]
            .iter()
            .all(|word| audit.contains(word)),
        "{audit}"
    );
    println!(
        "hubbub admin: eve is banned and alice revoked, on other gateways than that of the command"
    );
    a_drain_is_a_calm_restart(stack).await;
}

async fn a_drain_is_a_calm_restart(stack: &Stack) {
    let container = stack.container("gateway-2").await;
    let line = format!("docker inspect --format '{{{{.State.StartedAt}}}}' {container}");
    let before = stack.shell(&line).await;
    admin(stack, "drain gateway-2").await;
    let (_, took) = eventually("gateway-2 was started again", RESTARTED, async || {
        (stack.shell(&line).await != before).then_some(())
    })
    .await;
    let balanced = stack.balanced(&GATEWAYS).await;
    println!(
        "gateway-2 drained by an operator: up again in {took:.1?}, in use {balanced:.1?} later"
    );
}

/// A member with a token in the lobby, on one gateway.
async fn member(stack: &Stack, name: &str, gateway: usize) -> Raw {
    let mint = format!("docker compose exec -T gateway-1 hubbub token --sub {name}");
    let token = stack.shell(&mint).await;
    let mut raw = Raw::connect_as(stack.address(Door::Gateway(gateway)), token.trim()).await;
    raw.join("lobby").await;
    raw
}

/// Runs an admin command in its documented form.
async fn admin(stack: &Stack, order: &str) -> String {
    let line = format!("docker compose exec gateway-1 hubbub admin {order}");
    stack.documented(&line).await.0
}
