//! The Lua scripts, each one atomic step in Redis.
//!
//! `#!lua` lets Redis refuse a script before it starts when it is full, so that a refusal means
//! "nothing was written". With `allow-oom` it takes the script even then: so run the scripts that give
//! memory back, and those with which operators and nodes get along in a full Redis.

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisResult, ServerErrorKind, ToRedisArgs};

use super::RedisBroker;
use super::archive::backlog;
use super::keys::Key;
use crate::BrokerConfig;

/// A nonce is kept for one to two of these generations.
const NONCE_GENERATION_SECONDS: u64 = 15 * 60;

/// A call's initial capacity: arguments, and their bytes. One message needs no more.
const CALL_ARGS: usize = 32;
const CALL_BYTES: usize = 1_536;

const EPOCH: &str = include_str!("lua/epoch.lua");
const STREAM_END: &str = include_str!("lua/stream_end.lua");
const FIT: &str = include_str!("lua/fit.lua");
const CARRY: &str = include_str!("lua/carry.lua");
const CHANGE: &str = include_str!("lua/change.lua");
const NOTE: &str = include_str!("lua/note.lua");
const ATTEND: &str = include_str!("lua/attend.lua");
const EXCERPT: &str = include_str!("lua/excerpt.lua");
const ANNOUNCE: &str = include_str!("lua/announce.lua");
const REGISTRY: &str = include_str!("lua/registry.lua");

/// A script. It is loaded into Redis when Redis does not know it.
#[derive(Debug)]
pub(crate) struct Script(redis::Script);

impl Script {
    fn new(code: &str) -> Self {
        Self(redis::Script::new(code))
    }

    /// A call with these `KEYS`.
    pub(crate) fn call(&self, keys: &[Key<'_>]) -> Call<'_> {
        let mut command = Cmd::with_capacity(CALL_ARGS, CALL_BYTES);
        command.arg("EVALSHA").arg(self.0.get_hash());
        command.arg(keys.len()).arg(keys);
        Call {
            script: &self.0,
            command,
        }
    }
}

/// One call of a script. It is encoded at once in the form for Redis, because the crate's own
/// invocation stores each argument separately.
#[must_use]
pub(crate) struct Call<'a> {
    script: &'a redis::Script,
    command: Cmd,
}

impl Call<'_> {
    /// Adds to `ARGV`.
    pub(crate) fn arg(&mut self, arg: impl ToRedisArgs) -> &mut Self {
        self.command.arg(arg);
        self
    }

    pub(crate) async fn invoke<T: FromRedisValue>(
        &self,
        mut connection: MultiplexedConnection,
    ) -> RedisResult<T> {
        match self.command.query_async(&mut connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.script.load_async(&mut connection).await?;
                self.command.query_async(&mut connection).await
            }
            answer => answer,
        }
    }
}

/// All scripts.
#[derive(Debug)]
pub(crate) struct Scripts {
    pub(crate) publish: Script,
    /// The same for deletions alone.
    pub(crate) publish_deletions: Script,
    pub(crate) run: Script,
    pub(crate) state: Script,
    pub(crate) reconcile: Script,
    /// The same where the stream stays as it is.
    pub(crate) confirm: Script,
    pub(crate) read: Script,
    pub(crate) changes: Script,
    pub(crate) expire: Script,
    pub(crate) archived: Script,
    pub(crate) private: Script,
    pub(crate) waiting: Script,
    pub(crate) presence: Script,
    pub(crate) members: Script,
    pub(crate) registered: Script,
    pub(crate) renew: Script,
    pub(crate) secret: Script,
    pub(crate) evict: Script,
    pub(crate) order: Script,
    pub(crate) answer: Script,
    pub(crate) shed: Script,
    pub(crate) pace: Script,
    pub(crate) due: Script,
    pub(crate) told: Script,
}

impl Scripts {
    /// Builds all scripts. Values that are the same at each publish become part of the script, so
    /// `config` must not change.
    pub(crate) fn new(config: &BrokerConfig) -> Self {
        let history = &config.history;
        let (stream_len, backlog) = (history.stream_len, backlog(config));
        let stream_life = RedisBroker::seconds(history.stream_ttl);
        let meta_life = RedisBroker::seconds(history.meta_ttl);
        // The length is text for XADD, because Redis formats Lua's numbers slowly.
        let stream_bytes = history.stream_bytes.as_u64();
        let publishing = format!(
            "local STREAM_LEN, STREAM_LIFE, META_LIFE = '{stream_len}', {stream_life}, {meta_life}\n\
             local NONCE_GENERATION, BACKLOG = {NONCE_GENERATION_SECONDS}, {backlog}\n\
             local STREAM_BYTES = {stream_bytes}\n\
             {EPOCH}{NOTE}{CHANGE}{FIT}"
        );
        let attendance = format!("{REGISTRY}{ANNOUNCE}{NOTE}{ATTEND}");
        let reconciling = format!("{EPOCH}{STREAM_END}{CARRY}");
        let with_end =
            |script: &str| Script::new(&format!("#!lua flags=no-writes\n{STREAM_END}{script}"));
        let with = |shared: &str, script: &str| Script::new(&format!("#!lua\n{shared}{script}"));
        let even_if_full = |shared: &str, script: &str| {
            Script::new(&format!("#!lua flags=allow-oom\n{shared}{script}"))
        };
        let reading =
            |script: &str| Script::new(&format!("#!lua flags=no-writes\n{EXCERPT}{script}"));
        Self {
            publish: with(&publishing, include_str!("lua/publish.lua")),
            publish_deletions: even_if_full(&publishing, include_str!("lua/publish.lua")),
            run: Script::new(include_str!("lua/run.lua")),
            state: with_end(include_str!("lua/state.lua")),
            reconcile: with(&reconciling, include_str!("lua/reconcile.lua")),
            confirm: even_if_full(&reconciling, include_str!("lua/reconcile.lua")),
            read: reading(include_str!("lua/read.lua")),
            changes: Script::new(include_str!("lua/changes.lua")),
            expire: Script::new(include_str!("lua/expire.lua")),
            archived: Script::new(include_str!("lua/archived.lua")),
            private: even_if_full("", include_str!("lua/private.lua")),
            waiting: with("", include_str!("lua/waiting.lua")),
            presence: even_if_full(&attendance, include_str!("lua/presence.lua")),
            members: Script::new(include_str!("lua/members.lua")),
            registered: Script::new(include_str!("lua/registered.lua")),
            renew: Script::new(include_str!("lua/renew.lua")),
            secret: Script::new(include_str!("lua/secret.lua")),
            evict: even_if_full(&attendance, include_str!("lua/evict.lua")),
            due: reading(include_str!("lua/due.lua")),
            told: Script::new(include_str!("lua/told.lua")),
            order: even_if_full("", include_str!("lua/order.lua")),
            answer: even_if_full("", include_str!("lua/answer.lua")),
            shed: even_if_full(FIT, include_str!("lua/shed.lua")),
            pace: with("", include_str!("lua/pace.lua")),
        }
    }
}
