//! The position of a Socket.IO client: what the unmodified library carries from one connection to
//! the next.
//!
//! The library repeats the `pid` of its last connect and, as `offset`, the last string argument of
//! the last event. Both hold a position, so that a client that has heard no event yet can resume too.
//! The one with the larger offset is newer: offsets never go back in a room's life. Ports of the library
//! that keep neither get a position from their program, as `auth.offset` alone.

use hubbub_protocol::id::OFFSET_LIMIT;
use hubbub_protocol::{Epoch, Position, Since};

/// Separates the parts of a `pid` and of a position; no part has one in it.
const SEPARATOR: char = '/';

/// A position as the last argument of an event: `OFFSET/EPOCH/MESSAGE`.
pub(super) fn text_of(since: &Since) -> String {
    let Position { epoch, offset } = &since.position;
    let message = since.message.as_deref().unwrap_or_default();
    format!("{offset}{SEPARATOR}{epoch}{SEPARATOR}{message}")
}

/// A new `pid` for a client that begins at this position.
pub(super) fn new_pid(since: &Since) -> String {
    let random = fastrand::u64(..);
    format!("{random:016x}{SEPARATOR}{}", text_of(since))
}

/// The position that a client brings back in its connect packet.
#[derive(Debug, Default)]
pub(super) struct Return {
    pub(super) pid: Option<String>,
    pub(super) since: Option<Since>,
}

impl Return {
    pub(super) fn read(pid: Option<&str>, offset: Option<&str>) -> Self {
        let from_pid = pid
            .and_then(|pid| pid.split_once(SEPARATOR))
            .and_then(|(_, position)| parse(position));
        let from_offset = offset.and_then(parse);
        let since = match (from_pid, from_offset) {
            (Some(pid), Some(offset)) => Some(newer(pid, offset)),
            (pid, offset) => offset.or(pid),
        };
        let pid = pid.filter(|_| since.is_some()).map(str::to_owned);
        Self { pid, since }
    }
}

/// The newer one of two positions. Of two that are the same, the one with a message id shows a fork.
fn newer(pid: Since, offset: Since) -> Since {
    let is_same = pid.position == offset.position;
    if is_same && offset.message.is_none()
        || !is_same && pid.position.offset >= offset.position.offset
    {
        pid
    } else {
        offset
    }
}

/// Reads a position: `OFFSET/EPOCH/MESSAGE`, `OFFSET/EPOCH`, or the form of an event stream.
fn parse(text: &str) -> Option<Since> {
    if text.contains(SEPARATOR) {
        parse_text(text)
    } else {
        text.parse().ok()
    }
}

fn parse_text(text: &str) -> Option<Since> {
    let mut parts = text.split(SEPARATOR);
    let offset = parts.next()?.parse().ok()?;
    let position = Since::at(Epoch::new(parts.next()?).ok()?, offset).position;
    (offset < OFFSET_LIMIT).then(|| Since::event(position, parts.next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(position: &str) -> String {
        new_pid(&position.parse().unwrap())
    }

    fn since(pid: &str, offset: Option<&str>) -> Option<String> {
        let since = Return::read(Some(pid), offset).since?;
        Some(since.to_string())
    }

    #[test]
    fn the_newer_position_counts() {
        let since = |pid: &str, offset: &str| since(pid, Some(offset)).unwrap();
        let pid_at_five = pid("e1:5");
        assert_eq!(since(&pid_at_five, "hello"), "e1:5");
        assert_eq!(since(&pid_at_five, "e1:9:M9"), "e1:9:M9");
        assert_eq!(since(&pid_at_five, "e1:9"), "e1:9");
        assert_eq!(since(&pid_at_five, "e1:5:M5"), "e1:5:M5");
        assert_eq!(since(&pid("e1:5:M5"), "e1:5"), "e1:5:M5");
        assert_eq!(since(&pid("e1:5:M5"), "e1:4:M4"), "e1:5:M5");
        assert_eq!(since(&pid_at_five, "e0:5:M5"), "e1:5", "an older life");
    }

    #[test]
    fn both_forms_are_read() {
        assert_eq!(since("x/5/e1", None).unwrap(), "e1:5");
        let both = |offset: &str| since("x/5/e1", Some(offset)).unwrap();
        assert_eq!(both("9/e1/M9"), "e1:9:M9");
        assert_eq!(both("9/e1/"), "e1:9");
        assert_eq!(both("e1:9:M9"), "e1:9:M9");
    }

    #[test]
    fn an_offset_alone_is_enough() {
        for (offset, expected) in [
            ("5/e1/M5", "e1:5:M5"),
            ("5/e1/", "e1:5"),
            ("5/e1", "e1:5"),
            ("e1:5:M5", "e1:5:M5"),
        ] {
            let back = Return::read(None, Some(offset));
            assert_eq!(back.since.unwrap().to_string(), expected, "{offset}");
            assert_eq!(back.pid, None, "there is none to prove right");
        }
    }

    #[test]
    fn nonsense_is_no_position() {
        for (pid, offset) in [
            (None, None),
            (None, Some("hello")),
            (None, Some("5/")),
            (None, Some("x/5/e1")),
            (Some("x"), None),
            (Some("x/y/z"), Some("hello")),
            (Some("x/y:z"), Some("e1:5:")),
            (Some("x/e1:9007199254740992"), None),
            (Some("x/e1:-1"), None),
            (Some("x/9007199254740992/e1"), None),
            (Some("x/-1/e1"), None),
            (Some("x/5/{e}"), None),
        ] {
            let back = Return::read(pid, offset);
            assert!(back.since.is_none() && back.pid.is_none(), "{pid:?}");
        }
    }
}
