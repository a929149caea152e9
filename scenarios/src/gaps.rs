//! The figure people ask for first: how long through traffic was interrupted.

use core::time::Duration;

use steadfast_core::Instant;

use crate::trace::{Event, EventKind};

/// The longest gap of the first stream after the first step in which a probe was lost: the figure
/// people ask for first.
#[derive(Debug, Default)]
pub struct Gaps {
    since: Option<Instant>,
    /// When the last probe arrived, and its number.
    last: Option<(Instant, u32)>,
    /// The number of the last probe sent.
    sent: u32,
    longest: Duration,
}

impl Gaps {
    /// Takes the next event.
    pub fn observe(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Step { .. } => {
                self.since.get_or_insert(event.at);
            }
            EventKind::ProbeReceived { stream, seq, .. } if stream.0 == 0 => {
                if let (Some((last, known)), Some(_)) = (self.last, self.since)
                    && *seq > known + 1
                {
                    self.longest = self.longest.max(event.at.since(last));
                }
                self.last = Some((event.at, *seq));
            }
            EventKind::ProbeSent { stream, seq } if stream.0 == 0 => self.sent = *seq,
            _ => {}
        }
    }

    /// The longest gap of a run that ended then; none if no step ran.
    pub fn longest(&self, end: Instant) -> Option<Duration> {
        self.since?;
        let open = match self.last {
            Some((last, known)) if self.sent > known + 1 => end.since(last),
            Some(_) | None => Duration::ZERO,
        };
        Some(self.longest.max(open))
    }
}
