//! The comparison as a table: for a terminal, for a document, for machines.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use steadfast_netlab::daemons::Daemon;

use super::held::{Cell, Told};
use crate::words::counted;

/// A story, and what each daemon held of it.
#[derive(Serialize)]
pub(super) struct Row {
    scenario: String,
    /// In the order of the table.
    #[serde(serialize_with = "by_name")]
    cells: Vec<(Daemon, Cell)>,
}

fn by_name<S: Serializer>(cells: &[(Daemon, Cell)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(
        cells
            .iter()
            .map(|(daemon, cell)| (daemon.name(), cell.told())),
    )
}

/// How often each word was said.
const WORDS: [&str; 5] = ["holds", "interrupts", "fails", "unknown", "not run"];

impl Row {
    /// Of this story.
    pub(super) fn new(scenario: &str, cells: Vec<(Daemon, Cell)>) -> Self {
        let scenario = scenario.to_owned();
        Self { scenario, cells }
    }

    /// What this daemon held.
    pub(super) fn cell(&self, daemon: Daemon) -> Option<&Cell> {
        let mut cells = self.cells.iter();
        cells.find_map(|(it, cell)| (*it == daemon).then_some(cell))
    }

    fn told(&self, daemon: Daemon) -> Option<Told> {
        self.cell(daemon).map(Cell::told)
    }

    /// A line for the story and one for each daemon that was asked.
    pub(super) fn text(&self) -> String {
        let asked = self.cells.iter();
        let asked = asked.filter(|(_, it)| it.unasked().is_none());
        let lines: String = asked
            .map(|(daemon, cell)| {
                let told = cell.told();
                let seed = told.seed().filter(|_| told.word() != "holds");
                let seed = seed.map_or_else(String::new, |seed| format!("  seed {seed}"));
                format!("  {:15} {}{seed}\n", daemon.name(), told.text())
            })
            .collect();
        match lines.is_empty() {
            true => format!("{}: not run\n", self.scenario),
            false => format!("{}\n{lines}", self.scenario),
        }
    }
}

/// What stands above it all.
pub(super) fn head(daemons: &[Daemon]) -> String {
    let names: Vec<&str> = daemons.iter().map(|it| it.name()).collect();
    format!(
        "the catalogue's stories in namespaces, by {}; to repeat one run:\n  \
         steadfast run STORY --world lab --seed SEED --under-test DAEMON\n",
        names.join(", ")
    )
}

/// How much each held, and what none was asked.
pub(super) fn foot(rows: &[Row], daemons: &[Daemon]) -> String {
    let mut text = String::new();
    for daemon in daemons {
        let counts: Vec<String> = WORDS
            .iter()
            .map(|word| format!("{word} {}", count(rows, *daemon, word)))
            .collect();
        text += &format!("{:15} {}\n", daemon.name(), counts.join(", "));
    }
    for (why, stories) in unasked(rows) {
        text += &format!("not run, {why}: {}\n", stories.join(", "));
    }
    text
}

fn count(rows: &[Row], daemon: Daemon, word: &str) -> usize {
    let told = rows.iter().filter_map(|row| row.told(daemon));
    told.filter(|it| it.word() == word).count()
}

/// Stories by the reason for which somebody was not asked them.
fn unasked(rows: &[Row]) -> BTreeMap<String, Vec<&str>> {
    let mut reasons: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for row in rows {
        for (daemon, cell) in &row.cells {
            if let Some(why) = cell.unasked() {
                let why = format!("{}: {why}", daemon.name());
                reasons.entry(why).or_default().push(&row.scenario);
            }
        }
    }
    reasons
}

/// The table for a document, and below it what was not asked.
pub(super) fn markdown(rows: &[Row], daemons: &[Daemon], runs: u64) -> String {
    let names: Vec<&str> = daemons.iter().map(|it| it.name()).collect();
    let mut text = format!(
        "{} of each story by each daemon, with the same seeds, in namespaces.\n\n\
         | story | {} |\n|---|{}\n",
        counted(runs, "run"),
        names.join(" | "),
        "---|".repeat(daemons.len())
    );
    let asked = |row: &&Row| row.cells.iter().any(|(_, it)| it.unasked().is_none());
    for row in rows.iter().filter(asked) {
        let cell = |it: &Daemon| row.told(*it).map_or_else(String::new, |it| it.text());
        let cells: Vec<String> = daemons.iter().map(cell).collect();
        text += &format!("| {} | {} |\n", row.scenario, cells.join(" | "));
    }
    for word in WORDS {
        let counts: Vec<String> = daemons
            .iter()
            .map(|it| count(rows, *it, word).to_string())
            .collect();
        text += &format!("| *{word}* | {} |\n", counts.join(" | "));
    }
    text += "\nNot asked:\n\n";
    for (why, stories) in unasked(rows) {
        text += &format!("- {why}: {}\n", stories.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::held::Held;
    use super::*;
    use std::time::Duration;

    fn cell(held: Held) -> Cell {
        let mut cell = Cell::default();
        cell.take(held, 4);
        cell
    }

    fn rows() -> Vec<Row> {
        let late = cell(Held::Interrupts(Duration::from_millis(340)));
        let two = cell(Held::Fails("two owners for 1730 ms".to_owned()));
        let unasked = Cell::not_run("needs commands".to_owned());
        let row = |name, theirs| {
            let cells = [
                (Daemon::Steadfast, cell(Held::Holds)),
                (Daemon::Keepalived, theirs),
            ];
            Row::new(name, cells.to_vec())
        };
        vec![
            row("active-loses-power", late),
            row("daemon-killed", two),
            row("planned-release", unasked),
        ]
    }

    /// What each held, how to see it again, and what somebody was not asked, and why.
    #[test]
    fn compare_text_tells_each_row_and_the_rest() {
        let daemons = [Daemon::Steadfast, Daemon::Keepalived];
        let rows = rows();
        let lines: String = rows.iter().map(Row::text).collect();
        insta::assert_snapshot!(lines + &foot(&rows, &daemons));
    }

    /// The document has the same.
    #[test]
    fn compare_markdown_is_a_table() {
        let daemons = [Daemon::Steadfast, Daemon::Keepalived];
        insta::assert_snapshot!(markdown(&rows(), &daemons, 3));
    }
}
