//! How far a long campaign is: a bar on a terminal, a plain line now and then elsewhere.
//!
//! It goes to the error stream, so that what is printed as result stays clean and equal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a plain line is written.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// How the bar looks: time, bar, count, time left, failures.
const BAR: &str = "{elapsed_precise} {bar:40} {pos} of {len} runs, {eta} left, {msg}";

/// Follows a campaign.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    total: u64,
    done: u64,
    failed: u64,
    started: Instant,
    told: Instant,
}

impl Progress {
    /// At the start of so many runs; looks whether the error stream is a terminal.
    pub(crate) fn start(total: u64) -> Self {
        let bar = io::stderr().is_terminal().then(|| bar(total));
        Self::new(total, bar)
    }

    fn new(total: u64, bar: Option<ProgressBar>) -> Self {
        let now = Instant::now();
        Self {
            bar,
            total,
            done: 0,
            failed: 0,
            started: now,
            told: now,
        }
    }

    /// One more run is done.
    pub(crate) fn advance(&mut self, failed: bool, err: &mut dyn Write) -> io::Result<()> {
        self.done += 1;
        self.failed += u64::from(failed);
        if let Some(bar) = &self.bar {
            if failed || self.done == 1 {
                bar.set_message(format!("{} failed", self.failed));
            }
            bar.inc(1);
            return Ok(());
        }
        if self.told.elapsed() < LINE_EVERY {
            return Ok(());
        }
        self.told = Instant::now();
        writeln!(err, "{}", self.line(self.started.elapsed()))
    }

    /// Takes the bar away.
    pub(crate) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }

    fn line(&self, elapsed: Duration) -> String {
        let (done, total, failed) = (self.done, self.total, self.failed);
        format!(
            "{done} of {total} runs, {failed} failed, {} s",
            elapsed.as_secs()
        )
    }
}

fn bar(total: u64) -> ProgressBar {
    // The template is a constant; were it wrong, indicatif's own look serves as well.
    let style = ProgressStyle::with_template(BAR);
    ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a log, five seconds of silence are told by one line, and a quick campaign by none.
    #[test]
    fn progress_plain_line_comes_when_due() {
        let mut progress = Progress::new(10, None);
        let mut err = Vec::new();
        progress.advance(false, &mut err).unwrap();
        assert_eq!(err, b"");
        progress.told = progress.told.checked_sub(LINE_EVERY).unwrap();
        progress.advance(true, &mut err).unwrap();
        progress.advance(true, &mut err).unwrap();
        let text = String::from_utf8(err).unwrap();
        assert!(text.starts_with("2 of 10 runs, 1 failed, "), "{text}");
        assert_eq!(text.lines().count(), 1);
        assert_eq!(
            progress.line(Duration::from_secs(7)),
            "3 of 10 runs, 2 failed, 7 s"
        );
    }

    /// A template that indicatif does not understand would silently look like its default.
    #[test]
    fn progress_bar_template_is_understood() {
        assert!(ProgressStyle::with_template(BAR).is_ok());
    }
}
