//! The imports between files of Rust code.
//!
//! An import of a name that a module only passes on (`pub use`) counts as an import of the file that
//! defines the name. Tests and the `mod` lines themselves count as nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Source, before_tests};

/// A module's path: its crate and the modules in it.
type Module = Vec<String>;

/// An import: the path that is named, and the name that it has here (`*` for a glob).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Import {
    path: Vec<String>,
    name: String,
    is_public: bool,
}

/// For each file the files that it imports from.
pub(crate) fn imports(sources: &[Source]) -> BTreeMap<String, BTreeSet<String>> {
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
pub(crate) fn module(name: &str) -> Module {
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
