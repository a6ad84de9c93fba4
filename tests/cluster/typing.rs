//! Someone writes: everyone else knows, on every node, and nothing is stored.

use hubbub_client::new_guest;
use hubbub_tests::cluster::Cluster;
use hubbub_tests::raw::Raw;
use serde_json::json;

on_both_brokers!(typing_reaches_all_others_and_not_its_sender);

async fn typing_reaches_all_others_and_not_its_sender(cluster: Cluster) {
    let url = format!("http://{}", cluster.address(0));
    let ann = new_guest(&url, Some("Ann")).await.expect("a guest token");
    let mut writer = Raw::connect_as(cluster.address(0), &ann.token).await;
    let mut others = Vec::new();
    for number in 0..cluster.len() {
        others.push(cluster.raw(number).await);
    }
    for raw in others.iter_mut().chain([&mut writer]) {
        raw.join("typing").await;
    }
    writer
        .write(json!({"type": "typing", "room": "typing", "on": true}).to_string())
        .await;
    for other in &mut others {
        let typing = other.next_of("typing").await;
        assert_eq!(
            (&typing["room"], &typing["on"]),
            (&json!("typing"), &json!(true))
        );
        assert_eq!(typing["user"]["name"], "Ann");
        assert!(typing.get("offset").is_none(), "not stored: {typing}");
    }
    let sent = writer
        .ask(json!({"type": "send", "room": "typing", "body": 1}))
        .await;
    assert_eq!(sent["offset"], 1, "the first stored event");
    loop {
        let frame = writer.next().await;
        assert_ne!(frame["type"], "typing", "not to its sender");
        if frame["type"] == "message" {
            break;
        }
    }
}
