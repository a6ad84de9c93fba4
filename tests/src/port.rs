//! Free ports that stay free. They are outside the range of ports for outgoing connections, because
//! a client that retries a dead port in that range may connect to itself.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Mutex;

const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// The ports that this process has given out.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port on 127.0.0.1 that nobody listens on.
///
/// # Panics
/// Panics if a thousand tries find none.
#[must_use]
pub fn free_port() -> u16 {
    let mut given = GIVEN.lock().expect("no thread panicked with the lock");
    for _ in 0..1000 {
        let port = fastrand::u16(RANGE);
        if !given.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            given.insert(port);
            return port;
        }
    }
    panic!("no free port in {RANGE:?}");
}
