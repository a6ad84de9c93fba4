//! A separate Compose project for the test: other ports, another network, the same files.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use hubbub_tests::deadline::{eventually, within};
use hubbub_tests::port::free_port;
use rustix::process::{Resource, getrlimit};
use tempfile::NamedTempFile;
use tokio::process::Command;

/// The time for one command. Some commands build an image, on a slow machine without a cache.
const COMMAND: Duration = Duration::from_secs(900);
/// The time for HAProxy to notice a change: five times what its checks need.
const BALANCED: Duration = Duration::from_secs(30);

/// The ports that a user's cluster publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// HAProxy with the cookie.
    Balancer,
    /// HAProxy without the cookie.
    RoundRobin,
    /// nginx with the cookie.
    Nginx,
    /// nginx without the cookie.
    NginxRoundRobin,
    /// A gateway's own port, from 1.
    Gateway(usize),
}

impl Door {
    pub(crate) const GATEWAYS: [Self; 3] = [Self::Gateway(1), Self::Gateway(2), Self::Gateway(3)];
    const ALL: [Self; 7] = [
        Self::Balancer,
        Self::RoundRobin,
        Self::Nginx,
        Self::NginxRoundRobin,
        Self::Gateway(1),
        Self::Gateway(2),
        Self::Gateway(3),
    ];

    /// The variable that changes its port.
    fn variable(self) -> &'static str {
        match self {
            Self::Balancer => "HUBBUB_PORT",
            Self::RoundRobin => "HUBBUB_ROUND_ROBIN_PORT",
            Self::Nginx => "HUBBUB_NGINX_PORT",
            Self::NginxRoundRobin => "HUBBUB_NGINX_ROUND_ROBIN_PORT",
            Self::Gateway(1) => "HUBBUB_PORT_1",
            Self::Gateway(2) => "HUBBUB_PORT_2",
            Self::Gateway(_) => "HUBBUB_PORT_3",
        }
    }
}

/// A line of `hubbub.env`, and the same setting in the output of `hubbub config`.
pub(crate) const SETTING: (&str, &str) =
    ("HUBBUB__LIMITS__PRESENCE_LIST=900", "presence_list = 900");

/// The Compose project. When dropped, it is removed with its volumes.
#[derive(Debug)]
pub(crate) struct Stack {
    project: String,
    /// The file used in place of the user's `hubbub.env`.
    _settings: NamedTempFile,
    env: Vec<(String, String)>,
    ports: Vec<(Door, u16)>,
    documented: Mutex<BTreeSet<String>>,
}

/// The top of the checkout.
pub(crate) fn top() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("tests are in the checkout").to_owned()
}

impl Stack {
    /// A project with new names and ports, so that it does not conflict with a running cluster.
    pub(crate) fn new() -> Self {
        let project = format!("hubbub-test-{}", std::process::id());
        let ports: Vec<_> = Door::ALL.map(|door| (door, free_port())).into();
        let net = format!("10.{}.{}", fastrand::u8(64..128), fastrand::u8(..));
        let settings = NamedTempFile::new().expect("a temporary file");
        fs::write(settings.path(), SETTING.0).expect("the file can be written");
        let settings_path = settings.path().display().to_string();
        let most_files = getrlimit(Resource::Nofile).maximum.unwrap_or(65_536);
        let mut env = vec![
            ("COMPOSE_PROJECT_NAME".to_owned(), project.clone()),
            ("COMPOSE_DISABLE_ENV_FILE".to_owned(), "1".to_owned()),
            // The tag is new too, because Compose would not build an image that exists.
            ("HUBBUB_TAG".to_owned(), project.clone()),
            ("HUBBUB_NET".to_owned(), net),
            ("HUBBUB_ENV_FILE".to_owned(), settings_path),
            ("NOFILE".to_owned(), most_files.min(65_536).to_string()),
        ];
        let prometheus = free_port().to_string();
        env.push(("HUBBUB_PROMETHEUS_PORT".to_owned(), prometheus));
        for (door, port) in &ports {
            env.push((door.variable().to_owned(), port.to_string()));
        }
        Self {
            project,
            _settings: settings,
            env,
            ports,
            documented: Mutex::default(),
        }
    }

    /// Sets a variable, as a line in `.env` would.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// The value of a variable.
    pub(crate) fn get(&self, name: &str) -> &str {
        let (_, value) = self
            .env
            .iter()
            .find(|(known, _)| known == name)
            .expect("a variable that was set");
        value
    }

