//! Publishing to Redis: arguments in, outcomes out.

use std::time::Instant;

use hubbub_protocol::event::{Change, ChangeKind};
use hubbub_protocol::{Draft, Epoch, Frame, Position, RoomId};
use redis::Value;
use redis::aio::MultiplexedConnection;

use super::RedisBroker;
use super::scripts::Call;
use super::values::{parse_epoch, parse_number};
use crate::digest::DigestKey;
use crate::{Begin, BrokerError, Published, Seen, Span};

/// What the script says of a draft; everything else is a duplicate.
const STORED: u64 = 0;
const GONE: u64 = 2;

impl RedisBroker {
    pub(crate) async fn publish(
        &self,
        room: &RoomId,
        drafts: &[Draft],
        seen: Seen<'_>,
        begin: &Begin,
        deadline: Instant,
    ) -> Result<Vec<Published>, BrokerError> {
        let began = Instant::now();
        let keys = self.0.keys.room(room);
        let (new_epoch, base, is_private) = match begin {
            Begin::Never => (None, 0, false),
            Begin::Above {
                offset, is_private, ..
            } => (Some(Epoch::generate()), *offset, *is_private),
        };
        let noted = self.0.webhooks.of_events(&self.0.keys, room, drafts);
        let mut names = keys.of_event().to_vec();
        noted.add_keys(&mut names, &[keys.webhooks()]);
        let publish = async |connection: MultiplexedConnection| {
            let (key, seen) = (DigestKey::derive(&self.secret()), seen());
            let mut call = self.0.scripts.publish.call(&names);
            call.arg(keys.channel()).arg(room.as_str());
            call.arg(seen.as_ref().map_or("", |seen| seen.epoch.as_str()))
                .arg(seen.as_ref().map_or(0, |seen| seen.offset).max(base))
                .arg(new_epoch.as_ref().map_or("", Epoch::as_str))
                .arg(u8::from(is_private));
            call.arg(&noted.names).arg(drafts.len());
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
            return Err(BrokerError::NoLife);
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
                _ => {
                    // Whatever went wrong, the script has run.
                    let unknown = |error: BrokerError| BrokerError::Unknown(error.to_string());
                    let original = self.original(room, &position, deadline).await;
                    let original = original.map_err(unknown)?;
                    Published::Duplicate { position, original }
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
    ) -> Result<Option<Frame>, BrokerError> {
        let before = Span::After(position.offset.saturating_sub(1));
        let page = self.read_stream(room, before, 1, deadline).await?;
        let first = page
            .and_then(|page| page.events.into_iter().next())
            .filter(|event| event.position == *position);
        Ok(first.map(|event| event.frame))
    }
}

fn add_draft(call: &mut Call<'_>, draft: &Draft) {
    match &draft.change {
        None => {
            call.arg(draft.message.as_str()).arg(&draft.open[..]);
        }
        Some(Change { target, kind }) => {
            let (letter, tombstone) = match kind {
                ChangeKind::Edit { open_tombstone } => ('e', &open_tombstone[..]),
                ChangeKind::Delete { tombstone } => ('d', tombstone.as_bytes()),
                ChangeKind::React => ('r', &b""[..]),
                ChangeKind::TooLate => ('x', &b""[..]),
            };
            call.arg(format!("{letter} {target} {}", draft.message))
                .arg(&draft.open[..])
                .arg(tombstone);
        }
    }
}
