//! Rows as a table. Consecutive rows with the same columns form one table.

use serde_json::Value;

use super::content::Row;

/// Renders all tables, each with a heading line.
pub(super) fn render(rows: &[Row]) -> String {
    let groups = rows.chunk_by(|a, b| a.keys().eq(b.keys()));
    groups.map(table).collect()
}

/// A value as text.
pub(super) fn show(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => round(float),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

fn round(number: f64) -> String {
    match number.abs() {
        0.0 => "0".to_owned(),
        small if small < 0.1 => format!("{number:.4}"),
        small if small < 20.0 => format!("{number:.2}"),
        middle if middle < 1000.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

fn table(rows: &[Row]) -> String {
    let Some(first) = rows.first() else {
        return String::new();
    };
    let mut lines: Vec<Vec<String>> = vec![first.keys().cloned().collect()];
    lines.extend(rows.iter().map(|row| row.values().map(show).collect()));
    let width = |column: usize| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..first.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, &width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_other_columns_begin_another_table() {
        let row = |value: Value| value.as_object().cloned().unwrap();
        let rows = [
            row(serde_json::json!({"system": "floor", "us": 8.625})),
            row(serde_json::json!({"system": "hubbub", "us": 12.0})),
            row(serde_json::json!({"other": null})),
        ];
        let text = render(&rows);
        assert_eq!(
            text,
            "system     us\nfloor    8.62\nhubbub  12.00\n\nother\n–\n\n"
        );
    }
}
