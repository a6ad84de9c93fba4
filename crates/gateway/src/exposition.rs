//! The forms of `/metrics`: Prometheus' text format 0.0.4, which every tool reads, and OpenMetrics 1.0 for
//! clients that ask for it.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

const OPENMETRICS: &str = "application/openmetrics-text";
const TEXT: &str = "text/plain";

/// The formats of the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exposition {
    Text,
    OpenMetrics,
}

impl Exposition {
    /// OpenMetrics where `Accept` names it and prefers nothing else; text for everybody else.
    pub(crate) fn asked_for(headers: &HeaderMap) -> Self {
        let values = headers.get_all(ACCEPT).iter();
        let ranges: Vec<(&str, f32)> = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(read_range)
            .collect();
        let quality = |wanted: &str| {
            let named = ranges.iter().filter(|(kind, _)| *kind == wanted);
            named.map(|(_, quality)| *quality).fold(0.0, f32::max)
        };
        let openmetrics = quality(OPENMETRICS);
        if openmetrics > 0.0 && openmetrics >= quality(TEXT) {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// Writes what the registry has written as OpenMetrics in this form.
    pub(crate) fn write(self, openmetrics: String) -> String {
        match self {
            Self::Text => to_text(&openmetrics),
            Self::OpenMetrics => openmetrics,
        }
    }
}

/// One media range of `Accept` and its quality, 1 where none is given.
fn read_range(range: &str) -> (&str, f32) {
    let mut parts = range.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
    (kind, quality.unwrap_or(1.0))
}

/// The two forms differ in names of counters, which carry `_total` in the comments too, in the word for an
/// unknown type, and in comments that text 0.0.4 does not have.
fn to_text(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len() + openmetrics.len() / 16);
    let mut help: Option<(&str, &str)> = None;
    for line in openmetrics.lines() {
        let mut words = line.splitn(4, ' ');
        let (hash, comment) = (words.next(), words.next().unwrap_or_default());
        let (name, rest) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        match (hash, comment) {
            (Some("#"), "HELP") => help = Some((name, rest)),
            (Some("#"), "TYPE") => {
                let (suffix, kind) = match rest {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    "unknown" => ("", "untyped"),
                    kind => ("", kind),
                };
                // Help stands in front of the type, which decides about the name.
                if let Some((_, words)) = help.take().filter(|(of, _)| *of == name) {
                    text.push_str(&format!("# HELP {name}{suffix} {words}\n"));
                }
                text.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
            }
            (Some("#"), _) => {}
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::metrics::histogram::Histogram;
    use prometheus_client::metrics::info::Info;
    use prometheus_client::registry::Registry;

    use super::*;

    fn asked_for(accept: &'static str) -> Exposition {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        Exposition::asked_for(&headers)
    }

    #[test]
    fn openmetrics_is_for_clients_that_ask_for_it() {
        assert_eq!(
            Exposition::asked_for(&HeaderMap::new()),
            Exposition::Text,
            "curl and promtool"
        );
        for accept in [
            "*/*",
            "text/plain",
            "text/html,application/xhtml+xml,*/*;q=0.8",
            "text/plain;version=0.0.4;q=1,application/openmetrics-text;q=0.5",
            "application/openmetrics-text;q=0",
        ] {
            assert_eq!(asked_for(accept), Exposition::Text, "{accept}");
        }
        for accept in [
            "application/openmetrics-text",
            "application/openmetrics-text; version=1.0.0, text/plain;q=0.9",
            // Prometheus 2 and 3.
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
        ] {
            assert_eq!(asked_for(accept), Exposition::OpenMetrics, "{accept}");
        }
    }

    #[test]
    fn counters_have_one_name_in_text() {
        let mut registry = Registry::with_prefix("hubbub");
        let counter = Counter::<u64>::default();
        counter.inc();
        registry.register("closes", "Connections ended", counter);
        registry.register("rooms", "Rooms now", Gauge::<i64>::default());
        let histogram = Histogram::new([0.1]);
        histogram.observe(0.05);
        registry.register("delivery_seconds", "Delays", histogram);
        registry.register("build", "The build", Info::new([("version", "1")]));
        let mut written = String::new();
        encode(&mut written, &registry).unwrap();
        let text = Exposition::Text.write(written);
        for line in [
            "# HELP hubbub_closes_total Connections ended.",
            "# TYPE hubbub_closes_total counter",
            "hubbub_closes_total 1",
            "# TYPE hubbub_rooms gauge",
            "# TYPE hubbub_delivery_seconds histogram",
            "hubbub_delivery_seconds_count 1",
            "# TYPE hubbub_build_info gauge",
            "hubbub_build_info{version=\"1\"} 1",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} in\n{text}");
        }
        assert!(!text.contains("# EOF") && !text.contains("# UNIT"));
    }
}
