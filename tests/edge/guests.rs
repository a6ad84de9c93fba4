//! Guests on the internet: nobody takes their ids, their names are harmless, and one address makes only
//! so many.

use hubbub_tests::cluster::Cluster;
use hubbub_tests::http::{post, post_as};
use hubbub_tests::people::{SIGNED, token, token_with};
use hubbub_tests::process::FILE;
use hubbub_tests::raw::{Heard, Raw};
use serde_json::{Value, json};

#[tokio::test]
async fn a_guest_keeps_its_id() {
    let cluster = Cluster::memory(1, &[SIGNED]).await;
    let address = cluster.address(0);
    let guest = post(address, "/v1/guests", &json!({"name": "Ann"}))
        .await
        .json();
    let (id, ours) = (
        guest["user"]["id"].clone(),
        guest["token"].as_str().expect("a token"),
    );
    let mut raw = Raw::connect_as(address, ours).await;
    assert_eq!(raw.next().await["user"]["id"], id);
    // Nobody else is given it, and no other token may name it.
    let mut other = Raw::connect_as(address, &token(id.as_str().expect("an id"))).await;
    assert_eq!(other.close_code().await, 4501);
    let mut other = Raw::connect_as(address, &token_with("guest-7", &json!({}))).await;
    assert_eq!(other.close_code().await, 4501);
    let minted = hubbub_tests::process::run(&[SIGNED], &["token", "--sub", "guest-7"]);
    assert!(!minted.status.success());
    // Where only tokens count there are no guests any more.
    let settings = [SIGNED, ("auth.mode", "jwt")];
    let strict = Cluster::memory(1, &settings).await;
    let mut late = Raw::connect_as(strict.address(0), ours).await;
    assert_eq!(late.close_code().await, 4501);
}

#[tokio::test]
async fn names_have_one_form_and_no_tricks() {
    let cluster = Cluster::memory(1, &[]).await;
    let address = cluster.address(0);
    for (given, shown) in [
        (" Zoe\u{308} ", "Zo\u{eb}"),
        ("Al\u{200b}ice", "Alice"),
        ("a \u{3000} b", "a b"),
        ("<b>Bob</b>", "<b>Bob</b>"),
    ] {
        let guest = post(address, "/v1/guests", &json!({"name": given})).await;
        assert_eq!(guest.json()["user"]["name"], shown, "{given:?}");
    }
    for bad in [
        "",
        "\u{202e}evil",
        "a\u{0}",
        "\u{200b}",
        "a\nb",
        &"a".repeat(65),
    ] {
        let guest = post(address, "/v1/guests", &json!({"name": bad})).await;
        assert_eq!(guest.status, 400, "{bad:?}");
    }
}

#[tokio::test]
async fn an_address_makes_only_so_many() {
    let settings = [("limits.guests_per_minute", "5"), SIGNED];
    let cluster = Cluster::memory(1, &settings).await;
    let address = cluster.address(0);
    for _ in 0..3 {
        assert_eq!(post(address, "/v1/guests", &json!({})).await.status, 201);
    }
    let mut guests = Vec::new();
    for _ in 0..2 {
        let mut guest = Raw::connect(address).await;
        guest.join("lobby").await;
        guests.push(guest);
    }
    let refused = post(address, "/v1/guests", &json!({})).await;
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (429, &json!("rate_limited"))
    );
    assert!(refused.header("retry-after").is_some());
    let mut late = Raw::connect(address).await;
    late.write(r#"{"type":"join","room":"lobby"}"#).await;
    assert_eq!(late.close_code().await, 1013, "it may come back");
    // Tokens are no guests.
    let mut alice = Raw::connect_as(address, &token("alice")).await;
    assert!(matches!(alice.hear().await, Heard::Text(_)));
}

#[tokio::test]
async fn c54_what_nobody_sees_is_no_part_of_a_name() {
    let cluster = Cluster::memory(1, &[SIGNED]).await;
    let address = cluster.address(0);
    for hidden in [
        '\u{fff0}', '\u{fff4}', '\u{fff8}', '\u{70f}', '\u{200b}', '\u{feff}',
    ] {
        let name = format!("Al{hidden}ice");
        let guest = post(address, "/v1/guests", &json!({"name": name})).await;
        assert_eq!(guest.json()["user"]["name"], "Alice", "{hidden:?}");
        let alone = json!({"name": hidden.to_string()});
        assert_eq!(
            post(address, "/v1/guests", &alone).await.status,
            400,
            "{hidden:?}"
        );
        let claims = json!({"name": name});
        let mut raw = Raw::connect_as(address, &token_with("alice", &claims)).await;
        assert_eq!(raw.next().await["user"]["name"], "Alice", "{hidden:?}");
    }
}

#[tokio::test]
async fn no_guest_makes_the_lobby_theirs() {
    let tables = "[[room]]\nmatch = \"square\"\nrights = \"rw\"\n";
    let cluster = Cluster::sqlite(1, &[SIGNED, (FILE, tables)]).await;
    let address = cluster.address(0);
    let guest = post(address, "/v1/guests", &json!({})).await.json();
    let guest = guest["token"].as_str().expect("a token");
    let make = async |token: &str, room: &str| {
        let new = json!({"room": room, "private": true});
        post_as(address, token, "/v1/rooms", &new).await.status
    };
    for room in ["lobby", "square"] {
        assert_eq!(make(guest, room).await, 403, "{room}");
    }
    assert_eq!(make(guest, "our-corner").await, 201);
    Raw::connect(address).await.join("lobby").await;
}

#[tokio::test]
async fn c49_no_user_makes_a_room_theirs_that_the_settings_name() {
    let tables = "[[room]]\nmatch = \"square\"\nrights = \"rw\"\n";
    let settings = [
        SIGNED,
        ("auth.mode", "jwt"),
        ("socketio.namespaces", "/news"),
        (FILE, tables),
    ];
    let cluster = Cluster::sqlite(1, &settings).await;
    let address = cluster.address(0);
    let make =
        async |token: &str, new: Value| post_as(address, token, "/v1/rooms", &new).await.status;
    let eve = token("eve");
    for room in ["lobby", "square", "lobby:news"] {
        let private = json!({"room": room, "private": true});
        assert_eq!(make(&eve, private).await, 403, "{room}");
        let titled = json!({"room": room, "title": "Moved", "topic": "elsewhere"});
        assert_eq!(make(&eve, titled).await, 403, "{room}");
    }
    assert_eq!(
        make(&eve, json!({"room": "ours", "private": true})).await,
        201
    );
    let with = |rights: &str| token_with("mona", &json!({"rooms": {"*": rights}}));
    let moderator = json!({"room": "square", "title": "The square"});
    assert_eq!(make(&with("rwm"), moderator).await, 201);
    let publisher = json!({"room": "lobby", "private": true, "members": ["alice"]});
    assert_eq!(make(&with("rwp"), publisher).await, 201);
    let mut alice = Raw::connect_as(address, &token("alice")).await;
    alice.join("square").await;
    alice.join("lobby").await;
}
