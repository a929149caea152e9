//! When to tell a segment which station holds a virtual address: spaced, paced bursts (R5.5).
//!
//! One burst can be lost, or overtaken by the loser's burst (F02), so there are several; and a
//! switch that polices ARP drops what comes too fast (F06), so a burst is spread: at most
//! [`CHUNK`] frames, then a pause. Heartbeats never wait for it: the caller sends one chunk per
//! deadline. Each address is announced in two forms ([`FORMS`]), and the first of every address
//! comes before the second of any, so the last address waits for half of the burst alone. Clients
//! wait for the first burst and for no other, so repetitions go slower: with a thousand addresses
//! they would keep a processor of every gateway on the segment busy, just when it is needed.
//!
//! However long the first bursts are repeated, a part of the segment may have been cut off all the
//! while (F01, F02): so the last one is refreshed for as long as the addresses are owned, seldom,
//! and more seldom the more addresses there are ([`refresh`]).
//!
//! The limit: a segment that ignores gratuitous ARP altogether needs a virtual MAC.

use core::time::Duration;

use crate::Instant;

/// Frames that announce one address, each in its own form.
pub(crate) const FORMS: usize = 2;
/// Frames sent at one go; the rest follows after [`PAUSE`].
pub(crate) const CHUNK: usize = 256;
/// The same in a repetition: some 16,000 frames a second. A burst that is not over when the next
/// one is due delays it.
pub(crate) const REPEAT_CHUNK: usize = 16;
/// Between the beginnings of two chunks of a burst.
pub(crate) const PAUSE: Duration = Duration::from_millis(1);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// After a claim (design, Defaults).
const AFTER_CLAIM: &[Duration] = &[ms(0), ms(3), ms(13), ms(23), ms(1_000), ms(5_000)];
/// Between two beginnings for fear of a rival; further evidence meanwhile is worth one burst.
const RIVAL_SPACING: Duration = ms(500);
/// After evidence of a rival: two spaced bursts (F01).
const AFTER_RIVAL: &[Duration] = &[ms(0), ms(1_000)];
/// One burst, with the pace of a repetition, for it is not the first.
const REFRESH: &[Duration] = &[ms(0), ms(0)];
/// Between two refreshing bursts of few addresses.
const REFRESHED: Duration = ms(10_000);
/// The same for each address of many: a hundred frames a second on average, in two forms.
const REFRESHED_EACH: Duration = ms(20);

/// Between two bursts of so many addresses that come early.
fn spacing(count: usize) -> Duration {
    REFRESHED_EACH.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
}

/// How long after the end of a burst so many addresses are announced again.
pub(crate) fn refresh(count: usize) -> Duration {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    REFRESHED.max(REFRESHED_EACH.saturating_mul(count))
}

/// A schedule of bursts over a list of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Announcer {
    schedule: Option<(Instant, &'static [Duration])>,
    /// The next burst is the first one after a claim: clients wait for it.
    claims: bool,
    /// It only says again what was said: a rival is news beside it.
    refreshing: bool,
    burst: usize,
    next: usize,
    due: Option<Instant>,
    /// When all is to be announced early, behind the burst that is under way.
    early: Option<Instant>,
    hastened_at: Option<Instant>,
    /// For when a burst was last begun, or put in, because of a rival.
    repeated_at: Option<Instant>,
    /// The next burst is none of the schedule's.
    extra: bool,
    /// The next burst has been put off until then, and no other comes before it.
    put_off_until: Option<Instant>,
}

impl Announcer {
    /// Starts over after a claim.
    pub(crate) fn after_claim(&mut self, now: Instant) {
        self.start(now, AFTER_CLAIM);
        self.claims = true;
    }

    /// Announces `count` addresses again. Evidence of a rival can come with every frame: what began
    /// less than [`RIVAL_SPACING`] ago is not started over. What it said already the rival may have
    /// overtaken, so one burst more comes: now, or as soon as [`REFRESHED_EACH`] allows.
    pub(crate) fn after_rival(&mut self, now: Instant, count: usize) {
        let recent = |(started, _): (Instant, _)| now.since(started) < RIVAL_SPACING;
        if self.refreshing || !self.schedule.is_some_and(recent) {
            self.start(now, AFTER_RIVAL);
            self.repeated_at = Some(now);
            return;
        }
        if self.repeated_at.is_some_and(|at| at > now) {
            return;
        }
        let spacing = spacing(count).min(RIVAL_SPACING);
        let allowed = |last: Instant| last.after(spacing).max(now);
        let at = self.repeated_at.map_or(now, allowed);
        self.insert(at);
        self.repeated_at = Some(at);
    }

