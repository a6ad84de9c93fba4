//! Reading a room's stream from Redis.

use std::time::Instant;

use hubbub_protocol::frame::RoomSummary;
use hubbub_protocol::{Envelope, Epoch, RoomId};
use redis::Value;
use redis::aio::MultiplexedConnection;

use super::RedisBroker;
use super::archive::backlog;
use super::excerpt::Excerpt;
use super::keys::PARTITIONS;
use super::values::{parse_entry, parse_epoch, parse_number};
use crate::{Begin, BrokerError, Fork, Head, Page, Span};

/// What the script that reads answers, in its order.
type Read = (
    String,
    Value,
    Vec<Value>,
    Vec<String>,
    u64,
    Value,
    String,
    String,
);

impl RedisBroker {
    pub(crate) async fn read(
        &self,
        room: &RoomId,
        span: Span,
        limit: usize,
        begin: &Begin,
    ) -> Result<Page, BrokerError> {
        let page = self.read_stream(room, span, limit, self.deadline()).await?;
        match (page, begin) {
            (Some(page), _) => Ok(page),
            (None, Begin::Never) => Err(BrokerError::NoLife),
            // A life that begins now has no events; should another node have begun it meanwhile,
            // its events are announced to whoever has subscribed.
            (
                None,
                Begin::Above {
                    offset, is_private, ..
                },
            ) => {
                let head = self.begin(room, *offset, *is_private).await?;
                Ok(Page {
                    base: head.offset,
                    head,
                    events: Vec::new(),
                    archived: None,
                    is_private: *is_private,
                })
            }
        }
    }

    pub(crate) async fn peek(
        &self,
        room: &RoomId,
        span: Span,
        limit: usize,
    ) -> Result<Option<Page>, BrokerError> {
        self.read_stream(room, span, limit, self.deadline()).await
    }

    pub(crate) async fn changes(
        &self,
        room: &RoomId,
        first: u64,
        last: u64,
        limit: usize,
    ) -> Result<Vec<Envelope>, BrokerError> {
        let keys = self.0.keys.room(room);
        let read = async |connection: MultiplexedConnection| {
            let mut call = self.0.scripts.changes.call(&[keys.stream(), keys.edits()]);
            call.arg(first).arg(last).arg(limit);
            call.invoke::<Vec<Value>>(connection).await
        };
        let entries = self.0.link.call(self.deadline(), read).await?;
        entries.into_iter().map(parse_entry).collect()
    }

    pub(crate) async fn fork(&self, room: &RoomId, fork: &Fork) -> Result<(), BrokerError> {
        let keys = self.0.keys.room(room);
        let new_epoch = Epoch::generate();
        let (offset, message) = match &fork.event {
            Some((offset, message)) => (offset.to_string(), message.as_str()),
            None => (String::new(), ""),
        };
        let begin = async |connection: MultiplexedConnection| {
            let mut call = self.0.scripts.fork.call(&keys.of_event());
            call.arg(keys.channel())
                .arg(room.as_str())
                .arg(new_epoch.as_str())
                .arg(fork.seen)
                .arg(self.0.lives.unused)
                .arg(fork.epoch.as_str())
                .arg(u8::from(fork.only_empty));
            call.arg(&offset).arg(message).arg(backlog(&self.0.config));
            call.invoke::<()>(connection).await
        };
        self.0.link.call(self.deadline(), begin).await
    }

    /// Where the room's stream stands, begun above `seen` if there is none.
    async fn begin(&self, room: &RoomId, seen: u64, is_private: bool) -> Result<Head, BrokerError> {
        let keys = self.0.keys.room(room);
        let new_epoch = Epoch::generate();
        let begin = async |connection: MultiplexedConnection| {
            let mut call = self.0.scripts.open.call(&keys.of_life());
            call.arg(new_epoch.as_str())
                .arg(seen)
                .arg(self.0.lives.unused)
                .arg(u8::from(is_private));
            call.invoke::<(Value, Value)>(connection).await
        };
        let (epoch, top) = self.0.link.call(self.deadline(), begin).await?;
        Ok(Head {
            epoch: parse_epoch(epoch)?,
            offset: parse_number(top)?,
        })
    }

    /// `None`: the room has no stream.
    pub(super) async fn read_stream(
        &self,
        room: &RoomId,
        span: Span,
        limit: usize,
        deadline: Instant,
    ) -> Result<Option<Page>, BrokerError> {
        let keys = self.0.keys.room(room);
        let (direction, offset) = match span {
            // Nothing is before the first, and Redis has no word for that.
            Span::Before(0) => ("before", 1),
            Span::After(offset) => ("after", offset),
            Span::Before(offset) => ("before", offset),
            Span::Newest => ("newest", 0),
        };
        let read = async |connection: MultiplexedConnection| {
            let names = [keys.meta(), keys.stream(), keys.tombstones()];
            let mut call = self.0.scripts.read.call(&names);
            call.arg(direction).arg(offset).arg(limit);
            call.invoke::<Read>(connection).await
        };
        let (epoch, top, entries, tombstones, reaches_back, base, archived, private) =
            self.0.link.call(deadline, read).await?;
        if epoch.is_empty() {
            return Ok(None);
        }
        let epoch =
            Epoch::new(&epoch).map_err(|error| BrokerError::Unexpected(error.to_string()))?;
        let after = match span {
            Span::After(offset) if reaches_back == 1 => Some(offset),
            Span::After(_) | Span::Before(_) | Span::Newest => None,
        };
        let events = Excerpt {
            room,
            epoch: &epoch,
            after,
        }
        .join(entries, tombstones)?;
        let events = match span {
            Span::After(_) => events.into_iter().take(limit).collect(),
            Span::Before(_) | Span::Newest => {
                let more = events.len().saturating_sub(limit);
                events.into_iter().skip(more).collect()
            }
        };
        let head = Head {
            epoch,
            offset: parse_number(top)?,
        };
        Ok(Some(Page {
            head,
            events,
            base: parse_number(base)?,
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

    /// Where rooms stand, and which of them are private.
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
