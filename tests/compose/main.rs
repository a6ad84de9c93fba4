//! The cluster as users run it: their `docker-compose.yml` and Dockerfile, unchanged, on the engine
//! of this machine. It is one long test, because a cluster takes a while to start.

#![expect(clippy::print_stdout, reason = "tests print their figures")]

mod archive;
mod browser;
mod crowd;
mod docs;
mod faults;
mod growth;
mod member;
mod monitoring;
mod operators;
mod order;
mod prometheus;
mod restart;
mod safety;
mod secrets;
mod stack;
mod start;
mod sticky;
mod tokens;

use crate::crowd::Crowd;
use crate::stack::Stack;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_that_people_start_keeps_its_promises() {
    let mut stack = Stack::new();
    start::from_nothing(&stack).await;
    safety::only_what_is_meant_can_be_reached(&stack).await;
    tokens::minted_inside_count_everywhere(&stack).await;
    order::all_doors_hear_the_same(&stack).await;
    sticky::a_cookie_keeps_a_client_on_its_node(&stack).await;
    sticky::clients_cannot_say_where_they_come_from(&stack).await;
    browser::pages_talk_through_the_balancer_and_past_it(&stack).await;
    monitoring::the_dashboard_shows_what_there_is(&stack).await;
    operators::orders_hold_on_all_gateways(&stack).await;

    let crowd = Crowd::start(&stack).await;
    faults::a_killed_gateway_costs_a_reconnect(&stack, &crowd).await;
    faults::a_paused_redis_costs_a_delay(&stack, &crowd).await;
    archive::chat_goes_on_without_postgres(&stack, &crowd).await;
    prometheus::every_panel_has_figures(&stack, &crowd).await;
    restart::each_gateway_in_turn(&stack, &crowd).await;
    growth::a_fourth_gateway_comes_and_goes(&mut stack, &crowd).await;
    restart::a_reload_of_haproxy_cuts_nobody(&stack, &crowd).await;
    archive::a_backup_is_restored(&stack, &crowd).await;
    crowd.assert_kept();

    start::down_leaves_only_the_volumes(&stack).await;
    secrets::what_the_user_gives_wins_and_nothing_is_lost(&mut stack, &crowd).await;
    start::nothing_at_all_is_left(&stack).await;
    docs::every_command_was_run(&stack);
}
