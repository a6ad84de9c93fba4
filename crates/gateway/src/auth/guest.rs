//! Guests: a user without a token gets an id and a name that is easy to say.

use std::net::IpAddr;

use std::time::Duration;

use hubbub_node::{ExpiringMap, Identity, address_key};
use hubbub_protocol::{User, UserId};
use parking_lot::Mutex;
use tokio::time::Instant;

/// How every guest's id begins; a token that names one must be ours.
pub const GUEST_PREFIX: &str = "guest-";

const MOODS: [&str; 24] = [
    "Amber", "Brave", "Bright", "Calm", "Clever", "Cosy", "Eager", "Fond", "Gentle", "Happy",
    "Jolly", "Keen", "Kind", "Lucky", "Merry", "Mellow", "Nimble", "Proud", "Quick", "Quiet",
    "Sunny", "Swift", "Warm", "Witty",
];

const ANIMALS: [&str; 24] = [
    "Badger", "Beaver", "Crane", "Deer", "Dolphin", "Finch", "Fox", "Hare", "Heron", "Ibex",
    "Koala", "Lark", "Lynx", "Marten", "Otter", "Owl", "Panda", "Puffin", "Robin", "Seal",
    "Sparrow", "Swan", "Tapir", "Wren",
];

/// A new guest; without a name one is made up. Nobody can guess another guest's id.
#[must_use]
pub fn new_guest(name: Option<String>) -> Identity {
    let mut random = [0; 12];
    getrandom::fill(&mut random).expect("the system gives random bytes");
    let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let id = UserId::new(&format!("{GUEST_PREFIX}{digits}"))
        .expect("hexadecimal digits are a valid user id");
    let user = User {
        id,
        name: name.unwrap_or_else(made_up_name).into(),
    };
    Identity {
        guest: true,
        ..Identity::of(user)
    }
}

fn made_up_name() -> String {
    let (mood, animal) = (fastrand::choice(MOODS), fastrand::choice(ANIMALS));
    format!(
        "{} {}",
        mood.expect("not empty"),
        animal.expect("not empty")
    )
}

/// How many guests each address has made lately: `limits.guests_per_minute`, so many at once and so many
/// more a minute.
#[derive(Debug)]
pub(crate) struct GuestPace {
    per_minute: u32,
    /// When an address may have made all its guests again.
    full_at: Mutex<ExpiringMap<IpAddr, std::time::Instant>>,
}

impl GuestPace {
    /// 0: no limit.
    pub(crate) fn new(per_minute: u32) -> Self {
        Self {
            per_minute,
            full_at: Mutex::default(),
        }
    }

    /// Counts one more, or says when the next may come.
    pub(crate) fn take(&self, client: IpAddr) -> Result<(), Duration> {
        const MINUTE: Duration = Duration::from_secs(60);
        if self.per_minute == 0 {
            return Ok(());
        }
        let now = Instant::now().into_std();
        let mut addresses = self.full_at.lock();
        let full_at = addresses.get_or_insert_with(address_key(client), now, || now);
        let next = (*full_at).max(now) + MINUTE / self.per_minute;
        match next.duration_since(now).checked_sub(MINUTE) {
            Some(wait) if !wait.is_zero() => Err(wait),
            Some(_) | None => {
                *full_at = next;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_differ_and_have_a_name() {
        let (a, b) = (new_guest(None), new_guest(None));
        assert_ne!(a.user.id, b.user.id);
        assert!(a.guest && a.user.id.as_str().starts_with(GUEST_PREFIX));
        assert_eq!(a.user.name.split(' ').count(), 2);
        assert_eq!(&*new_guest(Some("Ann".to_owned())).user.name, "Ann");
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_makes_so_many_guests_a_minute() {
        let pace = GuestPace::new(10);
        let address = |last: u8| IpAddr::from([192, 0, 2, last]);
        let made = (0..100).filter(|_| pace.take(address(1)).is_ok()).count();
        assert_eq!(made, 10);
        let wait = pace.take(address(1)).unwrap_err();
        assert!(wait <= Duration::from_secs(6), "{wait:?}");
        assert!(pace.take(address(2)).is_ok(), "another address");
        tokio::time::advance(wait).await;
        assert!(pace.take(address(1)).is_ok() && pace.take(address(1)).is_err());
        let free = GuestPace::new(0);
        assert!((0..1_000).all(|_| free.take(address(1)).is_ok()));
    }

    #[tokio::test(start_paused = true)]
    async fn many_other_addresses_give_a_spent_one_no_new_guests() {
        let pace = GuestPace::new(10);
        let spent = IpAddr::from([192, 0, 2, 1]);
        while pace.take(spent).is_ok() {}
        for number in 0..100_000_u32 {
            assert!(pace.take(IpAddr::from(number.to_be_bytes())).is_ok());
        }
        assert!(pace.take(spent).is_err());
    }
}
