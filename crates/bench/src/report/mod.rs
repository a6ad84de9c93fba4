//! The result of a bench: JSON lines or a table on standard output, and a page with plots.

mod content;
mod html;
mod table;

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use self::content::{Content, Curve};
use crate::plan::Counts;

/// How the result is shown.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Output {
    /// JSON lines instead of a table
    #[arg(long)]
    json: bool,
    /// Also write a self-contained HTML page with tables and plots
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Collects the results of a bench.
#[derive(Debug)]
pub(crate) struct Report {
    output: Output,
    content: Content,
    progress: ProgressBar,
}

impl Report {
    /// A report for a bench of about `steps` steps.
    pub(crate) fn new(title: &'static str, output: &Output, steps: usize) -> Self {
        // The bar is drawn on standard error, and only if that is a terminal.
        let progress = ProgressBar::new(steps as u64);
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {elapsed}");
        progress.set_style(style.expect("the template is valid"));
        progress.enable_steady_tick(Duration::from_millis(200));
        Self {
            output: output.clone(),
            content: Content {
                title,
                rows: Vec::new(),
                curves: Vec::new(),
                bars: None,
                notes: Vec::new(),
            },
            progress,
        }
    }

    /// Shows the current step.
    pub(crate) fn step(&self, what: impl Into<String>) {
        self.progress.set_message(what.into());
        self.progress.inc(1);
    }

    /// Adds a line. In JSON mode it is printed at once.
    pub(crate) fn row(&mut self, row: Value) -> io::Result<()> {
        let Value::Object(mut row) = row else {
            return Ok(());
        };
        row.shift_insert(0, "bench".to_owned(), self.content.title.into());
        if self.output.json {
            let line = Value::Object(row.clone()).to_string();
            self.progress.suspend(|| print(&format!("{line}\n")))?;
        }
        row.shift_remove("bench");
        self.content.rows.push(row);
        Ok(())
    }

    /// Adds a latency distribution to the plot of this name.
    pub(crate) fn curve(&mut self, plot: &str, name: &str, counts: &Counts) {
        if !counts.is_empty() {
            self.content.curves.push(Curve {
                plot: plot.to_owned(),
                name: name.to_owned(),
                counts: counts.clone(),
            });
        }
    }

    /// Draws this column as bars.
    pub(crate) fn bars(&mut self, column: &'static str) {
        self.content.bars = Some(column);
    }

    /// Adds a sentence below the table.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.content.notes.push(note.into());
    }

    /// Prints the table and writes the page.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.progress.finish_and_clear();
        if !self.output.json {
            let mut text = table::render(&self.content.rows);
            for note in &self.content.notes {
                text.push_str(note);
                text.push('\n');
            }
            print(&text)?;
        }
        if let Some(path) = &self.output.html {
            std::fs::write(path, html::render(&self.content))?;
        }
        Ok(())
    }
}

/// Prints on standard output. A reader who has gone is no error.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