    /// Puts the next burst off until then, once: the first one after a claim never waits. False if
    /// nothing was put off.
    pub(crate) fn put_off(&mut self, until: Instant) -> bool {
        let begins = self.next == 0 && self.schedule.is_some() && !self.claims;
        let later = self.due.is_some_and(|due| due < until);
        if !begins || !later || self.put_off_until.is_some() {
            return false;
        }
        self.due = Some(until);
        self.put_off_until = Some(until);
        true
    }

    /// Announces once more, if nothing is under way.
    pub(crate) fn refresh(&mut self, now: Instant) {
        if self.schedule.is_none() {
            self.start(now, REFRESH);
            self.burst = 1;
            self.refreshing = true;
        }
    }

    /// Announces `count` addresses then at the latest: in one burst more, behind one that is under
    /// way, for what that said already was not heard. Not so often that it were more than
    /// [`REFRESHED_EACH`] allows.
    pub(crate) fn hasten(&mut self, at: Instant, count: usize) {
        let lately = |last: Instant| at.since(last) < spacing(count);
        if self.hastened_at.is_some_and(lately) {
            return;
        }
        self.insert(at);
        self.hastened_at = Some(at);
    }

    /// One burst then, beside those of the schedule.
    fn insert(&mut self, at: Instant) {
        let at = self.put_off_until.map_or(at, |until| at.max(until));
        if self.next > 0 {
            self.early = Some(self.early.map_or(at, |early| early.min(at)));
        } else if self.schedule.is_none() {
            self.refresh(at);
        } else if self.due.is_none_or(|due| at < due) {
            if self.extra {
                self.early = self.due;
            }
            self.due = Some(at);
            self.extra |= !self.refreshing;
        } else if self.due != Some(at) {
            self.early = Some(self.early.map_or(at, |early| early.min(at)));
        }
    }

    /// Ends the schedule: the addresses are not ours any more.
    pub(crate) fn stop(&mut self) {
        *self = Self::default();
    }

    /// Whether what is due begins a burst; so does what is due when there is none.
    pub(crate) fn begins(&self) -> bool {
        self.next == 0
    }

    /// When the next chunk is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Takes the next chunk: which of `count` addresses to announce now, each in which form.
    pub(crate) fn chunk(
        &mut self,
        now: Instant,
        count: usize,
    ) -> impl Iterator<Item = (usize, usize)> + use<> {
        let frames = self.frames(now, FORMS * count);
        frames.map(move |frame| (frame % count, frame / count))
    }

    fn frames(&mut self, now: Instant, count: usize) -> core::ops::Range<usize> {
        let Some((started, schedule)) = self.schedule else {
            return 0..0;
        };
        let size = if self.burst == 0 { CHUNK } else { REPEAT_CHUNK };
        (self.claims, self.put_off_until) = (false, None);
        let first = self.next.min(count);
        let end = (first + size).min(count);
        if end < count {
            self.next = end;
            self.due = Some(now.after(PAUSE));
        } else {
            self.next = 0;
            if !core::mem::take(&mut self.extra) {
                self.burst += 1;
            }
            self.due = schedule
                .get(self.burst)
                .map(|wait| started.after(*wait).max(now));
            if self.due.is_none() {
                self.schedule = None;
            }
            if let Some(early) = self.early.take() {
                self.insert(early.max(now));
            }
        }
        first..end
    }

