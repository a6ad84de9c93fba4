//! `cargo xtask faults`: runs rows of the fault matrix at full scale, one after the other, and
//! prints a table at the end; or runs random faults from a seed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::shell::{self, top};

/// The cargo arguments that run a test of the suite. They name the whole workspace, as for all
/// suites, so that nothing is compiled twice.
const SUITE: [&str; 6] = [
    "test",
    "--release",
    "--locked",
    "--workspace",
    "--test",
    "faults",
];
const MIX: &str = "mix::b43_random_mix";

/// The parsed arguments.
#[derive(Debug, PartialEq, Eq)]
enum FaultArguments {
    /// These rows, or all if empty.
    Rows(Vec<u32>),
    Mix {
        seed: String,
        minutes: String,
    },
}

/// Runs what `args` select.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let wanted = parse(args)?;
    shell::run(
        ".",
        "cargo",
        &["build", "--release", "--locked", "--workspace"],
    )?;
    match wanted {
        FaultArguments::Rows(rows) => {
            let tests = choose(&list()?, &rows)?;
            test(&tests, &[])
        }
        FaultArguments::Mix { seed, minutes } => {
            let env = [
                ("HUBBUB_FAULTS_SEED", seed.as_str()),
                ("HUBBUB_FAULTS_MINUTES", minutes.as_str()),
            ];
            test(&[MIX.to_owned()], &env)
        }
    }
}

fn parse(args: &[String]) -> Result<FaultArguments, String> {
    let (mut rows, mut seed, mut minutes) = (Vec::new(), None, None);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().cloned().ok_or(format!("{arg} needs a number"));
        match arg.as_str() {
            "--seed" => seed = Some(value()?),
            "--minutes" => minutes = Some(value()?),
            row => rows
                .push(row_number(row).ok_or(format!("no row {row:?}: name rows as B1, B20, …"))?),
        }
    }
    match (seed, minutes) {
        (None, None) => Ok(FaultArguments::Rows(rows)),
        (Some(seed), minutes) if rows.is_empty() => Ok(FaultArguments::Mix {
            seed,
            minutes: minutes.unwrap_or("3".to_owned()),
        }),
        _ => Err("give either rows, or --seed N with --minutes M".to_owned()),
    }
}

/// The number in `B4`, `b04` or `4`.
fn row_number(row: &str) -> Option<u32> {
    row.trim_start_matches(['B', 'b']).parse().ok()
}

/// The row that a test belongs to, from its name.
fn row_of(test: &str) -> Option<u32> {
    let (_, name) = test.rsplit_once("::")?;
    row_number(name.split('_').next()?)
}

fn list() -> Result<Vec<String>, String> {
    let output = Command::new("cargo")
        .args(SUITE)
        .args(["--", "--list"])
        .current_dir(top())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("the suite cannot be built: {}", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let tests = text.lines().filter_map(|line| line.strip_suffix(": test"));
    let mut tests: Vec<String> = tests
        .filter(|test| row_of(test).is_some())
        .map(str::to_owned)
        .collect();
    tests.sort_by_key(|test| row_of(test));
    Ok(tests)
}

fn choose(tests: &[String], rows: &[u32]) -> Result<Vec<String>, String> {
    let is_there = |row: &u32| tests.iter().any(|test| row_of(test) == Some(*row));
    if let Some(row) = rows.iter().find(|row| !is_there(row)) {
        return Err(format!("there is no test for row B{row}"));
    }
    let is_chosen =
        |test: &&String| rows.is_empty() || row_of(test).is_some_and(|row| rows.contains(&row));
    Ok(tests.iter().filter(is_chosen).cloned().collect())
}

/// Runs each test by itself, in the order of the rows, and continues after a failure.
fn test(tests: &[String], env: &[(&str, &str)]) -> Result<(), String> {
    let mut table = Vec::new();
    let mut failed = Vec::new();
    for name in tests {
        eprintln!("\n$ {name}");
        let (is_good, rows) = test_one(name, env)?;
        table.extend(rows);
        if !is_good {
            failed.push(name.as_str());
        }
    }
    eprintln!("\n{}", markdown(&table));
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("failed: {}", failed.join(" ")))
    }
}

