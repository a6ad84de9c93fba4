//! The rule that decides whether a room's stream can be relied on, and what happens if it cannot.
//!
//! The stream is compared with every place that the archive, this node and other nodes have seen.
//! It stands if it holds all of them. ARCHITECTURE.md ("When Redis comes back with less") derives
//! the rule.

use hubbub_broker::{Lost, NewEpoch, Outcome, Place, StreamState};
use hubbub_protocol::{Epoch, EpochOrder, MessageId};

/// A place that was seen, and the stream's event at that place.
#[derive(Debug, Clone)]
pub(crate) struct Witness {
    pub(crate) place: Place,
    /// The event that the stream holds at that place in the same epoch. `None`: none is known.
    pub(crate) here: Option<MessageId>,
}

/// The reason why a stream does not stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// The room has no stream.
    Absent,
    /// It ends below a place that was seen in its epoch.
    Behind,
    /// It holds another event at a place that was seen in its epoch.
    Diverged,
    /// Its epoch is older than a seen one, or a rival of it.
    Outdated,
    /// Its epoch is the newest, but began below a place that was seen in the epoch before.
    Low,
    /// Its last event is of another epoch than the noted one.
    Mixed,
}

/// The result of a comparison.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    /// `None`: the stream stands.
    pub(crate) flaw: Option<Flaw>,
}

/// Facts about the stream from the archive and this node's log, in addition to the witnesses.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Known {
    /// The first offset at which the stream holds another event. `None`: there is none.
    pub(crate) foreign_from: Option<u64>,
    /// The highest offset that the archive has in the stream's own epoch.
    pub(crate) archived: Option<u64>,
    /// The highest offset that the archive has of the room, in any epoch.
    pub(crate) archive_end: Option<u64>,
}

/// Compares a room's stream with the places that were seen of it.
pub(crate) fn judge(state: Option<&StreamState>, witnesses: &[Witness], known: &Known) -> Verdict {
    let begin = NewEpoch {
        above: highest(state, witnesses),
        floor: newest(state, witnesses),
        lost: lost(state, witnesses, known.archive_end),
        ..NewEpoch::first()
    };
    let Some(state) = state else {
        return Verdict::begin(begin, Flaw::Absent);
    };
    let flaws: Vec<Flaw> = witnesses
        .iter()
        .filter_map(|witness| flaw_of(state, witness))
        .collect();
    let last = state.last.as_ref().map(|last| &last.position);
    let is_mixed =
        last.is_some_and(|last| last.offset > state.head.offset && last.epoch != state.head.epoch);
    let mend_top = last.is_some_and(|last| last.offset > state.head.offset);
    let worst = flaws.iter().max_by_key(|flaw| severity(**flaw)).copied();
    let Some(flaw) = worst.or(is_mixed.then_some(Flaw::Mixed)) else {
        return match known.foreign_from {
            None => Verdict::keep(mend_top),
            Some(_) => Verdict::begin(
                NewEpoch {
                    carry_from: known.foreign_from,
                    ..begin
                },
                Flaw::Diverged,
            ),
        };
    };
    Verdict::begin(
        NewEpoch {
            carry_from: Some(carry_from(state, flaw, known)),
            ..begin
        },
        flaw,
    )
}

impl Verdict {
    fn begin(begin: NewEpoch, flaw: Flaw) -> Self {
        Self {
            outcome: Outcome::Begin(begin),
            flaw: Some(flaw),
        }
    }

    fn keep(mend_top: bool) -> Self {
        Self {
            outcome: Outcome::Keep { mend_top },
            flaw: None,
        }
    }
}

/// The order of flaws: a higher one makes more events foreign.
fn severity(flaw: Flaw) -> u8 {
    match flaw {
        Flaw::Absent | Flaw::Mixed => 0,
        Flaw::Behind => 1,
        Flaw::Diverged => 2,
        Flaw::Outdated => 3,
        Flaw::Low => 4,
    }
}

