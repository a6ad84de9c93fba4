//! Settings: where they come from, what is refused, what is hidden.

use std::process::Output;

use hubbub_tests::process::{command, run};
use tempfile::TempDir;

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs `hubbub config` beside this `hubbub.toml`.
fn config_with_file(toml: &str, settings: &[(&str, &str)]) -> Output {
    let dir = TempDir::new().expect("a temporary directory can be made");
    std::fs::write(dir.path().join("hubbub.toml"), toml).expect("the file can be written");
    let mut command = command(&dir, settings, &["config"]);
    command.output().expect("the binary can be started")
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_name() {
    for (toml, wrong, nearest) in [
        ("[limits]\nframe_byte = 1000\n", "frame_byte", "frame_bytes"),
        ("[limit]\nframe_bytes = 1000\n", "limit", "limits"),
        ("[redis]\nurll = \"\"\n", "urll", "url"),
    ] {
        let output = config_with_file(toml, &[]);
        assert!(!output.status.success(), "{toml} {output:?}");
        let text = stderr(&output);
        assert!(
            text.contains(wrong) && text.contains(nearest),
            "{toml}{text}"
        );
    }
    for (key, nearest) in [("limits.frame_byte", "frame_bytes"), ("htpp.bind", "http")] {
        let output = run(&[(key, "1")], &["config"]);
        assert!(!output.status.success(), "{key} {output:?}");
        assert!(
            stderr(&output).contains(nearest),
            "{key} {}",
            stderr(&output)
        );
    }
}

#[test]
fn a_wrong_value_is_refused_with_its_key() {
    for (key, value) in [
        ("limits.frame_bytes", "many"),
        ("limits.ping_interval", "soon"),
        ("limits.rooms_per_connection", "-1"),
        ("auth.mode", "everyone"),
        ("ack.level", "hope"),
        ("auth.secret", "too short"),
        ("http.bind", "nowhere"),
        ("http.allowed_origins", "https://a.example/path"),
    ] {
        let output = run(&[(key, value)], &["config"]);
        assert!(!output.status.success(), "{key}={value} {output:?}");
        let (text, name) = (stderr(&output), key.rsplit('.').next().unwrap_or(key));
        assert!(text.contains(name), "{key}={value}: {text}");
    }
}

#[test]
fn a_redis_url_that_can_never_work_is_refused_at_the_start() {
    for url in [
        "http://127.0.0.1:6379",
        "rediss://127.0.0.1:6379/#insecure",
        "redis+sentinel://127.0.0.1:26379/mymaster",
    ] {
        let output = run(&[("redis.url", url)], &["serve"]);
        assert!(!output.status.success(), "{url} {output:?}");
        let text = stderr(&output);
        assert!(text.contains("redis.url"), "{url}: {text}");
    }
}

#[test]
fn later_sources_win_and_are_named() {
    let toml = "[limits]\nframe_bytes = \"32KiB\"\nping_interval = \"11s\"\n";
    let output = config_with_file(toml, &[("limits.ping_interval", "13s")]);
    assert!(output.status.success(), "{output:?}");
    let text = stdout(&output);
    let line = |key: &str| {
        let line = text.lines().find(|line| line.contains(key));
        line.unwrap_or_else(|| panic!("{key} is missing in\n{text}"))
    };
    assert!(line("ping_interval").contains("13s"), "{text}");
    assert!(
        line("ping_interval").to_lowercase().contains("env"),
        "{text}"
    );
    assert!(line("frame_bytes").contains("hubbub.toml"), "{text}");
    assert!(line("pong_timeout").contains("default"), "{text}");
}

#[test]
fn secrets_are_hidden() {
    const SECRET: &str = "canary-secret-canary-secret-canary";
    let settings = [
        ("auth.secret", SECRET),
        ("ops.token", "canary-ops-token-canary-ops-token"),
        ("redis.url", "redis://user:canary-password@127.0.0.1:6379/0"),
    ];
    let output = run(&settings, &["config"]);
    assert!(output.status.success(), "{output:?}");
    let text = stdout(&output) + &stderr(&output);
    assert!(!text.contains("canary"), "{text}");
    assert!(
        text.contains("127.0.0.1:6379"),
        "the address is no secret: {text}"
    );
}

#[test]
fn a_file_that_is_asked_for_must_be_there() {
    let output = run(&[], &["serve", "--config", "missing.toml"]);
    assert!(!output.status.success());
    assert!(stderr(&output).contains("missing.toml"), "{output:?}");
}