/// Returns whether the test passed, and the rows that it printed.
fn test_one(name: &str, env: &[(&str, &str)]) -> Result<(bool, Vec<Row>), String> {
    let scale = std::env::var("HUBBUB_FAULTS").unwrap_or("full".to_owned());
    let mut child = Command::new("cargo")
        .args(SUITE)
        .args(["--", "--nocapture", "--exact", name])
        .current_dir(top())
        .env("HUBBUB_FAULTS", scale)
        .envs(env.iter().copied())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    let output = child.stdout.take().expect("stdout is piped");
    let mut rows = Vec::new();
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        eprintln!("{line}");
        rows.extend(Row::parse(&line));
    }
    let status = child
        .wait()
        .map_err(|error| format!("cannot wait for cargo: {error}"))?;
    Ok((status.success(), rows))
}

/// The line that a test prints for its row.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    name: String,
    fields: BTreeMap<String, String>,
}

impl Row {
    /// Parses `row B1 injected="…" sends=1 …`, which may begin anywhere in the line.
    fn parse(line: &str) -> Option<Self> {
        let (_, rest) = line.split_once("row B")?;
        let (number, mut rest) = rest.split_once(' ')?;
        let mut fields = BTreeMap::new();
        while let Some((key, value)) = rest.split_once('=') {
            let (value, after) = match value.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => value.split_once(' ').unwrap_or((value, "")),
            };
            fields.insert(key.trim().to_owned(), value.to_owned());
            rest = after.trim_start();
        }
        Some(Self {
            name: format!("B{number}"),
            fields,
        })
    }

    fn get(&self, key: &str) -> &str {
        self.fields.get(key).map_or("–", String::as_str)
    }
}

const COLUMNS: [(&str, &str); 7] = [
    ("injected", "injected"),
    ("acked", "acked"),
    ("lost", "lost"),
    ("duplicated", "duplicated"),
    ("out of order", "out_of_order"),
    ("skipped by reset", "skipped"),
    ("to head", "to_head"),
];

fn markdown(rows: &[Row]) -> String {
    let titles = COLUMNS.map(|(title, _)| title).join(" | ");
    let mut text = format!(
        "| row | {titles} |\n|---|{}\n",
        "---|".repeat(COLUMNS.len())
    );
    for row in rows {
        let figures = COLUMNS.map(|(_, key)| row.get(key)).join(" | ");
        text.push_str(&format!("| {} | {figures} |\n", row.name));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn rows_or_a_seed() {
        assert_eq!(
            parse(&words("B1 b04 20")),
            Ok(FaultArguments::Rows(vec![1, 4, 20]))
        );
        let mix = FaultArguments::Mix {
            seed: "7".to_owned(),
            minutes: "3".to_owned(),
        };
        assert_eq!(parse(&words("--seed 7 --minutes 3")), Ok(mix));
        assert!(parse(&words("B1 --seed 7")).is_err());
        assert!(parse(&words("redis")).is_err());
        assert!(parse(&words("--minutes 3")).is_err());
    }

    #[test]
    fn tests_are_found_by_their_row() {
        let tests = words("a::b01_crash b::b10_slow b::b01_more");
        assert_eq!(choose(&tests, &[1]), Ok(words("a::b01_crash b::b01_more")));
        assert_eq!(choose(&tests, &[]).unwrap().len(), 3);
        assert!(choose(&tests, &[2]).is_err());
    }

    #[test]
    fn a_row_is_read_wherever_it_stands() {
        let line =
            r#"test a::b01 ... row B1 injected="kill -9, 2 s" acked=380 lost=0 to_head=1.62s"#;
        let row = Row::parse(line).unwrap();
        assert_eq!(
            (row.name.as_str(), row.get("injected")),
            ("B1", "kill -9, 2 s")
        );
        assert_eq!((row.get("acked"), row.get("to_head")), ("380", "1.62s"));
        assert_eq!(row.get("skipped"), "–");
        assert!(markdown(&[row]).contains("| B1 | kill -9, 2 s | 380 | 0 | – |"));
        assert_eq!(Row::parse("not ready: b01"), None);
    }
}
