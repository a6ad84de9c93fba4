//! The verdict: counts for each room, and the first broken promises as text.

use std::fmt;

use crate::anomaly::Anomaly;

/// The number of anomalies that are kept as text. All are counted.
const SHOWN: usize = 20;

/// The number of anomalies of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Acked events that a client did not receive, logs that end before the head, acks that name
    /// another event.
    pub lost: usize,
    /// Events that came twice, events that are numbered twice, sends that are stored twice.
    pub duplicated: usize,
    /// Holes, steps back, unannounced epochs, senders' orders.
    pub out_of_order: usize,
    /// Places at which clients received different bytes.
    pub different: usize,
    /// Refused sends that a client received.
    pub phantoms: usize,
}

impl Counts {
    /// The sum of all kinds.
    #[must_use]
    pub fn total(&self) -> usize {
        let Self {
            lost,
            duplicated,
            out_of_order,
            different,
            phantoms,
        } = self;
        lost + duplicated + out_of_order + different + phantoms
    }

    fn count(&mut self, anomaly: &Anomaly) {
        let figure = match anomaly {
            Anomaly::LostWrite { .. } | Anomaly::Behind { .. } | Anomaly::Misplaced { .. } => {
                &mut self.lost
            }
            Anomaly::Duplicate { .. }
            | Anomaly::NumberedTwice { .. }
            | Anomaly::StoredTwice { .. } => &mut self.duplicated,
            Anomaly::Hole { .. } | Anomaly::OutOfOrder { .. } | Anomaly::SenderOrder { .. } => {
                &mut self.out_of_order
            }
            Anomaly::Difference { .. } => &mut self.different,
            Anomaly::Phantom { .. } => &mut self.phantoms,
        };
        *figure += 1;
    }

    fn add(&mut self, other: &Self) {
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.out_of_order += other.out_of_order;
        self.different += other.different;
        self.phantoms += other.phantoms;
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Anomalies {
    pub(crate) counts: Counts,
    pub(crate) first: Vec<Anomaly>,
}

impl Anomalies {
    pub(crate) fn add(&mut self, anomaly: Anomaly) {
        self.counts.count(&anomaly);
        if self.first.len() < SHOWN {
            self.first.push(anomaly);
        }
    }
}

/// The verdict on one room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomReport {
    /// The room's name; `total` in the sum.
    pub room: String,
    /// Epochs that occur in the logs.
    pub lives: usize,
    /// Different events that at least one client received.
    pub events: usize,
    /// Clients whose logs contain the room.
    pub clients: usize,
    /// Sends that were acked.
    pub acked: usize,
    /// Sends that were refused for good.
    pub refused: usize,
    /// Sends with an unknown outcome.
    pub unknown: usize,
    /// Acked events of an older epoch that a client was told it would miss, counted for each
    /// client.
    pub skipped: usize,
    /// The same for events of the epoch that the client was told of.
    pub skipped_in_known_life: usize,
    /// The broken promises.
    pub counts: Counts,
}

/// The verdict.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The verdict on each room.
    pub rooms: Vec<RoomReport>,
    /// The sum over all rooms.
    pub total: RoomReport,
    /// The first anomalies of all rooms.
    pub anomalies: Vec<Anomaly>,
}

impl Report {
    pub(crate) fn of(rooms: Vec<(RoomReport, Vec<Anomaly>)>) -> Self {
        let mut report = Self::default();
        report.total.room = "total".to_owned();
        for (room, anomalies) in rooms {
            report.total.add(&room);
            report.rooms.push(room);
            let places = SHOWN.saturating_sub(report.anomalies.len());
            report.anomalies.extend(anomalies.into_iter().take(places));
        }
        report
    }

    /// Whether every promise was kept.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.total.counts.total() == 0
    }
}

impl RoomReport {
    fn add(&mut self, other: &Self) {
        self.lives += other.lives;
        self.events += other.events;
        self.clients += other.clients;
        self.acked += other.acked;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.skipped += other.skipped;
        self.skipped_in_known_life += other.skipped_in_known_life;
        self.counts.add(&other.counts);
    }

    fn figures(&self) -> [usize; 11] {
        let Counts {
            lost,
            duplicated,
            out_of_order,
            different,
            phantoms,
        } = self.counts;
        [
            self.lives,
            self.events,
            self.clients,
            self.acked,
            self.refused,
            self.unknown,
            lost,
            duplicated,
            out_of_order,
            different + phantoms,
            self.skipped + self.skipped_in_known_life,
        ]
    }
}

const TITLES: [&str; 11] = [
    "epochs",
    "events",
    "clients",
    "acked",
    "refused",
    "unknown",
    "lost",
    "duplicated",
    "out of order",
    "wrong",
    "skipped by reset",
];

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rooms.iter().chain([&self.total]);
        let names = rows.clone().map(|row| row.room.len());
        let width = names.max().unwrap_or_default();
        write!(f, "{:width$}", "room")?;
        for title in TITLES {
            write!(f, "  {title}")?;
        }
        writeln!(f)?;
        for row in rows {
            write!(f, "{:width$}", row.room)?;
            for (title, figure) in TITLES.iter().zip(row.figures()) {
                write!(f, "  {figure:>width$}", width = title.len())?;
            }
            writeln!(f)?;
        }
        for anomaly in &self.anomalies {
            writeln!(f, "{anomaly}")?;
        }
        let more = self
            .total
            .counts
            .total()
            .saturating_sub(self.anomalies.len());
        if more > 0 {
            writeln!(f, "and {more} more")?;
        }
        Ok(())
    }
}
