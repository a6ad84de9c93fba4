//! The structure of the code, read from its imports: circles of files, and the lengths of files and
//! functions.

use std::collections::{BTreeMap, BTreeSet};

use crate::imports::imports;
use crate::source::{Source, before_tests};

/// The medians that may not be exceeded: lines of a file before its tests, and lines of a function.
const MEDIANS: (usize, usize) = (126, 9);
/// The circles of imports that are left; there may be none more.
const CIRCLES: usize = 9;

/// Prints the medians and the circles. Returns an error if there are more circles than before, or if a
/// median has grown.
pub(crate) fn check(sources: &[Source]) -> Result<(), String> {
    let files = median(
        sources
            .iter()
            .map(|source| before_tests(&source.text).count()),
    );
    let functions = median(
        sources
            .iter()
            .flat_map(|source| function_lines(&source.text)),
    );
    let imports = imports(sources);
    let circles = circles(&imports);
    eprintln!("median lines: {files} of a file, {functions} of a function");
    eprintln!("circles of imports: {}", circles.len());
    let mut problems = Vec::new();
    if circles.len() > CIRCLES {
        let found = circles
            .iter()
            .map(|circle| describe_circle(circle, &imports));
        problems.extend(found);
        problems.push(format!("at most {CIRCLES} circles of imports may be left"));
    }
    if files > MEDIANS.0 || functions > MEDIANS.1 {
        let (file, function) = MEDIANS;
        problems.push(format!(
            "the median file may have {file} lines, the median function {function}"
        ));
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems.join("\n"))
    }
}

/// Names the imports that close a circle.
fn describe_circle(circle: &[String], imports: &BTreeMap<String, BTreeSet<String>>) -> String {
    let mut lines = "a circle of imports:".to_owned();
    for file in circle {
        let inner = imports[file].iter().filter(|name| circle.contains(name));
        let inner: Vec<&str> = inner.map(String::as_str).collect();
        lines.push_str(&format!("\n  {file} uses {}", inner.join(", ")));
    }
    lines
}

fn median(values: impl Iterator<Item = usize>) -> usize {
    let mut values: Vec<usize> = values.collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

/// The lines of each function, its signature included. The code is as rustfmt writes it, so a function
/// ends at the next brace that stands as far right as its first line.
fn function_lines(text: &str) -> Vec<usize> {
    let lines: Vec<&str> = text.lines().collect();
    let mut lengths = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let mut words = line.split_whitespace().skip_while(|word| {
            word.starts_with("pub") || ["async", "const", "unsafe"].contains(word)
        });
        if words.next() != Some("fn") {
            continue;
        }
        if line.ends_with('}') {
            lengths.push(1);
            continue;
        }
        let is_end = |line: &&str| line.trim_end() == format!("{:indent$}}}", "");
        if let Some(length) = lines[at..].iter().position(is_end) {
            lengths.push(length + 1);
        }
    }
    lengths
}

/// The groups of files that import each other, directly or over others: Tarjan's strongly connected
/// components of more than one file.
fn circles(edges: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    let mut search = Search {
        edges,
        order: BTreeMap::new(),
        low: BTreeMap::new(),
        stack: Vec::new(),
        found: Vec::new(),
    };
    for file in edges.keys() {
        if !search.order.contains_key(file.as_str()) {
            search.visit(file);
        }
    }
    search.found
}

struct Search<'a> {
    edges: &'a BTreeMap<String, BTreeSet<String>>,
    order: BTreeMap<&'a str, usize>,
    low: BTreeMap<&'a str, usize>,
    stack: Vec<&'a str>,
    found: Vec<Vec<String>>,
}

impl<'a> Search<'a> {
    fn visit(&mut self, file: &'a str) {
        let place = self.order.len();
        self.order.insert(file, place);
        self.low.insert(file, place);
        self.stack.push(file);
        for next in self.edges.get(file).into_iter().flatten() {
            let reached = if !self.order.contains_key(next.as_str()) {
                self.visit(next);
                self.low[next.as_str()]
            } else if self.stack.contains(&next.as_str()) {
                self.order[next.as_str()]
            } else {
                continue;
            };
            let low = self.low[file].min(reached);
            self.low.insert(file, low);
        }
        if self.low[file] == place {
            let start = self.stack.iter().position(|name| *name == file);
            let circle = self.stack.split_off(start.expect("it was pushed above"));
            if circle.len() > 1 {
                self.found
                    .push(circle.into_iter().map(str::to_owned).collect());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{circles, function_lines};
    use crate::imports::imports;
    use crate::source::Source;

    fn source(name: &str, text: &str) -> Source {
        Source {
            name: name.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_circle_over_a_reexport_is_found() {
        let sources = [
            source("a/src/lib.rs", "mod b;\nmod c;\npub use b::B;\n"),
            source("a/src/b.rs", "use crate::c::{self, C};\npub struct B;\n"),
            source("a/src/c.rs", "use crate::B;\npub struct C;\n"),
        ];
        let found = circles(&imports(&sources));
        assert_eq!(found, [["a/src/b.rs", "a/src/c.rs"]]);
    }

    #[test]
    fn a_module_that_only_passes_on_is_in_no_circle() {
        let sources = [
            source("a/src/lib.rs", "mod b;\nmod c;\npub use b::B;\n"),
            source(
                "a/src/b.rs",
                "pub struct B;\n#[cfg(test)]\nmod tests {\n    use crate::c::C;\n}\n",
            ),
            source("a/src/c.rs", "fn f(b: crate::B) {}\n// use crate::x;\n"),
        ];
        assert!(circles(&imports(&sources)).is_empty());
    }

    #[test]
    fn functions_are_measured_from_their_signature_to_their_brace() {
        let text = "fn a() {\n    b();\n}\nimpl A {\n    pub fn c() {}\n    async fn d(\n    ) {\n        e()\n    }\n}\n";
        assert_eq!(function_lines(text), [3, 1, 4]);
    }
}
