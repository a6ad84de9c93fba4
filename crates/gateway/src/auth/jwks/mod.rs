//! [`Jwks`]: the keys at `auth.jwks_url`. They are fetched again and again, so that keys can come and
//! go; what a token says never leads to more than one fetch in [`SPACING`], and never to another place.

mod fetch;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hubbub_outage::Outage;
use jsonwebtoken::Algorithm;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

pub use self::fetch::BadUrl;
use self::fetch::{FetchError, Source};
use super::TokenError;
use super::keys::{Key, Rules};

/// Between the beginnings of two fetches, at least.
const SPACING: Duration = Duration::from_secs(10);
/// How long keys count when the URL does not answer any more.
const TRUST: Duration = Duration::from_secs(60 * 60);
/// How long a token with an unknown key ID waits for a fetch.
const PATIENCE: Duration = Duration::from_secs(6);
/// How long a key that was not there is not asked for again.
const ABSENCE: Duration = Duration::from_secs(5 * 60);
/// Absent keys that are remembered; beyond, all are forgotten.
const ABSENT: usize = 1_000;
/// The longest `kid`; a longer one is nobody's.
const MAX_KID_BYTES: usize = 256;
/// Keys of one set that are looked at.
const MAX_KEYS: usize = 100;

/// The keys, and when they were asked for.
pub(super) struct Jwks {
    source: Source,
    rules: Rules,
    refresh: Duration,
    state: Mutex<State>,
    /// Somebody brought a key that may have come since.
    wanted: Notify,
    /// Counts the fetches that have ended.
    ended: watch::Sender<u64>,
    /// Fetches that failed.
    outage: Outage,
}

#[derive(Default)]
struct State {
    keys: Arc<KeySet>,
    /// When the keys came; `None`: not yet.
    fetched: Option<Instant>,
    /// When the last fetch began.
    began: Option<Instant>,
    is_fetching: bool,
    absent: HashMap<Box<str>, Instant>,
}

#[derive(Default)]
struct KeySet {
    named: HashMap<String, Arc<Key>>,
    all: Vec<Arc<Key>>,
}

impl KeySet {
    /// Keys that are for something else, or not used here, are passed over.
    fn read(body: &[u8], rules: &Rules) -> Result<Self, FetchError> {
        #[derive(serde::Deserialize)]
        struct Loose {
            keys: Vec<serde_json::Value>,
        }
        let Loose { keys } = serde_json::from_slice(body).map_err(FetchError::NoSet)?;
        let mut set = Self::default();
        let keys = keys.into_iter().take(MAX_KEYS);
        for jwk in keys.filter_map(|key| serde_json::from_value::<Jwk>(key).ok()) {
            let Some(key) = usable(&jwk, rules).map(Arc::new) else {
                continue;
            };
            if let Some(kid) = jwk.common.key_id {
                // The first of two with one name stays.
                set.named.entry(kid).or_insert_with(|| Arc::clone(&key));
            }
            set.all.push(key);
        }
        if set.all.is_empty() {
            Err(FetchError::NoKey)
        } else {
            Ok(set)
        }
    }

    /// A token that names no key is meant for the only one of its algorithm.
    fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<Arc<Key>> {
        if let Some(kid) = kid {
            return self.named.get(kid).cloned();
        }
        let mut all = self.all.iter().filter(|key| key.is_for(algorithm));
        let only = all.next().cloned();
        only.filter(|_| all.next().is_none())
    }
}

fn usable(jwk: &Jwk, rules: &Rules) -> Option<Key> {
    let common = &jwk.common;
    let signs = common
        .public_key_use
        .as_ref()
        .is_none_or(|it| *it == PublicKeyUse::Signature);
    let key = Key::of_jwk(jwk, rules).filter(|_| signs)?;
    let is_meant = common
        .key_algorithm
        .is_none_or(|it| Algorithm::try_from(it).is_ok_and(|it| key.is_for(it)));
    is_meant.then_some(key)
}

