//! Many backends at once, with retries, while a node dies: each message once, in one order, to
//! webhooks too.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::eventually;
use hubbub_tests::http::Line;
use hubbub_tests::people::{SIGNED, token_with};
use hubbub_tests::process::FILE;
use hubbub_tests::receiver::Receiver;
use hubbub_tests::redis::{Fsync, Redis};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

const BACKENDS: usize = 8;
const EACH: usize = 1_250;
const DEADLINE: Duration = Duration::from_secs(120);
/// Longer than any send may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends one message after the other and goes to the next node when one fails; where each one is.
async fn work(nodes: Vec<SocketAddr>, name: String, done: Arc<AtomicUsize>) -> Vec<u64> {
    let token = token_with(&name, &json!({"rooms": {"orders": "rwp"}}));
    let (mut node, mut line, mut offsets) = (0, None, Vec::new());
    for number in 0..EACH {
        let body = json!({
            "body": {"number": number},
            "from": {"id": format!("customer-of-{name}")},
        });
        let body = body.to_string();
        let request = format!(
            "POST /v1/rooms/orders/messages HTTP/1.1\r\nhost: hubbub\r\n\
             authorization: Bearer {token}\r\nidempotency-key: {name}-{number}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let offset = loop {
            let address = nodes[node % nodes.len()];
            if line.is_none() {
                line = Line::connect(address).await.ok();
            }
            let answer = match &mut line {
                Some(line) => timeout(PATIENCE, line.ask(request.as_bytes())).await,
                None => Ok(Err(std::io::ErrorKind::NotConnected.into())),
            };
            match answer {
                Ok(Ok(answer)) if answer.status == 201 || answer.status == 200 => {
                    break answer.json()["offset"].as_u64().expect("an offset");
                }
                Ok(Ok(answer)) => assert_eq!(answer.status, 503, "{answer:?}"),
                Ok(Err(_)) | Err(_) => {
                    node += 1;
                    line = None;
                }
            }
            sleep(Duration::from_millis(20)).await;
        };
        offsets.push(offset);
        done.fetch_add(1, Ordering::Relaxed);
    }
    offsets
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_messages_survive_a_node() {
    let redis = Redis::start(Fsync::EverySecond).await;
    let receiver = Receiver::start().await;
    let table = receiver.table("events = [\"message\"]");
    let mut cluster = Cluster::processes(redis, 3, &[SIGNED, (FILE, &table)]).await;
    let listener = cluster.record(1, "orders").await;
    let start = Instant::now();
    let done = Arc::new(AtomicUsize::new(0));
    let backends: Vec<_> = (0..BACKENDS)
        .map(|number| {
            let nodes = (0..3).map(|step| cluster.address(number + step)).collect();
            let name = format!("backend-{number}");
            tokio::spawn(work(nodes, name, Arc::clone(&done)))
        })
        .collect();
    while done.load(Ordering::Relaxed) < BACKENDS * EACH / 3 {
        sleep(Duration::from_millis(5)).await;
    }
    cluster.process(0).kill9();
    let mut acked = HashMap::new();
    for (number, backend) in backends.into_iter().enumerate() {
        let offsets = timeout(DEADLINE, backend).await.expect("it ends");
        for (index, offset) in offsets.expect("no panic").into_iter().enumerate() {
            acked.insert(format!("backend-{number}-{index}"), offset);
        }
    }
    let took = start.elapsed();
    listener.wait_count(BACKENDS * EACH, DEADLINE).await;
    let heard = listener.heard().frames;
    assert_eq!(heard.len(), BACKENDS * EACH, "each once");
    let mut last: HashMap<String, u64> = HashMap::new();
    for (index, frame) in heard.iter().enumerate() {
        let frame: Value = serde_json::from_str(frame).expect("JSON");
        let offset = frame["offset"].as_u64().expect("an offset");
        assert_eq!(offset, index as u64 + 1, "one order without holes");
        let nonce = frame["nonce"].as_str().expect("a nonce");
        assert_eq!(
            acked.remove(nonce),
            Some(offset),
            "{nonce}: where it was acked, and once"
        );
        let customer = frame["from"]["id"].as_str().expect("a sender").to_owned();
        let number = frame["body"]["number"].as_u64().expect("a number");
        let before = last.insert(customer, number);
        assert_eq!(
            number,
            before.map_or(0, |before| before + 1),
            "each backend's order"
        );
    }
    assert!(acked.is_empty(), "acked and not heard: {acked:?}");
    let told = async || {
        let ids: HashSet<_> = receiver.taken().into_iter().map(|told| told.id).collect();
        (ids.len() == BACKENDS * EACH).then_some(())
    };
    let ((), behind) = eventually("webhooks are told of each", DEADLINE, told).await;
    receiver.assert_in_order();
    let rate = (BACKENDS * EACH) as f64 / took.as_secs_f64();
    println!(
        "{} messages in {took:.1?}: {rate:.0} a second; webhooks {behind:.1?} behind",
        BACKENDS * EACH
    );
}
