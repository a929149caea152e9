//! One direction of a wire: whether a frame arrives, how often, and after how long.
//!
//! A cable is two links. Four faults that are easily confused are kept apart: no carrier (`up`),
//! silence (`blocked`: frames vanish, the carrier stays), loss by chance, and slowness. The filter
//! loses chosen frames, so that a scenario can lose exactly one advertisement or every CLAIM.
//!
//! The hard case is repeatability: a number is drawn only where a probability or jitter is set, in
//! a fixed order, so a quiet link consumes no randomness and healing one wire does not shift the
//! fortunes of another.
//!
//! It stands here because two worlds use it: simulated wires, and the relay in the lab's.
//!
//! Frames queue behind each other only for a bandwidth that is set: each takes the wire for as long
//! as its bits need, and one that would wait longer than [`QUEUE_MAX`] is lost.
//!
//! Limit: what jitter adds comes after the queue, so it may reorder frames, as netem's does.

mod filter;

use core::hash::{Hash, Hasher};
use core::time::Duration;

use steadfast_core::Instant;

pub use filter::{ADDRESS_AT, Filter, Match, RULES_MAX, Rule, Source};

/// How much later a reordered frame arrives than it otherwise would: longer than a probe round
/// (1 ms, D8), so that the next round overtakes it.
pub const REORDER_HOLD: Duration = Duration::from_millis(2);

/// Longest a frame waits for those before it.
pub const QUEUE_MAX: Duration = Duration::from_millis(100);

/// What a frame takes of the wire beside its bytes: preamble, checksum, gap (IEEE 802.3).
const AROUND_FRAME: u64 = 24;

/// One direction of a wire.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// Carrier. Without it nothing passes.
    pub up: bool,
    /// Silence: frames vanish while the carrier stays.
    pub blocked: bool,
    /// Time each frame takes.
    pub delay: Duration,
    /// Time that a fault adds.
    pub added: Duration,
    /// Drawn uniformly from zero to this and added to the delay.
    pub jitter: Duration,
    /// Frames lost by chance, in a thousand.
    pub loss_permille: u16,
    /// Frames that arrive twice, in a thousand.
    pub duplicate_permille: u16,
    /// Frames held back by [`REORDER_HOLD`], in a thousand.
    pub reorder_permille: u16,
    /// Bits per second, if they are few; never 0.
    rate: Option<u64>,
    /// When the last frame has left the wire.
    free_at: Instant,
    /// Frames lost by choice.
    pub filter: Filter,
    /// What was lost, and why.
    pub counters: Uncompared<LinkCounters>,
}

/// What a link lost or doubled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Frames that arrived twice.
    pub duplicated_count: u64,
    /// Frames lost, by [`Loss`] in its order.
    pub lost_count: [u64; 5],
}

/// Why a frame did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loss {
    /// The link is silent.
    Blocked,
    /// The draw said so.
    Chance,
    /// A rule of the filter said so.
    Filtered,
    /// The link has no carrier.
    NoCarrier,
    /// Too many wait before it.
    Queue,
}

/// What became of one frame: nothing, one arrival or two, each after its delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage {
    delays: [Duration; 2],
    count: usize,
    loss: Option<Loss>,
}

impl Link {
    /// A link with carrier that delivers everything after `delay`.
    pub fn quiet(delay: Duration) -> Self {
        Self {
            up: true,
            blocked: false,
            delay,
            added: Duration::ZERO,
            jitter: Duration::ZERO,
            loss_permille: 0,
            duplicate_permille: 0,
            reorder_permille: 0,
            rate: None,
            free_at: Instant::ORIGIN,
            filter: Filter::default(),
            counters: Uncompared::default(),
        }
    }

    /// Sends one frame at `now`. `draw` yields uniform numbers and is called only where a chance is
    /// set.
    pub fn pass(&mut self, now: Instant, frame: &[u8], draw: &mut dyn FnMut() -> u64) -> Passage {
        if !self.up {
            return self.lose(Loss::NoCarrier);
        }
        if self.blocked {
            return self.lose(Loss::Blocked);
        }
        if self.filter.takes(frame) {
            return self.lose(Loss::Filtered);
        }
        if chance(self.loss_permille, draw) {
            return self.lose(Loss::Chance);
        }
        let Some(queued) = self.queue(now, frame.len()) else {
            return self.lose(Loss::Queue);
        };
        let twice = chance(self.duplicate_permille, draw);
        let first = queued + self.latency(draw);
        let second = if twice {
            self.counters.0.duplicated_count += 1;
            queued + self.latency(draw)
        } else {
            Duration::ZERO
        };
        Passage {
            delays: [first, second],
            count: 1 + usize::from(twice),
            loss: None,
        }
    }

