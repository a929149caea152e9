//! What a daemon held of a story: of one run, and over all its runs.

use std::time::Duration;

use serde::Serialize;
use steadfast_core::Instant;
use steadfast_scenarios::Verdict;

use crate::ending::Ending;
use crate::lab::SAFETY;
use crate::runs::{Complaint, Run};

/// Oracles that are about nothing but time: how long traffic, or the address, was without anybody.
const TIME: [&str; 2] = ["exactly_one_active", "outage"];

/// What is wrong so shortly before the end of a story is wrong to the end.
const NEARLY: Duration = Duration::from_millis(200);

/// What one run showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// Everything within the story's bounds.
    Holds,
    /// Bounds on time were not kept, for so long; all came right again.
    Interrupts(Duration),
    /// Something was that must not be, in words.
    Fails(String),
    /// The evidence does not suffice, in words.
    Unknown(String),
}

impl Held {
    /// Of a run that was judged; its story ends then.
    pub(super) fn of(run: &Run, end: Instant) -> Self {
        let first = || run.complaints.first().map(|it| it.text.clone());
        if run.trace.is_none() {
            // Whatever the lab could not do is no daemon's fault.
            return Self::Unknown(first().unwrap_or_default());
        }
        if run.struck_nobody {
            let why = "nobody was there for a fault to strike".to_owned();
            return Self::Unknown(why);
        }
        match run.verdict {
            Verdict::Pass => Self::Holds,
            Verdict::Unknown => Self::Unknown(first().unwrap_or_default()),
            Verdict::Fail => Self::failed(run, end),
        }
    }

    fn failed(run: &Run, end: Instant) -> Self {
        let about_time = |oracle: &str| TIME.contains(&oracle);
        let mut wrong: Vec<_> = run.complaints.iter().collect();
        wrong.retain(|it| !about_time(&it.oracle));
        // What is dangerous explains the rest.
        wrong.sort_by_key(|it| !SAFETY.contains(&it.oracle.as_str()));
        if let Some(worst) = wrong.first() {
            return Self::Fails(words(&worst.oracle, &worst.text, worst.longest));
        }
        let lasting = |it: &&Complaint| {
            let since = it.since.map(|since| since.after(it.longest));
            since.is_some_and(|over| over.after(NEARLY) >= end)
        };
        if run.complaints.iter().any(|it| lasting(&it)) {
            return Self::Fails("interrupted to the end".to_owned());
        }
        let longest = run.complaints.iter().map(|it| it.longest).max();
        Self::Interrupts(longest.unwrap_or_default())
    }
}

/// What was wrong, as short as a table wants it.
fn words(oracle: &str, text: &str, longest: Duration) -> String {
    let millis = longest.as_millis();
    match oracle {
        "at_most_one_active" => format!("two owners for {millis} ms"),
        "vip_owner_agrees" => format!("clients at the wrong gateway for {millis} ms"),
        "standby_is_silent" => "the standby speaks or forwards".to_owned(),
        _ => {
            let told = text.split(" (since ").next().unwrap_or(text);
            told.strip_prefix(": ").unwrap_or(told).to_owned()
        }
    }
}

/// What a daemon held of a story.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    /// Why it was not asked.
    not_run: Option<String>,
    runs: Vec<Ran>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Ran {
    seed: u64,
    held: Held,
}

/// A cell in JSON.
#[derive(Serialize)]
pub(super) struct Told {
    /// `holds`, `interrupts`, `fails`, `unknown` or `not run`.
    held: &'static str,
    /// Runs that say so, of all.
    runs: usize,
    of: usize,
    /// The longest interruption where that is what was wrong, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    interrupted_ms: Option<f64>,
    /// What was wrong, or missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// The first seed with which it was so.
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
}

impl Cell {
    /// A story that this daemon is not asked.
    pub(super) fn not_run(why: String) -> Self {
        Self {
            not_run: Some(why),
            runs: Vec::new(),
        }
    }

