//! A node's metrics in the format of Prometheus.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::http;

/// All samples of one scrape. Labels are part of a name.
#[derive(Debug, Clone, Default)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Reads the samples from a node's ops address.
    pub async fn read(ops: SocketAddr) -> Self {
        Self::parse(&http::get(ops, "/metrics").await.body)
    }

    fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Self(samples.filter_map(sample).collect())
    }

    /// The value of one metric, named without the prefix `hubbub_`.
    ///
    /// # Panics
    /// Panics if there is no such metric.
    #[must_use]
    pub fn get(&self, name: &str) -> f64 {
        let name = format!("hubbub_{name}");
        match self.0.get(&name) {
            Some(value) => *value,
            None => panic!("no metric {name}; there are: {:?}", self.0.keys()),
        }
    }

    /// The sum of one metric over all its labels, 0 if there are none yet.
    #[must_use]
    pub fn sum(&self, name: &str) -> f64 {
        let (bare, labelled) = (format!("hubbub_{name}"), format!("hubbub_{name}{{"));
        let is_it = |(key, _): &(&String, &f64)| **key == bare || key.starts_with(&labelled);
        self.0.iter().filter(is_it).map(|(_, value)| value).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_found_by_name() {
        let text = "# TYPE hubbub_x counter\nhubbub_x_total 5\nhubbub_closes_total{by=\"server\",code=\"1011\"} 2\nhubbub_closes_total{by=\"client\",code=\"0\"} 3\n# EOF\n";
        let metrics = Metrics::parse(text);
        assert_eq!(metrics.get("x_total"), 5.0);
        assert_eq!(
            metrics.get("closes_total{by=\"server\",code=\"1011\"}"),
            2.0
        );
        assert_eq!(metrics.sum("closes_total"), 5.0);
        assert_eq!(metrics.sum("rejected_total"), 0.0);
    }
}
