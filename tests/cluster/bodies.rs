//! Bodies go out as they came in: over every door, from every store, as sent, edited and reacted to.

use std::time::Duration;

use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::eventually;
use hubbub_tests::http::exchange;
use hubbub_tests::people::token;
use hubbub_tests::raw::{Heard, Raw};
use hubbub_tests::socketio::SocketIo;
use hubbub_tests::sse::Events;
use serde_json::json;

on_both_brokers!(
    with &[hubbub_tests::people::SIGNED];
    bodies_stay_as_they_were_sent,
    socketio_clients_hear_bodies_as_they_were_sent,
    a_retry_is_known_by_its_bytes,
    a_request_id_comes_back_as_it_was_written,
);

on_both_archives!(
    with &[hubbub_tests::people::SIGNED, ("history.stream_len", "100"), ("limits.resume_page", "50")];
    bodies_stay_in_the_archive,
);

/// Values that change when they are read into numbers and texts and written again.
const ODD: [&str; 8] = [
    "12345678901234567890123",
    "18446744073709551616",
    "-0",
    "1.0",
    "-1.50E+2",
    "0.1000000000000000055511151231257827",
    r#"{"text":"\u00e4 \/ @","n":12345678901234567890123,"z":-0,"b":1,"a":[1.50,1E-7]}"#,
    r#"{"event":"draw","data":{"id":90071992547409930001}}"#,
];
const MESSAGE: &str = r#"{"type":"message""#;
const MESSAGES: &str = "/v1/rooms/odd/messages";
const DEADLINE: Duration = Duration::from_secs(20);

/// The next frame that begins so, as it came.
async fn next_text(raw: &mut Raw, start: &str) -> String {
    loop {
        match raw.hear().await {
            Heard::Text(text) if text.starts_with(start) => return text,
            Heard::Text(_) => {}
            Heard::End(end) => panic!("the connection ended before {start}: {end:?}"),
        }
    }
}

fn assert_has(text: &str, body: &str) {
    let field = format!(r#""body":{body},"#);
    assert!(text.contains(&field), "{field} is not in {text}");
}

/// Asks as a program of the user `robot`; the answer's body.
async fn ask(cluster: &Cluster, method: &str, path: &str, body: &str) -> String {
    let (address, token, length) = (cluster.address(0), token("robot"), body.len());
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n\
         {body}"
    );
    let answer = exchange(address, request.as_bytes()).await;
    let answer = answer.expect("an answer");
    assert!(answer.status < 300, "{method} {path}: {answer:?}");
    answer.body
}

