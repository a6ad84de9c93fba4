//! The client against a scripted node: where it goes, when it comes back, what it repeats.

#![expect(clippy::unwrap_used, reason = "the helpers of a test are part of it")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use hubbub_client::{Client, ClientConfig, ClientEvent, RequestError, Start};
use hubbub_protocol::RoomId;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_async};

const DEADLINE: Duration = Duration::from_secs(20);

/// A node of which the test plays the part.
struct Node {
    listener: TcpListener,
}

/// One connection to it.
struct Peer {
    stream: WebSocketStream<TcpStream>,
}

impl Node {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    async fn tcp(&self) -> TcpStream {
        let accepted = timeout(DEADLINE, self.listener.accept()).await;
        accepted.expect("a client comes").unwrap().0
    }

    /// Upgrades the next client and welcomes it.
    async fn welcome(&self) -> Peer {
        let mut peer = Peer {
            stream: accept_async(self.tcp().await).await.unwrap(),
        };
        peer.say(json!({
            "type": "welcome", "connection": "c", "node": "n",
            "user": {"id": "ann", "name": "Ann"}, "ping_ms": 25_000, "limits": {}
        }))
        .await;
        peer
    }
}

impl Peer {
    async fn say(&mut self, frame: Value) {
        self.stream
            .send(Message::text(frame.to_string()))
            .await
            .unwrap();
    }

    async fn hear(&mut self) -> Value {
        loop {
            let message = timeout(DEADLINE, self.stream.next()).await;
            match message.expect("a frame in time").expect("no end").unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                _ => continue,
            }
        }
    }

    /// Expects a join and answers it with these offsets.
    async fn join(&mut self, top: u64, offsets: &[u64]) -> Value {
        let join = self.hear().await;
        assert_eq!(join["type"], "join", "{join}");
        let events: Vec<Value> = offsets.iter().map(|offset| message(*offset)).collect();
        self.say(json!({
            "type": "joined", "id": join["id"], "room": "r", "epoch": "e", "offset": top,
            "recovered": true, "members": 1, "rights": "rw", "events": events
        }))
        .await;
        join
    }

    async fn sent(&mut self, send: &Value, offset: u64) {
        self.say(json!({
            "type": "sent", "id": send["id"], "room": "r", "epoch": "e", "offset": offset,
            "message": "M", "ts": 1, "duplicate": false, "ack": "stream"
        }))
        .await;
    }

    async fn close(&mut self, code: u16) {
        let frame = CloseFrame {
            code: code.into(),
            reason: "because".into(),
        };
        self.stream.close(Some(frame)).await.unwrap();
    }
}

fn message(offset: u64) -> Value {
    json!({
        "type": "message", "room": "r", "message": format!("M{offset}"),
        "from": {"id": "bob", "name": "Bob"}, "ts": 1, "body": offset, "epoch": "e",
        "offset": offset
    })
}

fn room() -> RoomId {
    RoomId::new("r").unwrap()
}

fn start(nodes: &[&Node]) -> (Client, Receiver<ClientEvent>) {
    let urls = nodes.iter().map(|node| format!("ws://{}", node.address()));
    let config = ClientConfig {
        backoff_base: Duration::from_millis(20),
        ..ClientConfig::new(urls).with_token("token")
    };
    Client::start(config).unwrap()
}

/// Offsets heard until `last`; everything else is passed over.
async fn offsets(events: &mut Receiver<ClientEvent>, last: u64) -> Vec<u64> {
    let mut offsets = Vec::new();
    while offsets.last() != Some(&last) {
        let event = timeout(DEADLINE, events.recv()).await.expect("in time");
        match event.expect("not closed") {
            ClientEvent::Event(event) => offsets.push(event.offset),
            ClientEvent::Gap { .. } => panic!("a gap"),
            _ => {}
        }
    }
    offsets
}

