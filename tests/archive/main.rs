//! The contract of every archive: the same scenarios for SQLite and for PostgreSQL, and the
//! behaviour of each when its disk is full or its server is away.

#![expect(clippy::unwrap_used, reason = "a scenario ends where something fails")]

mod append;
mod change;
mod fixture;
mod identity;
mod keep;
mod rooms;
mod search;
mod trouble;

/// Runs each scenario against both archives.
macro_rules! contract {
    ($($room:ident :: $scenario:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $scenario() {
                crate::$room::$scenario(crate::fixture::Fixture::sqlite().await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test]
            async fn $scenario() {
                crate::$room::$scenario(crate::fixture::Fixture::postgres().await).await;
            })*
        }
    };
}

contract! {
    append::what_was_appended_is_read_back_as_it_was,
    append::a_repetition_changes_nothing,
    append::a_place_is_never_taken_twice,
    append::a_batch_is_stored_whole_or_not_at_all,
    append::nothing_and_empty_parts_are_fine,
    append::a_new_life_goes_on_above_the_old_one,
    append::a_resume_ends_before_a_hole,
    append::a_nonce_is_found_again,
    change::history_shows_the_newest_edit,
    change::an_edit_takes_the_old_body_away,
    change::a_rewritten_message_is_stored_as_it_comes,
    change::an_edit_of_nothing_is_only_an_event,
    change::reactions_are_counted_in_order,
    change::a_deletion_leaves_only_the_place,
    change::deletions_leave_nothing_in_the_files,
    change::a_tombstone_is_stored_as_one,
    change::pages_meet_without_a_seam,
    rooms::marks_only_go_forward,
    rooms::only_messages_of_others_are_unread,
    rooms::counts_end_at_a_hundred,
    rooms::rooms_with_news_come_first,
    rooms::invitations_push_no_room_out,
    change::a_message_shows_a_bounded_number_of_reactions,
    rooms::a_direct_message_is_listed_for_both,
    rooms::a_record_is_made_read_and_changed,
    rooms::a_room_with_events_gets_a_public_record,
    rooms::who_finds_a_room_cannot_lock_it,
    rooms::a_private_room_is_its_members,
    search::words_and_phrases_are_found,
    search::words_are_folded_alike_everywhere,
    search::earlier_messages_are_entered_again,
    search::what_is_edited_or_deleted_is_found_as_it_is_now,
    search::only_readable_rooms_are_searched,
    search::pages_of_hits_meet_without_a_seam,
    search::any_text_is_a_query,
    identity::an_archive_keeps_its_id,
    identity::an_archive_belongs_to_one_cluster,
    identity::a_cluster_comes_back_with_another_redis,
    identity::an_archive_is_released_when_nobody_uses_it,
    keep::old_events_go_and_leave_no_hole,
    keep::holes_and_duplicates_are_found,
    keep::a_room_is_exported_in_pages,
    keep::rooms_are_listed_by_pattern,
    trouble::two_writers_of_the_same_are_harmless,
}
