//! The structure of the code, read from its imports: circles of files, and the lengths of files and
//! functions.
//!
//! An import of a name that a module only passes on (`pub use`) counts as an import of the file that
//! defines the name. Tests and the `mod` lines themselves count as nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The medians that may not be exceeded: lines of a file before its tests, and lines of a function.
const MEDIANS: (usize, usize) = (126, 9);
/// The circles of imports that are left; there may be none more.
const CIRCLES: usize = 17;

/// One file of Rust code.
#[derive(Debug)]
pub(crate) struct Source {
    /// The path below `crates`, such as `node/src/room/mod.rs`.
    pub(crate) name: String,
    /// The whole text.
    pub(crate) text: String,
}

/// A module's path: its crate and the modules in it.
type Module = Vec<String>;

/// An import: the path that is named, and the name that it has here (`*` for a glob).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Import {
    path: Vec<String>,
    name: String,
    is_public: bool,
}

/// Reads `*/src/**/*.rs` below a folder, without files of tests.
pub(crate) fn read(folder: &Path) -> Result<Vec<Source>, String> {
    let mut sources = Vec::new();
    for package in list(folder)? {
        let src = package.join("src");
        if src.is_dir() {
            read_folder(folder, &src, &mut sources)?;
        }
    }
    Ok(sources)
}

fn read_folder(top: &Path, folder: &Path, sources: &mut Vec<Source>) -> Result<(), String> {
    for path in list(folder)? {
        if path.is_dir() {
            read_folder(top, &path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).map_err(|error| describe(&path, &error))?;
            let name = path.strip_prefix(top).unwrap_or(&path);
            sources.push(Source {
                name: name.to_string_lossy().into_owned(),
                text,
            });
        }
    }
    Ok(())
}

fn list(folder: &Path) -> Result<Vec<std::path::PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|error| describe(folder, &error))?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