async fn bodies_stay_as_they_were_sent(cluster: Cluster) {
    let mut listener = cluster.user(1, "lena").await;
    let epoch = listener.join("odd").await["epoch"].clone();
    let mut events = Events::guest(cluster.address(2), "odd").await;
    events.next_of("joined").await;
    let mut alice = cluster.user(0, "alice").await;
    alice.join("odd").await;
    for (number, body) in ODD.iter().enumerate() {
        // Blanks around a body are no part of it.
        let send = format!(r#"{{"type":"send","id":{number},"room":"odd","body": {body} }}"#);
        alice.write(send).await;
        next_text(&mut alice, r#"{"type":"sent""#).await;
        ask(&cluster, "POST", MESSAGES, &format!(r#"{{"body":{body}}}"#)).await;
        let batch = format!(r#"{{"messages":[{{"room":"odd","body":{body}}}]}}"#);
        ask(&cluster, "POST", "/v1/messages", &batch).await;
        for _ in 0..3 {
            assert_has(&next_text(&mut listener, MESSAGE).await, body);
            assert_has(&events.next_of("message").await.text, body);
        }
        // Of four events each, the second one is the robot's and is edited by the fourth one.
        let second = 4 * number + 2;
        let edit = format!(r#"{{"body":[{body}]}}"#);
        ask(&cluster, "PATCH", &format!("{MESSAGES}/{second}"), &edit).await;
        let edited = next_text(&mut listener, r#"{"type":"edited""#).await;
        assert_has(&edited, &format!("[{body}]"));
    }
    let events = 4 * ODD.len();
    listener
        .write(r#"{"type":"history","id":"page","room":"odd","limit":100}"#)
        .await;
    let history = next_text(&mut listener, r#"{"type":"history""#).await;
    let page = ask(&cluster, "GET", &format!("{MESSAGES}?limit=100"), "").await;
    let since = json!({"type": "join", "room": "odd", "since": {"epoch": epoch, "offset": 0}});
    let mut late = cluster.user(2, "late").await;
    late.write(since.to_string()).await;
    let joined = next_text(&mut late, r#"{"type":"joined""#).await;
    assert!(
        joined.contains(&format!(r#""offset":{events}}}]}}"#)),
        "{joined}"
    );
    for body in ODD {
        for text in [&history, &page, &joined] {
            assert_has(text, body);
            assert_has(text, &format!("[{body}]"));
        }
    }
}

async fn socketio_clients_hear_bodies_as_they_were_sent(cluster: Cluster) {
    let mut listener = cluster.user(1, "lena").await;
    listener.join("lobby").await;
    let mut hearer = SocketIo::connect(cluster.address(2)).await;
    let mut talker = SocketIo::connect(cluster.address(0)).await;
    for value in ["12345678901234567890123", "-0", r#"{"id":[1.0,1E-7]}"#] {
        talker
            .write(format!(r#"42["chat message", {value} ]"#))
            .await;
        let body = format!(r#"{{"event":"chat message","data":{value}}}"#);
        assert_has(&next_text(&mut listener, MESSAGE).await, &body);
        let heard = hearer.next_with(r#"42["chat message","#).await;
        assert!(
            heard.contains(&format!(r#"["chat message",{value},""#)),
            "{heard}"
        );
    }
    let body = r#"{"text":"h\u0069","z":-0}"#;
    let send = format!(r#"4271["send",{{"id":[1],"nonce":"n","body":{body}}}]"#);
    talker.write(send).await;
    assert!(talker.next_with("4371[").await.contains(r#""type":"sent""#));
    assert_has(&next_text(&mut listener, MESSAGE).await, body);
    talker.write(r#"4272["history",{"limit":50}]"#).await;
    let page = talker.next_with("4372[").await;
    assert_has(&page, body);
    assert_has(&page, r#"{"event":"chat message","data":-0}"#);
    assert!(
        !page.contains(r#""id":72"#),
        "the ack's number is the id: {page}"
    );
}

async fn a_retry_is_known_by_its_bytes(cluster: Cluster) {
    let mut alice = cluster.user(0, "alice").await;
    alice.join("odd").await;
    let mut send = async |body: &str| {
        let send = format!(r#"{{"type":"send","id":1,"room":"odd","nonce":"n","body":{body}}}"#);
        alice.write(send).await;
        loop {
            let frame = alice.next().await;
            if frame["id"] == 1 {
                return frame;
            }
        }
    };
    let first = send("[12345678901234567890123]").await;
    assert_eq!(first["duplicate"], false, "{first}");
    let again = send("[ 12345678901234567890123 ]").await;
    assert_eq!(again["duplicate"], true, "{again}");
    // The same number for who reads it into a double.
    let other = send("[12345678901234567890124]").await;
    assert_eq!(other["code"], "conflict", "{other}");
}

async fn a_request_id_comes_back_as_it_was_written(cluster: Cluster) {
    let mut alice = cluster.user(0, "alice").await;
    for id in ["12345678901234567890123", "-0", "1.0", "1e2"] {
        alice.write(format!(r#"{{"type":"ping","id":{id}}}"#)).await;
        let pong = next_text(&mut alice, r#"{"type":"pong""#).await;
        assert_eq!(pong, format!(r#"{{"type":"pong","id":{id}}}"#));
    }
}

async fn bodies_stay_in_the_archive(cluster: Cluster) {
    let mut alice = cluster.user(0, "robot").await;
    alice.join("odd").await;
    for (number, body) in ODD.iter().enumerate() {
        ask(&cluster, "POST", MESSAGES, &format!(r#"{{"body":{body}}}"#)).await;
        // Three events each: a message, its edit and a reaction to it.
        let offset = 3 * number + 1;
        let edit = format!(r#"{{"body":[{body}]}}"#);
        ask(&cluster, "PATCH", &format!("{MESSAGES}/{offset}"), &edit).await;
        ask(
            &cluster,
            "PUT",
            &format!("{MESSAGES}/{offset}/reactions/x"),
            "{}",
        )
        .await;
    }
    ask(
        &cluster,
        "POST",
        MESSAGES,
        &format!(r#"{{"body":{}}}"#, ODD[0]),
    )
    .await;
    for number in 0..400 {
        alice.say("odd", &format!("later {number}")).await;
    }
    let path = format!("{MESSAGES}?after=0&limit=50");
    let all_there = async || {
        let page = ask(&cluster, "GET", &path, "").await;
        let is_folded = page.matches(r#""reactions":"#).count() == ODD.len();
        is_folded.then_some(page)
    };
    let (page, _) = eventually("the archive has the page", DEADLINE, all_there).await;
    for body in ODD {
        assert_has(&page, &format!("[{body}]"));
    }
    assert_has(&page, ODD[0]);

    let needle = r#"{"text":"needl\u0065","n":12345678901234567890123,"z":-0}"#;
    ask(
        &cluster,
        "POST",
        MESSAGES,
        &format!(r#"{{"body":{needle}}}"#),
    )
    .await;
    for path in ["/v1/search?q=needle", "/v1/rooms"] {
        let found = async || {
            let answer = ask(&cluster, "GET", path, "").await;
            answer.contains("needl").then_some(answer)
        };
        let (answer, _) = eventually("the message is found", DEADLINE, found).await;
        assert_has(&answer, needle);
    }
}
