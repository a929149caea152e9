//! How numbers and commands are written for people.
//!
//! By whole numbers only, so the same value is the same text on every machine.

use std::time::Duration;

use steadfast_scenarios::Verdict;

use crate::cli::World;

/// Letters of a trace hash that people are shown; the files hold all of it.
const HASH_SHOWN: usize = 16;

/// Milliseconds with one decimal; `-` when nothing was measured. Rounds up, so that what was over a
/// bound never looks as if it had been within.
pub(crate) fn outage(span: Option<Duration>) -> String {
    let Some(span) = span else {
        return "-".to_owned();
    };
    let tenths = span.as_nanos().div_ceil(100_000);
    format!("{}.{} ms", tenths / 10, tenths % 10)
}

/// Seconds with three decimals, for JSON.
pub(crate) fn seconds(span: Duration) -> f64 {
    thousandths(span.as_millis())
}

/// Milliseconds with three decimals, for JSON.
pub(crate) fn milliseconds(span: Duration) -> f64 {
    thousandths(span.as_micros())
}

/// The first letters of a trace hash.
pub(crate) fn short_hash(hash: &str) -> &str {
    hash.get(..HASH_SHOWN).unwrap_or(hash)
}

/// `pass`, `FAIL` or `unknown`, as wide as `as theory says` is not: seven letters.
pub(crate) const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Unknown => "unknown",
        Verdict::Fail => "FAIL",
    }
}

/// The one command that repeats a run.
pub(crate) fn repeat(what: &str, world: World, seed: u64) -> String {
    format!(
        "steadfast run {} --world {} --seed {seed}",
        quoted(what),
        world.name()
    )
}

/// `1 run`, `2 runs`.
pub(crate) fn counted(count: u64, one: &str) -> String {
    if count == 1 {
        format!("1 {one}")
    } else {
        format!("{count} {one}s")
    }
}

/// A word for a POSIX shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./+:@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn thousandths(count: u128) -> f64 {
    count as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 12.01 ms is over a bound of 12 ms and must not be printed as 12.0 ms.
    #[test]
    fn words_outage_rounds_up() {
        assert_eq!(outage(None), "-");
        assert_eq!(outage(Some(Duration::ZERO)), "0.0 ms");
        assert_eq!(outage(Some(Duration::from_micros(12_000))), "12.0 ms");
        assert_eq!(outage(Some(Duration::from_micros(12_010))), "12.1 ms");
    }

    /// The command must survive being pasted into a shell, whatever the file is called.
    #[test]
    fn words_repeat_command_is_quoted() {
        let command = |what| repeat(what, World::Fast, 7);
        let plain = "steadfast run active-loses-power --world fast --seed 7";
        assert_eq!(command("active-loses-power"), plain);
        assert_eq!(
            command("/a b/it's.toml"),
            r"steadfast run '/a b/it'\''s.toml' --world fast --seed 7"
        );
    }

    /// Thousandths are kept, and nothing beyond them.
    #[test]
    fn words_json_numbers_have_three_decimals() {
        assert_eq!(
            seconds(Duration::from_micros(1_234_567)).to_string(),
            "1.234"
        );
        assert_eq!(
            milliseconds(Duration::from_nanos(11_000_999)).to_string(),
            "11"
        );
    }
}
