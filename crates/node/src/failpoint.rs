//! Faults that tests switch on in the real binary. All are off unless the server turns them on,
//! and then a fault needs a send whose nonce is its name.

use hubbub_protocol::Nonce;

/// Which faults may be asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Failpoints {
    /// The process dies after the broker has stored the send and before it is acked.
    pub abort_after_publish: bool,
    /// The session's task panics.
    pub panic_in_session: bool,
    /// The background task panics that the nonce names after a colon.
    pub panic_in_task: bool,
}

const ABORT_AFTER_PUBLISH: &str = "abort-after-publish";
const PANIC_IN_SESSION: &str = "panic-in-session";
const PANIC_IN_TASK: &str = "panic-in-task";

/// A name that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no failpoint {0:?}; there are: {ABORT_AFTER_PUBLISH}, {PANIC_IN_SESSION}, {PANIC_IN_TASK}"
)]
pub struct UnknownFailpoint(String);

impl Failpoints {
    /// Reads names with commas between them.
    ///
    /// # Errors
    /// [`UnknownFailpoint`] names the one that there is not, and those that there are.
    pub fn parse(names: &str) -> Result<Self, UnknownFailpoint> {
        let mut failpoints = Self::default();
        for name in names
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
        {
            match name {
                ABORT_AFTER_PUBLISH => failpoints.abort_after_publish = true,
                PANIC_IN_SESSION => failpoints.panic_in_session = true,
                PANIC_IN_TASK => failpoints.panic_in_task = true,
                unknown => return Err(UnknownFailpoint(unknown.to_owned())),
            }
        }
        Ok(failpoints)
    }

    /// Dies if one of the stored sends asks for it.
    pub(crate) fn after_publish<'a>(self, mut nonces: impl Iterator<Item = &'a Nonce>) {
        if self.abort_after_publish && nonces.any(|nonce| nonce.as_str() == ABORT_AFTER_PUBLISH) {
            std::process::abort();
        }
    }

    /// The background task that has to panic, if the send asks for it.
    pub(crate) fn in_task(self, nonce: Option<&Nonce>) -> Option<&str> {
        let nonce = nonce.filter(|_| self.panic_in_task)?.as_str();
        nonce.strip_prefix(PANIC_IN_TASK)?.strip_prefix(':')
    }

    /// Panics if the send asks for it.
    pub(crate) fn in_session(self, nonce: Option<&Nonce>) {
        let is_asked = nonce.is_some_and(|nonce| nonce.as_str() == PANIC_IN_SESSION);
        assert!(
            !(self.panic_in_session && is_asked),
            "a test asked for this panic"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_or_refused() {
        assert_eq!(Failpoints::parse(""), Ok(Failpoints::default()));
        assert!(
            Failpoints::parse("panic-in-session, abort-after-publish")
                .unwrap()
                .panic_in_session
        );
        let refused = Failpoints::parse("explode").unwrap_err().to_string();
        assert!(
            refused.contains("there are: abort-after-publish"),
            "{refused}"
        );
    }

    #[test]
    fn a_nonce_names_the_task_that_panics() {
        let nonce = Nonce::new("panic-in-task:presence").unwrap();
        let failpoints = Failpoints::parse(PANIC_IN_TASK).unwrap();
        assert_eq!(failpoints.in_task(Some(&nonce)), Some("presence"));
        assert_eq!(Failpoints::default().in_task(Some(&nonce)), None);
    }

    #[test]
    fn nothing_happens_unless_switched_on() {
        let nonce = Nonce::new(PANIC_IN_SESSION).unwrap();
        Failpoints::default().in_session(Some(&nonce));
        Failpoints {
            panic_in_session: true,
            ..Failpoints::default()
        }
        .in_session(None);
    }
}
