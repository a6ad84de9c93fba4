//! Prints a node's answer for people: lists as tables, everything else in one line.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

use super::args::AdminCommand;

/// A column: its heading, and the field that it shows.
type Column = (&'static str, &'static str);

const NODES: &[Column] = &[
    ("NODE", "/node"),
    ("VERSION", "/version"),
    ("CONNECTIONS", "/connections"),
    ("ROOMS", "/rooms"),
    ("STARTED", "time:/started"),
    ("LEAVING", "/leaving"),
];
const CONNECTIONS: &[Column] = &[
    ("CONNECTION", "/connection"),
    ("USER", "/user/id"),
    ("NAME", "/user/name"),
    ("NODE", "/node"),
    ("ADDRESS", "/address"),
    ("OPENED", "time:/opened"),
];
const ROOMS: &[Column] = &[
    ("ROOM", "/room"),
    ("MEMBERS", "/members"),
    ("OFFSET", "/offset"),
];
const RULES: &[Column] = &[
    ("KIND", "/kind"),
    ("USER", "/user"),
    ("ADDRESS", "/address"),
    ("TOKEN", "/token"),
    ("ROOM", "/room"),
    ("SINCE", "time:/since"),
    ("UNTIL", "time:/until"),
    ("REASON", "/reason"),
];
const AUDIT: &[Column] = &[
    ("ID", "/id"),
    ("AT", "time:/at"),
    ("WHO", "/who"),
    ("ADDRESS", "/address"),
    ("ACTION", "/action"),
    ("TARGET", "/target"),
    ("RESULT", "/result"),
    ("DETAIL", "/detail"),
];

pub(super) fn print(command: &AdminCommand, answer: &Value) -> String {
    let list = |field: &str, columns| {
        let rows = answer[field].as_array().map(Vec::as_slice);
        let mut text = table(columns, rows.unwrap_or_default());
        if answer["more"] == true {
            text.push_str("There is more: go on with --after or --before the last one.\n");
        }
        for silent in answer["silent"].as_array().into_iter().flatten() {
            text.push_str(&format!("{} did not answer\n", cell(silent)));
        }
        text
    };
    match command {
        AdminCommand::Nodes => list("nodes", NODES),
        AdminCommand::Connections { .. } => list("connections", CONNECTIONS),
        AdminCommand::Rooms(_) => list("rooms", ROOMS),
        AdminCommand::Bans(_) => list("rules", RULES),
        AdminCommand::Audit { .. } => list("entries", AUDIT),
        AdminCommand::Settings
        | AdminCommand::Kick { .. }
        | AdminCommand::Ban { .. }
        | AdminCommand::Unban(_)
        | AdminCommand::Mute { .. }
        | AdminCommand::Unmute { .. }
        | AdminCommand::Revoke { .. }
        | AdminCommand::Unrevoke(_)
        | AdminCommand::Announce { .. }
        | AdminCommand::Delete { .. }
        | AdminCommand::Drain { .. } => {
            if answer["until"].is_null() {
                "done\n".to_owned()
            } else {
                format!("done, until {}\n", time(&answer["until"]))
            }
        }
    }
}

fn table(columns: &[Column], rows: &[Value]) -> String {
    let mut lines: Vec<Vec<String>> =
        vec![columns.iter().map(|(head, _)| (*head).to_owned()).collect()];
    for row in rows {
        let shown = columns
            .iter()
            .map(|(_, field)| match field.strip_prefix("time:") {
                Some(field) => row.pointer(field).map(time).unwrap_or_default(),
                None => row.pointer(field).map(cell).unwrap_or_default(),
            });
        lines.push(shown.collect());
    }
    align(&lines)
}

/// Puts the columns of these lines under each other.
pub(super) fn align(lines: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let columns = lines.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths);
        let padded: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A value in a line; what users wrote may hold what moves a terminal's cursor.
pub(super) fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Milliseconds since 1970 as people read them.
fn time(value: &Value) -> String {
    let Some(ms) = value.as_u64() else {
        return String::new();
    };
    let at = UNIX_EPOCH.checked_add(Duration::from_secs(ms / 1_000));
    at.map_or_else(String::new, |at| {
        humantime::format_rfc3339_seconds(at).to_string()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let answer = json!({
            "nodes": [{"node": "gw-1", "version": "1", "connections": 12, "rooms": 3,
                "started": 0, "leaving": false}],
            "silent": ["gw-2"],
        });
        let text = print(&AdminCommand::Nodes, &answer);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "NODE  VERSION  CONNECTIONS  ROOMS  STARTED               LEAVING"
        );
        assert_eq!(
            lines[1],
            "gw-1  1        12           3      1970-01-01T00:00:00Z  false"
        );
        assert_eq!(lines[2], "gw-2 did not answer");
    }

    #[test]
    fn a_name_moves_no_cursor() {
        assert_eq!(cell(&json!("a\u{1b}[2Jb\n")), "a\u{fffd}[2Jb\u{fffd}");
    }
}
