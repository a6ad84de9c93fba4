//! Each anomaly is detected, and nothing else is.

use super::*;

const SENDER: &str = "u";

fn frame(epoch: &str, offset: u64, nonce: &str) -> String {
    format!(
        r#"{{"type":"message","room":"r","message":"M{epoch}{offset}","from":{{"id":"{SENDER}","name":"U"}},"nonce":"{nonce}","body":1,"epoch":"{epoch}","offset":{offset}}}"#
    )
}

/// Everyone joins after offset 3 of epoch `e` and receives these offsets.
fn verifier_of(logs: &[&[u64]]) -> Verifier {
    let mut verifier = Verifier::new();
    for (number, offsets) in logs.iter().enumerate() {
        let client = verifier.client(&format!("client-{number}"));
        verifier.joined(client, "r", "e", 3, Start::After);
        for offset in *offsets {
            receive(&mut verifier, client, "e", *offset);
        }
    }
    verifier
}

fn receive(verifier: &mut Verifier, client: ClientId, epoch: &str, offset: u64) {
    let frame = frame(epoch, offset, &format!("n{offset}"));
    receive_frame(verifier, client, epoch, offset, &frame);
}

fn receive_frame(verifier: &mut Verifier, client: ClientId, epoch: &str, offset: u64, frame: &str) {
    let heard = Received {
        room: "r",
        epoch,
        offset,
        frame,
    };
    verifier.event(client, &heard).unwrap();
}

const FIRST: ClientId = ClientId(0);

fn ack(offset: u64, nonce: &str) -> Ack<'_> {
    Ack {
        room: "r",
        epoch: "e",
        offset,
        nonce: Some(nonce),
        message: None,
        in_turn: true,
    }
}

fn only(verifier: &Verifier) -> Anomaly {
    let report = verifier.report();
    assert_eq!(report.total.counts.total(), 1, "{report}");
    report.anomalies[0].clone()
}

#[test]
fn logs_that_keep_the_promises_pass() {
    let mut verifier = verifier_of(&[&[4, 5, 6], &[4, 5, 6]]);
    for offset in [4, 6] {
        verifier.sent(FIRST, &ack(offset, &format!("n{offset}")));
    }
    verifier.refused(FIRST, "r", "n9");
    let report = verifier.report();
    assert!(report.is_kept(), "{report}");
    let total = report.total;
    assert_eq!((total.clients, total.events, total.acked), (2, 3, 2));
}

#[test]
fn o1_loss_is_caught_at_the_end() {
    let mut verifier = verifier_of(&[&[4, 5]]);
    verifier.sent(FIRST, &ack(6, "n6"));
    assert!(matches!(only(&verifier), Anomaly::LostWrite { .. }));
    let behind = only(&verifier_of(&[&[4, 5, 6], &[4, 5]]));
    assert!(
        behind.to_string().contains("client-1 last received 5"),
        "{behind}"
    );
}

#[test]
fn o1_nothing_is_expected_before_a_client_joined_or_after_it_left() {
    let mut verifier = verifier_of(&[&[4, 5, 6, 7]]);
    let late = verifier.client("late");
    verifier.joined(late, "r", "e", 6, Start::After);
    receive(&mut verifier, late, "e", 7);
    let gone = verifier.client("gone");
    verifier.joined(gone, "r", "e", 3, Start::After);
    receive(&mut verifier, gone, "e", 4);
    verifier.ended(gone);
    for offset in 4..8 {
        verifier.sent(FIRST, &ack(offset, &format!("n{offset}")));
    }
    assert!(verifier.report().is_kept());
}

#[test]
fn o2_a_duplicate_is_caught() {
    let duplicate = only(&verifier_of(&[&[4, 5, 5]]));
    assert!(
        matches!(duplicate, Anomaly::Duplicate { .. }),
        "{duplicate}"
    );
}

