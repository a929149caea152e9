//! The race's statistics: what a failover cost, over many runs, and how sure that is.
//!
//! One run gives a [`Cost`]: the longest gap in each stream around the fault, probes lost, and for
//! how long two gateways owned an address, or none. Figures drift between machines, so what counts
//! is the ratio to the best peer of one race, with a bootstrap [`interval`]: medians of runs drawn
//! again with replacement, 2000 times, by a generator whose seed is written here: the same runs
//! give the same interval.
//!
//! The limit: with fewer than about ten runs the interval says more about luck than about daemons.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use steadfast_core::Instant;
use steadfast_scenarios::trace::{Event, EventKind, Names};
use steadfast_scenarios::{Picture, Random, StreamId};

/// How often runs are drawn again.
const RESAMPLES: usize = 2_000;
/// The seed of all intervals.
const SEED: u64 = 1;

/// The part of a run around a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// From here.
    pub from: Instant,
    /// To here.
    pub to: Instant,
}

impl Window {
    fn contains(self, at: Instant) -> bool {
        self.from <= at && at <= self.to
    }

    /// How much of this stretch lies inside.
    fn share(self, from: Instant, to: Instant) -> Duration {
        to.min(self.to).since(from.max(self.from))
    }
}

/// What one run cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// By stream: the longest time between two arrivals, or between the window's end and the last.
    pub gaps: BTreeMap<StreamId, Duration>,
    /// By stream: probes sent in the window that never arrived.
    pub lost: BTreeMap<StreamId, u32>,
    /// For how long an address had more than one owner.
    pub two_owners: Duration,
    /// For how long an address that had one had none.
    pub no_owner: Duration,
    /// Whether the run's evidence has a hole inside the window: it must not count.
    pub blind: bool,
}

impl Cost {
    /// Reads it from a run's events, which must be in order and reach a moment beyond the window,
    /// so that probes on their way are not lost.
    pub fn of(names: &Names, events: &[Event], window: Window) -> Self {
        let mut cost = Self::default();
        let mut picture = Picture::new(names);
        let mut owned = false;
        let mut last = Instant::ORIGIN;
        let mut sent: BTreeSet<(StreamId, u32)> = BTreeSet::new();
        let mut arrived: BTreeMap<StreamId, Instant> = BTreeMap::new();
        for event in events {
            cost.owners(&picture, &mut owned, window.share(last, event.at));
            last = event.at;
            picture.observe(event);
            match event.kind {
                EventKind::ProbeSent { stream, seq } if window.contains(event.at) => {
                    sent.insert((stream, seq));
                    cost.lost.entry(stream).or_default();
                    arrived.entry(stream).or_insert(event.at);
                }
                EventKind::ProbeReceived { stream, seq, .. } => {
                    sent.remove(&(stream, seq));
                    let before = arrived.get(&stream).copied().unwrap_or(event.at);
                    let gap = window.share(before, event.at);
                    let longest = cost.gaps.entry(stream).or_default();
                    *longest = gap.max(*longest);
                    arrived.insert(stream, event.at);
                }
                EventKind::Blind { since, .. } => {
                    cost.blind |= since <= window.to && event.at >= window.from;
                }
                _ => {}
            }
        }
        cost.owners(&picture, &mut owned, window.share(last, window.to));
        for (stream, at) in arrived {
            let longest = cost.gaps.entry(stream).or_default();
            *longest = window.share(at, window.to).max(*longest);
        }
        for (stream, _) in sent {
            *cost.lost.entry(stream).or_default() += 1;
        }
        cost
    }

    /// The longest gap of all streams.
    pub fn gap(&self) -> Duration {
        self.gaps.values().max().copied().unwrap_or_default()
    }

    fn owners(&mut self, picture: &Picture, owned: &mut bool, share: Duration) {
        let unowned = picture.served().any(|segment| picture.unowned(segment));
        *owned |= !unowned;
        if picture.served().any(|segment| picture.contested(segment)) {
            self.two_owners += share;
        }
        if *owned && unowned {
            self.no_owner += share;
        }
    }
}

/// The 95 % bootstrap interval of the ratio of two medians; both must have a value, and the
/// second's median must not be zero in any likely draw.
pub fn interval(ours: &[f64], theirs: &[f64]) -> [f64; 2] {
    let mut random = Random::new(SEED, "bootstrap");
    let ratios = (0..RESAMPLES).map(|_| {
        let above = quantile(&redrawn(ours, &mut random), 0.5);
        let below = quantile(&redrawn(theirs, &mut random), 0.5);
        above / below.max(f64::MIN_POSITIVE)
    });
    let ratios = sorted(ratios);
    [quantile(&ratios, 0.025), quantile(&ratios, 0.975)]
}

fn redrawn(values: &[f64], random: &mut Random) -> Vec<f64> {
    let last = values.len().saturating_sub(1) as u64;
    let draw = |_: &f64| {
        let index = usize::try_from(random.between(0, last)).unwrap_or(0);
        values.get(index).copied().unwrap_or(0.0)
    };
    sorted(values.iter().map(draw).collect::<Vec<f64>>())
}

fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The value below which this share of the sorted values lies, between neighbours in proportion;
/// zero of none.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * sorted.len().saturating_sub(1) as f64;
    let below = place.floor();
    // The place is within the list, far below where a float loses whole numbers.
    let index = below as usize;
    let low = sorted.get(index).copied().unwrap_or(0.0);
    let high = sorted.get(index + 1).copied().unwrap_or(low);
    low + (high - low) * (place - below)
}

#[cfg(test)]
mod tests;
