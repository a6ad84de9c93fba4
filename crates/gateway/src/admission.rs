//! How many may come in: at once, from one address, and in one second.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hubbub_node::{Expires, ExpiringMap, address_key};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::error::ApiError;

/// One part in so many of `limits.connections` is for those who have not said who they are.
const STRANGERS: usize = 10;
/// An address gets at most one part in so many of `limits.accepts_per_second`.
const ADDRESS_SHARE: u32 = 8;

/// Why somebody has to stay outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// `limits.accepts_per_second`.
    Rate,
    /// One address's share of `limits.accepts_per_second`.
    AddressRate,
    /// `limits.connections`.
    Full,
    /// `limits.connections_per_address`.
    Address,
    /// Too many have not said yet who they are.
    Strangers,
}

impl Refusal {
    /// As a metric's label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::AddressRate => "address_rate",
            Self::Full => "full",
            Self::Address => "address",
            Self::Strangers => "strangers",
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Rate => Self::Busy("too many new connections a second"),
            Refusal::Full => Self::Busy("it holds as many connections as it can"),
            Refusal::Address => Self::AddressFull,
            Refusal::AddressRate => Self::AddressBusy,
            Refusal::Strangers => Self::Busy("too many have not said who they are"),
        }
    }
}

/// The limits; 0 is none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdmissionLimits {
    pub(crate) connections: usize,
    pub(crate) connections_per_address: u32,
    pub(crate) accepts_per_second: u32,
}

/// Counts who is in.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: AdmissionLimits,
    open: AtomicUsize,
    bucket: Mutex<Bucket>,
    addresses: Mutex<HashMap<IpAddr, u32>>,
    /// The last second's accepts of each address.
    shares: Mutex<ExpiringMap<IpAddr, Bucket>>,
    strangers: Arc<Semaphore>,
}

/// A second's worth of tokens, filled evenly.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    /// Takes a token, if there is one.
    fn take(&mut self, rate: f64, now: Instant) -> Option<()> {
        let refill = now.duration_since(self.filled).as_secs_f64() * rate;
        self.tokens = (self.tokens + refill).min(rate);
        self.filled = now;
        if self.tokens < 1.0 {
            return None;
        }
        self.tokens -= 1.0;
        Some(())
    }
}

impl Expires for Bucket {
    /// A second fills it.
    fn expires(&self) -> std::time::Instant {
        (self.filled + Duration::from_secs(1)).into_std()
    }
}

/// One of `limits.connections`, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Admission>);

/// One of `limits.connections_per_address`, until it is dropped.
#[derive(Debug)]
pub(crate) struct AddressSlot {
    admission: Arc<Admission>,
    key: IpAddr,
}

impl Admission {
    pub(crate) fn new(limits: AdmissionLimits) -> Arc<Self> {
        let tokens = f64::from(limits.accepts_per_second);
        let strangers = match limits.connections {
            0 => Semaphore::MAX_PERMITS,
            most => most.div_ceil(STRANGERS),
        };
        Arc::new(Self {
            limits,
            open: AtomicUsize::new(0),
            bucket: Mutex::new(Bucket {
                tokens,
                filled: Instant::now(),
            }),
            addresses: Mutex::new(HashMap::new()),
            shares: Mutex::default(),
            strangers: Arc::new(Semaphore::new(strangers)),
        })
    }

    /// Counts one more connection of a client against `limits.accepts_per_second`. Its address pays first,
    /// so that one whose share is spent takes nothing from others.
    fn take_turn(&self, client: IpAddr) -> Result<(), Refusal> {
        self.take_share(client)?;
        self.take_token()
    }

    /// Takes a client's place, and then its turn among the new connections: an address that has no place
    /// left takes nothing from others.
    pub(crate) fn take_place(self: &Arc<Self>, client: IpAddr) -> Result<AddressSlot, Refusal> {
        let slot = self.take_slot(client)?;
        self.take_turn(client)?;
        Ok(slot)
    }

