//! The content of a report, independent of its form.

use serde_json::{Map, Value};

use crate::plan::Counts;

/// One line of a table: names and values in order.
pub(crate) type Row = Map<String, Value>;

/// A latency distribution, in microseconds.
#[derive(Debug, Clone)]
pub(super) struct Curve {
    pub(super) plot: String,
    pub(super) name: String,
    pub(super) counts: Counts,
}

/// The results of a bench.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) title: &'static str,
    pub(super) rows: Vec<Row>,
    pub(super) curves: Vec<Curve>,
    /// The column that is drawn as bars.
    pub(super) bars: Option<&'static str>,
    pub(super) notes: Vec<String>,
}
