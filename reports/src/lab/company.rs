//! Runs of the lab side by side, and again in less company where company spoilt them.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;

use steadfast_scenarios::Scenario;

use super::{Bench, Lab, Wanted};
use crate::problem::Problem;

/// Plays them side by side, in their order. What company may have spoilt is played again, and where
/// that is one of three the company is halved: how much a story leaves to others, only playing it
/// tells. What was played alone is what it is.
pub(crate) fn in_company(
    bench: &Bench,
    at_once: usize,
    wanted: Vec<Wanted<'_>>,
    is_company_s: impl Fn(&Wanted<'_>, &Lab) -> bool,
    mut take: impl FnMut(&Wanted<'_>, Lab) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let mut company = at_once;
    let mut waiting = VecDeque::from(wanted);
    while !waiting.is_empty() {
        let group: Vec<_> = waiting.drain(..company.min(waiting.len())).collect();
        let mut spoilt = 0;
        let side_by_side = |_: &Scenario| false;
        bench.play_all(&group, group.len(), side_by_side, |played| {
            let wanted = &group[played.place];
            if played.beside && is_company_s(wanted, &played.lab) {
                spoilt += 1;
                wanted.evidence.as_deref().map_or(Ok(()), empty)?;
                waiting.push_back(wanted.clone());
                return Ok(());
            }
            take(wanted, played.lab)
        })?;
        if spoilt * 3 >= group.len() {
            company = (company / 2).max(1);
        }
    }
    Ok(())
}

/// What a run left in its folder is not the next one's.
fn empty(folder: &Path) -> Result<(), Problem> {
    let emptied = fs::remove_dir_all(folder).and_then(|()| fs::create_dir_all(folder));
    emptied.map_err(Problem::writing(folder))
}
