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

/// Each mistake is refused by `config` and `serve` with the setting and what to write instead.
#[test]
fn usual_mistakes_are_refused_with_what_to_write_instead() {
    for (key, value, told) in [
        (
            "redis.url",
            "",
            "redis.url is empty (env HUBBUB__REDIS__URL)",
        ),
        ("redis.url", "redis://:pa#ss@127.0.0.1:6379", "%23"),
        ("redis.url", "redis://:pa/ss@127.0.0.1:6379", "%2F"),
        (
            "archive.url",
            "postgres://hubbub:pa#ss@127.0.0.1/hubbub",
            "%23",
        ),
        (
            "http.trusted_proxies",
            "haproxy",
            "\"haproxy\" is neither an address nor a network",
        ),
    ] {
        for command in ["config", "serve"] {
            let output = run(&[(key, value)], &[command]);
            assert!(!output.status.success(), "{key}={value}: {output:?}");
            let text = stderr(&output);
            assert!(text.contains(key) && text.contains(told), "{text}");
            assert!(!text.contains("pa#ss") && !text.contains("pa/ss"), "{text}");
        }
    }
    for (toml, told) in [
        ("[[rooms]]\nmatch = \"a\"\n", "did you mean [[room]]?"),
        (
            "[[room]]\nmatch = \"a\"\n[[room]]\nmacth = \"b\"\n",
            "[[room]], table 2 (hubbub.toml): unknown field `macth`",
        ),
        ("[room]\nmatch = \"a\"\n", "[[room]] with two brackets"),
    ] {
        let output = config_with_file(toml, &[]);
        assert!(!output.status.success(), "{toml} {output:?}");
        assert!(stderr(&output).contains(told), "{}", stderr(&output));
    }
    let output = run(&[("http.trusted_proxies", "10.0.0.1,fd00::1")], &["config"]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_variable_that_is_nearly_a_setting_is_refused() {
    let dir = TempDir::new().expect("a temporary directory can be made");
    for (name, meant) in [
        ("HUBBUB_AUTH_SECRET", "HUBBUB__AUTH__SECRET"),
        ("HUBBUB_REDIS_URL_FILE", "HUBBUB__REDIS__URL_FILE"),
    ] {
        let mut command = command(&dir, &[], &["config"]);
        command.env(name, "canary-canary-canary-canary-canary");
        let output = command.output().expect("the binary can be started");
        let text = stderr(&output);
        assert!(!output.status.success(), "{output:?}");
        assert!(text.contains(name) && text.contains(meant), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }
    let mut command = command(&dir, &[], &["config"]);
    command.env("HUBBUB_TAG", "v1").env("HUBBUB_PORT", "8080");
    assert!(
        command.output().expect("it starts").status.success(),
        "variables of docker-compose.yml are none of ours"
    );
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