impl Jwks {
    /// # Errors
    /// [`BadUrl`]: neither `https` nor this machine.
    pub(super) fn new(url: &str, refresh: Duration, rules: &Rules) -> Result<Self, BadUrl> {
        Ok(Self {
            source: Source::new(url)?,
            rules: rules.clone(),
            refresh,
            state: Mutex::default(),
            wanted: Notify::new(),
            ended: watch::Sender::new(0),
            outage: Outage::new(),
        })
    }

    /// Whether there are keys that count.
    pub(super) fn is_ready(&self) -> bool {
        self.state().is_trusted()
    }

    /// Whether there were some once.
    pub(super) fn was_ready(&self) -> bool {
        self.state().fetched.is_some()
    }

    /// The key that a token must be signed with.
    pub(super) fn key(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Arc<Key>, TokenError> {
        let state = self.state();
        if !state.is_trusted() {
            return Err(TokenError::NoKeys);
        }
        let key = state.keys.find(kid, algorithm);
        key.ok_or(TokenError::UnknownKey)
    }

    /// Waits for a fetch if one may bring this key, and says whether there was one.
    pub(super) async fn look_for(&self, kid: Option<&str>) -> bool {
        let mut ended = self.ended.subscribe();
        if !self.state().may_come(kid) {
            return false;
        }
        self.wanted.notify_one();
        matches!(timeout(PATIENCE, ended.changed()).await, Ok(Ok(())))
    }

    /// Notes that a fetch did not bring this key.
    pub(super) fn note_absent(&self, kid: Option<&str>) {
        let Some(kid) = kid.filter(|kid| kid.len() <= MAX_KID_BYTES) else {
            return;
        };
        let absent = &mut self.state().absent;
        if absent.len() >= ABSENT {
            absent.clear();
        }
        absent.insert(kid.into(), Instant::now());
    }

    /// Fetches the keys, and again whenever it is time or somebody wants it. Does not end.
    pub(super) async fn keep(&self) {
        loop {
            let began = Instant::now();
            let done = self.fetch(began).await;
            sleep_until(began + SPACING).await;
            // A failed fetch is tried again as soon as allowed.
            if done {
                tokio::select! {
                    () = sleep(self.refresh.saturating_sub(SPACING)) => {}
                    () = self.wanted.notified() => {}
                }
            }
        }
    }

    async fn fetch(&self, began: Instant) -> bool {
        {
            let mut state = self.state();
            state.began = Some(began);
            state.is_fetching = true;
        }
        let fetched = self.source.fetch().await;
        let set = fetched.and_then(|body| KeySet::read(&body, &self.rules));
        let done = set.is_ok();
        {
            let mut state = self.state();
            state.is_fetching = false;
            match set {
                Ok(set) => {
                    let keys = set.all.len();
                    tracing::debug!(keys, "keys fetched from auth.jwks_url");
                    if let Some(over) = self.outage.end() {
                        tracing::info!(keys, failures = over.failures, lasted = ?over.lasted,
                            "keys are fetched from auth.jwks_url again");
                    }
                    state.keys = Arc::new(set);
                    state.fetched = Some(Instant::now());
                }
                Err(error) => {
                    let counts = state.is_trusted();
                    if let Some(now) = self.outage.fail(&error) {
                        tracing::warn!(%error, counts, failures = now.failures, lasted = ?now.lasted,
                            "keys cannot be fetched from auth.jwks_url");
                    }
                }
            }
        }
        self.ended.send_modify(|count| *count += 1);
        done
    }

    fn state(&self) -> parking_lot::MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn is_trusted(&self) -> bool {
        self.fetched.is_some_and(|at| at.elapsed() < TRUST)
    }

    /// Whether a fetch that is going on, or may begin now, may bring this key.
    fn may_come(&self, kid: Option<&str>) -> bool {
        let Some(kid) = kid else {
            return self.is_fetching || self.began.is_none();
        };
        if kid.len() > MAX_KID_BYTES {
            return false;
        }
        let absent = self
            .absent
            .get(kid)
            .is_some_and(|at| at.elapsed() < ABSENCE);
        let is_due = self.began.is_none_or(|began| began.elapsed() >= SPACING);
        self.is_fetching || (is_due && !absent)
    }
}

#[cfg(test)]
mod tests;
