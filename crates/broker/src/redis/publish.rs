//! Publishing to Redis: builds the script's arguments and reads its outcomes.

use std::time::Instant;

use hubbub_protocol::event::{Change, ChangeKind};
use hubbub_protocol::{Draft, Envelope, Epoch, Position, RoomId};
use redis::Value;
use redis::aio::MultiplexedConnection;

use super::RedisBroker;
use super::scripts::Call;
use super::values::{parse_epoch, parse_number};
use crate::digest::DigestKey;
use crate::{BrokerError, Published, Seen, Span};

/// The script's outcome for each draft. Every other number means a duplicate.
const STORED: u64 = 0;
const GONE: u64 = 2;
const CROWDED: u64 = 3;
/// Stands for the epoch of a target if the caller does not know it.
const ANY_EPOCH: &str = "-";

impl RedisBroker {
    pub(crate) async fn publish(
        &self,
        room: &RoomId,
        drafts: &[Draft],
        seen: Seen<'_>,
        deadline: Instant,
    ) -> Result<Vec<Published>, BrokerError> {
        self.check_joined()?;
        let began = Instant::now();
        let keys = self.0.keys.room(room);
        let noted = self.0.webhooks.of_events(&self.0.keys, room, drafts);
        let mut names = keys.of_event().to_vec();
        noted.add_keys(&mut names, &[keys.webhooks()]);
        // A Redis that is full takes deletions: they make room.
        let script = if drafts.iter().all(Draft::is_deletion) {
            &self.0.scripts.publish_deletions
        } else {
            self.0.space.check_sends()?;
            &self.0.scripts.publish
        };
        let publish = async |connection: MultiplexedConnection| {
            let (key, seen) = (DigestKey::derive(&self.secret()), seen());
            let mut call = script.call(&names);
            call.arg(keys.channel()).arg(room.as_str());
            call.arg(seen.as_ref().map_or("", |seen| seen.epoch.as_str()))
                .arg(seen.as_ref().map_or(0, |seen| seen.offset));
            call.arg(&*self.run(room));
            call.arg(&noted.names).arg(key.payers(drafts));
            call.arg(drafts.len());
            for draft in drafts {
                call.arg(&key.digest(draft)[..]);
            }
            for draft in drafts {
                add_draft(&mut call, draft);
            }
            call.invoke::<Vec<Value>>(connection).await
        };
        let reply = self.0.link.call(deadline, publish).await?;
        self.0.metrics.observe_publish(began.elapsed());
        self.outcomes(room, drafts.len(), reply, deadline).await
    }

    /// Reads `epoch, ms, (offset, known)*`.
    async fn outcomes(
        &self,
        room: &RoomId,
        drafts: usize,
        reply: Vec<Value>,
        deadline: Instant,
    ) -> Result<Vec<Published>, BrokerError> {
        if reply.len() == 2 && drafts > 0 {
            return Err(BrokerError::Unreconciled);
        }
        if reply.len() != 2 + 2 * drafts {
            return Err(BrokerError::Unexpected(
                "publish: wrong number of values".to_owned(),
            ));
        }
        let mut values = reply.into_iter();
        let epoch = parse_epoch(values.next().unwrap_or_default())?;
        let ts = parse_number(values.next().unwrap_or_default())?;
        let mut outcomes = Vec::with_capacity(drafts);
        while let (Some(offset), Some(known)) = (values.next(), values.next()) {
            let position = Position {
                epoch: epoch.clone(),
                offset: parse_number(offset)?,
            };
            outcomes.push(match parse_number(known)? {
                STORED => Published::Stored { position, ts },
                GONE => Published::Gone,
                CROWDED => Published::Crowded,
                _ => {
                    // The script has run, even if reading the original failed.
                    let unknown = |error: BrokerError| BrokerError::Unknown(error.to_string());
                    let original = self.original(room, &position, deadline).await;
                    // The event may be of an epoch that has ended, so its own position counts.
                    match original.map_err(unknown)? {
                        None => Published::Duplicate {
                            position,
                            original: None,
                        },
                        Some(event) => Published::Duplicate {
                            position: event.position,
                            original: Some(event.frame),
                        },
                    }
                }
            });
        }
        Ok(outcomes)
    }

    /// The event that a duplicate repeats, if the stream still has it.
    async fn original(
        &self,
        room: &RoomId,
        position: &Position,
        deadline: Instant,
    ) -> Result<Option<Envelope>, BrokerError> {
        let before = Span::After(position.offset.saturating_sub(1));
        let page = self.read_stream(room, before, 1, deadline).await?;
        let first = page.and_then(|page| page.events.into_iter().next());
        Ok(first.filter(|event| event.position.offset == position.offset))
    }
}

fn add_draft(call: &mut Call<'_>, draft: &Draft) {
    match &draft.change {
        None => {
            call.arg(draft.message.as_str()).arg(&draft.open[..]);
        }
        Some(Change {
            target,
            epoch,
            kind,
        }) => {
            let (letter, instead) = match kind {
                ChangeKind::Edit {
                    open_tombstone,
                    replacement,
                } => {
                    let lines = [open_tombstone, &replacement.open, &replacement.end];
                    ('e', lines.map(|line| &line[..]).join(&b'\n'))
                }
                ChangeKind::Delete { tombstone } => ('d', tombstone.as_bytes().to_vec()),
                ChangeKind::React => ('r', Vec::new()),
                ChangeKind::TooLate => ('x', Vec::new()),
            };
            let epoch = epoch.as_ref().map_or(ANY_EPOCH, Epoch::as_str);
            call.arg(format!("{letter} {target} {epoch} {}", draft.message))
                .arg(&draft.open[..])
                .arg(instead);
        }
    }
}
