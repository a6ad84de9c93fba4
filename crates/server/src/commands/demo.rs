//! `hubbub demo`: a whole cluster in one process.

use std::path::PathBuf;
use std::time::Duration;

use hubbub_gateway::GatewayError;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::error::CommandError;
use super::process::{OnHangup, Signals, print, runtime};
use crate::args::{DemoArgs, environment};
use crate::config::{Settings, SettingsFile, Sources, load};
use crate::server::{Server, StartError};
use crate::storage::Embedded;
use crate::{files, logging};

/// Settings that the demo chooses itself.
const PLACES: [&str; 4] = [
    "HUBBUB__HTTP__BIND",
    "HUBBUB__OPS__BIND",
    "HUBBUB__NODE__ID",
    "HUBBUB__REDIS__URL",
];
/// Browsers that are slow to say goodbye do not keep a demo.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) fn demo(args: &DemoArgs) -> Result<(), CommandError> {
    let settings = settings(args)?;
    logging::start("warn");
    files::raise_limit();
    let runtime = runtime()?;
    let result = runtime.block_on(run(args, settings));
    runtime.shutdown_timeout(PATIENCE);
    result
}

async fn run(args: &DemoArgs, settings: Vec<Settings>) -> Result<(), CommandError> {
    let mut signals = Signals::listen(OnHangup::End)?;
    let mut servers = Vec::new();
    let folder = DataFolder::open(args)?;
    let settings: Vec<_> = settings
        .into_iter()
        .map(|settings| folder.give(args, settings))
        .collect();
    let scheme = scheme(&settings[0]);
    let embedded = match &args.redis_url {
        Some(_) => None,
        None => Some(
            Embedded::open(&settings[0])
                .await
                .map_err(StartError::from)?,
        ),
    };
    for settings in settings {
        let started = match &embedded {
            None => Server::start(settings).await,
            Some(embedded) => Server::start_with(settings, embedded).await,
        };
        servers.push(started.map_err(|error| match error {
            StartError::Gateway(error @ GatewayError::Bind { .. }) => CommandError::Port(error),
            other => other.into(),
        })?);
    }
    // The nodes run although nobody can be told.
    drop(print(&greeting(args, scheme, &servers)));
    let (stop, stopping) = watch::channel(false);
    let mut nodes = JoinSet::new();
    for server in servers {
        nodes.spawn(keep(server, stopping.clone()));
    }
    signals.next().await;
    stop.send_replace(true);
    let stopped = async {
        // A node that panicked while it stopped has stopped.
        while nodes.join_next().await.is_some() {}
        if let Some(embedded) = embedded {
            embedded.close().await;
        }
    };
    drop(tokio::time::timeout(PATIENCE, stopped).await);
    drop(print("\nbye\n"));
    Ok(())
}

/// Runs a node until all stop, or an operator has this one leave.
async fn keep(server: Server, mut stopping: watch::Receiver<bool>) {
    tokio::select! {
        () = async { drop(stopping.wait_for(|stopping| *stopping).await) } => {}
        () = server.failed() => {}
        () = server.dismissed() => {
            server.drain().await;
            return;
        }
    }
    server.stop().await;
}

/// Where the archive lies: in a folder that is kept, or in one that goes with the demo.
enum DataFolder {
    Kept(PathBuf),
    Temporary(TempDir),
}

impl DataFolder {
    fn open(args: &DemoArgs) -> Result<Self, CommandError> {
        match &args.data {
            Some(path) => {
                let made = std::fs::create_dir_all(path);
                made.map_err(|source| CommandError::Data {
                    path: path.clone(),
                    source,
                })?;
                Ok(Self::Kept(path.clone()))
            }
            None => {
                let made = TempDir::with_prefix("hubbub-demo-").map(Self::Temporary);
                made.map_err(|source| CommandError::Data {
                    path: std::env::temp_dir(),
                    source,
                })
            }
        }
    }

    /// Names the archive, unless the demo runs over a Redis, which wants one of its own kind.
    fn give(&self, args: &DemoArgs, mut settings: Settings) -> Settings {
        let folder = match self {
            Self::Kept(path) => path.as_path(),
            Self::Temporary(folder) => folder.path(),
        };
        if args.redis_url.is_none() {
            settings.archive.url = format!("sqlite://{}", folder.join("hubbub.db").display());
        }
        settings
    }
}

