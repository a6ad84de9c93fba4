//! Reading a room's stream from Redis.

use hubbub_protocol::frame::RoomSummary;
use hubbub_protocol::{Envelope, Epoch, RoomId};
use redis::Value;
use redis::aio::MultiplexedConnection;

use super::RedisBroker;
use super::keys::PARTITIONS;
use super::values::{parse_entry, parse_epoch, parse_number};
use crate::{BrokerError, Head, Page, Span};

impl RedisBroker {
    pub(crate) async fn read(
        &self,
        room: &RoomId,
        span: Span,
        limit: usize,
        seen: u64,
    ) -> Result<Page, BrokerError> {
        let new_epoch = Epoch::generate();
        let (epoch, top, events) = self
            .read_stream(room, span, limit, new_epoch.as_str(), seen)
            .await?;
        Ok(Page {
            head: Head {
                epoch: parse_epoch(epoch)?,
                offset: parse_number(top)?,
            },
            events,
        })
    }

    pub(crate) async fn history(
        &self,
        room: &RoomId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Envelope>, BrokerError> {
        let span = before.map_or(Span::Newest, Span::Before);
        self.read_stream(room, span, limit, "", 0)
            .await
            .map(|(_, _, events)| events)
    }

    pub(crate) async fn fork(
        &self,
        room: &RoomId,
        forked: &Epoch,
        seen: u64,
    ) -> Result<(), BrokerError> {
        let keys = self.0.keys.room(room);
        let unused_life = Self::seconds(self.0.config.history.stream_ttl);
        let new_epoch = Epoch::generate();
        let call = async |mut connection: MultiplexedConnection| {
            let mut script = self.0.scripts.fork.prepare_invoke();
            script
                .key(&keys.meta)
                .key(&keys.stream)
                .key(&keys.nonces)
                .key(&keys.older_nonces);
            script
                .key(&keys.changes)
                .arg(&keys.channel)
                .arg(room.as_str());
            script
                .arg(new_epoch.as_str())
                .arg(seen)
                .arg(unused_life)
                .arg(forked.as_str());
            script.invoke_async::<()>(&mut connection).await
        };
        self.0.link.call(self.deadline(), call).await
    }

    /// With an empty `new_epoch` a room without a stream stays so.
    async fn read_stream(
        &self,
        room: &RoomId,
        span: Span,
        limit: usize,
        new_epoch: &str,
        seen: u64,
    ) -> Result<(Value, Value, Vec<Envelope>), BrokerError> {
        let keys = self.0.keys.room(room);
        let unused_life = Self::seconds(self.0.config.history.stream_ttl);
        let (direction, offset) = match span {
            Span::After(offset) => ("after", offset),
            Span::Before(offset) => ("before", offset),
            Span::Newest => ("newest", 0),
        };
        let call = async |mut connection: MultiplexedConnection| {
            let mut script = self.0.scripts.read.prepare_invoke();
            script
                .key(&keys.meta)
                .key(&keys.stream)
                .key(&keys.nonces)
                .key(&keys.older_nonces);
            script.arg(new_epoch).arg(seen).arg(unused_life);
            script.arg(direction).arg(offset).arg(limit);
            script
                .invoke_async::<(Value, Value, Vec<Value>)>(&mut connection)
                .await
        };
        let (epoch, top, entries) = self.0.link.call(self.deadline(), call).await?;
        let mut events = entries
            .into_iter()
            .map(parse_entry)
            .collect::<Result<Vec<_>, _>>()?;
        if !matches!(span, Span::After(_)) {
            events.reverse();
        }
        Ok((epoch, top, events))
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
        let rooms: Vec<RoomId> = changed
            .iter()
            .take(limit)
            .filter_map(|(room, _)| RoomId::new(room).ok())
            .collect();
        self.summaries(rooms).await
    }

    async fn summaries(&self, rooms: Vec<RoomId>) -> Result<Vec<RoomSummary>, BrokerError> {
        if rooms.is_empty() {
            return Ok(Vec::new());
        }
        let ask = async |mut connection: MultiplexedConnection| {
            let mut pipe = redis::pipe();
            for room in &rooms {
                let keys = self.0.keys.room(room);
                pipe.cmd("HGET").arg(keys.meta).arg("top");
                pipe.cmd("HLEN").arg(keys.users);
            }
            pipe.query_async::<Vec<Option<u64>>>(&mut connection).await
        };
        let figures = self.0.link.call(self.deadline(), ask).await?;
        let summary = |(room, figures): (RoomId, &[Option<u64>])| RoomSummary {
            room,
            offset: figures[0].unwrap_or(0),
            members: figures[1].unwrap_or(0),
        };
        Ok(rooms
            .into_iter()
            .zip(figures.chunks_exact(2))
            .map(summary)
            .collect())
    }
}
