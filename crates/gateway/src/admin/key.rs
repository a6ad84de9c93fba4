//! The operators' key, and who has tried wrong ones too often.

use std::collections::HashMap;
use std::net::IpAddr;

use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use hubbub_node::address_key;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Wrong keys from one address before it is locked out.
const GUESSES: u32 = 10;
/// How long wrong keys count, and how long an address is locked out.
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are remembered; beyond, every address that is not is locked out.
const REMEMBERED: usize = 1_024;

/// The verdict on a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Right,
    Wrong,
    /// Not looked at, for so long.
    LockedOut(Duration),
}

/// The key, and the guesses.
pub(crate) struct AdminKey {
    key: Box<[u8]>,
    guesses: Mutex<HashMap<IpAddr, Guesses>>,
}

struct Guesses {
    count: u32,
    until: Instant,
}

impl AdminKey {
    /// `None`: an empty key, which nobody has.
    pub(crate) fn new(key: &str) -> Option<Self> {
        (!key.is_empty()).then(|| Self {
            key: key.as_bytes().into(),
            guesses: Mutex::default(),
        })
    }

    /// How long a key takes to be refused does not say how much of it is right.
    pub(super) fn try_key(&self, client: IpAddr, key: &[u8]) -> Verdict {
        let (client, now) = (address_key(client), Instant::now());
        let mut guesses = self.guesses.lock();
        let known = guesses.get(&client).filter(|known| known.until > now);
        if let Some(known) = known.filter(|known| known.count >= GUESSES) {
            return Verdict::LockedOut(known.until - now);
        }
        if verify_slices_are_equal(&self.key, key).is_ok() {
            return Verdict::Right;
        }
        if guesses.len() >= REMEMBERED {
            guesses.retain(|_, guesses| guesses.until > now);
        }
        if guesses.len() >= REMEMBERED && !guesses.contains_key(&client) {
            return Verdict::LockedOut(WINDOW);
        }
        let count = guesses.entry(client).or_insert(Guesses {
            count: 0,
            until: now,
        });
        if count.until <= now {
            count.count = 0;
        }
        count.count += 1;
        count.until = now + WINDOW;
        Verdict::Wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn who_guesses_is_locked_out_for_a_minute_and_others_are_not() {
        assert!(AdminKey::new("").is_none());
        let key = AdminKey::new("right").unwrap();
        let (eve, op) = (ip("2001:db8::1"), ip("10.0.0.1"));
        for _ in 0..GUESSES {
            assert_eq!(key.try_key(eve, b"wrong"), Verdict::Wrong);
        }
        let neighbour = ip("2001:db8::2");
        assert!(matches!(
            key.try_key(neighbour, b"right"),
            Verdict::LockedOut(_)
        ));
        assert_eq!(key.try_key(op, b"right"), Verdict::Right);
        tokio::time::advance(WINDOW).await;
        assert_eq!(key.try_key(eve, b"right"), Verdict::Right);
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_of_guessers_is_bounded() {
        let key = AdminKey::new("right").unwrap();
        for number in 0..2_000_u32 {
            key.try_key(IpAddr::V4(number.into()), b"");
        }
        assert_eq!(key.guesses.lock().len(), REMEMBERED);
    }
}