#[tokio::test]
async fn an_event_that_comes_again_in_a_new_life_is_handed_out_once() {
    let (first, second) = (Node::start().await, Node::start().await);
    let (client, mut events) = start(&[&first, &second]);
    let room = room();
    let script = async {
        let mut peer = first.welcome().await;
        peer.join(1, &[1]).await;
        peer.say(message(2)).await;
        peer.say(json!({"type": "reset", "room": "r", "epoch": "f", "offset": 10}))
            .await;
        for (id, offset) in [(2, 11), (3, 12)] {
            let mut event = message(id);
            event["epoch"] = json!("f");
            event["offset"] = json!(offset);
            peer.say(event).await;
        }
        drop(peer);
        let mut peer = second.welcome().await;
        let join = peer.join(12, &[]).await;
        (peer, join)
    };
    let (joined, (_peer, join)) = tokio::join!(client.join(&room, Start::Recent(1)), script);
    joined.unwrap();
    let since = json!({"epoch": "f", "offset": 12, "message": "M3"});
    assert_eq!(join["since"], since);
    let mut heard = Vec::new();
    while heard.len() < 5 {
        let event = timeout(DEADLINE, events.recv()).await.expect("in time");
        match event.expect("not closed") {
            ClientEvent::Event(event) => heard.push(format!("{}/{}", event.epoch, event.offset)),
            ClientEvent::Repeated { event, before } => {
                heard.push(format!("{} is now {}", before.offset, event.offset));
            }
            ClientEvent::Reset { .. } => heard.push("reset".to_owned()),
            _ => {}
        }
    }
    assert_eq!(heard, ["e/1", "e/2", "reset", "2 is now 11", "f/12"]);
}

#[tokio::test]
async fn an_abrupt_end_leads_to_the_next_node_with_rooms_and_unanswered_sends() {
    let (first, second) = (Node::start().await, Node::start().await);
    let (client, mut events) = start(&[&first, &second]);
    let room = room();
    let sending = async {
        client.join(&room, Start::Now).await.unwrap();
        let mut receipts = Vec::new();
        for body in 1..=3 {
            receipts.push(client.begin_send(&room, &body, None).await.unwrap());
        }
        let mut offsets = Vec::new();
        for receipt in receipts {
            offsets.push(receipt.wait().await.unwrap().offset);
        }
        offsets
    };
    let serving = async {
        let mut peer = first.welcome().await;
        assert_eq!(peer.join(5, &[]).await.get("since"), None);
        let sends = [peer.hear().await, peer.hear().await, peer.hear().await];
        peer.sent(&sends[0], 6).await;
        peer.say(message(6)).await;
        drop(peer);

        let mut peer = second.welcome().await;
        let join = peer.join(7, &[6, 7]).await;
        // The end may have overtaken the event, but never its place.
        let since = join["since"]["offset"].as_u64().unwrap();
        assert!([5, 6].contains(&since), "{join}");
        for (offset, before) in [(7, &sends[1]), (8, &sends[2])] {
            let again = peer.hear().await;
            assert_eq!(
                (&again["nonce"], &again["body"]),
                (&before["nonce"], &before["body"])
            );
            peer.sent(&again, offset).await;
        }
        peer.say(message(8)).await;
        peer
    };
    let (sent, _peer) = tokio::join!(sending, serving);
    assert_eq!(sent, [6, 7, 8]);
    assert_eq!(offsets(&mut events, 8).await, [6, 7, 8]);
}

#[tokio::test]
async fn a_code_45xx_is_the_end() {
    let (first, second) = (Node::start().await, Node::start().await);
    let (client, mut events) = start(&[&first, &second]);
    let room = room();
    let (sent, mut peer) = tokio::join!(client.send(&room, &1), async {
        let mut peer = first.welcome().await;
        peer.hear().await;
        peer.close(4503).await;
        peer
    });
    assert_eq!(sent, Err(RequestError::Closed));
    let last = async {
        loop {
            if let Some(ClientEvent::Closed { code, .. }) = events.recv().await {
                return code;
            }
        }
    };
    assert_eq!(timeout(DEADLINE, last).await.unwrap(), Some(4503));
    assert_eq!(events.recv().await, None, "nothing comes after it");
    assert_eq!(client.ping().await, Err(RequestError::Closed));
    while let Some(Ok(_)) = peer.stream.next().await {}
}

#[tokio::test]
async fn a_full_node_says_when_to_come_back() {
    let node = Node::start().await;
    let (client, _events) = start(&[&node]);
    let mut refused = node.tcp().await;
    let mut request = [0; 1024];
    let _ = refused.read(&mut request).await.unwrap();
    let answer = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
    refused.write_all(answer.as_bytes()).await.unwrap();
    let start = Instant::now();
    let mut peer = node.welcome().await;
    assert!(
        start.elapsed() >= Duration::from_millis(950),
        "{:?}",
        start.elapsed()
    );
    let (pong, ()) = tokio::join!(client.ping(), async {
        let ping = peer.hear().await;
        peer.say(json!({"type": "pong", "id": ping["id"]})).await;
    });
    pong.unwrap();
}

