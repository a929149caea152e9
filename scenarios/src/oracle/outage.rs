//! How long a stream of probes was interrupted, and how many were lost.
//!
//! An interruption begins when the next probe after the last received one should have arrived, and
//! ends with the next arrival: its length is the gap between two arrivals less the time between the
//! sending of the first and of the probe after it. So the sending rate may change on the way, and
//! queueing counts as well as loss. Only the part inside the window counts. A stream that ends
//! interrupted is interrupted until the end.
//!
//! A probe is lost when it never arrives; those sent less than [`FLIGHT`] before the end are not
//! counted. Armed once a probe was sent in the window and any arrived. Limit: the start of an
//! interruption is known to one sending period, so traffic should be dense around faults.

use core::time::Duration;
use std::collections::BTreeMap;

use steadfast_core::Instant;

use super::{Oracle, Report, Scene, Tally};
use crate::ids::StreamId;
use crate::trace::{Event, EventKind};

/// Probes younger than this at the end may still be on their way.
pub const FLIGHT: Duration = Duration::from_millis(100);
/// Most probes waited for; the oldest beyond it is counted as lost at once.
pub const OUTSTANDING_MAX: usize = 1 << 20;

/// Watches one stream.
#[derive(Clone, Debug)]
pub struct Outage {
    stream: StreamId,
    max: Duration,
    lost_max: Option<u32>,
    /// Sending times of probes that have not arrived.
    outstanding: BTreeMap<u32, Instant>,
    first_sent: Option<Instant>,
    latest: Option<Arrival>,
    sent_count: u64,
    lost_early: u64,
    longest: Duration,
    longest_at: Instant,
    tally: Tally,
}

/// The arrival with the highest number so far.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    seq: u32,
    sent_at: Instant,
    at: Instant,
}

impl Outage {
    /// Interrupted for at most `max`, at most `lost_max` probes lost.
    pub const fn new(stream: StreamId, max: Duration, lost_max: Option<u32>) -> Self {
        Self {
            stream,
            max,
            lost_max,
            outstanding: BTreeMap::new(),
            first_sent: None,
            latest: None,
            sent_count: 0,
            lost_early: 0,
            longest: Duration::ZERO,
            longest_at: Instant::ORIGIN,
            tally: Tally::new(),
        }
    }

    fn sent(&mut self, at: Instant, seq: u32, scene: &Scene<'_>) {
        self.first_sent.get_or_insert(at);
        if scene.window.contains(at) {
            self.sent_count += 1;
        }
        self.outstanding.insert(seq, at);
        if self.outstanding.len() > OUTSTANDING_MAX
            && let Some((_, sent_at)) = self.outstanding.pop_first()
            && scene.window.contains(sent_at)
        {
            self.lost_early += 1;
        }
    }

    fn received(&mut self, arrival: Arrival, scene: &Scene<'_>) {
        let due = self.due();
        self.outstanding.remove(&arrival.seq);
        if self.latest.is_some_and(|latest| arrival.seq <= latest.seq) {
            return;
        }
        let due = match self.latest {
            // The first arrival shows how long probes travel; that much is no interruption.
            None => due.map(|sent| sent.after(arrival.at.since(arrival.sent_at))),
            Some(_) => due,
        };
        if let Some(due) = due {
            self.interrupted(due, arrival.at, scene);
        }
        self.latest = Some(arrival);
    }

    /// When the probe after the latest arrival should have arrived, if it was sent; when the first
    /// was sent, if none arrived.
    fn due(&self) -> Option<Instant> {
        let Some(latest) = self.latest else {
            return self.first_sent;
        };
        let sent_at = self.outstanding.get(&latest.seq.checked_add(1)?)?;
        Some(latest.at.after(sent_at.since(latest.sent_at)))
    }

    fn interrupted(&mut self, from: Instant, to: Instant, scene: &Scene<'_>) {
        let Some((from, to)) = scene.window.clip(from, to) else {
            return;
        };
        let length = to.since(from);
        if length > self.longest {
            self.longest = length;
            self.longest_at = from;
        }
        if length > self.max {
            let name = scene.picture.names().stream(self.stream);
            let (length, max) = (millis(length), millis(self.max));
            self.tally.wrong(from, to, || {
                format!("{name} was interrupted for {length} ms, allowed are {max} ms")
            });
        }
    }
}

impl Oracle for Outage {
    fn observe(&mut self, event: &Event, scene: &Scene<'_>) {
        if let EventKind::ProbeSent { stream, seq } = event.kind
            && stream == self.stream
        {
            self.sent(event.at, seq, scene);
        }
        if let EventKind::ProbeReceived {
            stream,
            seq,
            sent_at,
            ..
        } = event.kind
            && stream == self.stream
        {
            self.received(
                Arrival {
                    seq,
                    sent_at,
                    at: event.at,
                },
                scene,
            );
        }
    }