    fn start(&mut self, now: Instant, schedule: &'static [Duration]) {
        *self = Self {
            schedule: Some((now, schedule)),
            claims: false,
            refreshing: false,
            burst: 0,
            next: 0,
            due: Some(now),
            early: None,
            hastened_at: self.hastened_at,
            repeated_at: self.repeated_at,
            extra: false,
            put_off_until: None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(announcer: &mut Announcer, count: usize) -> Vec<(u64, core::ops::Range<usize>)> {
        let mut chunks = Vec::new();
        while let Some(due) = announcer.due() {
            chunks.push((
                due.as_nanos() / 1_000_000,
                announcer.frames(due, FORMS * count),
            ));
        }
        chunks
    }

    #[test]
    fn announcements_repeat_in_spaced_bursts_after_a_claim() {
        let mut announcer = Announcer::default();
        announcer.after_claim(Instant::ORIGIN);
        let times: Vec<u64> = run(&mut announcer, 2)
            .into_iter()
            .map(|(at, _)| at)
            .collect();
        assert_eq!(times, [0, 3, 13, 23, 1_000, 5_000]);
    }

    #[test]
    fn announcements_of_many_addresses_are_paced() {
        let mut announcer = Announcer::default();
        announcer.after_rival(Instant::ORIGIN, 600);
        let chunks = run(&mut announcer, 600);
        assert_eq!(chunks[..2], [(0, 0..256), (1, 256..512)]);
        assert_eq!(chunks[4], (4, 1_024..1_200));
        assert_eq!(
            chunks[5..7],
            [(1_000, 0..16), (1_001, 16..32)],
            "the second burst starts at the first address, and takes its time"
        );
        assert_eq!(chunks.len(), 5 + 1_200 / 16);
    }

    /// No address waits for another's second form.
    #[test]
    fn announcements_come_in_their_first_form_before_any_second() {
        let mut announcer = Announcer::default();
        announcer.after_claim(Instant::ORIGIN);
        let chunk: Vec<_> = announcer.chunk(Instant::ORIGIN, 3).collect();
        assert_eq!(chunk, [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)]);
    }

    #[test]
    fn announcements_of_no_address_end() {
        let mut announcer = Announcer::default();
        announcer.after_claim(Instant::ORIGIN);
        for _ in AFTER_CLAIM {
            assert_eq!(announcer.chunk(Instant::ORIGIN, 0).count(), 0);
        }
        assert_eq!(announcer.due(), None);
    }

    /// A refresh is one slow burst, and starts nothing over that is under way.
    #[test]
    fn announcements_are_refreshed_in_one_slow_burst() {
        let mut announcer = Announcer::default();
        announcer.refresh(Instant::from_millis(15_000));
        let chunks = run(&mut announcer, 20);
        assert_eq!(
            chunks,
            [(15_000, 0..16), (15_001, 16..32), (15_002, 32..40)]
        );
        announcer.refresh(Instant::from_millis(15_999));
        announcer.after_rival(Instant::from_millis(16_000), 20);
        assert_eq!(announcer.due(), Some(Instant::from_millis(16_000)), "news");
        let before = announcer.clone();
        announcer.refresh(Instant::from_millis(16_000));
        assert_eq!(announcer, before);
        assert_eq!(refresh(1), ms(10_000));
        assert_eq!(refresh(4_000), ms(80_000));
    }

    /// Who must announce at once does so, and nothing of the schedule is lost by that.
    #[test]
    fn announcements_come_early_where_nobody_heard_them() {
        let mut announcer = Announcer::default();
        announcer.after_claim(Instant::ORIGIN);
        for at in [0, 3, 13, 23] {
            let _ = announcer.frames(Instant::from_millis(at), 1);
        }
        announcer.hasten(Instant::from_millis(500), 1);
        let times = run(&mut announcer, 1).into_iter().map(|(at, _)| at);
        assert_eq!(times.collect::<Vec<_>>(), [500, 1_000, 5_000]);
        announcer.hasten(Instant::from_millis(9_000), 1);
        assert_eq!(announcer.due(), Some(Instant::from_millis(9_000)));
    }

    /// What was said before is said again behind the burst that is under way; many addresses are
    /// not announced early again before their time.
    #[test]
    fn announcements_come_early_behind_a_burst_and_not_too_often() {
        let at = Instant::from_millis;
        let mut announcer = Announcer::default();
        announcer.refresh(at(10_000));
        let _ = announcer.frames(at(10_000), FORMS * 20);
        announcer.hasten(at(10_000), 20);
        let chunks = run(&mut announcer, 20);
        let (again, rest) = ((10_002, 0..16), [(10_001, 16..32), (10_002, 32..40)]);
        assert_eq!(chunks[..2], rest);
        assert_eq!(chunks[2], again);
        assert_eq!(chunks.len(), 5);
        announcer.hasten(at(10_399), 20);
        assert_eq!(announcer.due(), None, "20 times 20 ms");
        announcer.hasten(at(10_400), 20);
        assert_eq!(announcer.due(), Some(at(10_400)));
    }

    /// The last burst after a claim comes 5 s later; a rival seen before must not wait for it.
    #[test]
    fn announcements_after_a_rival_do_not_wait_for_a_claims_last_burst() {
        let mut announcer = Announcer::default();
        announcer.after_claim(Instant::ORIGIN);
        while announcer
            .due()
            .is_some_and(|due| due <= Instant::from_millis(1_000))
        {
            let due = announcer.due().unwrap();
            let _ = announcer.frames(due, 1);
        }
        announcer.after_rival(Instant::from_millis(2_000), 1);
        let again: Vec<u64> = run(&mut announcer, 1)
            .into_iter()
            .map(|(at, _)| at)
            .collect();
        assert_eq!(again, [2_000, 3_000]);
        announcer.after_rival(Instant::from_millis(4_000), 1);
        announcer.after_rival(Instant::from_millis(4_001), 1);
        assert_eq!(
            announcer.due(),
            Some(Instant::from_millis(4_000)),
            "not started over"
        );
    }

    /// A rival that speaks behind the first bursts has the last word with every host that heard
    /// it, unless all is said again behind it; however often it speaks, that is paced.
    #[test]
    fn announcements_after_a_rival_follow_what_it_said() {
        let at = Instant::from_millis;
        let mut announcer = Announcer::default();
        announcer.after_claim(Instant::ORIGIN);
        for early in [0, 3, 13, 23] {
            let _ = announcer.frames(at(early), FORMS);
        }
        announcer.after_rival(at(24), 1);
        assert_eq!(announcer.due(), Some(at(24)), "not a second later");
        let _ = announcer.frames(at(24), FORMS);
        for evidence in 25..44 {
            announcer.after_rival(at(evidence), 1);
            assert_eq!(announcer.due(), Some(at(44)), "20 ms for one address");
        }
        let _ = announcer.frames(at(44), FORMS);
        announcer.after_rival(at(45), 100);
        assert_eq!(announcer.due(), Some(at(544)), "half a second for many");
        let times = run(&mut announcer, 1).into_iter().map(|(at, _)| at);
        assert_eq!(times.collect::<Vec<_>>(), [544, 1_000, 5_000]);
    }

    /// Many addresses are not announced again soon, and what a rival said behind the last burst of
    /// a claim is contradicted then, also if it was noticed before that burst.
    #[test]
    fn announcements_after_a_rival_are_not_forgotten_between_two_bursts() {
        let at = Instant::from_millis;
        let mut announcer = Announcer::default();
        announcer.after_claim(Instant::ORIGIN);
        let _ = announcer.frames(at(0), FORMS);
        let _ = announcer.frames(at(3), FORMS);
        announcer.after_rival(at(4), 100);
        let _ = announcer.frames(at(4), FORMS);
        announcer.after_rival(at(10), 100);
        announcer.after_rival(at(30), 100);
        let times = run(&mut announcer, 1).into_iter().map(|(at, _)| at);
        assert_eq!(times.collect::<Vec<_>>(), [13, 23, 504, 1_000, 5_000]);
    }

    /// One that is to come early is no reason to let a rival have its word until then.
    #[test]
    fn announcements_after_a_rival_do_not_wait_for_those_that_come_early() {
        let at = Instant::from_millis;
        let mut announcer = Announcer::default();
        announcer.after_claim(Instant::ORIGIN);
        for early in [0, 3, 13, 23] {
            let _ = announcer.frames(at(early), FORMS);
        }
        announcer.hasten(at(400), 1);
        announcer.after_rival(at(101), 1);
        let times = run(&mut announcer, 1).into_iter().map(|(at, _)| at);
        assert_eq!(times.collect::<Vec<_>>(), [101, 400, 1_000, 5_000]);
    }

    /// Who woke late says nothing again before it has listened; what it claims is said at once, and
    /// nothing is put off twice.
    #[test]
    fn announcements_are_put_off_once() {
        let at = Instant::from_millis;
        let mut announcer = Announcer::default();
        announcer.after_claim(Instant::ORIGIN);
        assert!(!announcer.put_off(at(20)), "the first one never waits");
        let _ = announcer.frames(at(0), FORMS);
        assert!(announcer.put_off(at(70)));
        assert_eq!(announcer.due(), Some(at(70)));
        assert!(!announcer.put_off(at(90)));
        announcer.after_rival(at(50), 1);
        assert_eq!(announcer.due(), Some(at(70)), "one burst more waits too");
        let _ = announcer.frames(at(70), FORMS);
        assert!(announcer.put_off(at(90)));
        announcer.after_rival(at(2_000), 1);
        assert!(announcer.put_off(at(2_020)), "nor does a rival hurry it");
    }

    #[test]
    fn announcements_end_when_the_role_is_gone() {
        let mut announcer = Announcer::default();
        announcer.after_claim(Instant::ORIGIN);
        announcer.stop();
        assert_eq!(announcer.due(), None);
        assert_eq!(announcer.chunk(Instant::ORIGIN, 5).count(), 0);
    }
}
