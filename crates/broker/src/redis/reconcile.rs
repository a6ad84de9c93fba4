//! Reads where a room's stream stands in Redis, and carries out a node's decision about it.

use std::time::Duration;

use hubbub_protocol::{Epoch, MessageId, Position, RoomId};
use redis::aio::MultiplexedConnection;

use super::RedisBroker;
use super::archive::backlog;
use super::keys::{PARTITIONS, partition_of};
use crate::{BrokerError, Head, Lost, NewEpoch, Outcome, Place, Reconciliation, Run, StreamState};

/// How often a run may change while a state is read before that counts as an outage.
const TRIES: usize = 4;

impl RedisBroker {
    pub(crate) fn run(&self, room: &RoomId) -> Run {
        self.0.runs.of(partition_of(room))
    }

    pub(crate) fn runs(&self) -> Vec<Run> {
        (0..PARTITIONS)
            .map(|partition| self.0.runs.of(partition))
            .collect()
    }

    pub(crate) fn end_runs(&self, newest: u64) {
        self.0.runs.end_all(newest);
        self.0.inbox.resync_run();
    }

    pub(crate) fn run_number(&self) -> u64 {
        self.0.runs.number()
    }

    pub(crate) fn run_age(&self) -> Duration {
        self.0.runs.age()
    }

    pub(crate) async fn state(&self, room: &RoomId) -> Result<Option<StreamState>, BrokerError> {
        let keys = self.0.keys.room(room);
        let read = async |connection: MultiplexedConnection| {
            let names = [keys.meta(), keys.stream(), keys.run()];
            let call = self.0.scripts.state.call(&names);
            call.invoke::<Vec<Option<String>>>(connection).await
        };
        for _ in 0..TRIES {
            let fields = Fields(self.0.link.call(self.deadline(), read).await?);
            let run = self.run(room);
            if !run.is_empty() && *fields.text(0) == *run {
                return fields.state(&run);
            }
            self.check_runs().await?;
        }
        Err(BrokerError::Unavailable(
            "redis is being replaced, or takes no writes".to_owned(),
        ))
    }

    /// Reads the runs again. If a run has changed, all rooms are read again.
    pub(super) async fn check_runs(&self) -> Result<(), BrokerError> {
        let check =
            async |mut connection: MultiplexedConnection| self.0.runs.check(&mut connection).await;
        if self.0.link.call(self.deadline(), check).await? {
            self.0.inbox.resync_run();
        }
        Ok(())
    }

    pub(crate) async fn reconcile(
        &self,
        room: &RoomId,
        decision: &Reconciliation,
    ) -> Result<Option<Head>, BrokerError> {
        self.check_joined()?;
        let keys = self.0.keys.room(room);
        let mut names = keys.of_event().to_vec();
        names.push(keys.run());
        let suffix = Epoch::suffix();
        let script = match &decision.outcome {
            Outcome::Keep { .. } => &self.0.scripts.confirm,
            Outcome::Begin(_) => &self.0.scripts.reconcile,
        };
        let reconcile = async |connection: MultiplexedConnection| {
            let mut call = script.call(&names);
            call.arg(keys.channel()).arg(room.as_str());
            call.arg(&*decision.run)
                .arg(decision.found.as_ref().map_or("", Epoch::as_str))
                .arg(u8::from(decision.is_final))
                .arg(u8::from(decision.is_private));
            match &decision.outcome {
                Outcome::Keep { mend_top } => {
                    call.arg("confirm").arg(u8::from(*mend_top));
                    call.arg("0").arg("").arg("").arg("");
                }
                Outcome::Begin(begin) => {
                    call.arg("begin").arg(begin.above).arg(begin.floor);
                    call.arg(&suffix).arg(carry_from(begin)).arg(lost(begin));
                }
            }
            call.arg(self.0.lives.unused).arg(self.0.lives.meta);
            call.arg(backlog(&self.0.config));
            call.invoke::<(u8, String, u64)>(connection).await
        };
        let (is_done, epoch, offset) = self.0.link.call(self.deadline(), reconcile).await?;
        if is_done == 0 {
            return Ok(None);
        }
        let epoch = Epoch::new(&epoch);
        let epoch = epoch.map_err(|error| BrokerError::Unexpected(error.to_string()))?;
        Ok(Some(Head { epoch, offset }))
    }
}

