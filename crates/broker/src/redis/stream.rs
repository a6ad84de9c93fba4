//! Reading a room's stream from Redis.

use std::time::Instant;

use hubbub_protocol::frame::RoomSummary;
use hubbub_protocol::{Epoch, RoomId};
use redis::Value;
use redis::aio::MultiplexedConnection;

use super::RedisBroker;
use super::excerpt::{End, Excerpt};
use super::keys::PARTITIONS;
use super::values::parse_number;
use crate::{BrokerError, Head, Page, Span};

/// Entries that one call of `expire.lua` looks at.
const EXPIRED_AT_ONCE: usize = 500;

/// The answer of `read.lua`, in its order.
type Read = (
    String,
    Value,
    Vec<Value>,
    Vec<String>,
    u64,
    String,
    Value,
    String,
    String,
);

impl RedisBroker {
    pub(crate) async fn peek(
        &self,
        room: &RoomId,
        span: Span,
        limit: usize,
    ) -> Result<Option<Page>, BrokerError> {
        self.read_stream(room, span, limit, self.deadline()).await
    }

    /// Removes events that were stored before `cutoff` (milliseconds since 1970) from the stream.
    /// Returns whether there may be more of them.
    pub(crate) async fn expire(&self, room: &RoomId, cutoff: u64) -> Result<bool, BrokerError> {
        let keys = self.0.keys.room(room);
        let expire = async |connection: MultiplexedConnection| {
            let names = [keys.stream(), keys.tombstones()];
            let mut call = self.0.scripts.expire.call(&names);
            call.arg(cutoff).arg(EXPIRED_AT_ONCE);
            call.invoke::<bool>(connection).await
        };
        self.0.link.call(self.deadline(), expire).await
    }

    /// Reads a part of the stream. `None`: the room has no stream.
    pub(super) async fn read_stream(
        &self,
        room: &RoomId,
        span: Span,
        limit: usize,
        deadline: Instant,
    ) -> Result<Option<Page>, BrokerError> {
        let keys = self.0.keys.room(room);
        let (direction, offset, end) = match span {
            // No event is before the first, and Redis has no range for that.
            Span::Before(0) => ("before", "1".to_owned(), End::Newest),
            Span::After(offset) => ("after", offset.to_string(), End::Oldest),
            Span::Before(offset) => ("before", offset.to_string(), End::Newest),
            Span::Newest => ("before", "+".to_owned(), End::Newest),
        };
        let read = async |connection: MultiplexedConnection| {
            let names = [keys.meta(), keys.stream(), keys.tombstones()];
            let mut call = self.0.scripts.read.call(&names);
            call.arg(direction).arg(&offset).arg(limit);
            call.invoke::<Read>(connection).await
        };
        let (epoch, top, entries, tombstones, low, before, base, archived, private) =
            self.0.link.call(deadline, read).await?;
        if epoch.is_empty() {
            return Ok(None);
        }
        let epoch =
            Epoch::new(&epoch).map_err(|error| BrokerError::Unexpected(error.to_string()))?;
        let base = parse_number(base)?;
        let excerpt = Excerpt {
            room,
            epoch: &epoch,
            base,
            low,
            before: Epoch::new(&before).ok(),
        };
        let events = excerpt.join(entries, &tombstones, end, limit)?;
        let head = Head {
            epoch,
            offset: parse_number(top)?,
        };
        Ok(Some(Page {
            head,
            events,
            base,
            archived: archived.parse().ok(),
            is_private: !private.is_empty(),
        }))
    }

    pub(crate) async fn rooms(&self, limit: usize) -> Result<Vec<RoomSummary>, BrokerError> {
        let newest = isize::try_from(limit).unwrap_or(isize::MAX) - 1;
        let ask_changes = async |mut connection: MultiplexedConnection| {
            let mut pipe = redis::pipe();
            for partition in 0..PARTITIONS {
                let changes = self.0.keys.changes(partition);
                pipe.zrevrange_withscores(changes, 0, newest);
            }
            pipe.query_async::<Vec<Vec<(String, f64)>>>(&mut connection)
                .await
        };
        let partitions = self.0.link.call(self.deadline(), ask_changes).await?;
        let mut changed: Vec<(String, f64)> = partitions.into_iter().flatten().collect();
        changed.sort_by(|a, b| b.1.total_cmp(&a.1));
        let rooms = changed
            .iter()
            .filter_map(|(room, _)| RoomId::new(room).ok());
        let (direct, others): (Vec<RoomId>, Vec<RoomId>) = rooms.partition(RoomId::is_direct);
        let rooms = others.into_iter().take(limit);
        let rooms = rooms.chain(direct.into_iter().take(limit)).collect();
        let summaries = self.figures(rooms).await?;
        let public = summaries.into_iter().filter(|(_, is_private)| !is_private);
        Ok(public.map(|(summary, _)| summary).collect())
    }

    pub(crate) async fn summaries(
        &self,
        rooms: Vec<RoomId>,
    ) -> Result<Vec<RoomSummary>, BrokerError> {
        let summaries = self.figures(rooms).await?;
        Ok(summaries.into_iter().map(|(summary, _)| summary).collect())
    }

    /// The rooms' summaries, and whether each room is private.
    async fn figures(&self, rooms: Vec<RoomId>) -> Result<Vec<(RoomSummary, bool)>, BrokerError> {
        if rooms.is_empty() {
            return Ok(Vec::new());
        }
        let ask = async |mut connection: MultiplexedConnection| {
            let mut pipe = redis::pipe();
            for room in &rooms {
                let keys = self.0.keys.room(room);
                pipe.cmd("HGET").arg(keys.meta()).arg("top");
                pipe.cmd("HLEN").arg(keys.users());
                pipe.cmd("HEXISTS").arg(keys.meta()).arg("private");
            }
            pipe.query_async::<Vec<Option<u64>>>(&mut connection).await
        };
        let figures = self.0.link.call(self.deadline(), ask).await?;
        let summary = |(room, figures): (RoomId, &[Option<u64>])| {
            let summary = RoomSummary {
                room,
                offset: figures[0].unwrap_or(0),
                members: figures[1].unwrap_or(0),
            };
            (summary, figures[2] == Some(1))
        };
        Ok(rooms
            .into_iter()
            .zip(figures.chunks_exact(3))
            .map(summary)
            .collect())
    }
}
