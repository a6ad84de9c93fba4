//! The events that one client received in one room: runs of consecutive offsets.

/// The reason why a run began where it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Began {
    /// The client joined.
    Joined,
    /// The server said that it cannot continue from the client's position.
    Announced,
    /// The server said nothing.
    Unannounced,
}

/// Consecutive offsets of one epoch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) life: usize,
    /// The offset before the first one.
    pub(crate) after: u64,
    /// The last offset; equal to `after` while the run is empty.
    pub(crate) upto: u64,
    began: Began,
}

/// How an offset relates to what the client received before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Next,
    Duplicate,
    /// Offsets are missing before it.
    Hole {
        expected: u64,
    },
    /// The offset does not follow what came before.
    Disorder,
}

/// The outcome of a stored event for one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Received,
    /// The client had not joined yet, or had left.
    NotExpected,
    /// The client was told that it would miss something. `known_life` means that the event belongs
    /// to the epoch that the client was told of.
    Skipped {
        known_life: bool,
    },
    Lost,
}

/// One client in one room.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trail {
    runs: Vec<Run>,
    /// The next event may be anywhere.
    free: Option<Began>,
    /// The client has left. Nothing more is expected.
    over: bool,
}

impl Trail {
    pub(crate) fn last(&self) -> Option<&Run> {
        self.runs.last()
    }

    /// Continues strictly after `offset`.
    pub(crate) fn joined(&mut self, life: usize, offset: u64) {
        if self.runs.is_empty() {
            self.begin(life, offset, offset, Began::Joined);
        }
    }

    /// Continues at the next event, wherever it is; after `offset` if none comes.
    pub(crate) fn joined_anywhere(&mut self, life: usize, offset: u64) {
        let began = if self.runs.is_empty() {
            Began::Joined
        } else {
            Began::Announced
        };
        self.begin(life, offset, offset, began);
        self.free = Some(began);
    }

    /// Continues after `offset` in another epoch. Returns whether that is not below what was
    /// received.
    pub(crate) fn reset(&mut self, life: usize, offset: u64) -> bool {
        let is_forward = self.last().is_none_or(|run| run.upto <= offset);
        self.free = None;
        self.begin(life, offset, offset, Began::Announced);
        is_forward
    }