fn carry_from(begin: &NewEpoch) -> String {
    begin
        .carry_from
        .map_or(String::new(), |first| first.to_string())
}

fn lost(begin: &NewEpoch) -> String {
    let lost = begin.lost.as_ref();
    lost.map_or(String::new(), |lost| {
        format!("{} {} {}", lost.epoch, lost.first, lost.last)
    })
}

/// The answer of `state.lua`.
struct Fields(Vec<Option<String>>);

impl Fields {
    fn text(&self, index: usize) -> &str {
        let field = self.0.get(index).and_then(Option::as_deref);
        field.unwrap_or_default()
    }

    fn number(&self, index: usize) -> Option<u64> {
        self.text(index).parse().ok()
    }

    fn epoch(&self, index: usize) -> Result<Option<Epoch>, BrokerError> {
        match self.text(index) {
            "" => Ok(None),
            name => Epoch::new(name)
                .map(Some)
                .map_err(|error| BrokerError::Unexpected(error.to_string())),
        }
    }

    fn state(&self, run: &Run) -> Result<Option<StreamState>, BrokerError> {
        let Some(epoch) = self.epoch(1)? else {
            return Ok(None);
        };
        let is_reconciled = *self.text(6) == **run;
        Ok(Some(StreamState {
            head: Head {
                epoch,
                offset: self.number(2).unwrap_or(0),
            },
            base: self.number(3).unwrap_or(0),
            last: self.last()?,
            archived: self.number(4),
            is_private: !self.text(5).is_empty(),
            reconciled: self.number(7).filter(|_| is_reconciled),
            lost: self.lost(),
        }))
    }

    fn last(&self) -> Result<Option<Place>, BrokerError> {
        let (Some(offset), Some(epoch)) = (self.number(9), self.epoch(10)?) else {
            return Ok(None);
        };
        Ok(Some(Place {
            position: Position { epoch, offset },
            message: MessageId::new(self.text(11)).ok(),
        }))
    }

    /// Reads repeated `EPOCH FIRST LAST`. Unreadable entries are left out: they only inform.
    fn lost(&self) -> Vec<Lost> {
        let words: Vec<&str> = self.text(8).split(' ').collect();
        let read = |lost: &[&str]| {
            let [epoch, first, last] = lost else {
                return None;
            };
            Some(Lost {
                epoch: Epoch::new(epoch).ok()?,
                first: first.parse().ok()?,
                last: last.parse().ok()?,
            })
        };
        words.chunks_exact(3).filter_map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(texts: &[&str]) -> Fields {
        let field = |text: &&str| (!text.is_empty()).then(|| (*text).to_owned());
        Fields(texts.iter().map(field).collect())
    }

    #[test]
    fn a_state_is_read_and_belongs_to_one_run() {
        let texts = [
            "s.1",
            "e",
            "7",
            "2",
            "5",
            "1",
            "s.1",
            "4",
            "d 1 2 c 8 9",
            "7",
            "e",
            "m7",
        ];
        let state = fields(&texts).state(&"s.1".into()).unwrap().unwrap();
        assert_eq!(
            (state.head.offset, state.base, state.archived),
            (7, 2, Some(5))
        );
        assert!(state.is_private);
        assert_eq!(state.reconciled, Some(4));
        assert_eq!(state.last.unwrap().position.offset, 7);
        let lost: Vec<_> = state
            .lost
            .iter()
            .map(|lost| (lost.first, lost.last))
            .collect();
        assert_eq!(lost, [(1, 2), (8, 9)]);
        let other = fields(&texts).state(&"s.2".into()).unwrap().unwrap();
        assert_eq!(other.reconciled, None);
        assert_eq!(fields(&["s.1"]).state(&"s.1".into()).unwrap(), None);
    }
}