fn flaw_of(state: &StreamState, witness: &Witness) -> Option<Flaw> {
    let seen = &witness.place.position;
    let is_behind = state.head.offset < seen.offset;
    match state.head.epoch.order(&seen.epoch) {
        EpochOrder::Same if is_behind => Some(Flaw::Behind),
        EpochOrder::Same => {
            let (here, there) = (witness.here.as_ref(), witness.place.message.as_ref());
            let is_other = here
                .zip(there)
                .is_some_and(|(here, there)| here.is_other(there));
            is_other.then_some(Flaw::Diverged)
        }
        EpochOrder::Newer => is_behind.then_some(Flaw::Low),
        EpochOrder::Older | EpochOrder::Rival => Some(Flaw::Outdated),
    }
}

/// The first event of the stream that nodes or the archive cannot know. From there on, events have
/// to move into the new epoch, so that they are delivered and archived. Events that are stored
/// after this look move in any case.
fn carry_from(state: &StreamState, flaw: Flaw, known: &Known) -> u64 {
    let unseen = match flaw {
        // Every event of its epoch that is not archived: a node that has seen an older epoch has
        // followed none of it.
        Flaw::Low => known.archived.unwrap_or(state.base) + 1,
        // The events acked in it since it was reconciled, or since the archive took its last one.
        Flaw::Outdated => match (known.archived, state.reconciled) {
            (Some(archived), _) => archived + 1,
            (None, Some(reconciled)) => reconciled + 1,
            (None, None) => state.head.offset + 1,
        },
        Flaw::Absent | Flaw::Behind | Flaw::Diverged | Flaw::Mixed => state.head.offset + 1,
    };
    known
        .foreign_from
        .map_or(unseen, |foreign| foreign.min(unseen))
}

/// The places that were seen in the newest epoch and that neither the stream nor the archive has.
/// An empty Redis without an archive cannot tell which events were trimmed long ago, so in that
/// case none are named.
fn lost(
    state: Option<&StreamState>,
    witnesses: &[Witness],
    archive_end: Option<u64>,
) -> Option<Lost> {
    let seen = witnesses.iter().map(|witness| &witness.place.position);
    let newest = seen.max_by_key(|seen| (seen.epoch.number(), seen.offset))?;
    let kept = match state {
        Some(state) if state.head.epoch == newest.epoch => state.head.offset,
        Some(state) => state.head.offset.max(archive_end.unwrap_or(0)),
        None => archive_end?,
    };
    (newest.offset > kept).then(|| Lost {
        epoch: newest.epoch.clone(),
        first: kept + 1,
        last: newest.offset,
    })
}

fn highest(state: Option<&StreamState>, witnesses: &[Witness]) -> u64 {
    let seen = witnesses
        .iter()
        .map(|witness| witness.place.position.offset);
    let known = state.into_iter().flat_map(|state| {
        let last = state.last.as_ref().map_or(0, |last| last.position.offset);
        [state.head.offset, last]
    });
    seen.chain(known).max().unwrap_or(0)
}

