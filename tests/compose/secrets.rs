//! After `down` all data is still there, even if the user then sets a password.

use std::time::Duration;

use hubbub_tests::raw::Raw;
use serde_json::json;

use crate::crowd::Crowd;
use crate::member::Diary;
use crate::stack::{Door, Stack};
use crate::start::GATEWAYS;

/// The time for clients to be back. Clients that reached no node for a while retry every 20 s.
const BACK: Duration = Duration::from_secs(60);

pub(crate) async fn what_the_user_gives_wins_and_nothing_is_lost(stack: &mut Stack, crowd: &Crowd) {
    let password = "a user's \"own\" pass\\word: 100% $afe@home";
    stack.set("HUBBUB_REDIS_PASSWORD", password);
    stack
        .documented("docker compose --profile nginx up --detach --wait")
        .await;
    stack.balanced(&GATEWAYS).await;
    let kept = stack
        .shell("docker compose exec -T redis cat /run/hubbub/redis-password")
        .await;
    assert_eq!(kept, password);

    let mut raw = Raw::connect(stack.address(Door::Gateway(3))).await;
    let joined = raw
        .ask(json!({"type": "join", "room": "crowd", "recent": 5}))
        .await;
    assert_eq!(joined["offset"].as_u64(), Some(crowd.head()), "{joined}");
    for member in &crowd.members {
        let is_there = |diary: &Diary| diary.is_connected;
        member.wait("is back", BACK, is_there).await;
    }
    let someone = &crowd.members[0];
    crowd.talk_during(crowd.more(someone, 20, BACK)).await;
    crowd.assert_kept();
    println!("down and up again with another password: all clients back, nothing missing");
}