    pub(crate) fn end(&mut self) {
        self.over = true;
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    pub(crate) fn step(&mut self, life: usize, offset: u64) -> Step {
        if let Some(began) = self.free.take() {
            self.runs.pop();
            self.begin(life, offset - 1, offset, began);
            return Step::Next;
        }
        let Some(last) = self.runs.last_mut() else {
            self.begin(life, offset - 1, offset, Began::Joined);
            return Step::Next;
        };
        let expected = last.upto + 1;
        if last.life == life && offset == expected {
            last.upto = offset;
            return Step::Next;
        }
        let is_hole = last.life == life && offset > expected;
        if self.covers(life, offset) {
            return Step::Duplicate;
        }
        self.begin(life, offset - 1, offset, Began::Unannounced);
        if is_hole {
            Step::Hole { expected }
        } else {
            Step::Disorder
        }
    }

    fn begin(&mut self, life: usize, after: u64, upto: u64, began: Began) {
        self.runs.push(Run {
            life,
            after,
            upto,
            began,
        });
    }

    /// Whether the client received the event at this place.
    pub(crate) fn covers(&self, life: usize, offset: u64) -> bool {
        self.runs
            .iter()
            .any(|run| run.life == life && run.after < offset && offset <= run.upto)
    }

    /// Returns the outcome of a stored event. `is_older` says whether its first epoch began before
    /// its second.
    pub(crate) fn fate(
        &self,
        life: usize,
        offset: u64,
        is_older: impl Fn(usize, usize) -> bool,
    ) -> Fate {
        if self.covers(life, offset) {
            return Fate::Received;
        }
        let Some(first) = self.runs.first() else {
            return Fate::NotExpected;
        };
        // Offsets never go back over epochs. An event that was lost with its epoch may have an
        // offset that the next epoch uses again.
        if offset <= first.after || is_older(life, first.life) {
            return Fate::NotExpected;
        }
        let before = self
            .runs
            .iter()
            .rposition(|run| run.life == life && run.upto < offset);
        let next = match before {
            Some(index) => self.runs.get(index + 1),
            None => self.runs.iter().find(|run| run.life == life).or_else(|| {
                self.runs
                    .iter()
                    .skip(1)
                    .find(|run| is_older(life, run.life))
            }),
        };
        match next {
            Some(run) if run.began == Began::Announced => Fate::Skipped {
                known_life: run.life == life,
            },
            Some(_) => Fate::Lost,
            None if self.over => Fate::NotExpected,
            None => Fate::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fate(trail: &Trail, life: usize, offset: u64) -> Fate {
        trail.fate(life, offset, |one, other| one < other)
    }

    fn walked(offsets: &[u64]) -> Trail {
        let mut trail = Trail::default();
        trail.joined(0, offsets[0] - 1);
        for offset in offsets {
            assert_eq!(trail.step(0, *offset), Step::Next);
        }
        trail
    }

    #[test]
    fn only_the_next_offset_is_next() {
        let mut trail = walked(&[5, 6]);
        assert_eq!(trail.step(0, 6), Step::Duplicate);
        assert_eq!(trail.step(0, 8), Step::Hole { expected: 7 });
        assert_eq!(trail.step(0, 7), Step::Disorder);
        assert_eq!(trail.step(1, 9), Step::Disorder, "a life nobody announced");
    }

    #[test]
    fn a_gap_between_the_join_and_the_first_event_is_a_hole() {
        let mut trail = Trail::default();
        trail.joined(0, 4);
        assert_eq!(trail.step(0, 6), Step::Hole { expected: 5 });
    }

    #[test]
    fn a_resume_changes_nothing_and_a_failed_one_allows_a_gap() {
        let mut trail = walked(&[5, 6]);
        trail.joined(0, 9);
        assert_eq!(trail.step(0, 7), Step::Next);
        trail.joined_anywhere(1, 40);
        assert_eq!(trail.step(1, 21), Step::Next);
        assert_eq!(fate(&trail, 0, 8), Fate::Skipped { known_life: false });
        assert_eq!(fate(&trail, 1, 20), Fate::Skipped { known_life: true });
    }

    #[test]
    fn an_epoch_between_two_known_ones_is_skipped() {
        let mut trail = walked(&[5, 6]);
        assert!(trail.reset(2, 6));
        assert_eq!(fate(&trail, 1, 7), Fate::Skipped { known_life: false });
    }

    #[test]
    fn an_older_epoch_does_not_concern_a_client_that_joined_later() {
        let mut trail = Trail::default();
        trail.joined(1, 480);
        assert_eq!(trail.step(1, 481), Step::Next);
        assert_eq!(fate(&trail, 0, 481), Fate::NotExpected);
    }

    #[test]
    fn skipped_and_lost_events_are_told_apart() {
        let mut trail = walked(&[5, 6]);
        assert!(trail.reset(1, 9));
        assert_eq!(trail.step(1, 10), Step::Next);
        assert_eq!(fate(&trail, 0, 4), Fate::NotExpected);
        assert_eq!(fate(&trail, 0, 6), Fate::Received);
        assert_eq!(fate(&trail, 0, 7), Fate::Skipped { known_life: false });
        assert_eq!(fate(&trail, 1, 9), Fate::Skipped { known_life: true });
        assert_eq!(fate(&trail, 1, 11), Fate::Lost);
        trail.end();
        assert_eq!(fate(&trail, 1, 11), Fate::NotExpected);
        assert!(!trail.reset(2, 3), "offsets never go back");
    }
}