fn newest(state: Option<&StreamState>, witnesses: &[Witness]) -> u64 {
    let seen = witnesses
        .iter()
        .map(|witness| &witness.place.position.epoch);
    let known = state.into_iter().flat_map(|state| {
        let last = state.last.as_ref().map(|last| &last.position.epoch);
        [Some(&state.head.epoch), last].into_iter().flatten()
    });
    seen.chain(known).map(Epoch::number).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use hubbub_broker::Head;
    use hubbub_protocol::Position;

    use super::*;

    const OLD: &str = "0mx000001-aaaa";
    const NEW: &str = "0mx000002-aaaa";
    const RIVAL: &str = "0mx000002-bbbb";

    fn epoch(name: &str) -> Epoch {
        Epoch::new(name).unwrap()
    }

    fn state(name: &str, top: u64) -> StreamState {
        StreamState {
            head: Head {
                epoch: epoch(name),
                offset: top,
            },
            base: 0,
            last: None,
            archived: None,
            is_private: false,
            reconciled: None,
            lost: Vec::new(),
        }
    }

    fn seen(name: &str, offset: u64, there: &str, here: &str) -> Witness {
        Witness {
            place: Place {
                position: Position {
                    epoch: epoch(name),
                    offset,
                },
                message: MessageId::new(there).ok(),
            },
            here: MessageId::new(here).ok(),
        }
    }

    fn begun(verdict: &Verdict) -> &NewEpoch {
        match &verdict.outcome {
            Outcome::Begin(begin) => begin,
            Outcome::Keep { .. } => panic!("{verdict:?}"),
        }
    }

    #[test]
    fn a_stream_stands_that_holds_all_that_was_seen() {
        let all = [
            seen(NEW, 5, "m", "m"),
            seen(NEW, 3, "", ""),
            seen(OLD, 4, "", ""),
        ];
        let verdict = judge(Some(&state(NEW, 5)), &all, &Known::default());
        assert_eq!(verdict.flaw, None);
        assert_eq!(verdict.outcome, Outcome::Keep { mend_top: false });
    }

    #[test]
    fn each_flaw_is_found() {
        let flaw = |state: Option<StreamState>, witness| {
            judge(state.as_ref(), &[witness], &Known::default()).flaw
        };
        assert_eq!(flaw(None, seen(NEW, 5, "", "")), Some(Flaw::Absent));
        assert_eq!(
            flaw(Some(state(NEW, 4)), seen(NEW, 5, "", "")),
            Some(Flaw::Behind)
        );
        assert_eq!(
            flaw(Some(state(NEW, 5)), seen(NEW, 5, "m", "n")),
            Some(Flaw::Diverged)
        );
        assert_eq!(
            flaw(Some(state(OLD, 9)), seen(NEW, 5, "", "")),
            Some(Flaw::Outdated)
        );
        assert_eq!(
            flaw(Some(state(RIVAL, 9)), seen(NEW, 5, "", "")),
            Some(Flaw::Outdated)
        );
        assert_eq!(
            flaw(Some(state(NEW, 4)), seen(OLD, 5, "", "")),
            Some(Flaw::Low)
        );
    }

    #[test]
    fn a_new_epoch_begins_above_everything() {
        let all = [seen(OLD, 40, "", ""), seen(NEW, 12, "", "")];
        let verdict = judge(Some(&state(OLD, 9)), &all, &Known::default());
        let begin = begun(&verdict);
        assert_eq!((begin.above, begin.floor), (40, epoch(NEW).number()));
        let lost = begin.lost.as_ref().unwrap();
        assert_eq!((lost.first, lost.last, lost.count()), (10, 12, 3));
        assert_eq!(lost.epoch, epoch(NEW));
    }

    #[test]
    fn what_nobody_knows_moves_into_the_new_epoch() {
        let carried = |state: StreamState, witness, foreign_from, archived| {
            let known = Known {
                foreign_from,
                archived,
                archive_end: archived,
            };
            let verdict = judge(Some(&state), &[witness], &known);
            begun(&verdict).carry_from
        };
        let outdated = StreamState {
            reconciled: Some(6),
            ..state(OLD, 9)
        };
        assert_eq!(
            carried(outdated.clone(), seen(NEW, 5, "", ""), None, None),
            Some(7)
        );
        assert_eq!(
            carried(outdated.clone(), seen(NEW, 5, "", ""), None, Some(8)),
            Some(9)
        );
        assert_eq!(
            carried(state(OLD, 9), seen(NEW, 5, "", ""), None, None),
            Some(10)
        );
        assert_eq!(
            carried(state(NEW, 4), seen(NEW, 5, "", ""), None, None),
            Some(5)
        );
        assert_eq!(
            carried(state(NEW, 9), seen(NEW, 5, "m", "n"), Some(3), None),
            Some(3)
        );
        let low = StreamState {
            base: 2,
            ..state(NEW, 4)
        };
        assert_eq!(carried(low, seen(OLD, 5, "", ""), None, None), Some(3));
    }

    #[test]
    fn a_stream_above_its_note_is_mended_or_ended() {
        let last = |name| StreamState {
            last: Some(seen(name, 7, "m", "").place),
            ..state(NEW, 5)
        };
        let verdict = judge(Some(&last(NEW)), &[], &Known::default());
        assert_eq!(verdict.outcome, Outcome::Keep { mend_top: true });
        let verdict = judge(Some(&last(OLD)), &[], &Known::default());
        assert_eq!(verdict.flaw, Some(Flaw::Mixed));
        assert_eq!(begun(&verdict).above, 7);
    }
}