    /// The address of a port.
    pub(crate) fn address(&self, door: Door) -> SocketAddr {
        let (_, port) = self
            .ports
            .iter()
            .find(|(known, _)| *known == door)
            .expect("every door has a port");
        SocketAddr::from(([127, 0, 0, 1], *port))
    }

    /// The URL of a port.
    pub(crate) fn url(&self, door: Door) -> String {
        format!("http://{}", self.address(door))
    }

    /// Runs a documented command line unchanged. Returns its output and how long it took.
    pub(crate) async fn documented(&self, line: &str) -> (String, Duration) {
        self.note(line);
        let start = Instant::now();
        (self.shell(line).await, start.elapsed())
    }

    fn note(&self, line: &str) {
        let mut documented = self
            .documented
            .lock()
            .expect("no thread panicked with the lock");
        documented.insert(line.to_owned());
    }

    /// The documented lines that were run.
    pub(crate) fn documented_lines(&self) -> BTreeSet<String> {
        self.documented
            .lock()
            .expect("no thread panicked with the lock")
            .clone()
    }

    /// Runs a command line that must succeed. Returns its output.
    pub(crate) async fn shell(&self, line: &str) -> String {
        let output = self.try_shell(line).await;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            panic!("`{line}` failed: {}\n{printed}\n{said}", output.status);
        }
        printed
    }

    /// Runs a command line that may fail.
    pub(crate) async fn try_shell(&self, line: &str) -> Output {
        let mut command = Command::new("sh");
        command
            .args(["-c", line])
            .current_dir(top())
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = Box::pin(within(line, COMMAND, command.output())).await;
        output.expect("sh can be started")
    }

    /// The ID of a service's only container.
    pub(crate) async fn container(&self, service: &str) -> String {
        let id = self
            .shell(&format!("docker compose ps --all --quiet {service}"))
            .await;
        id.trim().to_owned()
    }

    /// Sends `GET` inside the cluster's network, where HAProxy and Prometheus reach the services.
    /// Returns `None` unless the status is 200.
    pub(crate) async fn fetch(&self, host: &str, port: u16, path: &str) -> Option<String> {
        let script = format!(
            "exec 3<>/dev/tcp/{host}/{port} && printf \"GET {path} HTTP/1.0\\r\\n\\r\\n\" >&3 && cat <&3"
        );
        let line = format!("docker compose exec -T haproxy bash -c '{script}'");
        let answer = self.try_shell(&line).await.stdout;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.split(' ').nth(1)?.eq("200").then(|| body.to_owned())
    }

    /// Waits until HAProxy sends new clients to exactly these gateways. Returns how long that took.
    pub(crate) async fn balanced(&self, gateways: &[&str]) -> Duration {
        let what = format!("HAProxy sends clients to {gateways:?}");
        let wanted: BTreeSet<String> = gateways.iter().map(|&name| name.to_owned()).collect();
        let (_, took) = eventually(&what, BALANCED, async || {
            let figures = self.fetch("127.0.0.1", 8405, "/metrics").await?;
            let up: BTreeSet<String> = figures.lines().filter_map(up_server).collect();
            (up == wanted).then_some(())
        })
        .await;
        took
    }
}

/// Returns the server of a metrics line, if the line reports it as up.
fn up_server(line: &str) -> Option<String> {
    let labels = line.strip_prefix("haproxy_server_status{proxy=\"sticky\",server=\"")?;
    let (server, rest) = labels.split_once('"')?;
    (rest == ",state=\"UP\"} 1").then(|| server.to_owned())
}

impl Drop for Stack {
    fn drop(&mut self) {
        let run = |line: &str| {
            let mut command = std::process::Command::new("sh");
            let env = self.env.iter().map(|(name, value)| (name, value));
            command
                .args(["-c", line])
                .current_dir(top())
                .envs(env)
                .output()
        };
        if std::thread::panicking() {
            for line in ["docker compose ps --all", "docker compose logs --tail 25"] {
                if let Ok(output) = run(line) {
                    eprintln!("--- {line}\n{}", String::from_utf8_lossy(&output.stdout));
                }
            }
        }
        // The next test may notice anything that this one leaves behind.
        let _ = run("docker compose --profile '*' down --volumes --remove-orphans --timeout 2");
        let _ = run("docker image rm hubbub:$HUBBUB_TAG");
        println!("project {} is gone", self.project);
    }
}