    /// From now on so many bits per second and no more; frames that wait have left.
    pub const fn set_rate(&mut self, rate: Option<u64>) {
        self.rate = rate;
        self.free_at = Instant::ORIGIN;
    }

    /// How long a frame takes to leave, those before it included; none if it finds no room.
    fn queue(&mut self, now: Instant, length: usize) -> Option<Duration> {
        let Some(rate) = self.rate.filter(|rate| *rate > 0) else {
            return Some(Duration::ZERO);
        };
        let wait = self.free_at.since(now);
        if wait > QUEUE_MAX {
            return None;
        }
        let bits = (u64::try_from(length).unwrap_or(u64::MAX / 16) + AROUND_FRAME) * 8;
        let takes = Duration::from_nanos(bits.saturating_mul(1_000_000_000) / rate);
        self.free_at = now.after(wait + takes);
        Some(wait + takes)
    }

    fn latency(&self, draw: &mut dyn FnMut() -> u64) -> Duration {
        let held = chance(self.reorder_permille, draw);
        let mut delay = self.delay + self.added;
        if !self.jitter.is_zero() {
            let span = u64::try_from(self.jitter.as_nanos()).unwrap_or(u64::MAX);
            delay += Duration::from_nanos(draw() % span.saturating_add(1));
        }
        if held { delay + REORDER_HOLD } else { delay }
    }

    fn lose(&mut self, loss: Loss) -> Passage {
        self.counters.0.lost_count[loss as usize] += 1;
        Passage {
            delays: [Duration::ZERO; 2],
            count: 0,
            loss: Some(loss),
        }
    }
}

impl Passage {
    /// One delay per arrival; empty when the frame is lost.
    pub fn delays(&self) -> &[Duration] {
        &self.delays[..self.count]
    }

    /// Why nothing arrives.
    pub const fn loss(&self) -> Option<Loss> {
        self.loss
    }
}

/// A value that is told but never compared: counters and version numbers.
///
/// What was counted does not change what happens next, so two states that differ only in it are
/// equal and hash alike; otherwise an explorer would never meet a known state again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Uncompared<T>(pub T);

impl<T> PartialEq for Uncompared<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Uncompared<T> {}

impl<T> Hash for Uncompared<T> {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

fn chance(permille: u16, draw: &mut dyn FnMut() -> u64) -> bool {
    permille > 0 && draw() % 1000 < u64::from(permille)
}

#[cfg(test)]
mod tests {
    use steadfast_core::MacAddr;
    use steadfast_core::wire::ethernet::{self, ethertype};

    use super::*;

    const NOW: Instant = Instant::from_nanos(7_000_000);
    const DELAY: Duration = Duration::from_micros(50);

    fn frame(ethertype: u16, kind: u8) -> Vec<u8> {
        let mut out = Vec::new();
        ethernet::header(&mut out, MacAddr::BROADCAST, MacAddr([2; 6]), ethertype);
        out.extend_from_slice(&[1, 1, kind]);
        out
    }

    fn never() -> u64 {
        panic!("a quiet link must draw nothing")
    }

    fn passes(link: &mut Link, frame: &[u8]) -> bool {
        !link.pass(NOW, frame, &mut never).delays().is_empty()
    }

    /// link: a rule with a source takes that sender's frames alone; what is too short has none.
    #[test]
    fn link_rule_with_a_source_takes_its_frames_alone() {
        let mut link = Link::quiet(DELAY);
        let source = Some(Source::Station(MacAddr([2; 6])));
        let rule = Rule {
            source,
            ..Rule::of(Match::Any)
        };
        assert!(link.filter.add(rule));
        let mut other = frame(ethertype::ARP, 0);
        assert!(!passes(&mut link, &other));
        other[11] = 3;
        assert!(passes(&mut link, &other));
        assert!(passes(&mut link, &[2; 11]), "cut");
    }

    /// link: a quiet link delivers once, after its delay, and draws nothing, so that adding a
    /// quiet wire to a topology changes no other wire's fortunes.
    #[test]
    fn link_quiet_delivers_once_and_draws_nothing() {
        let passage = Link::quiet(DELAY).pass(NOW, &frame(ethertype::ARP, 0), &mut never);
        assert_eq!(passage.delays(), [DELAY]);
        assert_eq!(passage.loss(), None);
    }

