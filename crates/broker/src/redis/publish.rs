//! Publishing to Redis: arguments in, outcomes out.

use std::time::Instant;

use hubbub_protocol::{Draft, Epoch, Frame, Position, RoomId};
use redis::Value;
use redis::aio::MultiplexedConnection;

use super::RedisBroker;
use super::values::{parse_epoch, parse_number};
use crate::digest::DigestKey;
use crate::{BrokerError, Published, Span};

/// A nonce is kept for one to two generations.
const NONCE_GENERATION_SECONDS: u64 = 15 * 60;

impl RedisBroker {
    pub(crate) async fn publish(
        &self,
        room: &RoomId,
        drafts: &[Draft],
        seen: Option<&Position>,
        deadline: Instant,
    ) -> Result<Vec<Published>, BrokerError> {
        let began = Instant::now();
        let history = &self.0.config.history;
        let keys = self.0.keys.room(room);
        let new_epoch = Epoch::generate();
        let call = async |mut connection: MultiplexedConnection| {
            let key = DigestKey::derive(&self.secret());
            let mut script = self.0.scripts.publish.prepare_invoke();
            script
                .key(&keys.of_life()[..])
                .key(&keys.changes)
                .arg(&keys.channel)
                .arg(room.as_str());
            script
                .arg(new_epoch.as_str())
                .arg(seen.map_or(0, |seen| seen.offset))
                .arg(history.stream_len);
            script
                .arg(Self::seconds(history.stream_ttl))
                .arg(self.0.lives.meta);
            script
                .arg(NONCE_GENERATION_SECONDS)
                .arg(seen.map_or("", |seen| seen.epoch.as_str()));
            for draft in drafts {
                script
                    .arg(&key.digest(draft)[..])
                    .arg(draft.message.as_str())
                    .arg(&draft.open[..]);
            }
            script.invoke_async::<Vec<Value>>(&mut connection).await
        };
        let reply = self.0.link.call(deadline, call).await?;
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
            outcomes.push(if parse_number(known)? == 0 {
                Published::Stored { position, ts }
            } else {
                // Whatever went wrong, the script has run.
                let unknown = |error: BrokerError| BrokerError::Unknown(error.to_string());
                let original = self.original(room, &position, deadline).await;
                let original = original.map_err(unknown)?;
                Published::Duplicate { position, original }
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