/// The same event as `M{id}` of `frame` in epoch `e`, at another place.
fn numbered_again(id: u64, epoch: &str, offset: u64) -> String {
    let place = format!(r#""epoch":"{epoch}","offset":{offset}}}"#);
    frame("e", id, &format!("n{id}")).replace(&format!(r#""epoch":"e","offset":{id}}}"#), &place)
}

#[test]
fn o2_one_event_at_two_places_of_an_epoch_is_caught() {
    let mut verifier = verifier_of(&[&[4]]);
    receive_frame(&mut verifier, FIRST, "e", 5, &numbered_again(4, "e", 5));
    let twice = only(&verifier);
    assert!(matches!(twice, Anomaly::NumberedTwice { again: 4, .. }));
    assert!(twice.to_string().contains("event Me4 is at r e:5 and at 4"));
    // It does not matter that another client receives only one of the two.
    let mut verifier = verifier_of(&[&[4]]);
    let late = verifier.client("late");
    verifier.joined(late, "r", "e", 4, Start::After);
    receive_frame(&mut verifier, late, "e", 5, &numbered_again(4, "e", 5));
    receive_frame(&mut verifier, FIRST, "e", 5, &numbered_again(4, "e", 5));
    assert!(matches!(only(&verifier), Anomaly::NumberedTwice { .. }));
}

#[test]
fn o2_events_with_only_their_place_left_are_not_the_same() {
    let mut verifier = verifier_of(&[&[4]]);
    for offset in [5, 6] {
        let vanished = format!(
            r#"{{"type":"message","room":"r","message":"-","deleted":true,"ts":0,"epoch":"e","offset":{offset}}}"#
        );
        receive_frame(&mut verifier, FIRST, "e", offset, &vanished);
    }
    assert!(verifier.report().is_kept(), "{}", verifier.report());
}

#[test]
fn o2_an_event_that_is_numbered_again_is_legal_after_a_reset_only() {
    let mut verifier = verifier_of(&[&[4, 5]]);
    verifier.reset(FIRST, "r", "f", 8);
    receive_frame(&mut verifier, FIRST, "f", 9, &numbered_again(5, "f", 9));
    assert!(verifier.report().is_kept(), "{}", verifier.report());
    // A second failover numbers it once more.
    verifier.reset(FIRST, "r", "g", 20);
    receive_frame(&mut verifier, FIRST, "g", 21, &numbered_again(5, "g", 21));
    assert!(verifier.report().is_kept(), "{}", verifier.report());
    // A join that could not resume announces the epoch as well.
    let mut verifier = verifier_of(&[&[4, 5]]);
    verifier.joined(FIRST, "r", "f", 9, Start::Anywhere);
    receive_frame(&mut verifier, FIRST, "f", 9, &numbered_again(5, "f", 9));
    assert!(verifier.report().is_kept(), "{}", verifier.report());
    let mut verifier = verifier_of(&[&[4, 5]]);
    receive_frame(&mut verifier, FIRST, "f", 9, &numbered_again(5, "f", 9));
    assert!(matches!(only(&verifier), Anomaly::OutOfOrder { .. }));
    // In the new epoch it may come once.
    let mut verifier = verifier_of(&[&[4, 5]]);
    verifier.reset(FIRST, "r", "f", 8);
    for offset in [9, 10] {
        receive_frame(
            &mut verifier,
            FIRST,
            "f",
            offset,
            &numbered_again(5, "f", offset),
        );
    }
    assert!(matches!(
        only(&verifier),
        Anomaly::NumberedTwice { again: 9, .. }
    ));
}

#[test]
fn o1_an_acked_event_counts_as_received_at_any_of_its_places() {
    let acked = |offset: u64, message| Ack {
        message: Some(message),
        nonce: None,
        ..ack(offset, "")
    };
    let mut verifier = verifier_of(&[&[4]]);
    verifier.sent(FIRST, &acked(5, "Me5"));
    verifier.sent(FIRST, &acked(6, "Me6"));
    verifier.reset(FIRST, "r", "f", 8);
    receive_frame(&mut verifier, FIRST, "f", 9, &numbered_again(5, "f", 9));
    let report = verifier.report();
    assert!(report.is_kept(), "{report}");
    assert_eq!(report.total.skipped, 1, "only the event that never came");
}

#[test]
fn o3_holes_and_steps_back_are_caught() {
    let hole = only(&verifier_of(&[&[4, 6]]));
    assert!(matches!(hole, Anomaly::Hole { expected: 5, .. }), "{hole}");
    let first = only(&verifier_of(&[&[5]]));
    assert!(
        matches!(first, Anomaly::Hole { expected: 4, .. }),
        "{first}"
    );
    let counts = verifier_of(&[&[5, 4]]).report().total.counts;
    assert_eq!(counts.out_of_order, 2, "a hole and a step back");
}

#[test]
fn o3_a_new_epoch_must_be_announced_and_may_not_go_back() {
    let mut verifier = verifier_of(&[&[4, 5]]);
    receive(&mut verifier, FIRST, "f", 6);
    assert!(matches!(only(&verifier), Anomaly::OutOfOrder { .. }));
    let mut verifier = verifier_of(&[&[4, 5]]);
    verifier.reset(FIRST, "r", "f", 5);
    receive(&mut verifier, FIRST, "f", 6);
    assert!(verifier.report().is_kept());
    let mut verifier = verifier_of(&[&[4, 5]]);
    verifier.reset(FIRST, "r", "f", 2);
    assert_eq!(verifier.report().total.counts.out_of_order, 1);
}

#[test]
fn events_that_a_reset_skips_are_counted_and_those_of_the_known_epoch_apart() {
    let mut verifier = verifier_of(&[&[4, 5]]);
    verifier.sent(FIRST, &ack(6, "n6"));
    verifier.reset(FIRST, "r", "f", 8);
    receive(&mut verifier, FIRST, "f", 9);
    for offset in [7, 8, 9] {
        let nonce = format!("n{offset}");
        let mut ack = ack(offset, &nonce);
        ack.epoch = "f";
        verifier.sent(FIRST, &ack);
    }
    let report = verifier.report();
    assert!(report.is_kept(), "{report}");
    assert_eq!(
        (report.total.skipped, report.total.skipped_in_known_life),
        (1, 2)
    );
}

#[test]
fn o4_a_single_byte_of_difference_is_caught_and_shown() {
    let mut verifier = verifier_of(&[&[4, 5], &[4]]);
    let other = frame("e", 5, "n5").replace("\"body\":1", "\"body\":2");
    receive_frame(&mut verifier, ClientId(1), "e", 5, &other);
    let difference = only(&verifier).to_string();
    assert!(
        difference.contains("client-0 received event Me5"),
        "{difference}"
    );
    assert!(difference.contains("\"body\":2"), "{difference}");
}

#[test]
fn o4_a_deleted_message_is_the_same_without_its_content() {
    let mut verifier = verifier_of(&[&[4]]);
    let late = verifier.client("late");
    let deleted = frame("e", 4, "n4").replace("\"body\":1", "\"deleted\":true");
    receive_frame(&mut verifier, late, "e", 4, &deleted);
    assert!(verifier.report().is_kept());
}

#[test]
fn o4_an_edited_message_is_the_same_with_another_body() {
    let mut verifier = verifier_of(&[&[4]]);
    let late = verifier.client("late");
    let edited = r#""body":2,"edited":{"by":null,"ts":1,"offset":5}"#;
    let edited = frame("e", 4, "n4").replace("\"body\":1", edited);
    receive_frame(&mut verifier, late, "e", 4, &edited);
    assert!(verifier.report().is_kept());
}

#[test]
fn o5_a_refused_message_that_is_received_is_caught() {
    let mut verifier = verifier_of(&[&[4]]);
    verifier.identify(FIRST, SENDER);
    verifier.refused(FIRST, "r", "n4");
    assert!(matches!(only(&verifier), Anomaly::Phantom { .. }));
}

#[test]
fn o5_a_send_that_is_stored_twice_in_one_epoch_is_caught() {
    let mut verifier = verifier_of(&[&[4]]);
    receive_frame(&mut verifier, FIRST, "e", 5, &frame("e", 5, "n4"));
    assert!(matches!(only(&verifier), Anomaly::StoredTwice { .. }));
    let mut verifier = verifier_of(&[&[4]]);
    verifier.reset(FIRST, "r", "f", 5);
    receive_frame(&mut verifier, FIRST, "f", 6, &frame("f", 6, "n4"));
    assert!(
        verifier.report().is_kept(),
        "a new epoch does not know old nonces"
    );
}

#[test]
fn o5_an_ack_that_names_another_event_is_caught() {
    let mut verifier = verifier_of(&[&[4, 5]]);
    verifier.sent(FIRST, &ack(5, "n4"));
    assert!(matches!(only(&verifier), Anomaly::Misplaced { .. }));
    let mut verifier = verifier_of(&[&[4, 5]]);
    verifier.sent(FIRST, &ack(5, "n5"));
    let mut other = ack(5, "n7");
    other.in_turn = false;
    verifier.sent(FIRST, &other);
    assert!(matches!(only(&verifier), Anomaly::Misplaced { .. }));
}

#[test]
fn o6_acks_of_one_sender_go_up() {
    let mut verifier = verifier_of(&[&[4, 5]]);
    verifier.sent(FIRST, &ack(5, "n5"));
    verifier.sent(FIRST, &ack(4, "n4"));
    assert!(matches!(only(&verifier), Anomaly::SenderOrder { .. }));
    let mut verifier = verifier_of(&[&[4, 5]]);
    verifier.sent(FIRST, &ack(5, "n5"));
    let mut again = ack(4, "n4");
    again.in_turn = false;
    verifier.sent(FIRST, &again);
    assert!(verifier.report().is_kept(), "a duplicate has its old place");
}

#[test]
fn the_newest_epoch_is_known() {
    let mut verifier = verifier_of(&[&[4, 5]]);
    assert_eq!(verifier.newest_life("r"), Some(("e".to_owned(), 3)));
    verifier.reset(FIRST, "r", "f", 8);
    receive(&mut verifier, FIRST, "f", 9);
    assert_eq!(verifier.newest_life("r"), Some(("f".to_owned(), 8)));
    assert_eq!(verifier.newest_life("s"), None);
}

#[test]
fn the_table_shows_rooms_and_anomalies() {
    let report = verifier_of(&[&[4, 6], &[4, 5, 6]]).report().to_string();
    let lines: Vec<&str> = report.lines().collect();
    assert!(lines[0].starts_with("room   epochs  events"), "{report}");
    assert!(lines[1].starts_with("r "), "{report}");
    assert!(lines[2].starts_with("total"), "{report}");
    assert!(
        lines[3].contains("client-0 received r e:6 instead of 5"),
        "{report}"
    );
}
