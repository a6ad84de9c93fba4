//! The ports that a cluster publishes, and the rights of its containers.

use std::collections::BTreeSet;

use crate::stack::{SETTING, Stack};

/// The user ID of the gateways.
const GATEWAY_USER: &str = "10001";

pub(crate) async fn only_what_is_meant_can_be_reached(stack: &Stack) {
    published_on_this_machine_only(stack).await;
    containers_can_do_little(stack).await;
    secrets_stand_nowhere(stack).await;
    nothing_is_kept_without_a_name(stack).await;
}

async fn published_on_this_machine_only(stack: &Stack) {
    let project = stack.get("COMPOSE_PROJECT_NAME");
    let format = "{{.Names}} {{.Ports}}";
    let listed = stack
        .shell(&format!(
            "docker ps --filter label=com.docker.compose.project={project} --format '{format}'"
        ))
        .await;
    let mut published = 0;
    for line in listed.lines() {
        for port in line.split([' ', ',']).filter(|part| part.contains("->")) {
            assert!(port.starts_with("127.0.0.1:"), "{line}");
            assert!(
                !line.contains("redis") && !line.contains("postgres"),
                "Redis and PostgreSQL are for the gateways only: {line}"
            );
            published += 1;
        }
    }
    assert_eq!(
        published, 7,
        "three gateways, two ports each of HAProxy and nginx:\n{listed}"
    );
}

async fn containers_can_do_little(stack: &Stack) {
    let user = stack.shell("docker compose exec -T gateway-2 id -u").await;
    assert_eq!(user.trim(), GATEWAY_USER);
    let (write, other_secret) = ("touch /tmp/x", "cat /run/hubbub/redis-password");
    for forbidden in [write, other_secret] {
        let line = format!("docker compose exec -T gateway-2 {forbidden}");
        assert!(
            !stack.try_shell(&line).await.status.success(),
            "{forbidden}"
        );
    }
    for service in ["gateway-1", "redis", "postgres", "haproxy", "nginx"] {
        let container = stack.container(service).await;
        let format = "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.CapAdd}} \
                      {{.HostConfig.SecurityOpt}} {{.HostConfig.RestartPolicy.Name}}";
        let is = stack
            .shell(&format!("docker inspect -f '{format}' {container}"))
            .await;
        assert_eq!(
            is.trim(),
            "true [ALL] [] [no-new-privileges:true] unless-stopped",
            "{service}"
        );
    }
}

async fn secrets_stand_nowhere(stack: &Stack) {
    let secret = stack
        .shell("docker compose exec -T gateway-1 cat /run/hubbub/auth-secret")
        .await;
    let url = stack
        .shell("docker compose exec -T gateway-1 cat /run/hubbub/redis-url")
        .await;
    let password = stack
        .shell("docker compose exec -T redis cat /run/hubbub/redis-password")
        .await;
    assert!(
        secret.len() == 64 && password.len() == 64 && secret != password,
        "the secrets are random"
    );
    let archive = stack
        .shell("docker compose exec -T gateway-1 cat /run/hubbub/archive-url")
        .await;
    let settings = stack
        .shell("docker compose exec -T gateway-1 hubbub config")
        .await;
    assert!(
        settings.contains("# file /run/hubbub/redis-url"),
        "{settings}"
    );
    assert!(settings.contains(SETTING.1), "{settings}");
    let logs = stack.shell("docker compose logs").await;
    let inspected = stack
        .shell("docker inspect $(docker compose ps --all --quiet)")
        .await;
    for canary in [&secret, &url, &password, &archive] {
        for text in [&settings, &logs, &inspected] {
            assert!(!text.contains(canary.as_str()), "a secret is visible");
        }
    }
    let unauthorized = stack
        .shell("docker compose exec -T redis redis-cli ping")
        .await;
    assert!(unauthorized.contains("NOAUTH"), "{unauthorized}");
}

/// Checks that there are no anonymous volumes, which some images create and which would stay after
/// `down`.
async fn nothing_is_kept_without_a_name(stack: &Stack) {
    let format = "{{range .Mounts}}{{if eq .Type \"volume\"}}{{.Name}}{{println}}{{end}}{{end}}";
    let listed = stack
        .shell(&format!(
            "docker inspect --format '{format}' $(docker compose ps --all --quiet)"
        ))
        .await;
    let project = stack.get("COMPOSE_PROJECT_NAME");
    let volumes: BTreeSet<&str> = listed.split_whitespace().collect();
    let named = ["redis-data", "postgres-data", "secrets"].map(|name| format!("{project}_{name}"));
    assert_eq!(volumes, named.iter().map(String::as_str).collect());
}
