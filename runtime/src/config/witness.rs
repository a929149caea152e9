//! `[witness]`: who grants claims, and for how long (D14).
//!
//! The table is the same in every file of the cluster, the witness's own included: whose file it is
//! says `[node] id`.

use std::time::Duration;

use steadfast_core::config::witness::Asks;
use toml::Spanned;

use super::mistake::{Findings, Place};
use super::section::{Key, Section, Word};

const ASKS: [Word<Asks>; 2] = [
    ("always", Asks::Always, None),
    ("unproven", Asks::Unproven, None),
];

/// The table as written.
pub(super) struct Witness {
    pub(super) place: Place,
    pub(super) node: Option<Spanned<u64>>,
    pub(super) term: Option<Spanned<Duration>>,
    pub(super) asks: Option<Spanned<Asks>>,
}

/// The table, if there is one.
pub(super) fn read(
    root: &mut Section<'_>,
    elsewhere: &[(&str, &str)],
    findings: &mut Findings,
) -> Option<Witness> {
    if !root.holds("witness") {
        return None;
    }
    let mut section = root.section("witness", findings);
    let cure = "write the id of the node that grants, as in its own file under `[node]`";
    section.demand("node", cure, findings);
    Some(Witness {
        node: section.number(Key::new("node", "3"), (1, 254), findings),
        term: section.span(Key::new("term", "\"700ms\""), findings),
        asks: section.word(Key::new("asks", "\"always\""), &ASKS, findings),
        place: section.finish(elsewhere, findings),
    })
}
