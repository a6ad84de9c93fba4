//! `--help` on everything.

use hubbub_tests::process::run;

fn help(args: &[&str]) -> String {
    let mut args = args.to_vec();
    args.push("--help");
    let output = run(&[], &args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).expect("help is text")
}

#[test]
fn every_command_explains_itself() {
    let main = help(&[]);
    for command in [
        "demo",
        "serve",
        "token",
        "config",
        "bench",
        "healthcheck",
        "archive",
        "verify",
    ] {
        assert!(main.contains(command), "{command} is named in\n{main}");
        let text = help(&[command]);
        assert!(text.contains("Usage: hubbub "), "{text}");
        assert!(
            text.lines().count() > 4,
            "{command} says more than its name:\n{text}"
        );
    }
    for (command, flag) in [("verify", "--archive-url"), ("export", "<ROOM>")] {
        assert!(help(&["archive", command]).contains(flag), "{command}");
    }
    for bench in ["idle", "fanout"] {
        assert!(help(&["bench", bench]).contains("--url"), "{bench}");
    }
}

#[test]
fn a_version_is_told_and_an_unknown_command_is_refused() {
    let output = run(&[], &["--version"]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("hubbub "));
    let output = run(&[], &["sreve"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("serve"),
        "{output:?}"
    );
}
