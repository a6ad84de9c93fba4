//! Keys for programs: bearers of a table `[[api_key]]`.

use hubbub_tests::cluster::Cluster;
use hubbub_tests::people::SIGNED;
use hubbub_tests::process::FILE;
use hubbub_tests::raw::Raw;
use serde_json::json;

use crate::asking::{Asker, assert_problem};

const BILLING: &str = "billing-key-0123456789abcdef0123456789";
const KEYS: &str = r#"
[[api_key]]
name = "billing"
key = "billing-key-0123456789abcdef0123456789"
rooms = { "billing-*" = "rwp", "billing-secret" = "" }

[[api_key]]
name = "reader"
key = "reader-key-0123456789abcdef0123456789x"
rooms = { "*" = "r" }
"#;

#[tokio::test]
async fn a_key_opens_what_its_table_says() {
    let cluster = Cluster::memory(1, &[SIGNED, (FILE, KEYS)]).await;
    let address = cluster.address(0);
    let billing = Asker::bearer(address, BILLING);
    let me = billing.read("/v1/me").await;
    assert_eq!(me["user"], json!({"id": "key:billing", "name": "billing"}));
    assert_eq!(
        me["rooms"],
        json!({"billing-*": "rwp", "billing-secret": ""})
    );
    assert_eq!(
        billing.get("/v1/rooms/billing-1/messages").await.status,
        200
    );
    for room in ["lobby", "billing-secret"] {
        let answer = billing.get(&format!("/v1/rooms/{room}/messages")).await;
        assert_problem(&answer, 403, "forbidden");
    }
    let mut raw = Raw::connect_as(address, BILLING).await;
    assert_eq!(raw.join("billing-1").await["rights"], "rwp");
    raw.say("billing-1", "paid").await;
    for bad in [
        &BILLING[1..],
        &format!("{BILLING}x"),
        &BILLING.to_uppercase(),
    ] {
        let answer = Asker::bearer(address, bad).get("/v1/me").await;
        assert_problem(&answer, 401, "unauthorized");
        assert!(!answer.body.contains(bad));
    }
}