    /// A run that could not be; if others could, it is one that proves nothing.
    pub(super) fn could_not_run(&mut self, why: String, seed: u64) {
        if self.runs.is_empty() {
            self.not_run = Some(why);
        } else {
            self.take(Held::Unknown(why), seed);
        }
    }

    /// Another run.
    pub(super) fn take(&mut self, held: Held, seed: u64) {
        if let Some(why) = self.not_run.take() {
            let seed = 0;
            let held = Held::Unknown(why);
            self.runs.push(Ran { seed, held });
        }
        self.runs.push(Ran { seed, held });
    }

    /// Why it was not asked, if it was not.
    pub(super) fn unasked(&self) -> Option<&str> {
        self.not_run.as_deref()
    }

    /// The worst that is known: of evidence that does not suffice more than half proves nothing.
    pub(super) fn told(&self) -> Told {
        if let Some(why) = &self.not_run {
            return self.tell("not run", |_| false, Some(why.clone()));
        }
        let fails = |held: &Held| matches!(held, Held::Fails(_));
        let interrupts = |held: &Held| matches!(held, Held::Interrupts(_));
        let unknown = |held: &Held| matches!(held, Held::Unknown(_));
        let any = |is: &dyn Fn(&Held) -> bool| self.runs.iter().any(|it| is(&it.held));
        let unproven = self.runs.iter().filter(|it| unknown(&it.held)).count();
        let why = |is: &dyn Fn(&Held) -> bool| {
            let found = self.runs.iter().find(|it| is(&it.held));
            found.and_then(|it| match &it.held {
                Held::Fails(why) | Held::Unknown(why) => Some(why.clone()),
                Held::Holds | Held::Interrupts(_) => None,
            })
        };
        if any(&fails) {
            self.tell("fails", fails, why(&fails))
        } else if any(&interrupts) {
            self.tell("interrupts", interrupts, None)
        } else if unproven * 2 > self.runs.len() || self.runs.is_empty() {
            self.tell("unknown", unknown, why(&unknown))
        } else {
            self.tell("holds", |held| *held == Held::Holds, None)
        }
    }

    fn tell(&self, held: &'static str, is: impl Fn(&Held) -> bool, why: Option<String>) -> Told {
        let such = || self.runs.iter().filter(|it| is(&it.held));
        let longest = such().filter_map(|it| match it.held {
            Held::Interrupts(longest) => Some(longest),
            Held::Holds | Held::Fails(_) | Held::Unknown(_) => None,
        });
        Told {
            held,
            runs: such().count(),
            of: self.runs.len(),
            interrupted_ms: longest.max().map(|it| it.as_secs_f64() * 1_000.0),
            why,
            seed: such().map(|it| it.seed).min(),
        }
    }

    /// What the product's own cell means for the command: a run that proves nothing is missing.
    pub(super) fn ending(&self) -> Ending {
        let unknown = |it: &Ran| matches!(it.held, Held::Unknown(_));
        match self.told().held {
            "holds" if self.runs.iter().any(unknown) => Ending::Unknown,
            "holds" => Ending::Pass,
            "not run" => Ending::NotRun,
            "unknown" => Ending::Unknown,
            _ => Ending::Fail,
        }
    }
}

