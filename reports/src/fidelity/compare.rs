//! The gate: what must agree between a simulated world and the lab.
//!
//! *Verdicts* are equal. Of all *pairs* of moments at least [`PAIRS_MIN`] have the same order: a
//! world is sure of an order if it has it in nine of ten runs, and worlds disagree if both are sure
//! and of different orders; a moment that one world nearly always has and the other hardly ever is
//! a pair that disagrees. The median of each *interval* lies within [`INTERVAL_MIN`] or
//! [`INTERVAL_SHARE`] of the other's, whichever is more; only intervals that most runs have count.
//!
//! The hard case is chance: a standby that waits for the next advertisement waits for anything up
//! to its interval, and the median of a few such waits is nearly as uncertain. So medians that are
//! too far apart are a failure only if the ranges in which they lie, nineteen times in twenty, are
//! too far apart as well; else the gate is open, and more runs will tell.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use steadfast_scenarios::Verdict;

use super::{RESOLUTION, Sighting};

/// In a thousand pairs, at least so many agree.
const PAIRS_MIN: u64 = 990;
/// Medians may differ by this.
const INTERVAL_MIN: Duration = Duration::from_millis(2);
/// Or by one in so many parts.
const INTERVAL_SHARE: u32 = 5;
/// Each way beyond which a median is not looked for.
const ONE_IN_FORTY: f64 = 0.025;
/// In ten runs, so many make sure.
const SURE: usize = 9;
/// Disagreements and intervals named of one comparison; the rest is counted.
const NAMED_MAX: usize = 20;

/// The runs of one world.
#[derive(Clone, Debug, Default)]
pub(crate) struct Against {
    /// By run.
    pub(crate) verdicts: Vec<Verdict>,
    /// By run.
    pub(crate) runs: Vec<Vec<Sighting>>,
}

/// How a world compares with another.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Compared {
    /// What each found, in the order given; none if all its runs are unknown.
    pub(crate) verdicts: [Option<Verdict>; 2],
    /// Pairs with an order in both.
    pub(crate) pairs: u64,
    /// Of them, pairs with the same.
    pub(crate) agreeing: u64,
    /// Some that disagree, in words.
    pub(crate) disagreements: Vec<String>,
    /// Every interval that was compared.
    pub(crate) intervals: Vec<Interval>,
}

/// From a step to a moment.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Interval {
    /// `step -> moment`.
    pub(crate) name: String,
    /// Median and the nine-in-ten quantile of each world, in nanoseconds.
    pub(crate) p50: [u64; 2],
    pub(crate) p90: [u64; 2],
    /// Whether the medians are close enough; none if chance alone might have put them apart.
    pub(crate) close: Option<bool>,
}

impl Compared {
    /// Whether the gate lets it through; none if evidence is missing.
    pub(crate) fn passes(&self) -> Option<bool> {
        let [Some(one), Some(other)] = self.verdicts else {
            return None;
        };
        let ordered = self.agreeing * 1_000 >= self.pairs * PAIRS_MIN;
        let apart = self.intervals.iter().any(|it| it.close == Some(false));
        if one != other || !ordered || apart {
            return Some(false);
        }
        let all = self.intervals.iter().all(|it| it.close.is_some());
        all.then_some(true)
    }

    /// The interval whose medians are furthest apart, measured by what is allowed.
    pub(crate) fn worst(&self) -> Option<&Interval> {
        let excess = |it: &&Interval| {
            let [one, other] = it.p50;
            u128::from(one.abs_diff(other)) * 1_000 / u128::from(allowed(it.p50)).max(1)
        };
        self.intervals.iter().max_by_key(excess)
    }
}

/// Holds a world against another.
pub(crate) fn compare(one: &Against, other: &Against) -> Compared {
    let worlds = [Digest::of(one), Digest::of(other)];
    let mut compared = Compared {
        verdicts: [one.verdict(), other.verdict()],
        pairs: 0,
        agreeing: 0,
        disagreements: Vec::new(),
        intervals: intervals(&worlds),
    };
    let names: BTreeSet<&String> = worlds.iter().flat_map(|it| it.moments.keys()).collect();
    for name in &names {
        let had = worlds.each_ref().map(|it| it.frequency(name));
        if let [Frequency::Always, Frequency::Hardly] | [Frequency::Hardly, Frequency::Always] = had
        {
            let which = usize::from(had[0] != Frequency::Always);
            compared.disagree(format!("`{name}` comes only in the {}", ORDINALS[which]));
        }
    }
    let names: Vec<&String> = names.into_iter().collect();
    for (place, left) in names.iter().enumerate() {
        for right in &names[place + 1..] {
            let orders = worlds.each_ref().map(|it| it.order(left, right));
            match orders {
                [Some(before), Some(also)] if before == also => {
                    compared.pairs += 1;
                    compared.agreeing += 1;
                }
                [Some(before), Some(_)] => {
                    let (first, then) = if before { (left, right) } else { (right, left) };
                    compared.disagree(format!("`{first}` before `{then}` only in the first"));
                }
                [None, _] | [_, None] => {}
            }
        }
    }
    compared
}