/// One node's settings each: limits and the like from the environment, places from the flags.
fn settings(args: &DemoArgs) -> Result<Vec<Settings>, CommandError> {
    let env = environment()
        .into_iter()
        .filter(|(name, _)| !PLACES.contains(&name.strip_suffix("_FILE").unwrap_or(name)));
    let sources = Sources {
        file: SettingsFile::Nothing,
        env: env.collect(),
        flags: Vec::new(),
    };
    let base = load(&sources)?.settings;
    let ports = ports_from(args.port, args.nodes)?;
    let ops_ports = args
        .ops_port
        .map(|first| ports_from(first, args.nodes))
        .transpose()?;
    let node = |index: usize| {
        let mut settings = base.clone();
        settings.node.id = format!("demo-{}", index + 1);
        settings.http.bind = format!("127.0.0.1:{}", ports[index]);
        settings.ops.bind = match &ops_ports {
            Some(ports) => format!("127.0.0.1:{}", ports[index]),
            None => String::new(),
        };
        settings.redis.url = args.redis_url.clone().unwrap_or_default();
        if args.redis_url.is_none() {
            settings.archive.url = String::new();
        }
        let scheme = scheme(&settings);
        settings.http.public_urls = urls(scheme, "127.0.0.1", &ports);
        if !settings
            .http
            .allowed_origins
            .iter()
            .any(|origin| origin == "*")
        {
            // A page opened as localhost has another origin than the same page at 127.0.0.1.
            settings
                .http
                .allowed_origins
                .extend(urls(scheme, "localhost", &ports));
        }
        settings
    };
    Ok((0..ports.len()).map(node).collect())
}

fn ports_from(first: u16, count: u16) -> Result<Vec<u16>, CommandError> {
    let last = u32::from(first) + u32::from(count) - 1;
    let last = u16::try_from(last).map_err(|_| CommandError::PortRange(last))?;
    Ok((first..=last).collect())
}

fn scheme(settings: &Settings) -> &'static str {
    if settings.http.has_tls() {
        "https"
    } else {
        "http"
    }
}

fn urls(scheme: &str, host: &str, ports: &[u16]) -> Vec<String> {
    ports
        .iter()
        .map(|port| format!("{scheme}://{host}:{port}"))
        .collect()
}

fn greeting(args: &DemoArgs, scheme: &str, servers: &[Server]) -> String {
    let mut text = format!(
        "\nHubbub is running, {} of its nodes on this machine:\n\n",
        servers.len()
    );
    for (index, server) in servers.iter().enumerate() {
        text.push_str(&format!(
            "  demo-{}   {scheme}://{}",
            index + 1,
            server.http_addr()
        ));
        if let Some(ops) = server.ops_addr() {
            text.push_str(&format!("   operators: http://{ops}/metrics"));
        }
        text.push('\n');
    }
    let broker = match (&args.redis_url, &args.data) {
        (Some(_), _) => "over Redis".to_owned(),
        (None, Some(folder)) => format!("in memory, and keep what is said in {}", folder.display()),
        (None, None) => "in memory: it ends with the demo".to_owned(),
    };
    text.push_str(&format!(
        "\nOpen two of them in a browser and talk to yourself. The nodes share everything\n\
         {broker}. Ctrl-C ends it.\n"
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(nodes: u16, port: u16) -> DemoArgs {
        DemoArgs {
            nodes,
            port,
            ops_port: None,
            data: None,
            redis_url: None,
        }
    }

    #[test]
    fn every_node_has_its_place_and_knows_the_others() {
        let all = settings(&args(3, 4000)).unwrap();
        let binds: Vec<_> = all
            .iter()
            .map(|settings| settings.http.bind.as_str())
            .collect();
        assert_eq!(
            binds,
            ["127.0.0.1:4000", "127.0.0.1:4001", "127.0.0.1:4002"]
        );
        for settings in &all {
            settings.check().unwrap();
            assert_eq!(settings.http.public_urls.len(), 3);
            assert!(
                settings
                    .http
                    .allowed_origins
                    .contains(&"http://localhost:4002".to_owned())
            );
            assert_eq!(settings.ops.bind, "");
        }
        assert_eq!(all[2].node.id, "demo-3");
    }

    #[test]
    fn ports_end_somewhere() {
        assert!(matches!(
            settings(&args(3, 65_534)),
            Err(CommandError::PortRange(65_536))
        ));
    }
}