#[tokio::test]
async fn one_that_is_asked_to_move_moves_at_its_time() {
    let (first, second) = (Node::start().await, Node::start().await);
    let (client, _events) = start(&[&first, &second]);
    let mut peer = first.welcome().await;
    let start = Instant::now();
    peer.say(json!({"type": "reconnect", "after_ms": 300, "reason": "draining"}))
        .await;
    let mut next = second.welcome().await;
    assert!(
        start.elapsed() >= Duration::from_millis(290),
        "{:?}",
        start.elapsed()
    );
    let (pong, ()) = tokio::join!(client.ping(), async {
        let ping = next.hear().await;
        next.say(json!({"type": "pong", "id": ping["id"]})).await;
    });
    pong.unwrap();
}

#[tokio::test]
async fn what_may_pass_is_tried_again_with_the_same_nonce() {
    let node = Node::start().await;
    let (client, _events) = start(&[&node]);
    let room = room();
    let body = json!({"text": "hi"});
    let (sent, nonces) = tokio::join!(client.send(&room, &body), async {
        let mut peer = node.welcome().await;
        let mut nonces = Vec::new();
        for code in ["unavailable", "unknown"] {
            let send = peer.hear().await;
            nonces.push(send["nonce"].clone());
            peer.say(json!({"type": "error", "id": send["id"], "code": code, "message": "m"}))
                .await;
        }
        let send = peer.hear().await;
        nonces.push(send["nonce"].clone());
        peer.sent(&send, 1).await;
        nonces
    });
    assert_eq!(sent.unwrap().offset, 1);
    assert!(
        nonces[0].is_string() && nonces.iter().all(|nonce| *nonce == nonces[0]),
        "{nonces:?}"
    );
}

