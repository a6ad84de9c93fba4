//! The contract of every broker: the same scenarios for the embedded one and for Redis.

#![expect(clippy::unwrap_used, reason = "a scenario ends where something fails")]

mod budgets;
mod changes;
mod epochs;
mod fixture;
mod history;
mod orders;
mod presence;
mod stream;
mod tickets;
mod webhooks;

/// Runs each scenario against both brokers.
macro_rules! contract {
    ($($room:ident :: $scenario:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                crate::$room::$scenario(crate::fixture::Pair::memory()).await;
            })*
        }
        mod redis {
            $(#[tokio::test]
            async fn $scenario() {
                crate::$room::$scenario(crate::fixture::Pair::redis().await).await;
            })*
        }
    };
}

contract! {
    stream::all_nodes_hear_one_order,
    stream::two_nodes_at_once_never_take_one_place,
    stream::a_nonce_is_stored_once_on_any_node,
    stream::a_nonce_twice_in_one_batch_is_stored_once,
    stream::pages_are_read_from_either_end,
    stream::an_empty_room_has_one_epoch_and_offset_zero,
    stream::old_events_leave_a_long_stream,
    stream::asking_for_history_begins_nothing,
    stream::nothing_is_before_the_first,
    stream::only_subscribers_hear,
    stream::a_signal_is_heard_and_not_stored,
    budgets::the_oldest_events_leave_a_large_stream,
    budgets::whoever_begins_rooms_has_an_eighth,
    changes::a_deleted_message_keeps_its_place_and_no_body,
    changes::what_is_deleted_cannot_be_changed,
    changes::a_delete_and_an_edit_in_one_batch_keep_their_order,
    changes::changes_are_found_by_their_messages,
    changes::an_edit_takes_the_old_body_away,
    changes::edits_of_one_message_are_bounded,
    changes::tombstones_below_the_stream_are_left_out,
    changes::old_events_expire,
    changes::tombstones_leave_with_their_stream,
    epochs::a_room_without_a_stream_takes_nothing,
    epochs::a_stream_behind_what_was_seen_takes_nothing,
    epochs::the_first_of_two_decisions_counts,
    epochs::a_new_epoch_is_newer_than_any_known,
    epochs::older_events_and_nonces_stay,
    epochs::foreign_events_move_into_the_new_epoch,
    epochs::a_change_of_another_epoch_is_refused,
    epochs::what_is_lost_is_remembered,
    presence::a_user_is_counted_once_over_nodes,
    presence::many_changes_are_one_announcement,
    presence::entering_and_exiting_are_idempotent,
    presence::names_are_listed_up_to_a_limit,
    presence::rooms_are_listed_by_their_last_change,
    presence::all_nodes_agree_on_the_secret,
    orders::orders_reach_all_nodes_in_their_sequence,
    orders::rules_last_for_nodes_that_come_later,
    orders::a_rule_is_set_again_with_another_end,
    orders::all_nodes_are_asked_and_the_silent_ones_named,
    orders::what_a_user_takes_counts_on_all_nodes,
    tickets::a_ticket_is_good_on_every_node_until_it_is_used,
    tickets::a_ticket_expires,
    webhooks::events_joins_and_leaves_are_due_in_their_order,
    webhooks::a_page_ends_and_the_next_goes_on,
    webhooks::a_room_waits_only_for_who_wants_it,
    webhooks::a_deleted_body_is_due_no_more,
    webhooks::what_left_the_stream_is_counted,
    webhooks::older_events_are_due_after_a_new_epoch_too,
    webhooks::joins_of_long_ago_give_way_and_are_counted,
}

#[tokio::test]
async fn a_note_behind_its_stream_is_mended() {
    epochs::a_note_behind_its_stream_is_mended(fixture::Pair::redis().await).await;
}

#[tokio::test]
async fn a_room_that_cannot_shrink_takes_deletions_only() {
    let pair = fixture::Pair::redis_behind_archive().await;
    budgets::a_room_that_cannot_shrink_takes_deletions_only(pair).await;
}

#[tokio::test]
async fn a_run_that_ended_does_not_come_back() {
    epochs::a_run_that_ended_does_not_come_back(fixture::Pair::redis().await).await;
}

#[tokio::test]
async fn a_restart_begins_another_run() {
    epochs::a_restart_begins_another_run(fixture::Pair::redis().await).await;
}

#[tokio::test]
async fn what_was_heard_meanwhile_counts_too() {
    stream::what_was_heard_meanwhile_counts_too(fixture::Pair::redis().await).await;
}
