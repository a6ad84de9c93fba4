//! The cost of each part of a message's path by itself: `cargo bench --bench parts`.

use bytes::Bytes;
use divan::{Bencher, black_box};
use hubbub_node::trial::Trial;
use hubbub_protocol::event::seal;
use hubbub_protocol::frame::ServerFrame;
use hubbub_protocol::{
    Command, Draft, Epoch, Frame, Packet, Position, RoomId, User, UserId, decode_command,
};

fn main() {
    divan::main();
}

fn send() -> String {
    let text = "x".repeat(110);
    format!(r#"{{"type":"send","id":7,"room":"lobby","nonce":"c-81","body":{{"text":"{text}"}}}}"#)
}

fn draft() -> Draft {
    let request = decode_command(&send()).expect("the command is valid");
    let Command::Send { room, body, .. } = request.command else {
        unreachable!("the command is a send");
    };
    let user = User {
        id: UserId::new("alice").expect("a valid id"),
        name: "Alice".into(),
    };
    Draft::message(&room, &user, None, &body)
}

fn position() -> Position {
    Position {
        epoch: Epoch::new("k3f9").expect("a valid epoch"),
        offset: 58,
    }
}

#[divan::bench]
fn decode_a_send(bencher: Bencher) {
    let text = send();
    bencher.bench(|| decode_command(black_box(&text)));
}

#[divan::bench]
fn encode_a_message(bencher: Bencher) {
    bencher.bench(|| seal(&draft().open, 1_763_800_000_000, &position()));
}

#[divan::bench]
fn encode_a_sent(bencher: Bencher) {
    let (room, position) = (RoomId::new("lobby").expect("a valid id"), position());
    bencher.bench(|| {
        Frame::encode(&ServerFrame::Sent {
            id: None,
            room: &room,
            epoch: &position.epoch,
            offset: position.offset,
            message: None,
            ts: Some(1_763_800_000_000),
            duplicate: false,
            ack: "stream",
        })
    });
}

#[divan::bench]
fn decode_a_packet(bencher: Bencher) {
    let frame = seal(&draft().open, 1_763_800_000_000, &position());
    let header = format!(
        "1 E k3f9 58 1 1763800000000 -\n01JDAAAAAAAAAAAAAAAAAAAAAA {}\n",
        frame.len()
    );
    let packet = Bytes::from([header.as_bytes(), frame.as_bytes()].concat());
    bencher.bench(|| Packet::decode(black_box(&packet)));
}

#[divan::bench(args = [1, 100, 10_000])]
fn deliver(bencher: Bencher, members: usize) {
    let mut trial = Trial::new(members);
    let trial = std::cell::RefCell::new(&mut trial);
    bencher
        .with_inputs(|| trial.borrow_mut().events(1))
        .bench_local_values(|events| trial.borrow().deliver(events));
}

#[divan::bench]
fn outbox_push_and_drain(bencher: Bencher) {
    let trial = Trial::new(1);
    bencher.bench_local(|| trial.push_and_drain());
}

#[divan::bench]
fn merge_100_events(bencher: Bencher) {
    let trial = std::cell::RefCell::new(Trial::new(1));
    bencher
        .with_inputs(|| trial.borrow_mut().events(100))
        .bench_local_values(|events| trial.borrow().merge(events));
}