#[tokio::test]
async fn a_reader_that_does_not_read_stops_the_socket_and_loses_nothing() {
    /// In all far more than the queue and the sockets' buffers hold.
    const EVENTS: u64 = 10_000;
    const BODY: usize = 2_000;
    let node = Node::start().await;
    let config = ClientConfig {
        event_capacity: 4,
        ..ClientConfig::new([node.address().to_string()]).with_token("token")
    };
    let (client, mut events) = Client::start(config).unwrap();
    let room = room();
    let joining = client.join(&room, Start::Now);
    let (joined, mut peer) = tokio::join!(joining, async {
        let mut peer = node.welcome().await;
        peer.join(0, &[]).await;
        peer
    });
    joined.unwrap();
    let writing = tokio::spawn(async move {
        for offset in 1..=EVENTS {
            let mut event = message(offset);
            event["body"] = "x".repeat(BODY).into();
            peer.say(event).await;
        }
        peer
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!writing.is_finished(), "the socket is not read ahead");
    let heard = offsets(&mut events, EVENTS).await;
    assert_eq!(heard, (1..=EVENTS).collect::<Vec<_>>());
    let _peer = writing.await.unwrap();
    client.close().await;
}

#[tokio::test]
async fn changes_are_stored_like_sends_and_remarks_are_said_once() {
    let node = Node::start().await;
    let (client, _events) = start(&[&node]);
    let room = room();
    let (answers, heard) = tokio::join!(
        async {
            client.read(&room, 7).await.unwrap();
            [
                client.edit(&room, 7, &"b").await,
                client.react(&room, 7, "+1", true).await,
                client.delete(&room, 7).await,
            ]
        },
        async {
            let mut peer = node.welcome().await;
            let mut heard = Vec::new();
            while heard.len() < 3 {
                let frame = peer.hear().await;
                if frame["type"] == "read" {
                    continue;
                }
                peer.sent(&frame, 10 + heard.len() as u64).await;
                heard.push(frame);
            }
            heard
        }
    );
    let offsets = answers.map(|answer| answer.unwrap().offset);
    assert_eq!(offsets, [10, 11, 12]);
    for (frame, (kind, fields)) in heard.iter().zip([
        ("edit", json!({"body": "b"})),
        ("react", json!({"key": "+1", "on": true})),
        ("delete", json!({})),
    ]) {
        assert_eq!(
            (&frame["type"], &frame["target"]),
            (&json!(kind), &json!(7))
        );
        assert!(frame["nonce"].is_string(), "{frame}");
        for (name, value) in fields.as_object().unwrap() {
            assert_eq!(frame[name], *value, "{frame}");
        }
    }
}

#[tokio::test]
async fn who_is_put_out_asks_to_come_back_and_hears_why_not() {
    let node = Node::start().await;
    let (client, mut events) = start(&[&node]);
    let room = room();
    let (joined, mut peer) = tokio::join!(client.join(&room, Start::Now), async {
        let mut peer = node.welcome().await;
        peer.join(5, &[]).await;
        peer
    });
    joined.unwrap();
    peer.say(json!({"type": "left", "room": "r"})).await;
    let again = peer.hear().await;
    assert_eq!(
        (&again["type"], &again["since"]["offset"]),
        (&json!("join"), &json!(5))
    );
    peer.say(json!({"type": "error", "id": again["id"], "code": "forbidden", "message": "no"}))
        .await;
    let lost = async {
        loop {
            if let Some(ClientEvent::RoomLost { error, .. }) = events.recv().await {
                return error;
            }
        }
    };
    let error = timeout(DEADLINE, lost).await.expect("in time");
    assert_eq!(error.code(), Some("forbidden"));
}

#[tokio::test]
async fn a_new_token_is_used_in_this_connection_and_in_the_next() {
    let node = Node::start().await;
    let (client, _events) = start(&[&node]);
    let mut peer = node.welcome().await;
    let (expires, ()) = tokio::join!(client.refresh("another"), async {
        let refresh = peer.hear().await;
        assert_eq!(refresh["token"], "another");
        peer.say(json!({"type": "refreshed", "id": refresh["id"], "expires": 5}))
            .await;
    });
    assert_eq!(expires, Ok(5));
    drop(peer);
    let mut next = node.tcp().await;
    let mut request = [0; 1024];
    let length = next.read(&mut request).await.unwrap();
    let request = String::from_utf8_lossy(&request[..length]).to_lowercase();
    assert!(
        request.contains("authorization: bearer another"),
        "{request}"
    );
    let refused = client.refresh("no\ntoken").await.unwrap_err();
    assert_eq!(refused.code(), Some("unauthorized"));
}

/// The first node is frozen: it takes what is written and says nothing.
#[tokio::test]
async fn a_node_that_answers_nothing_is_probed_and_left_and_no_send_is_lost() {
    const SENDS: u64 = 40;
    let (frozen, second) = (Node::start().await, Node::start().await);
    let urls = [&frozen, &second].map(|node| format!("ws://{}", node.address()));
    let config = ClientConfig {
        backoff_base: Duration::from_millis(20),
        probe_after: Duration::from_millis(100),
        move_after: Duration::from_millis(300),
        ..ClientConfig::new(urls).with_token("token")
    };
    let (client, mut events) = Client::start(config).unwrap();
    let room = room();
    let sends = (0..SENDS).map(|number| {
        let (client, room) = (&client, &room);
        async move { client.send(room, &json!(number)).await }
    });
    let script = async {
        let mut peer = frozen.welcome().await;
        let mut first = Vec::new();
        loop {
            let frame = peer.hear().await;
            if frame["type"] == "ping" {
                break;
            }
            first.push(frame["nonce"].clone());
        }
        let mut peer = second.welcome().await;
        let mut again = Vec::new();
        for offset in 1..=SENDS {
            let send = peer.hear().await;
            again.push(send["nonce"].clone());
            peer.sent(&send, offset).await;
        }
        assert_eq!(first, again, "the same sends, in the same order");
        // Kept: an end would be another reconnect.
        peer
    };
    let (sent, _peer) = tokio::join!(futures_util::future::join_all(sends), script);
    let offsets: Vec<u64> = sent.into_iter().map(|sent| sent.unwrap().offset).collect();
    assert_eq!(offsets, (1..=SENDS).collect::<Vec<_>>());
    loop {
        let event = timeout(DEADLINE, events.recv()).await.expect("in time");
        if let ClientEvent::Disconnected { reason, .. } = event.expect("not closed") {
            assert!(reason.contains("does not answer"), "{reason}");
            break;
        }
    }
}
