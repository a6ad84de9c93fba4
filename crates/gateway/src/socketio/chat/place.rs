//! Where a client was: what the unmodified library carries from one connection to the next.
//!
//! It repeats the `pid` of its last connect and, as `offset`, the last string argument of the last
//! event. Both say a place, so that a client that has heard nothing yet can come back too. The
//! one with the larger offset is newer: offsets never go back in a room's life.

use hubbub_protocol::command::Since;
use hubbub_protocol::{Epoch, Position};
use serde_json::Value;

/// Between the parts; no id has one in it.
const SEPARATOR: char = '/';

/// The last argument of an event: its place.
pub(super) fn offset(epoch: &str, offset: u64, message: &str) -> String {
    format!("{offset}{SEPARATOR}{epoch}{SEPARATOR}{message}")
}

/// A new `pid` of who begins at this place.
pub(super) fn new_pid(epoch: &str, offset: u64) -> String {
    let random = fastrand::u64(..);
    format!("{random:016x}{SEPARATOR}{offset}{SEPARATOR}{epoch}")
}

/// What a client brings back in its connect packet.
#[derive(Debug, Default)]
pub(super) struct Return {
    pub(super) pid: Option<String>,
    pub(super) since: Option<Since>,
}

impl Return {
    pub(super) fn read(auth: Option<&Value>) -> Self {
        let text = |name: &str| auth.and_then(|auth| auth.get(name)).and_then(Value::as_str);
        let Some(pid) = text("pid") else {
            return Self::default();
        };
        let from_pid = pid
            .split_once(SEPARATOR)
            .and_then(|(_, place)| parse(place));
        let from_offset = text("offset").and_then(parse);
        let since = match (from_pid, from_offset) {
            (Some(pid), Some(offset)) if pid.position.offset >= offset.position.offset => {
                // The same event with its id shows a fork.
                let is_same = pid.position == offset.position;
                Some(if is_same { offset } else { pid })
            }
            (pid, offset) => offset.or(pid),
        };
        let pid = since.is_some().then(|| pid.to_owned());
        Self { pid, since }
    }
}

fn parse(place: &str) -> Option<Since> {
    let mut parts = place.split(SEPARATOR);
    let position = Position {
        offset: parts.next()?.parse().ok()?,
        epoch: Epoch::new(parts.next()?).ok()?,
    };
    if position.offset >= hubbub_protocol::id::OFFSET_LIMIT {
        return None;
    }
    let message = parts.next().filter(|message| !message.is_empty());
    Some(Since {
        position,
        message: message.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn since(auth: Value) -> Option<(u64, String, Option<String>)> {
        let since = Return::read(Some(&auth)).since?;
        let Position { epoch, offset } = since.position;
        Some((offset, epoch.to_string(), since.message))
    }

    #[test]
    fn the_newer_place_counts() {
        let pid = new_pid("e1", 5);
        assert_eq!(since(json!({"pid": pid})), Some((5, "e1".to_owned(), None)));
        let later = offset("e1", 9, "M9");
        let at_nine = Some((9, "e1".to_owned(), Some("M9".to_owned())));
        assert_eq!(since(json!({"pid": pid, "offset": later})), at_nine);
        let same = offset("e1", 5, "M5");
        assert_eq!(
            since(json!({"pid": pid, "offset": same}))
                .unwrap()
                .2
                .unwrap(),
            "M5"
        );
        let old_life = offset("e0", 5, "M5");
        assert_eq!(
            since(json!({"pid": pid, "offset": old_life})).unwrap().1,
            "e1"
        );
    }

    #[test]
    fn nonsense_is_no_place() {
        for auth in [
            json!({}),
            json!({"pid": 7}),
            json!({"offset": offset("e1", 5, "")}),
            json!({"pid": "x"}),
            json!({"pid": "x/y/z", "offset": "hello"}),
            json!({"pid": "x/9007199254740992/e1"}),
            json!({"pid": "x/-1/e1"}),
            json!({"pid": "x/5/{e}"}),
        ] {
            let back = Return::read(Some(&auth));
            assert!(back.since.is_none() && back.pid.is_none(), "{auth}");
        }
    }
}
