//! One self-contained page: tables, bars, and latency by percentile.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::content::{Content, Curve, Row};
use super::table::show;
use crate::plan::Counts;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#223}\
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .7rem;border-bottom:1px solid #dde;text-align:right}\
td:first-child,th:first-child{text-align:left}svg{max-width:100%;background:#fafbff;border:1px solid #dde}\
@media(prefers-color-scheme:dark){body{background:#14161c;color:#dde}svg{background:#1b1e27}text{fill:#dde}}";
const COLOURS: [&str; 6] = [
    "#3366cc", "#dc3912", "#109618", "#ff9900", "#990099", "#0099c6",
];
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 320.0;
/// Room for the labels of the axes.
const MARGIN: f64 = 60.0;
/// The plot ends at the 99.99th percentile.
const NINES: f64 = 4.0;

pub(super) fn render(report: &Content) -> String {
    let title = format!("hubbub bench {}", report.title);
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style><h1>{title}</h1>"
    );
    for rows in report.rows.chunk_by(|a, b| a.keys().eq(b.keys())) {
        page.push_str(&table(rows));
        if let Some(column) = report.bars {
            page.push_str(&bars(rows, column));
        }
    }
    let plots: BTreeSet<&str> = report
        .curves
        .iter()
        .map(|curve| curve.plot.as_str())
        .collect();
    for plot in plots {
        let curves = report.curves.iter().filter(|curve| curve.plot == plot);
        page.push_str(&curves_of(plot, &curves.collect::<Vec<_>>()));
    }
    for note in &report.notes {
        put(&mut page, format_args!("<p>{}</p>", escape(note)));
    }
    page
}

/// Appends formatted text. Writing to a String cannot fail.
fn put(page: &mut String, what: std::fmt::Arguments<'_>) {
    let _ = page.write_fmt(what);
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn table(rows: &[Row]) -> String {
    let line = |cells: Vec<String>, tag: &str| {
        let cells = cells
            .iter()
            .map(|cell| format!("<{tag}>{}</{tag}>", escape(cell)));
        format!("<tr>{}</tr>", cells.collect::<String>())
    };
    let Some(first) = rows.first() else {
        return String::new();
    };
    let head = line(first.keys().cloned().collect(), "th");
    let body = rows
        .iter()
        .map(|row| line(row.values().map(show).collect(), "td"));
    format!("<table>{head}{}</table>", body.collect::<String>())
}

/// A bar for each row that has the column. The row's text values are the bar's name.
fn bars(rows: &[Row], column: &str) -> String {
    let values = rows.iter().filter_map(|row| {
        let texts = row.values().filter_map(|value| value.as_str());
        Some((
            texts.collect::<Vec<_>>().join(" "),
            row.get(column)?.as_f64()?,
        ))
    });
    let values: Vec<(String, f64)> = values.collect();
    let most = values.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    if most <= 0.0 {
        return String::new();
    }
    let height = 26 * values.len();
    let mut svg = format!(
        "<h2>{}</h2><svg viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\">",
        escape(column)
    );
    for (number, (name, value)) in values.iter().enumerate() {
        let (y, width) = (26 * number, value / most * (WIDTH - 360.0));
        let colour = COLOURS[number % COLOURS.len()];
        put(
            &mut svg,
            format_args!(
                "<text x=\"6\" y=\"{}\" font-size=\"13\">{}</text><rect x=\"280\" y=\"{}\" width=\"{width:.0}\" height=\"18\" fill=\"{colour}\"/><text x=\"{:.0}\" y=\"{}\" font-size=\"13\">{value:.2}</text>",
                y + 18,
                escape(name),
                y + 4,
                286.0 + width,
                y + 18
            ),
        );
    }
    svg + "</svg>"
}

/// Latency by percentile. The horizontal axis counts nines, so that the slowest deliveries are
/// visible.
fn curves_of(plot: &str, curves: &[&Curve]) -> String {
    let lines: Vec<Vec<(f64, f64)>> = curves.iter().map(|curve| line(&curve.counts)).collect();
    let most = lines
        .iter()
        .flatten()
        .map(|point| point.1)
        .fold(0.001, f64::max);
    let x = |nines: f64| MARGIN + nines / NINES * (WIDTH - MARGIN - 20.0);
    let y = |millis: f64| HEIGHT - 40.0 - millis / most * (HEIGHT - 70.0);
    let mut svg = format!(
        "<h2>Latency: {}</h2><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\">",
        escape(plot)
    );
    for (nines, name) in ["0 %", "90 %", "99 %", "99.9 %", "99.99 %"]
        .iter()
        .enumerate()
    {
        let at = x(nines as f64);
        put(
            &mut svg,
            format_args!(
                "<line x1=\"{at}\" y1=\"20\" x2=\"{at}\" y2=\"{}\" stroke=\"#ccd\"/><text x=\"{}\" y=\"{}\" font-size=\"12\">{name}</text>",
                y(0.0),
                at - 16.0,
                HEIGHT - 22.0
            ),
        );
    }
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let (at, millis) = (y(most * share), most * share);
        put(
            &mut svg,
            format_args!(
                "<line x1=\"{MARGIN}\" y1=\"{at}\" x2=\"{}\" y2=\"{at}\" stroke=\"#ccd\"/><text x=\"4\" y=\"{}\" font-size=\"12\">{millis:.2} ms</text>",
                WIDTH - 20.0,
                at + 4.0
            ),
        );
    }
    for (number, (curve, line)) in curves.iter().zip(&lines).enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let points: Vec<String> = line
            .iter()
            .map(|&(nines, millis)| format!("{:.1},{:.1}", x(nines), y(millis)))
            .collect();
        put(
            &mut svg,
            format_args!(
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/><text x=\"{}\" y=\"{}\" font-size=\"13\" style=\"fill:{colour}\">{}</text>",
                points.join(" "),
                MARGIN + 12.0,
                34 + 18 * number,
                escape(&curve.name)
            ),
        );
    }
    svg + "</svg>"
}

/// Points of (nines, milliseconds).
fn line(counts: &Counts) -> Vec<(f64, f64)> {
    let total: u64 = counts.values().sum();
    let mut below = 0;
    let mut points = Vec::new();
    for (&micros, &count) in counts {
        let millis = micros as f64 / 1000.0;
        for part in [below, below + count] {
            let left = 1.0 - part as f64 / total as f64;
            points.push((-left.max(1e-9).log10(), millis));
        }
        below += count;
    }
    points.retain(|(nines, _)| *nines <= NINES);
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_rises_from_left_to_right_and_ends_at_four_nines() {
        let counts = Counts::from([(1_000, 90), (5_000, 9), (9_000, 1)]);
        let points = line(&counts);
        assert_eq!(points[0], (0.0, 1.0));
        assert!(points.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1));
        assert!(
            points
                .last()
                .is_some_and(|point| point.0 <= NINES && point.1 > 4.9)
        );
    }
}