fn describe(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// Prints the medians and the circles. An error if there are more circles than before, or a median has
/// grown.
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

/// For each file the files that it imports from.
fn imports(sources: &[Source]) -> BTreeMap<String, BTreeSet<String>> {
    let modules: BTreeMap<Module, &Source> = sources
        .iter()
        .filter(|source| !is_test(source, sources))
        .map(|source| (module(&source.name), source))
        .collect();
    let used: BTreeMap<&Module, Vec<Import>> = modules
        .iter()
        .map(|(module, source)| (module, uses(&code(&source.text))))
        .collect();
    let mut edges = BTreeMap::new();
    for (module, source) in &modules {
        let targets: BTreeSet<String> = used[module]
            .iter()
            .filter(|import| !(import.is_public && is_below(module, &import.path, &modules)))
            .filter_map(|import| target(module, &import.path, &modules, &used, 0))
            .filter_map(|target| modules.get(&target))
            .map(|target| target.name.clone())
            .filter(|name| *name != source.name)
            .collect();
        edges.insert(source.name.clone(), targets);
    }
    edges
}

/// Whether a path leads into a child of the module that names it.
fn is_below(module: &Module, path: &[String], modules: &BTreeMap<Module, &Source>) -> bool {
    absolute(module, path, modules).is_some_and(|path| {
        path.len() > module.len() && path.starts_with(module) && {
            let child: Module = path[..=module.len()].to_vec();
            modules.contains_key(&child)
        }
    })
}

/// The module that defines what a path names; `None`: it is of no crate here.
fn target(
    module: &Module,
    path: &[String],
    modules: &BTreeMap<Module, &Source>,
    used: &BTreeMap<&Module, Vec<Import>>,
    depth: usize,
) -> Option<Module> {
    let path = absolute(module, path, modules)?;
    let length = (1..=path.len())
        .rev()
        .find(|length| modules.contains_key(&path[..*length]))?;
    let found = path[..length].to_vec();
    // Re-exports are followed; a chain that is longer than any in a sound crate leads nowhere.
    if let Some(name) = path.get(length)
        && depth < 8
        && let Some(import) = used[&found].iter().find(|import| import.name == *name)
        && let Some(further) = target(&found, &import.path, modules, used, depth + 1)
    {
        return Some(further);
    }
    Some(found)
}

/// A path from the top of its crate.
fn absolute(
    module: &Module,
    path: &[String],
    modules: &BTreeMap<Module, &Source>,
) -> Option<Vec<String>> {
    let (first, rest) = path.split_first()?;
    let mut base = match first.as_str() {
        "crate" => vec![module[0].clone()],
        "self" => module.clone(),
        "super" => module[..module.len() - 1].to_vec(),
        name => {
            let child = [module.as_slice(), &[name.to_owned()]].concat();
            if !modules.contains_key(&child) {
                return None;
            }
            child
        }
    };
    for segment in rest {
        match segment.as_str() {
            "super" => drop(base.pop()),
            _ => base.push(segment.clone()),
        }
    }
    Some(base)
}

/// The module of a file: `node/src/room/mod.rs` is `[node, room]`.
fn module(name: &str) -> Module {
    let name = name.replace("/src/", "/");
    let name = name.trim_end_matches(".rs");
    let parts: Vec<String> = name.split('/').map(str::to_owned).collect();
    match parts.split_last() {
        Some((last, parents)) if ["lib", "mod"].contains(&last.as_str()) => parents.to_vec(),
        _ => parts,
    }
}

/// Whether a file is a module of tests: its parent declares it so.
fn is_test(source: &Source, sources: &[Source]) -> bool {
    let path = module(&source.name);
    let Some((last, parent)) = path.split_last() else {
        return false;
    };
    let declaration = format!("#[cfg(test)]\nmod {last};");
    let parents = sources.iter().filter(|file| module(&file.name) == parent);
    parents.into_iter().any(|file| {
        file.text.contains(&declaration) || is_test(file, sources) && !parent.is_empty()
    })
}

/// The lines before the module of tests at the end of a text.
fn before_tests(text: &str) -> impl Iterator<Item = &str> {
    let mut lines = text.lines().peekable();
    std::iter::from_fn(move || {
        let line = lines.next()?;
        let is_inner = |next: &&str| next.trim_start().starts_with("mod ") && next.ends_with('{');
        let ends = line.trim() == "#[cfg(test)]" && lines.peek().is_some_and(is_inner);
        (!ends).then_some(line)
    })
}

/// The code of a text without its tests and comments.
fn code(text: &str) -> String {
    let lines = before_tests(text).map(|line| line.split("//").next().unwrap_or_default());
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// The imports of a text, and the paths in its code that begin with `crate` or `super`.
fn uses(text: &str) -> Vec<Import> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut code = String::new();
    while let Some(at) = next_use(rest) {
        code.push_str(&rest[..at]);
        let before = rest[..at].lines().last().unwrap_or_default();
        let is_public = before.trim_start().starts_with("pub");
        let end = rest[at..].find(';').map_or(rest.len(), |end| at + end);
        let tree: String = rest[at + "use ".len()..end]
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        read_tree(&tree, &[], is_public, &mut found);
        rest = &rest[end..];
    }
    code.push_str(rest);
    for word in code.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')) {
        let path: Vec<String> = word.split("::").map(str::to_owned).collect();
        if path.len() > 1 && ["crate", "super"].contains(&path[0].as_str()) {
            found.push(Import {
                name: String::new(),
                path,
                is_public: false,
            });
        }
    }
    found
}

/// Where the next `use` begins.
fn next_use(text: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = text[from..].find("use ") {
        let at = from + at;
        let line = text[..at].rsplit('\n').next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with("pub") && !line.contains(' ') {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// Reads `a::{b, c::{d as e, self}}`.
fn read_tree(tree: &str, base: &[String], is_public: bool, found: &mut Vec<Import>) {
    let tree = tree.trim();
    if let Some((path, group)) = tree.split_once('{') {
        let base = [base, &segments(path)].concat();
        let group = group.trim_end().strip_suffix('}').unwrap_or(group);
        let (mut depth, mut start) = (0_usize, 0);
        for (at, letter) in group.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    read_tree(&group[start..at], &base, is_public, found);
                    start = at + 1;
                }
                _ => {}
            }
        }
        read_tree(&group[start..], &base, is_public, found);
        return;
    }
    if tree.is_empty() {
        return;
    }
    let (path, alias) = match tree.split_once(" as ") {
        Some((path, alias)) => (path, Some(alias)),
        None => (tree, None),
    };
    let mut path = [base, &segments(path)].concat();
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    let name = alias
        .or(path.last().map(String::as_str))
        .unwrap_or_default();
    found.push(Import {
        name: name.to_owned(),
        path,
        is_public,
    });
}

fn segments(path: &str) -> Vec<String> {
    let parts = path.split("::").map(str::trim);
    let parts = parts.filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
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
    use super::{Source, circles, function_lines, imports};

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
