//! The findings for people: a table of the rooms that are not whole, and a summary line.

use std::fmt;

use hubbub_archive::{LifeCheck, RoomCheck};
use hubbub_protocol::RoomId;

use super::compare::Comparison;

/// Rooms that are shown; further ones are only counted.
const SHOWN_ROOMS: usize = 1_000;
/// Ranges that are shown of one kind of problem.
const SHOWN_RANGES: usize = 5;

/// The findings over all rooms.
#[derive(Debug, Default)]
pub(super) struct Report {
    with_streams: bool,
    rooms: u64,
    events: u64,
    streams: u64,
    compared: u64,
    waiting: u64,
    lost: u64,
    broken: usize,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    room: RoomId,
    events: u64,
    findings: Vec<String>,
}

impl Report {
    pub(super) fn new(with_streams: bool) -> Self {
        Self {
            with_streams,
            ..Self::default()
        }
    }

    /// Rooms that are not whole.
    pub(super) fn broken(&self) -> usize {
        self.broken
    }

    pub(super) fn take(
        &mut self,
        room: &RoomId,
        check: &RoomCheck,
        comparison: Option<&Comparison>,
    ) {
        let events = check.lives.iter().map(|life| life.events).sum();
        self.rooms += 1;
        self.events += events;
        let mut findings = problems(check);
        if let Some(comparison) = comparison {
            self.streams += 1;
            self.compared += comparison.compared;
            self.waiting += comparison.waiting;
            findings.extend(differences(comparison));
        }
        if !findings.is_empty() {
            self.broken += 1;
        }
        for hole in check.lives.iter().flat_map(|life| &life.recorded) {
            self.lost += hole.last - hole.first + 1;
            let range = ranges(&[(hole.first, hole.last)]);
            findings.push(format!("{range} known to be lost: {}", hole.reason));
        }
        if !findings.is_empty() && self.rows.len() < SHOWN_ROOMS {
            self.rows.push(Row {
                room: room.clone(),
                events,
                findings,
            });
        }
    }
}

fn problems(check: &RoomCheck) -> Vec<String> {
    let broken = check.lives.iter().filter(|life| !life.holes.is_empty());
    let hole = |life: &LifeCheck| {
        let missing = ranges(&life.holes);
        format!("{missing} missing in life {}", life.epoch)
    };
    let mut found: Vec<String> = broken.map(hole).collect();
    if check.duplicates > 0 {
        let first = check.first_duplicate.unwrap_or_default();
        let count = check.duplicates;
        found.push(format!("{count} there twice, the first at offset {first}"));
    }
    found
}

fn differences(comparison: &Comparison) -> Vec<String> {
    let mut found = Vec::new();
    if !comparison.missing.is_empty() {
        let missing = ranges(&join(&comparison.missing));
        found.push(format!("{missing} in the stream, not in the archive"));
    }
    if !comparison.other.is_empty() {
        let other = ranges(&join(&comparison.other));
        found.push(format!("{other} another event than in the stream"));
    }
    if let Some((head, top)) = comparison.behind {
        found.push(format!(
            "the stream ends at {head}, the archive has it up to {top}"
        ));
    }
    found
}

/// Consecutive offsets as ranges.
fn join(offsets: &[u64]) -> Vec<(u64, u64)> {
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for offset in offsets {
        match joined.last_mut() {
            Some((_, last)) if *last + 1 == *offset => *last = *offset,
            _ => joined.push((*offset, *offset)),
        }
    }
    joined
}

fn ranges(ranges: &[(u64, u64)]) -> String {
    let shown = ranges.iter().take(SHOWN_RANGES).map(|range| match range {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    });
    let mut text = format!("offsets {}", shown.collect::<Vec<_>>().join(", "));
    if ranges.len() > SHOWN_RANGES {
        text.push_str(&format!(" and {} more ranges", ranges.len() - SHOWN_RANGES));
    }
    text
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.rows.is_empty() {
            let names = self.rows.iter().map(|row| row.room.as_str().len());
            let width = names.max().unwrap_or_default().max("ROOM".len());
            writeln!(f, "{:width$}  {:>10}  FINDING", "ROOM", "EVENTS")?;
            for row in &self.rows {
                row.write(f, width)?;
            }
            writeln!(f)?;
        }
        writeln!(
            f,
            "{} rooms with {} events in the archive",
            self.rooms, self.events
        )?;
        if self.with_streams {
            writeln!(
                f,
                "{} streams in Redis, {} events compared, {} wait for the archive",
                self.streams, self.compared, self.waiting
            )?
        } else {
            writeln!(f, "no streams to compare: redis.url is not set")?
        }
        if self.lost > 0 {
            writeln!(f, "{} events are recorded as lost", self.lost)?;
        }
        match self.broken {
            0 => writeln!(f, "whole: no hole, no duplicate, no difference"),
            broken => writeln!(f, "NOT WHOLE: {broken} rooms"),
        }
    }
}

impl Row {
    fn write(&self, f: &mut fmt::Formatter<'_>, width: usize) -> fmt::Result {
        for (index, finding) in self.findings.iter().enumerate() {
            match index {
                0 => writeln!(
                    f,
                    "{:width$}  {:>10}  {finding}",
                    self.room.as_str(),
                    self.events
                )?,
                _ => writeln!(f, "{:width$}  {:>10}  {finding}", "", "")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use hubbub_archive::Hole;
    use hubbub_protocol::Epoch;

    use super::*;

    fn check(holes: &[(u64, u64)], recorded: &[(u64, u64)]) -> RoomCheck {
        let epoch = Epoch::new("k3f9").unwrap();
        let recorded = recorded.iter().map(|(first, last)| Hole {
            epoch: epoch.clone(),
            first: *first,
            last: *last,
            reason: "they left the stream".to_owned(),
        });
        RoomCheck {
            lives: vec![LifeCheck {
                recorded: recorded.collect(),
                epoch: epoch.clone(),
                base: Some(0),
                expired: 0,
                first: 1,
                last: 9,
                events: 5,
                holes: holes.to_vec(),
            }],
            duplicates: 0,
            first_duplicate: None,
        }
    }

    #[test]
    fn whole_rooms_are_only_counted() {
        let mut report = Report::new(false);
        let room = RoomId::new("lobby").unwrap();
        report.take(&room, &check(&[], &[]), None);
        let text = report.to_string();
        assert_eq!(report.broken(), 0);
        assert!(text.starts_with("1 rooms with 5 events") && text.contains("whole:"));
    }

    #[test]
    fn holes_are_named_and_known_losses_are_no_verdict() {
        let mut report = Report::new(false);
        let room = |name| RoomId::new(name).unwrap();
        report.take(&room("lost"), &check(&[], &[(4, 6)]), None);
        assert_eq!(report.broken(), 0);
        let holes: Vec<(u64, u64)> = (0..7).map(|n| (n * 10, n * 10 + 1)).collect();
        report.take(&room("torn"), &check(&holes, &[]), None);
        assert_eq!(report.broken(), 1);
        let text = report.to_string();
        assert!(text.contains("offsets 4-6 known to be lost: they left the stream"));
        assert!(text.contains("0-1, 10-11, 20-21, 30-31, 40-41 and 2 more ranges missing in life"));
        assert!(text.ends_with("3 events are recorded as lost\nNOT WHOLE: 1 rooms\n"));
    }

    #[test]
    fn offsets_in_a_row_are_one_range() {
        assert_eq!(join(&[1, 2, 3, 7, 9, 10]), [(1, 3), (7, 7), (9, 10)]);
        assert_eq!(ranges(&join(&[7])), "offsets 7");
    }
}
