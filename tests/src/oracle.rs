//! Judges logs: what every client heard, against each other and against what was acked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;

/// Everything one client heard, in order: durable frames as they came.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// For people.
    pub client: String,
    /// The frames' texts.
    pub frames: Vec<String>,
}

/// A send that the server has confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acked {
    /// The sender's name for it.
    pub nonce: String,
    /// Where it was stored.
    pub epoch: String,
    /// Its number there.
    pub offset: u64,
}

/// A broken promise, the first one found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anomaly {
    /// A frame is no durable event.
    Unreadable {
        /// Whose log.
        client: String,
        /// The frame.
        frame: String,
    },
    /// An offset came twice.
    Duplicate {
        /// Whose log.
        client: String,
        /// Epoch and offset.
        at: (String, u64),
    },
    /// An offset is not the one after the one before.
    OutOfOrder {
        /// Whose log.
        client: String,
        /// Epoch and offset before.
        before: (String, u64),
        /// Epoch and offset that came.
        got: (String, u64),
    },
    /// Two clients heard different things.
    Difference {
        /// The two clients.
        clients: (String, String),
        /// Index in their logs.
        index: usize,
        /// What they heard there.
        frames: (Option<String>, Option<String>),
    },
    /// An acked message was not heard where its ack says.
    LostWrite {
        /// Whose log.
        client: String,
        /// The ack.
        acked: Acked,
    },
    /// One send is in the room twice.
    StoredTwice {
        /// The sender's name for it.
        nonce: String,
        /// Its two offsets.
        offsets: (u64, u64),
    },
    /// A message was heard that the server had refused to store.
    Phantom {
        /// The sender's name for it.
        nonce: String,
    },
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { client, frame } => write!(f, "{client} heard no event: {frame}"),
            Self::Duplicate { client, at } => write!(f, "{client} heard {at:?} twice"),
            Self::OutOfOrder {
                client,
                before,
                got,
            } => {
                write!(f, "{client} heard {got:?} after {before:?}")
            }
            Self::Difference {
                clients,
                index,
                frames,
            } => {
                let show = |frame: &Option<String>| frame.clone().unwrap_or("nothing".to_owned());
                let (a, b) = (show(&frames.0), show(&frames.1));
                let (left, right) = clients;
                write!(f, "frame {index} differs\n  {left}: {a}\n  {right}: {b}")
            }
            Self::LostWrite { client, acked } => write!(f, "{client} never heard {acked:?}"),
            Self::StoredTwice { nonce, offsets } => {
                write!(f, "nonce {nonce} is stored at {offsets:?}")
            }
            Self::Phantom { nonce } => write!(f, "nonce {nonce} was refused and yet heard"),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Head {
    epoch: String,
    offset: u64,
    nonce: Option<String>,
}

/// What a log held, when all is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Clients compared.
    pub clients: usize,
    /// Events in each log.
    pub events: usize,
    /// Sends that were acked.
    pub acked: usize,
}

/// Checks that all logs are the same byte for byte, dense and ordered, hold every acked send once
/// and in its place, and nothing that was refused (by nonce).
///
/// # Errors
/// The first [`Anomaly`].
pub fn judge(logs: &[Heard], acked: &[Acked], refused: &[String]) -> Result<Summary, Anomaly> {
    for log in logs {
        dense(log)?;
    }
    for pair in logs.windows(2) {
        same(&pair[0], &pair[1])?;
    }
    let Some(first) = logs.first() else {
        return Ok(Summary {
            clients: 0,
            events: 0,
            acked: acked.len(),
        });
    };
    kept(first, acked, refused)?;
    Ok(Summary {
        clients: logs.len(),
        events: first.frames.len(),
        acked: acked.len(),
    })
}

/// The same, ending the test with the anomaly in words.
///
/// # Panics
/// When a promise was broken.
#[track_caller]
pub fn assert_kept(logs: &[Heard], acked: &[Acked], refused: &[String]) -> Summary {
    match judge(logs, acked, refused) {
        Ok(summary) => summary,
        Err(anomaly) => {
            let lengths: Vec<(&str, usize)> = logs
                .iter()
                .map(|log| (log.client.as_str(), log.frames.len()))
                .collect();
            panic!("{anomaly}\nlogs: {lengths:?}, acked: {}", acked.len())
        }
    }
}

fn head(log: &Heard, frame: &str) -> Result<Head, Anomaly> {
    serde_json::from_str(frame).map_err(|_| Anomaly::Unreadable {
        client: log.client.clone(),
        frame: frame.to_owned(),
    })
}

/// Offsets go up by one within an epoch, and never back over epochs.
fn dense(log: &Heard) -> Result<(), Anomaly> {
    let mut before: Option<(String, u64)> = None;
    let mut seen = BTreeSet::new();
    for frame in &log.frames {
        let Head { epoch, offset, .. } = head(log, frame)?;
        let (client, got) = (log.client.clone(), (epoch, offset));
        if !seen.insert(got.clone()) {
            return Err(Anomaly::Duplicate { client, at: got });
        }
        if let Some(before) = before.take() {
            let is_next = got.1 == before.1 + 1 || (got.0 != before.0 && got.1 > before.1);
            if !is_next {
                return Err(Anomaly::OutOfOrder {
                    client,
                    before,
                    got,
                });
            }
        }
        before = Some(got);
    }
    Ok(())
}

