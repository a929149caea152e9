//! Durations with units, as an operator writes them: `"100ms"`, `"10s"`, `"3.3ms"`.
//!
//! A bare number is a question ("300 of what?"), so a duration is a string with a unit. Decimals
//! are exact: `"3.3ms"` is 3 300 000 ns, and what is finer than a nanosecond is refused, never
//! rounded. What is written is the shortest form that reads back the same.

use std::time::Duration;

/// Units and how many nanoseconds each holds, largest first.
const UNITS: [(&str, u64); 7] = [
    ("h", 3_600_000_000_000),
    ("min", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("µs", 1_000),
    ("ns", 1),
];

/// Reads a duration.
///
/// # Errors
/// What is wrong, and how a duration is written.
pub fn parse(text: &str) -> Result<Duration, String> {
    let trimmed = text.trim();
    let digits = trimmed
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let unit = unit.trim();
    let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(if unit.is_empty() {
            format!("`{text}` has no unit")
        } else {
            format!("`{unit}` is not a unit of time")
        });
    };
    exact(number, *scale)
        .map(Duration::from_nanos)
        .ok_or_else(|| format!("`{text}` is not a duration"))
}

/// Writes a duration in the largest unit that keeps it whole.
pub fn show(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let whole = |(_, scale): &&(&str, u64)| nanos.is_multiple_of(u128::from(*scale));
    match UNITS.iter().find(whole) {
        Some((unit, scale)) if nanos > 0 => format!("{}{unit}", nanos / u128::from(*scale)),
        Some(_) | None => "0s".to_owned(),
    }
}

/// `number` times `scale`, if that is a whole number that fits.
fn exact(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().ok()?;
    let mut base = whole.checked_mul(scale)?;
    let mut place = scale;
    for digit in fraction.chars() {
        let digit = u64::from(digit.to_digit(10)?);
        place = if place.is_multiple_of(10) {
            place / 10
        } else {
            0
        };
        if digit != 0 && place == 0 {
            return None;
        }
        base = base.checked_add(digit.checked_mul(place)?)?;
    }
    Some(base)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decimals are exact: 3.3 ms is the shortest interval and must not become 3 ms.
    #[test]
    fn quantity_is_read_exactly() {
        assert_eq!(parse("3.3ms"), Ok(Duration::from_micros(3_300)));
        assert_eq!(parse(" 10 s "), Ok(Duration::from_secs(10)));
        assert_eq!(parse("1.5min"), Ok(Duration::from_secs(90)));
        assert_eq!(show(Duration::from_millis(100)), "100ms");
        assert_eq!(show(Duration::ZERO), "0s");
    }

    /// No unit, a foreign unit, too fine, too large: each is refused for its own reason.
    #[test]
    fn quantity_is_refused_with_the_reason() {
        assert_eq!(parse("100"), Err("`100` has no unit".to_owned()));
        assert_eq!(parse("1 Hz"), Err("`Hz` is not a unit of time".to_owned()));
        assert_eq!(parse("0.1ns"), Err("`0.1ns` is not a duration".to_owned()));
        assert!(parse("99999999999h").is_err());
        assert!(parse("").is_err());
    }

    proptest! {
        /// What is written reads back the same, for every value.
        #[test]
        fn quantity_round_trip(nanos: u64) {
            let span = Duration::from_nanos(nanos);
            prop_assert_eq!(parse(&show(span)), Ok(span));
        }

        /// No text makes the reader panic.
        #[test]
        fn quantity_any_text_is_answered(text in ".{0,20}") {
            let _ = parse(&text);
        }
    }
}