const ORDINALS: [&str; 2] = ["first", "second"];

impl Compared {
    fn disagree(&mut self, what: String) {
        self.pairs += 1;
        if self.disagreements.len() < NAMED_MAX {
            self.disagreements.push(what);
        }
    }
}

impl Against {
    /// The worst of its runs that are known.
    fn verdict(&self) -> Option<Verdict> {
        let known = self.verdicts.iter().copied();
        let known = known.filter(|verdict| *verdict != Verdict::Unknown);
        known.reduce(|one, other| if one == Verdict::Fail { one } else { other })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frequency {
    Always,
    Hardly,
    Sometimes,
}

/// A world's moments and intervals, run by run.
struct Digest {
    runs: usize,
    /// Name to time by run.
    moments: BTreeMap<String, BTreeMap<usize, u64>>,
    /// Name to lengths.
    intervals: BTreeMap<String, Vec<u64>>,
}

impl Digest {
    fn of(world: &Against) -> Self {
        let mut digest = Self {
            runs: world.runs.len(),
            moments: BTreeMap::new(),
            intervals: BTreeMap::new(),
        };
        for (run, sightings) in world.runs.iter().enumerate() {
            for sighting in sightings {
                let Sighting { name, at, after } = sighting;
                let times = digest.moments.entry(name.clone()).or_default();
                times.insert(run, at.as_nanos());
                if let Some((step, then)) = after {
                    let name = format!("{step} -> {name}");
                    let length = at.as_nanos().saturating_sub(then.as_nanos());
                    digest.intervals.entry(name).or_default().push(length);
                }
            }
        }
        digest
    }

    fn frequency(&self, name: &str) -> Frequency {
        let count = self.moments.get(name).map_or(0, BTreeMap::len);
        if count * 10 >= self.runs * SURE && count > 0 {
            Frequency::Always
        } else if count * 10 <= self.runs * (10 - SURE) {
            Frequency::Hardly
        } else {
            Frequency::Sometimes
        }
    }

    /// Whether the left comes first; none if this world is not sure.
    fn order(&self, left: &str, right: &str) -> Option<bool> {
        let (left, right) = (self.moments.get(left)?, self.moments.get(right)?);
        let resolution = u64::try_from(RESOLUTION.as_nanos()).unwrap_or(u64::MAX);
        let (mut both, mut before, mut after) = (0, 0, 0);
        for (run, at) in left {
            let Some(other) = right.get(run) else {
                continue;
            };
            both += 1;
            before += usize::from(at + resolution < *other);
            after += usize::from(other + resolution < *at);
        }
        let sure = |count: usize| count > 0 && count * 10 >= both * SURE;
        // What few runs have says little.
        if both * 2 < self.runs {
            None
        } else if sure(before) {
            Some(true)
        } else if sure(after) {
            Some(false)
        } else {
            None
        }
    }
}

fn intervals(worlds: &[Digest; 2]) -> Vec<Interval> {
    let mut intervals = Vec::new();
    let [one, other] = worlds;
    for (name, lengths) in &one.intervals {
        let Some(others) = other.intervals.get(name) else {
            continue;
        };
        if lengths.len() * 2 < one.runs || others.len() * 2 < other.runs {
            continue;
        }
        let p50 = [quantile(lengths, 50), quantile(others, 50)];
        let p90 = [quantile(lengths, 90), quantile(others, 90)];
        intervals.push(Interval {
            name: name.clone(),
            p50,
            p90,
            close: are_close(lengths, others),
        });
    }
    intervals
}

fn are_close(lengths: &[u64], others: &[u64]) -> Option<bool> {
    let p50 = [quantile(lengths, 50), quantile(others, 50)];
    if p50[0].abs_diff(p50[1]) <= allowed(p50) {
        return Some(true);
    }
    let [one, other] = [lengths, others].map(range_of_median);
    let gap = one
        .0
        .saturating_sub(other.1)
        .max(other.0.saturating_sub(one.1));
    (gap > allowed(p50)).then_some(false)
}

/// Where the true median lies, nineteen times in twenty: between two of the sorted lengths, as far
/// from both ends as a fair coin's rarest one in forty. Of fewer than six all there are.
fn range_of_median(lengths: &[u64]) -> (u64, u64) {
    let mut sorted = lengths.to_vec();
    sorted.sort_unstable();
    let count = sorted.len();
    let (mut place, mut chance, mut sum) =
        (0, 0.5_f64.powi(i32::try_from(count).unwrap_or(0)), 0.0);
    // The chance that so many and no more of all lengths are below the true median.
    while place < count / 2 && sum + chance <= ONE_IN_FORTY {
        sum += chance;
        #[expect(clippy::cast_precision_loss, reason = "counts of runs are small")]
        let odds = (count - place) as f64 / (place + 1) as f64;
        chance *= odds;
        place += 1;
    }
    let place = place.saturating_sub(1);
    let at = |place: usize| sorted.get(place).copied().unwrap_or_default();
    (at(place), at(count.saturating_sub(place + 1)))
}

/// How far medians may be apart.
fn allowed([one, other]: [u64; 2]) -> u64 {
    let least = u64::try_from(INTERVAL_MIN.as_nanos()).unwrap_or(u64::MAX);
    least.max(one.max(other) / u64::from(INTERVAL_SHARE))
}

/// The nearest rank of so many in a hundred.
fn quantile(lengths: &[u64], hundredth: usize) -> u64 {
    let mut sorted = lengths.to_vec();
    sorted.sort_unstable();
    let place = (sorted.len() * hundredth).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use steadfast_core::Instant;

    const MS: u64 = 1_000_000;

    /// Ten runs: a step at 0, then these moments, in milliseconds.
    fn world(moments: &[(&str, u64)], verdict: Verdict) -> Against {
        let step = ("step cut".to_owned(), Instant::ORIGIN);
        let sighting = |(name, at): &(&str, u64)| Sighting {
            name: (*name).to_owned(),
            at: Instant::from_nanos(at * MS),
            after: Some(step.clone()),
        };
        Against {
            verdicts: vec![verdict; 10],
            runs: vec![moments.iter().map(sighting).collect(); 10],
        }
    }

    fn passes(one: &[(&str, u64)], other: &[(&str, u64)]) -> bool {
        let one = world(one, Verdict::Pass);
        compare(&one, &world(other, Verdict::Pass))
            .passes()
            .unwrap()
    }

    /// Two worlds may differ by 2 ms or a fifth of an interval, and not by more.
    #[test]
    fn fidelity_intervals_may_differ_a_little() {
        assert!(passes(&[("b active", 10)], &[("b active", 12)]));
        assert!(!passes(&[("b active", 7)], &[("b active", 10)]));
        assert!(passes(&[("b active", 100)], &[("b active", 125)]));
        assert!(!passes(&[("b active", 20)], &[("b active", 60)]));
    }

    /// Waits that are drawn from the same hundred milliseconds are not called different for their
    /// medians, but not called equal either; waits that have nothing in common are different.
    #[test]
    fn fidelity_chance_alone_is_no_difference() {
        let early: Vec<u64> = (0..20).map(|it| it * 4 * MS).collect();
        let late: Vec<u64> = (0..20).map(|it| (20 + it * 4) * MS).collect();
        let apart: Vec<u64> = (0..20).map(|it| (100 + it * 4) * MS).collect();
        assert_eq!(are_close(&early, &early), Some(true));
        assert_eq!(are_close(&early, &late), None);
        assert_eq!(are_close(&early, &apart), Some(false));
        // Of twenty the sixth and the fifteenth, of a hundred the 40th and the 61st.
        assert_eq!(range_of_median(&early), (5 * 4 * MS, 14 * 4 * MS));
        let many: Vec<u64> = (1..=100).collect();
        assert_eq!(range_of_median(&many), (40, 61));
        assert_eq!(range_of_median(&[3, 1, 2]), (1, 3));
    }

    /// Another order, or a moment that one world never has, is told and fails; what is too close
    /// to have an order does not.
    #[test]
    fn fidelity_order_and_presence_must_agree() {
        let one = [("a standby", 10), ("b active", 30)];
        let swapped = [("a standby", 30), ("b active", 10)];
        let compared = compare(&world(&one, Verdict::Pass), &world(&swapped, Verdict::Pass));
        assert_eq!((compared.pairs, compared.agreeing), (1, 0));
        assert_eq!(
            compared.disagreements,
            ["`a standby` before `b active` only in the first"]
        );
        assert!(!passes(&one, &one[..1]));
        assert!(passes(&[("x", 10), ("y", 11)], &[("x", 11), ("y", 10)]));
    }

    /// Verdicts must be equal; a world that knows nothing proves nothing.
    #[test]
    fn fidelity_verdicts_must_be_equal() {
        let world = |verdict| world(&[("x", 1)], verdict);
        let passes = |other| compare(&world(Verdict::Pass), &world(other)).passes();
        assert_eq!(passes(Verdict::Pass), Some(true));
        assert_eq!(passes(Verdict::Fail), Some(false));
        assert_eq!(passes(Verdict::Unknown), None);
    }
}