    /// link: no carrier and silence both lose every frame, and say which of the two it was.
    #[test]
    fn link_without_carrier_or_silent_loses_everything() {
        let mut dead = Link::quiet(DELAY);
        dead.up = false;
        let mut silent = Link::quiet(DELAY);
        silent.blocked = true;
        let any = frame(ethertype::ARP, 0);
        assert_eq!(
            dead.pass(NOW, &any, &mut never).loss(),
            Some(Loss::NoCarrier)
        );
        assert_eq!(
            silent.pass(NOW, &any, &mut never).loss(),
            Some(Loss::Blocked)
        );
        assert!(silent.up, "silence leaves the carrier");
        assert_eq!(silent.counters.0.lost_count, [1, 0, 0, 0, 0]);
    }

    /// link: each chance follows its own draw, in the order loss, duplicate, then reorder and
    /// jitter per arrival.
    #[test]
    fn link_chances_follow_the_draws() {
        let mut link = Link::quiet(DELAY);
        link.loss_permille = 100;
        link.duplicate_permille = 100;
        link.reorder_permille = 100;
        link.jitter = Duration::from_nanos(9);
        let any = frame(ethertype::IPV4, 0);
        let mut numbers = [100, 99, 99, 3, 500, 7].into_iter();
        let passage = link.pass(NOW, &any, &mut || numbers.next().unwrap());
        let nanos = Duration::from_nanos;
        assert_eq!(
            passage.delays(),
            [DELAY + REORDER_HOLD + nanos(3), DELAY + nanos(7)]
        );
        assert_eq!(link.pass(NOW, &any, &mut || 99).loss(), Some(Loss::Chance));
    }

    /// link: with a bandwidth, frames leave one after the other, each as long as its bits take; one
    /// that would wait too long is lost, and the wire is free again afterwards.
    #[test]
    fn link_bandwidth_makes_frames_wait_and_loses_what_is_too_much() {
        let mut link = Link::quiet(DELAY);
        // 100 bytes and what stands around them take 0.992 ms.
        link.rate = Some(1_000_000);
        let frame = [0; 100];
        let takes = Duration::from_micros(992);
        for number in 1..=3 {
            let passage = link.pass(NOW, &frame, &mut never);
            assert_eq!(passage.delays(), [DELAY + takes * number]);
        }
        let lost = (0..200).find(|_| link.pass(NOW, &frame, &mut never).loss().is_some());
        // Of 101 frames that were sent at once the first leaves at once, the last after 100 ms.
        assert_eq!(lost, Some(101 - 3));
        assert_eq!(link.counters.0.lost_count, [0, 0, 0, 0, 1]);
        let later = NOW.after(Duration::from_secs(1));
        assert_eq!(
            link.pass(later, &frame, &mut never).delays(),
            [DELAY + takes]
        );
    }

    /// link: a counted rule takes exactly the next matching frames and no other: one CLAIM can be
    /// lost while everything else arrives.
    #[test]
    fn filter_takes_exactly_the_next_matching_frames() {
        let (claim, advert) = (
            frame(ethertype::STEADFAST, 2),
            frame(ethertype::STEADFAST, 0),
        );
        let mut link = Link::quiet(DELAY);
        assert!(link.filter.add(Rule {
            left: Some(2),
            ..Rule::of(Match::Kind(2))
        }));
        assert!(passes(&mut link, &advert));
        assert!(passes(&mut link, &frame(ethertype::IPV4, 2)), "not ours");
        assert!(!passes(&mut link, &claim));
        assert!(!passes(&mut link, &claim));
        assert!(passes(&mut link, &claim), "the rule is used up");
        assert!(link.filter.rules().is_empty());
    }

    /// link: an uncounted rule takes a whole EtherType until it is cleared, and a filter refuses
    /// rules beyond its bound.
    #[test]
    fn filter_takes_an_ethertype_until_cleared_and_is_bounded() {
        let mut link = Link::quiet(DELAY);
        let any = frame(ethertype::STEADFAST, 0);
        for _ in 0..RULES_MAX {
            assert!(
                link.filter
                    .add(Rule::of(Match::EtherType(ethertype::STEADFAST)))
            );
        }
        assert!(!link.filter.add(Rule::of(Match::Any)));
        assert!((0..100).all(|_| !passes(&mut link, &any)));
        assert!(passes(&mut link, &frame(ethertype::ARP, 0)));
        link.filter.clear();
        assert!(passes(&mut link, &any));
    }

    /// link: a frame shorter than a header is carried like any other and matches no EtherType.
    #[test]
    fn filter_ignores_frames_without_a_header() {
        let mut link = Link::quiet(DELAY);
        assert!(link.filter.add(Rule::of(Match::Kind(0))));
        assert!(passes(&mut link, &[0; 3]));
    }
}