impl Told {
    /// `holds`, `interrupts`, `fails`, `unknown` or `not run`.
    pub(super) const fn word(&self) -> &'static str {
        self.held
    }

    /// The first seed with which it was so.
    pub(super) const fn seed(&self) -> Option<u64> {
        self.seed
    }

    /// For a table, as short as it can be.
    pub(super) fn text(&self) -> String {
        let share = match self.runs < self.of {
            true => format!(" ({} of {})", self.runs, self.of),
            false => String::new(),
        };
        match (self.held, self.interrupted_ms, &self.why) {
            ("not run", ..) => "-".to_owned(),
            // Nobody was without an answer for long, and more was lost than may be.
            ("interrupts", Some(millis), _) if millis < 0.5 => format!("loses packets{share}"),
            ("interrupts", Some(millis), _) => format!("interrupts {millis:.0} ms{share}"),
            ("fails", _, Some(why)) => format!("FAILS: {why}{share}"),
            ("unknown", _, Some(why)) => format!("unknown: {why}{share}"),
            (word, ..) => format!("{word}{share}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::judged;

    fn cell(held: impl IntoIterator<Item = Held>) -> Cell {
        let mut cell = Cell::default();
        for (seed, held) in (0..).zip(held) {
            cell.take(held, seed);
        }
        cell
    }

    /// Two owners are a failure, lateness alone is none, and two owners explain lateness.
    #[test]
    fn compare_tells_danger_from_lateness() {
        let of = |run: &Run| Held::of(run, Instant::from_millis(6_000));
        let late = judged("x", 0, Verdict::Fail, "outage");
        let interrupts = Held::Interrupts(Duration::from_millis(22));
        assert_eq!(of(&late), interrupts);
        let to_the_end = Held::of(&late, Instant::from_millis(3_100));
        assert_eq!(to_the_end, Held::Fails("interrupted to the end".to_owned()));
        let mut two = judged("x", 0, Verdict::Fail, "at_most_one_active");
        two.complaints.insert(0, late.complaints[0].clone());
        let fails = Held::Fails("two owners for 22 ms".to_owned());
        assert_eq!(of(&two), fails);
        let unproven = judged("x", 0, Verdict::Unknown, "converges");
        assert!(matches!(of(&unproven), Held::Unknown(_)));
        let unplayed = Run::unplayed("x", 0, "the kernel refused".to_owned());
        assert_eq!(
            of(&unplayed),
            Held::Unknown("the kernel refused".to_owned())
        );
        let mut vain = judged("x", 0, Verdict::Fail, "converges");
        vain.struck_nobody = true;
        assert!(matches!(of(&vain), Held::Unknown(_)));
    }

    /// The worst run is what is told, with how often and which seed shows it; holes in more than
    /// half of the evidence are no proof.
    #[test]
    fn compare_cells_tell_the_worst_run() {
        let late = |millis| Held::Interrupts(Duration::from_millis(millis));
        let hole = || Held::Unknown("blind".to_owned());
        let two = || Held::Fails("two owners".to_owned());
        let text = |held: Vec<Held>| cell(held).told().text();
        assert_eq!(text(vec![Held::Holds, Held::Holds]), "holds");
        assert_eq!(text(vec![Held::Holds, hole()]), "holds (1 of 2)");
        assert_eq!(
            text(vec![Held::Holds, hole(), hole()]),
            "unknown: blind (2 of 3)"
        );
        assert_eq!(text(vec![late(3), late(9)]), "interrupts 9 ms");
        assert_eq!(text(vec![late(0)]), "loses packets");
        assert_eq!(
            text(vec![late(3), two(), Held::Holds]),
            "FAILS: two owners (1 of 3)"
        );
        assert_eq!(text(vec![]), "unknown");
        assert_eq!(cell([late(3), two()]).told().seed, Some(1));
        assert_eq!(cell([Held::Holds, Held::Holds]).ending(), Ending::Pass);
        assert_eq!(cell([Held::Holds, hole()]).ending(), Ending::Unknown);
        let mut refused = cell([two()]);
        refused.could_not_run("no lab".to_owned(), 1);
        assert_eq!(refused.told().text(), "FAILS: two owners (1 of 2)");
        let mut refused = Cell::default();
        refused.could_not_run("no lab".to_owned(), 0);
        assert_eq!(refused.told().text(), "-");
        refused.take(Held::Holds, 1);
        assert_eq!(refused.told().text(), "holds (1 of 2)");
        assert_eq!(cell([late(3)]).ending(), Ending::Fail);
        assert_eq!(Cell::not_run("x".to_owned()).told().text(), "-");
    }
}