    /// Counts one more connection against `limits.connections`.
    pub(crate) fn enter(self: &Arc<Self>) -> Result<Permit, Refusal> {
        let open = self.open.fetch_add(1, Ordering::Relaxed);
        // The permit exists from here on, so that an early return gives the place back.
        let permit = Permit(Arc::clone(self));
        if self.limits.connections > 0 && open >= self.limits.connections {
            return Err(Refusal::Full);
        }
        Ok(permit)
    }

    fn take_token(&self) -> Result<(), Refusal> {
        if self.limits.accepts_per_second == 0 {
            return Ok(());
        }
        let rate = f64::from(self.limits.accepts_per_second);
        let mut bucket = self.bucket.lock();
        bucket.take(rate, Instant::now()).ok_or(Refusal::Rate)
    }

    /// Counts one more connection against the address's share of `limits.accepts_per_second`. Without
    /// `limits.connections_per_address` addresses have no limit here either.
    fn take_share(&self, client: IpAddr) -> Result<(), Refusal> {
        let rate = self.limits.accepts_per_second / ADDRESS_SHARE;
        if rate == 0 || self.limits.connections_per_address == 0 {
            return Ok(());
        }
        let (rate, now) = (f64::from(rate), Instant::now());
        let mut shares = self.shares.lock();
        let full = || Bucket {
            tokens: rate,
            filled: now,
        };
        let bucket = shares.get_or_insert_with(address_key(client), now.into_std(), full);
        bucket.take(rate, now).ok_or(Refusal::AddressRate)
    }

    /// Counts one more connection of a client's address.
    fn take_slot(self: &Arc<Self>, client: IpAddr) -> Result<AddressSlot, Refusal> {
        let key = address_key(client);
        let mut addresses = self.addresses.lock();
        let count = addresses.entry(key).or_default();
        let limit = self.limits.connections_per_address;
        if limit > 0 && *count >= limit {
            return Err(Refusal::Address);
        }
        *count += 1;
        Ok(AddressSlot {
            admission: Arc::clone(self),
            key,
        })
    }
}

impl Admission {
    /// A place for a connection that has yet to say whose it is, until it has.
    pub(crate) fn meet(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let place = Arc::clone(&self.strangers).try_acquire_owned();
        place.map_err(|_| Refusal::Strangers)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for AddressSlot {
    fn drop(&mut self) {
        let mut addresses = self.admission.addresses.lock();
        if let Some(count) = addresses.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(connections: usize, per_address: u32, per_second: u32) -> Arc<Admission> {
        Admission::new(AdmissionLimits {
            connections,
            connections_per_address: per_address,
            accepts_per_second: per_second,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn places_come_back_when_connections_end() {
        let admission = admission(2, 0, 0);
        let (first, _second) = (admission.enter().unwrap(), admission.enter().unwrap());
        assert_eq!(admission.enter().unwrap_err(), Refusal::Full);
        drop(first);
        assert!(admission.enter().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_has_so_many_accepts() {
        let admission = admission(0, 0, 10);
        let client = "10.0.0.1".parse().unwrap();
        let turns = || (0..20).filter(|_| admission.take_turn(client).is_ok());
        assert_eq!(turns().count(), 10, "in a burst");
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(turns().count(), 5, "later");
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_gets_its_share_and_takes_none_of_the_others() {
        let admission = admission(0, 1_000, 80);
        let [one, other] = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse().unwrap());
        let turns = |client| {
            let taken = (0..1_000).filter(|_| admission.take_turn(client).is_ok());
            taken.count()
        };
        assert_eq!(turns(one), 10);
        assert_eq!(admission.take_turn(one).unwrap_err(), Refusal::AddressRate);
        let others = turns(other);
        assert_eq!(others, 10, "as if nothing had happened");
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_leaves_room_for_others_and_nothing_behind() {
        let admission = admission(0, 2, 0);
        let [mine, other] = ["2001:db8::1", "2001:db8:0:1::1"].map(|text| text.parse().unwrap());
        let slots = (
            admission.take_slot(mine).unwrap(),
            admission.take_slot(mine).unwrap(),
        );
        assert_eq!(admission.take_slot(mine).unwrap_err(), Refusal::Address);
        assert!(admission.take_slot(other).is_ok());
        drop(slots);
        assert!(admission.addresses.lock().is_empty());
        assert!(admission.take_slot(mine).is_ok());
    }
}
