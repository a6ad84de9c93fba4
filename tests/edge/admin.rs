//! The admin API: who may ask, what is noted, and that no secret is told (rows C40–C42).

use hubbub_tests::cluster::Cluster;
use hubbub_tests::http::get;
use hubbub_tests::operator::{KEY, KEYED, look, order, request, try_order};
use hubbub_tests::people::{SIGNED, token};
use hubbub_tests::process::{NodeProcess, run};
use hubbub_tests::raw::Raw;
use serde_json::{Value, json};

const CANARY: &str = "canary-secret-canary-secret-0123456";
const OTHER_CANARY: &str = "other-canary-secret-canary-secret-0";

#[tokio::test]
async fn the_admin_api_is_for_who_has_the_key() {
    let cluster = Cluster::memory(1, &[KEYED]).await;
    let (ops, clients) = (cluster.ops(0), cluster.address(0));
    let ask = async |headers: &str| request(ops, "GET", "/admin/nodes", headers, "").await;
    let right = format!("authorization: Bearer {KEY}\r\n");
    assert_eq!(ask(&right).await.status, 200);
    let cases = [
        String::new(),
        "authorization: Bearer \r\n".to_owned(),
        "authorization: Bearer wrong\r\n".to_owned(),
        format!("authorization: Bearer {}\r\n", &KEY[..KEY.len() - 1]),
        format!("authorization: Bearer {KEY}x\r\n"),
        format!("authorization: Basic {KEY}\r\n"),
        format!("cookie: hubbub_token={KEY}\r\n"),
        format!("x-api-key: {KEY}\r\n"),
    ];
    for headers in cases {
        let answer = ask(&headers).await;
        assert_eq!(answer.status, 401, "{headers}");
        assert!(!answer.body.contains(KEY), "{answer:?}");
    }
    let by_query = request(ops, "GET", &format!("/admin/nodes?token={KEY}"), "", "").await;
    assert_eq!(by_query.status, 401);
    for path in ["/admin/nodes", "/admin/kick", "/admin"] {
        let answer = request(clients, "GET", path, &right, "").await;
        assert_eq!(answer.status, 404, "{path} is not for clients");
    }
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let body = r#"{"user":"eve"}"#;
    let posted = format!(
        "POST /admin/kick HTTP/1.1\r\nhost: {ops}\r\n{right}{form}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = hubbub_tests::http::exchange(ops, posted.as_bytes()).await;
    assert_eq!(
        answer.expect("an answer").status,
        415,
        "what a page's form can send"
    );
    assert_eq!(
        request(ops, "PUT", "/admin/kick", &right, "").await.status,
        405
    );
    assert_eq!(
        request(ops, "GET", "/admin/nothing", &right, "")
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn guesses_are_locked_out() {
    let cluster = Cluster::memory(1, &[KEYED]).await;
    let ops = cluster.ops(0);
    let mut statuses = Vec::new();
    for guess in 0..1_000 {
        let headers = format!("authorization: Bearer guess-{guess}\r\n");
        let answer = request(ops, "GET", "/admin/nodes", &headers, "").await;
        statuses.push(answer.status);
        if answer.status == 429 {
            assert!(answer.header("retry-after").is_some(), "{answer:?}");
        }
    }
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 10);
    assert_eq!(
        statuses.iter().filter(|status| **status == 429).count(),
        990
    );
    let right = try_order(ops, "/admin/announce", &json!({"text": "x"})).await;
    assert_eq!(right.status, 429, "whoever guesses learns nothing more");
    assert_eq!(get(ops, "/readyz").await.status, 200);
}

#[tokio::test]
async fn without_a_key_the_admin_api_is_off() {
    let cluster = Cluster::memory(1, &[]).await;
    for headers in [
        "",
        "authorization: Bearer \r\n",
        "authorization: Bearer x\r\n",
    ] {
        let answer = request(cluster.ops(0), "GET", "/admin/nodes", headers, "").await;
        assert_eq!(answer.status, 403, "{headers:?}");
        assert!(answer.body.contains("ops.token"), "{answer:?}");
    }
    assert_eq!(get(cluster.ops(0), "/metrics").await.status, 200);
}

#[tokio::test]
async fn a_port_that_strangers_reach_needs_a_key() {
    let refusal = |settings: &[hubbub_tests::process::Setting<'_>]| {
        let output = run(settings, &["serve"]);
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let public = ("ops.bind", "0.0.0.0:0");
    let http = ("http.bind", "127.0.0.1:0");
    let text = refusal(&[public, http, ("archive.url", "")]);
    assert!(text.contains("ops.token"), "{text}");
    let text = refusal(&[http, ("ops.token", CANARY.get(..31).expect("ASCII"))]);
    assert!(
        text.contains("31 bytes") && !text.contains("canary"),
        "{text}"
    );
}

#[tokio::test]
async fn odd_orders_are_refused_and_say_why() {
    let cluster = Cluster::memory(1, &[KEYED]).await;
    let ops = cluster.ops(0);
    let cases = [
        ("/admin/kick", json!({})),
        ("/admin/kick", json!({"user": "a\nb"})),
        ("/admin/kick", json!({"user": "eve", "room": "a b"})),
        ("/admin/kick", json!({"user": "eve", "ttl": "1h"})),
        ("/admin/ban", json!({"address": "0.0.0.0/0"})),
        ("/admin/ban", json!({"user": "eve", "ttl": "soon"})),
        ("/admin/ban", json!({"user": "eve", "ttl": -1})),
        ("/admin/ban", json!({"usr": "eve"})),
        ("/admin/mute", json!({"user": "eve", "room": "*"})),
        ("/admin/revoke", json!({"token": ""})),
        ("/admin/announce", json!({"text": " "})),
        ("/admin/announce", json!({"text": "\u{1b}[2J"})),
        ("/admin/announce", json!({"text": "x".repeat(2_001)})),
        ("/admin/nodes/a%20b/drain", json!({})),
        ("DELETE /admin/rooms/a%20b/messages/1", Value::Null),
        ("DELETE /admin/rooms/lobby/messages/-1", Value::Null),
    ];
    for (path, body) in cases {
        let answer = try_order(ops, path, &body).await;
        assert_eq!(answer.status, 400, "{path} {body}: {answer:?}");
    }
    assert_eq!(
        try_order(ops, "/admin/nodes/nobody/drain", &Value::Null)
            .await
            .status,
        404
    );
    let injected = "/admin/connections?user=%27%20OR%201%3D1--&room=%7Ba%7D&node=*";
    let right = format!("authorization: Bearer {KEY}\r\n");
    assert_eq!(request(ops, "GET", injected, &right, "").await.status, 400);
}

#[tokio::test]
async fn what_operators_do_is_noted() {
    let cluster = Cluster::sqlite(1, &[KEYED]).await;
    let ops = cluster.ops(0);
    let ban = json!({"user": "eve", "ttl": "1h", "reason": "it's \"spam\"; DROP TABLE audit"});
    assert_eq!(order(ops, "/admin/ban", ban).await["audited"], true);
    assert_eq!(
        try_order(ops, "DELETE /admin/rooms/lobby/messages/7", &Value::Null)
            .await
            .status,
        404
    );
    order(ops, "/admin/kick", json!({"user": "bob"})).await;
    let audit = look(ops, "/admin/audit?limit=2").await;
    assert_eq!(audit["more"], true);
    let newest = &audit["entries"][0];
    assert_eq!(
        (&newest["action"], &newest["target"], &newest["result"]),
        (&json!("kick"), &json!("bob"), &json!("ok"))
    );
    assert_eq!(
        (&newest["who"], &newest["address"]),
        (&json!("ops.token"), &json!("127.0.0.1"))
    );
    assert_eq!(audit["entries"][1]["result"], "not_found");
    let before = audit["entries"][1]["id"].as_u64().expect("an id");
    let audit = look(ops, &format!("/admin/audit?before={before}")).await;
    assert_eq!(
        audit["entries"][0]["detail"]["reason"],
        "it's \"spam\"; DROP TABLE audit"
    );
    assert_eq!(audit["more"], false);
}

#[tokio::test]
async fn rules_of_a_lone_node_outlive_it() {
    let settings = [KEYED, SIGNED, ("archive.url", "sqlite://chat.db")];
    let mut node = NodeProcess::start("alone", &settings).await;
    order(node.ops(), "/admin/ban", json!({"user": "eve"})).await;
    order(node.ops(), "/admin/ban", json!({"user": "bob"})).await;
    order(node.ops(), "DELETE /admin/ban", json!({"user": "bob"})).await;
    node.kill9();
    node.restart();
    node.ready().await;
    let mut eve = Raw::connect_as(node.address(), &token("eve")).await;
    assert_eq!(eve.close_code().await, 4503);
    Raw::connect_as(node.address(), &token("bob"))
        .await
        .join("lobby")
        .await;
}

#[tokio::test]
async fn an_operator_drains_a_node() {
    let drain = [
        KEYED,
        ("drain.ready_delay", "100ms"),
        ("drain.spread", "100ms"),
        ("drain.deadline", "5s"),
    ];
    let mut node = NodeProcess::start("gw-7", &drain).await;
    let mut raw = Raw::connect(node.address()).await;
    raw.join("lobby").await;
    order(node.ops(), "/admin/nodes/gw-7/drain", Value::Null).await;
    assert_eq!(raw.close_code().await, 1012);
    drop(raw);
    let (status, _) = node.wait_exit(std::time::Duration::from_secs(20)).await;
    assert_eq!(status.code(), Some(0), "{}", node.log());
}

#[tokio::test]
async fn no_secret_is_told_anywhere() {
    let settings = [("ops.token", CANARY), ("auth.secret", OTHER_CANARY)];
    let mut node = NodeProcess::spawn("gw", &settings);
    node.ready().await;
    let (ops, address) = (node.ops(), node.address());
    let right = format!("authorization: Bearer {CANARY}\r\n");
    let wrong = format!("authorization: Bearer {CANARY}-wrong\r\n");
    let mut told = String::new();
    for headers in [&right, &wrong] {
        for (method, path, body) in [
            ("GET", "/admin/nodes", ""),
            ("GET", "/admin/connections?user=%00", ""),
            ("POST", "/admin/kick", "{"),
            ("POST", "/admin/kick", r#"{"user":"eve"}"#),
            ("GET", "/readyz", ""),
            ("GET", "/metrics", ""),
        ] {
            told.push_str(&format!(
                "{:?}",
                request(ops, method, path, headers, body).await
            ));
        }
        told.push_str(&format!(
            "{:?}",
            request(address, "GET", "/v1/me", headers, "").await
        ));
        told.push_str(&format!(
            "{:?}",
            get(address, &format!("/v1/ws?token={CANARY}")).await
        ));
    }
    for args in [
        &["config"][..],
        &["serve", "--set", "no.such=1"],
        &["admin", "--url", "http://127.0.0.1:1", "nodes"],
    ] {
        let output = run(&settings, args);
        told.push_str(&String::from_utf8_lossy(&output.stdout));
        told.push_str(&String::from_utf8_lossy(&output.stderr));
    }
    told.push_str(&node.log());
    let found = told
        .find("canary")
        .map(|at| &told[at.saturating_sub(200)..told.len().min(at + 100)]);
    assert_eq!(found, None);
}

#[tokio::test]
async fn the_command_line_does_what_the_api_does() {
    let node = NodeProcess::start("gw-1", &[KEYED, ("archive.url", "sqlite://chat.db")]).await;
    let url = format!("http://{}", node.ops());
    let admin = |args: &[&str]| {
        let all = [&["admin", "--url", &url], args].concat();
        let output = run(&[KEYED], &all);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (
            output.status.code(),
            text + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let (code, text) = admin(&["nodes"]);
    assert!(
        code == Some(0) && text.starts_with("NODE") && text.contains("gw-1"),
        "{text}"
    );
    let (code, text) = admin(&[
        "ban",
        "--user",
        "eve",
        "--ttl",
        "1h",
        "--reason",
        "two words",
    ]);
    assert!(
        code == Some(0) && text.starts_with("done, until 2"),
        "{text}"
    );
    let (code, text) = admin(&["--json", "bans"]);
    let list: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (code, &list["rules"][0]["reason"]),
        (Some(0), &json!("two words"))
    );
    let (_, text) = admin(&["audit"]);
    assert!(text.contains("user eve"), "{text}");
    let (code, text) = admin(&["delete", "lobby", "7"]);
    assert!(code == Some(1) && text.contains("404"), "{text}");
    let (code, text) = admin(&["ban"]);
    assert!(code == Some(2) && text.contains("--user"), "{text}");
    for good in [
        &["unban", "--user", "eve"][..],
        &["mute", "eve", "lobby", "--ttl", "1h"],
        &["unmute", "eve", "lobby"],
        &["revoke", "--token", "x"],
        &["unrevoke", "--token", "x"],
        &["announce", "hello all"],
        &["kick", "eve", "--room", "lobby", "--ttl", "1h"],
        &["connections", "--user", "eve"],
        &["rooms"],
    ] {
        let (code, text) = admin(good);
        assert_eq!(code, Some(0), "{good:?}: {text}");
    }
    let (code, text) = {
        let output = run(&[], &["admin", "--url", &url, "nodes"]);
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    assert!(code == Some(2) && text.contains("ops.token"), "{text}");
}
