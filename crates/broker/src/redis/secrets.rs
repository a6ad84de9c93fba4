//! The cluster's own secrets: with the first one guests' tokens are signed and nonces are digested, and
//! the others are those that gave way to it.
//!
//! All nodes know the same secret as long as Redis keeps it. One that was emptied may be given a new secret
//! by a node that starts, while the living ones sign with theirs. Each node looks once a second; where it
//! finds another secret than it knows, the older one counts, and the tokens of both go on counting.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisError, RedisResult};
use tokio::sync::watch;
use tracing::warn;

use super::keys::{Key, Keys};
use super::scripts::Scripts;

const BYTES: usize = 32;
/// Secrets that gave way are kept for so long, in seconds: the life of a guest's token.
const FORMER_LIFE: u64 = 24 * 60 * 60;
/// The most of them: each is tried.
const FORMER: usize = 4;

type Secret = [u8; BYTES];

/// The cluster's secrets as this node knows them; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Secrets {
    keys: Arc<[String; 3]>,
    scripts: Arc<Scripts>,
    known: watch::Sender<Arc<[Secret]>>,
    /// Since when the first one is the cluster's, as Redis keeps it.
    born: watch::Sender<String>,
}

/// The secret in Redis.
struct Found {
    secret: Option<Secret>,
    born: String,
    former: Vec<Secret>,
}

impl Secrets {
    pub(crate) fn new(keys: &Keys, scripts: &Arc<Scripts>) -> Self {
        Self {
            keys: Arc::new([keys.secret(), keys.secret_born(), keys.former_secrets()]),
            scripts: Arc::clone(scripts),
            known: watch::Sender::new(Arc::default()),
            born: watch::Sender::new(String::new()),
        }
    }

    /// The secret that signs; known as soon as there has been a connection.
    pub(crate) fn current(&self) -> Option<Secret> {
        self.known.borrow().first().copied()
    }

    /// All secrets, the one that signs first, and every change of them. Empty at first.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<[Secret]>> {
        self.known.subscribe()
    }

    /// Takes over the secrets in Redis, after this node's was given to one that has none. A Redis that takes
    /// no writes but has a secret can be read.
    pub(crate) async fn agree(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let found = self.read(connection).await?;
        let known = self.current();
        let found = match (found.secret, known) {
            (Some(there), Some(known)) if there != known => {
                match self.settle(connection, &known).await {
                    Ok(()) => self.read(connection).await?,
                    Err(error) => {
                        warn!(%error, "redis holds another secret than this node, and takes no writes");
                        found
                    }
                }
            }
            (Some(_), _) => found,
            (None, known) => {
                self.settle(connection, &known.unwrap_or_else(new_secret))
                    .await?;
                self.read(connection).await?
            }
        };
        self.adopt(found)
    }

    async fn read(&self, connection: &mut MultiplexedConnection) -> RedisResult<Found> {
        let [secret, born, former] = &*self.keys;
        let mut pipe = redis::pipe();
        pipe.get(secret).get(born).zrange(former, 0, -1);
        let (secret, born, former): (Option<Vec<u8>>, Option<String>, Vec<Vec<u8>>) =
            pipe.query_async(connection).await?;
        Ok(Found {
            secret: secret.map(read_secret).transpose()?,
            born: born.unwrap_or_else(|| "0".to_owned()),
            former: former
                .into_iter()
                .filter_map(|secret| secret.try_into().ok())
                .collect(),
        })
    }

    async fn settle(&self, connection: &MultiplexedConnection, secret: &Secret) -> RedisResult<()> {
        let keys = self.keys.each_ref().map(Key::from);
        let mut call = self.scripts.secret.call(&keys);
        call.arg(&secret[..]).arg(&*self.born.borrow());
        call.arg(FORMER_LIFE).arg(FORMER);
        call.invoke::<()>(connection.clone()).await
    }

    fn adopt(&self, found: Found) -> RedisResult<()> {
        let secret = found
            .secret
            .ok_or_else(|| wrong("redis did not keep the cluster's secret"))?;
        let newest = found.former.into_iter().rev();
        let former = newest.filter(|former| *former != secret).take(FORMER);
        let secrets: Arc<[Secret]> = [secret].into_iter().chain(former).collect();
        self.born.send_replace(found.born);
        let before = self.current();
        let is_changed = self.known.send_if_modified(|known| {
            let is_changed = *known != secrets;
            *known = secrets;
            is_changed
        });
        if let (true, Some(before)) = (is_changed, before) {
            let is_replaced = before != secret;
            warn!(
                is_replaced,
                "nodes had different secrets, guests' tokens of all of them count on this node now"
            );
        }
        Ok(())
    }
}

fn new_secret() -> Secret {
    let mut secret = [0; BYTES];
    getrandom::fill(&mut secret).expect("the system gives random bytes");
    secret
}

fn read_secret(bytes: Vec<u8>) -> RedisResult<Secret> {
    bytes
        .try_into()
        .map_err(|_| wrong("the cluster's secret in redis is not 32 bytes"))
}

fn wrong(what: &'static str) -> RedisError {
    (ErrorKind::UnexpectedReturnType, what).into()
}
