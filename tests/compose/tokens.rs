//! Every gateway accepts tokens that one container has minted.

use hubbub_tests::raw::Raw;

use crate::stack::{Door, Stack};

pub(crate) async fn minted_inside_count_everywhere(stack: &Stack) {
    let line = "docker compose exec gateway-1 hubbub token --sub alice --name Alice";
    let (token, _) = stack.documented(line).await;
    for door in [
        Door::Balancer,
        Door::RoundRobin,
        Door::Nginx,
        Door::Gateway(3),
    ] {
        let mut raw = Raw::connect_as(stack.address(door), token.trim()).await;
        let welcome = raw.next_of("welcome").await;
        assert_eq!(welcome["user"]["id"], "alice", "{door:?}");
    }
}
