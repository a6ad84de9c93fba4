//! The checks on each new connection before it is used: whether this Redis is fit to store events,
//! and the cluster's secret.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisResult, ServerErrorKind};
use tokio::sync::watch;
use tracing::warn;

use super::secrets::Secrets;

/// Redis 7 introduced scripts with flags.
const OLDEST_VERSION: u32 = 7;

/// The result of the newest connection's checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Contact {
    /// Redis has not answered yet.
    None,
    /// Redis can be used.
    Fit,
    /// Redis is a replica, so it cannot be used now. There may have been a failover.
    Replica,
    /// Redis cannot be used with its present settings, for this reason.
    Unfit(String),
}

/// The checks on a new connection; clones share their result.
#[derive(Debug, Clone)]
pub(crate) struct Greeting {
    allow_eviction: bool,
    secrets: Secrets,
    contact: watch::Sender<Contact>,
    server: Arc<Server>,
}

/// The server that answers.
#[derive(Debug, Default)]
struct Server {
    run_id: Mutex<String>,
    is_changed: AtomicBool,
}

impl Server {
    fn see(&self, run_id: &str) {
        let mut known = self.run_id.lock();
        if !known.is_empty() && *known != run_id {
            self.is_changed.store(true, Ordering::Relaxed);
        }
        run_id.clone_into(&mut known);
    }

    fn take_change(&self) -> bool {
        self.is_changed.swap(false, Ordering::Relaxed)
    }
}

impl Greeting {
    pub(crate) fn new(allow_eviction: bool, secrets: Secrets) -> Self {
        Self {
            allow_eviction,
            secrets,
            contact: watch::Sender::new(Contact::None),
            server: Arc::default(),
        }
    }

    /// Why the newest connection was refused. `None`: it was accepted, or there is none.
    pub(crate) fn refusal(&self) -> Option<String> {
        match &*self.contact.borrow() {
            Contact::Unfit(why) => Some(why.clone()),
            Contact::Replica => Some("it is a replica, writes go to its primary".to_owned()),
            Contact::None | Contact::Fit => None,
        }
    }

    /// Whether another server answers than at the last call: Redis was restarted, or a replica
    /// promoted.
    pub(crate) fn take_change(&self) -> bool {
        self.server.take_change()
    }

    /// The run ID of the server that answered last. Empty if the server does not tell it.
    pub(crate) fn run_id(&self) -> String {
        let known = self.server.run_id.lock();
        known.clone()
    }

    /// The result of the newest connection's checks, as it changes.
    pub(crate) fn contact(&self) -> watch::Receiver<Contact> {
        self.contact.subscribe()
    }

    /// Checks a new connection. Fails if it must not be used.
    pub(crate) async fn greet(&self, mut connection: MultiplexedConnection) -> RedisResult<()> {
        let contact = self.look(&mut connection).await?;
        if contact == Contact::Fit {
            self.secrets.agree(&mut connection).await?;
        }
        self.contact.send_replace(contact);
        match self.refusal() {
            Some(why) => Err((ErrorKind::InvalidClientConfig, "unfit", why).into()),
            None => Ok(()),
        }
    }

    async fn look(&self, connection: &mut MultiplexedConnection) -> RedisResult<Contact> {
        match redis::cmd("INFO").query_async::<String>(connection).await {
            Ok(info) => {
                self.server.see(field(&info, "run_id").unwrap_or_default());
                Ok(judge(&info, self.allow_eviction))
            }
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => {
                warn!("redis does not allow INFO: its version and eviction policy are not checked");
                Ok(Contact::Fit)
            }
            Err(error) => Err(error),
        }
    }
}

/// Returns a field in the text of INFO.
pub(super) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = info
        .lines()
        .filter_map(|line| line.trim_end().split_once(':'));
    fields.find_map(|(key, value)| (key == name).then_some(value))
}

/// Returns the `maxmemory-policy` in the text of INFO if it evicts.
pub(super) fn evicting_policy(info: &str) -> Option<&str> {
    field(info, "maxmemory_policy").filter(|policy| *policy != "noeviction")
}

/// Reads the text of INFO. A missing field counts as fit.
fn judge(info: &str, allow_eviction: bool) -> Contact {
    let field = |name| field(info, name);
    let version = field("redis_version").unwrap_or_default();
    let major: Option<u32> = version
        .split('.')
        .next()
        .and_then(|major| major.parse().ok());
    if major.is_some_and(|major| major < OLDEST_VERSION) {
        return Contact::Unfit(format!(
            "it is version {version}, and {OLDEST_VERSION} is the oldest supported version"
        ));
    }
    match evicting_policy(info) {
        None => {}
        Some(policy) if allow_eviction => {
            warn!(
                policy,
                "redis may evict rooms in use when its memory is full"
            );
        }
        Some(policy) => {
            return Contact::Unfit(format!(
                "its maxmemory-policy {policy} may evict rooms in use: set it to noeviction, \
                 or redis.allow_eviction = true to accept that"
            ));
        }
    }
    if field("role") == Some("slave") {
        return Contact::Replica;
    }
    Contact::Fit
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# Server\r\nredis_version:7.0.15\r\n# Memory\r\nmaxmemory_policy:noeviction\r\nrole:master\r\n";

    fn refusal(info: &str) -> String {
        match judge(info, false) {
            Contact::Unfit(why) => why,
            contact => panic!("{contact:?}"),
        }
    }

    #[test]
    fn a_redis_that_evicts_is_refused_unless_that_is_wanted() {
        assert_eq!(judge(GOOD, false), Contact::Fit);
        let evicting = GOOD.replace("noeviction", "volatile-lru");
        let why = refusal(&evicting);
        assert!(why.contains("volatile-lru") && why.contains("redis.allow_eviction"));
        assert_eq!(judge(&evicting, true), Contact::Fit);
    }

    #[test]
    fn an_old_redis_is_refused() {
        assert!(refusal(&GOOD.replace("7.0.15", "6.2.1")).contains("6.2.1"));
        assert_eq!(judge("", false), Contact::Fit);
    }

    #[test]
    fn another_server_is_noticed_once() {
        let server = Server::default();
        server.see("one");
        server.see("one");
        assert!(!server.take_change());
        server.see("two");
        assert!(server.take_change() && !server.take_change());
    }

    #[test]
    fn a_replica_is_not_used() {
        assert_eq!(
            judge(&GOOD.replace("master", "slave"), false),
            Contact::Replica
        );
    }
}