    fn finish(&mut self, end: Instant, scene: &Scene<'_>) -> Report {
        if let Some(due) = self.due() {
            self.interrupted(due, end, scene);
        }
        let lost =
            |sent_at: &&Instant| scene.window.contains(**sent_at) && sent_at.after(FLIGHT) <= end;
        let first_lost = self.outstanding.values().find(lost).copied();
        let lost_count = self.outstanding.values().filter(lost).count() as u64 + self.lost_early;
        if self.sent_count > 0 && self.latest.is_some() {
            self.tally.arm();
        }
        if let Some(max) = self.lost_max.filter(|max| lost_count > u64::from(*max)) {
            // Beside an interruption it is a violation of its own, without length.
            let at = first_lost
                .filter(|_| self.longest <= self.max)
                .unwrap_or(end);
            let name = scene.picture.names().stream(self.stream);
            let text = || format!("{name} lost {lost_count} probes, allowed are {max}");
            self.tally.wrong(at, at, text);
        }
        self.tally.report(format!(
            "longest interruption {} ms at {}; {lost_count} of {} probes lost",
            millis(self.longest),
            self.longest_at,
            self.sent_count,
        ))
    }
}

/// Milliseconds with three decimals, by whole numbers.
fn millis(span: Duration) -> String {
    let micros = span.as_micros();
    format!("{}.{:03}", micros / 1000, micros % 1000)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{A, Tape};
    use super::super::{Finding, Verdict};

    const AFTER_CUT: &str =
        "oracle = \"outage\"\nscope = \"out\"\nafter = \"cut\"\nmax = \"12ms\"\nlost_max = 12";

    fn judged(tape: &Tape) -> Finding {
        tape.finding("outage", AFTER_CUT)
    }

    /// Eleven of a thousand probes a second are lost: an interruption of 11 ms.
    #[test]
    fn outage_short_passes() {
        let mut tape = Tape::running(A);
        tape.probes(500..1000, 0).at(1000).step("cut");
        tape.lost(1000..1011);
        tape.probes(1011..2000, 0);
        let finding = judged(&tape);
        assert_eq!((finding.verdict, finding.armed), (Verdict::Pass, true));
        assert!(
            finding.evidence.contains("interruption 11.000 ms"),
            "{}",
            finding.evidence
        );
        assert!(
            finding.evidence.contains("11 of 1000 probes lost"),
            "{}",
            finding.evidence
        );
    }

    /// Thirteen lost are too long and too many.
    #[test]
    fn outage_long_fails() {
        let mut tape = Tape::running(A);
        tape.probes(500..1000, 0).at(1000).step("cut");
        tape.lost(1000..1013);
        tape.probes(1013..2000, 0);
        let finding = judged(&tape);
        assert_eq!(finding.verdict, Verdict::Fail);
        let violation = finding.first_violation.unwrap();
        assert!(
            violation.text.contains("13.000 ms, allowed are 12.000 ms"),
            "{}",
            violation.text
        );
        assert_eq!(finding.violation_count, 2, "too long, and too many lost");
    }

    /// Probes that arrive late interrupt as much as lost ones, though none is lost.
    #[test]
    fn outage_by_queueing_fails() {
        let mut tape = Tape::running(A);
        tape.probes(500..1000, 0).at(1000).step("cut");
        tape.probes(1000..1001, 20).probes(1021..1100, 0);
        let finding = judged(&tape);
        assert_eq!(finding.verdict, Verdict::Fail);
        assert!(
            finding.evidence.contains("20.000 ms"),
            "{}",
            finding.evidence
        );
    }

    /// Probes that all travel long are not interrupted, at the beginning neither.
    #[test]
    fn outage_constant_delay_passes() {
        let mut tape = Tape::running(A);
        tape.probes(500..2900, 20);
        let finding = tape.finding(
            "outage",
            "oracle = \"outage\"\nscope = \"out\"\nmax = \"1ms\"",
        );
        assert_eq!(finding.verdict, Verdict::Pass, "{}", finding.evidence);
        assert!(finding.armed);
    }

    /// A stream that never comes back is interrupted to the end.
    #[test]
    fn outage_to_the_end_fails() {
        let mut tape = Tape::running(A);
        tape.probes(500..1000, 0).at(1000).step("cut");
        tape.lost(1000..1500);
        assert_eq!(judged(&tape).verdict, Verdict::Fail);
    }

    /// What happened before the window is not its matter; a change of rate is no interruption.
    #[test]
    fn outage_outside_or_slower_passes() {
        let mut tape = Tape::running(A);
        tape.probes(0..100, 0).lost(100..900);
        tape.probes(900..1000, 0).at(1000).step("cut");
        tape.probes_every(1000..1500, 50);
        let finding = judged(&tape);
        assert_eq!(finding.verdict, Verdict::Pass, "{}", finding.evidence);
    }

    /// Without probes nothing was measured.
    #[test]
    fn outage_without_probes_is_unknown() {
        let mut tape = Tape::running(A);
        tape.at(1000).step("cut");
        let finding = judged(&tape);
        assert_eq!((finding.verdict, finding.armed), (Verdict::Unknown, false));
    }

    /// Copies and overtaken probes are neither losses nor interruptions.
    #[test]
    fn outage_reordered_and_doubled_passes() {
        let mut tape = Tape::running(A);
        tape.at(1000).step("cut");
        tape.sent(1000, 0).sent(1001, 1).sent(1002, 2).sent(1003, 3);
        tape.arrived(1002, 1, 1001)
            .arrived(1003, 0, 1000)
            .arrived(1003, 2, 1002);
        tape.arrived(1003, 2, 1002).arrived(1004, 3, 1003);
        let finding = judged(&tape);
        assert_eq!(finding.verdict, Verdict::Pass, "{}", finding.evidence);
        assert!(
            finding.evidence.contains("0 of 4 probes lost"),
            "{}",
            finding.evidence
        );
    }
}
