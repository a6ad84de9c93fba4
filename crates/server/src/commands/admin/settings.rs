//! `hubbub admin settings`: a line for each setting, a column for each node.

use serde_json::Value;

use super::table::{align, cell};

/// A table of the settings, then what each difference does.
pub(super) fn print(answer: &Value) -> String {
    let settings = answer["settings"].as_array().map(Vec::as_slice);
    let settings = settings.unwrap_or_default();
    let nodes = [names(answer, "nodes"), names(answer, "waiting")].concat();
    if settings.is_empty() {
        return "there is one node or an embedded broker: nothing to compare\n".to_owned();
    }
    let mut lines = vec![header(&nodes)];
    lines.extend(settings.iter().map(|setting| line(setting, &nodes)));
    let mut text = align(&lines);
    for setting in settings.iter().filter(|it| it["agrees"] != true) {
        let (name, harm) = (cell(&setting["setting"]), cell(&setting["harm"]));
        text.push_str(&format!("{name} differs: {harm}.\n"));
    }
    for node in names(answer, "waiting") {
        text.push_str(&format!("{node} waits to join until it agrees.\n"));
    }
    for node in names(answer, "undeclared") {
        text.push_str(&format!(
            "{node} declares no settings: its version is older.\n"
        ));
    }
    text
}

fn header(nodes: &[String]) -> Vec<String> {
    let fixed = ["SETTING", "VERDICT", "MUST AGREE"].map(str::to_owned);
    fixed.into_iter().chain(nodes.iter().cloned()).collect()
}

fn line(setting: &Value, nodes: &[String]) -> Vec<String> {
    let verdict = if setting["agrees"] == true {
        "agrees"
    } else {
        "DIFFERS"
    };
    let required = if setting["required"] == true {
        "yes"
    } else {
        "no"
    };
    let fixed = [
        cell(&setting["setting"]),
        verdict.to_owned(),
        required.to_owned(),
    ];
    let values = nodes.iter().map(|node| match &setting["values"][node] {
        Value::Null => "?".to_owned(),
        value => cell(value),
    });
    fixed.into_iter().chain(values).collect()
}

fn names(answer: &Value, field: &str) -> Vec<String> {
    let names = answer[field].as_array().into_iter().flatten();
    names.map(cell).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_difference_is_seen_and_explained() {
        let answer = json!({
            "agree": false, "nodes": ["gw-1"], "waiting": ["gw-2"], "undeclared": ["gw-0"],
            "settings": [
                {"setting": "archive.url", "agrees": false, "required": true,
                    "harm": "history is split", "values": {"gw-1": "0123…", "gw-2": "none"}},
                {"setting": "ack.level", "agrees": true, "required": false, "harm": "x",
                    "values": {"gw-1": "stream"}},
            ],
        });
        let text = print(&answer);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "SETTING      VERDICT  MUST AGREE  gw-1    gw-2",
                "archive.url  DIFFERS  yes         0123…   none",
                "ack.level    agrees   no          stream  ?",
                "archive.url differs: history is split.",
                "gw-2 waits to join until it agrees.",
                "gw-0 declares no settings: its version is older.",
            ]
        );
    }
}