fn same(left: &Heard, right: &Heard) -> Result<(), Anomaly> {
    let length = left.frames.len().max(right.frames.len());
    for index in 0..length {
        let frames = (left.frames.get(index), right.frames.get(index));
        if frames.0 != frames.1 {
            return Err(Anomaly::Difference {
                clients: (left.client.clone(), right.client.clone()),
                index,
                frames: (frames.0.cloned(), frames.1.cloned()),
            });
        }
    }
    Ok(())
}

/// Every acked send is at its place, no send is there twice, nothing refused is there.
fn kept(log: &Heard, acked: &[Acked], refused: &[String]) -> Result<(), Anomaly> {
    let mut places: BTreeMap<String, (String, u64)> = BTreeMap::new();
    for frame in &log.frames {
        let head = head(log, frame)?;
        let Some(nonce) = head.nonce else { continue };
        let place = (head.epoch, head.offset);
        if let Some(first) = places.insert(nonce.clone(), place.clone()) {
            let offsets = (first.1, place.1);
            return Err(Anomaly::StoredTwice { nonce, offsets });
        }
    }
    for ack in acked {
        let place = (ack.epoch.clone(), ack.offset);
        if places.get(&ack.nonce) != Some(&place) {
            return Err(Anomaly::LostWrite {
                client: log.client.clone(),
                acked: ack.clone(),
            });
        }
    }
    match refused.iter().find(|nonce| places.contains_key(*nonce)) {
        Some(nonce) => Err(Anomaly::Phantom {
            nonce: nonce.clone(),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(epoch: &str, offset: u64) -> String {
        format!(
            r#"{{"type":"message","nonce":"n{offset}","body":1,"epoch":"{epoch}","offset":{offset}}}"#
        )
    }

    fn heard(client: &str, offsets: &[u64]) -> Heard {
        Heard {
            client: client.to_owned(),
            frames: offsets.iter().map(|offset| frame("e", *offset)).collect(),
        }
    }

    fn acked(offset: u64) -> Acked {
        Acked {
            nonce: format!("n{offset}"),
            epoch: "e".to_owned(),
            offset,
        }
    }

    #[test]
    fn logs_that_keep_the_promises_pass() {
        let logs = [heard("a", &[4, 5, 6]), heard("b", &[4, 5, 6])];
        let summary = judge(&logs, &[acked(4), acked(6)], &["x".to_owned()]).unwrap();
        assert_eq!((summary.clients, summary.events, summary.acked), (2, 3, 2));
    }

    #[test]
    fn loss_is_caught_in_the_middle_and_at_the_end() {
        let middle = judge(&[heard("a", &[4, 6])], &[], &[]).unwrap_err();
        assert!(matches!(middle, Anomaly::OutOfOrder { .. }), "{middle}");
        let end = judge(&[heard("a", &[4, 5])], &[acked(6)], &[]).unwrap_err();
        assert!(matches!(end, Anomaly::LostWrite { .. }), "{end}");
        let one = [heard("a", &[4, 5, 6]), heard("b", &[4, 5])];
        let one = judge(&one, &[], &[]).unwrap_err();
        assert!(one.to_string().contains("b: nothing"), "{one}");
    }

    #[test]
    fn duplicates_are_caught() {
        let same = judge(&[heard("a", &[4, 5, 5])], &[], &[]).unwrap_err();
        assert!(matches!(same, Anomaly::Duplicate { .. }), "{same}");
        let mut log = heard("a", &[4, 5]);
        log.frames[1] = frame("e", 5).replace("n5", "n4");
        let stored = judge(&[log], &[], &[]).unwrap_err();
        assert!(matches!(stored, Anomaly::StoredTwice { .. }), "{stored}");
    }

    #[test]
    fn another_order_is_caught() {
        let order = judge(&[heard("a", &[5, 4])], &[], &[]).unwrap_err();
        assert!(matches!(order, Anomaly::OutOfOrder { .. }), "{order}");
        let mut log = heard("a", &[4]);
        log.frames.push(frame("f", 3));
        let back = judge(&[log], &[], &[]).unwrap_err();
        assert!(matches!(back, Anomaly::OutOfOrder { .. }), "{back}");
    }

    #[test]
    fn a_single_byte_of_difference_is_caught_and_shown() {
        let mut logs = [heard("a", &[4, 5]), heard("b", &[4, 5])];
        logs[1].frames[1] = logs[1].frames[1].replace("\"body\":1", "\"body\":2");
        let difference = judge(&logs, &[], &[]).unwrap_err().to_string();
        assert!(difference.contains("frame 1 differs"), "{difference}");
        assert!(difference.contains("\"body\":2"), "{difference}");
    }

    #[test]
    fn an_ack_that_names_another_place_and_a_refused_message_are_caught() {
        let mut ack = acked(4);
        ack.offset = 5;
        let place = judge(&[heard("a", &[4, 5])], &[ack], &[]).unwrap_err();
        assert!(matches!(place, Anomaly::LostWrite { .. }), "{place}");
        let phantom = judge(&[heard("a", &[4])], &[], &["n4".to_owned()]).unwrap_err();
        assert!(matches!(phantom, Anomaly::Phantom { .. }), "{phantom}");
    }

    #[test]
    fn a_new_life_may_start_anywhere_above() {
        let mut log = heard("a", &[4, 5]);
        log.frames.extend([frame("f", 9), frame("f", 10)]);
        assert!(judge(&[log], &[], &[]).is_ok());
    }
}
