//! Quantities with units: `"12ms"`, `"3 s"`, `"100 Hz"`, `"5 %"`, `"-90 s"`, `"1 Mbit/s"`.
//!
//! A bare number in a scenario is a question ("300 of what?"), so every quantity is a string with a
//! unit. Decimals are exact: `"0.5ms"` is 500 000 ns, and a value finer than the base unit is
//! refused, never rounded. What is written is the shortest form that reads back the same.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;
use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of events per second, in millihertz; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(pub u64);

impl Rate {
    /// Time from one event to the next, in whole nanoseconds, rounded down.
    pub const fn period(self) -> Duration {
        match 1_000_000_000_000_u64.checked_div(self.0) {
            Some(nanos) => Duration::from_nanos(nanos),
            None => Duration::MAX,
        }
    }
}

/// What a wire carries, in bits per second; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bandwidth(pub u64);

/// A part of a whole, in parts per million; 0 to 1 000 000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(pub u32);

/// A signed duration in nanoseconds: how far a clock is moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shift(pub i64);

/// A duration, at most 584 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

impl Span {
    /// This many milliseconds.
    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// This many seconds.
    pub const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// Nanoseconds, saturating.
    pub fn nanos(self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Units and how many base units each holds, largest first.
type Units = &'static [(&'static str, u64)];

const BANDWIDTH: Units = &[
    ("Gbit/s", 1_000_000_000),
    ("Mbit/s", 1_000_000),
    ("kbit/s", 1_000),
    ("bit/s", 1),
];
const RATE: Units = &[
    ("MHz", 1_000_000_000),
    ("kHz", 1_000_000),
    ("Hz", 1_000),
    ("mHz", 1),
];
const SHARE: Units = &[("%", 10_000), ("‰", 1_000), ("ppm", 1)];
const TIME: Units = &[
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("min", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("µs", 1_000),
    ("ns", 1),
];

impl FromStr for Bandwidth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match parse(text, BANDWIDTH, "a bandwidth", "1 Mbit/s")? {
            0 => Err("a bandwidth must be above zero".to_owned()),
            bits => Ok(Self(bits)),
        }
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match parse(text, RATE, "a rate", "100 Hz")? {
            0 => Err("a rate must be above zero".to_owned()),
            millihertz => Ok(Self(millihertz)),
        }
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match u32::try_from(parse(text, SHARE, "a share", "5 %")?) {
            Ok(ppm) if ppm <= 1_000_000 => Ok(Self(ppm)),
            Ok(_) | Err(_) => Err(format!("`{text}` is more than the whole")),
        }
    }
}

impl FromStr for Shift {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (sign, magnitude) = match text.trim().strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text.trim().trim_start_matches('+')),
        };
        let nanos = parse(magnitude, TIME, "a shift", "-90 s")?;
        i64::try_from(nanos)
            .map(|nanos| Self(sign * nanos))
            .map_err(|_| format!("`{text}` is too far"))
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text, TIME, "a duration", "12ms").map(|nanos| Self(Duration::from_nanos(nanos)))
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0, BANDWIDTH, "bit/s", " ")
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0, RATE, "Hz", " ")
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, u64::from(self.0), SHARE, "%", " ")
    }
}

impl fmt::Display for Shift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 0 {
            f.write_str("-")?;
        }
        write(f, self.0.unsigned_abs(), TIME, "s", "")
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.nanos(), TIME, "s", "")
    }
}

macro_rules! text_form {
    ($name:ident, $what:literal, $pattern:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Text($what)).and_then(|text| {
                    text.parse().map_err(D::Error::custom)
                })
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "description": $what,
                    "pattern": $pattern,
                })
            }
        }
    };
}

text_form!(
    Bandwidth,
    "a bandwidth with its unit, like \"1 Mbit/s\"",
    r"^\$|^[0-9.]+ ?(Gbit/s|Mbit/s|kbit/s|bit/s)$"
);
text_form!(
    Rate,
    "a rate with its unit, like \"100 Hz\"",
    r"^\$|^[0-9.]+ ?(MHz|kHz|Hz|mHz)$"
);
text_form!(
    Share,
    "a share with its unit, like \"5 %\"",
    r"^\$|^[0-9.]+ ?(%|‰|ppm)$"
);
text_form!(
    Shift,
    "a signed duration with its unit, like \"-90 s\"",
    r"^\$|^[-+]?[0-9.]+ ?(d|h|min|s|ms|us|µs|ns)$"
);
text_form!(
    Span,
    "a duration with its unit, like \"12ms\"",
    r"^\$|^[0-9.]+ ?(d|h|min|s|ms|us|µs|ns)$"
);

/// Takes a string and names the quantity wanted when something else is there.
struct Text(&'static str);

impl Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<String, E> {
        Err(E::invalid_type(Unexpected::Signed(number), &self))
    }
}

/// Reads `number unit` exactly, in base units.
fn parse(text: &str, units: Units, what: &str, example: &str) -> Result<u64, String> {
    let trimmed = text.trim();
    let digits = trimmed
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let unit = unit.trim();
    let Some((_, scale)) = units.iter().find(|(name, _)| *name == unit) else {
        let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
        return Err(if unit.is_empty() {
            format!("`{text}` has no unit: {what} is written like `{example}`")
        } else {
            format!(
                "`{unit}` is not a unit of {what}: use one of {}",
                names.join(", ")
            )
        });
    };
    exact(number, *scale)
        .ok_or_else(|| format!("`{text}` is not {what}: it is written like `{example}`"))
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

/// Writes `base` in the largest unit that divides it; zero in `zero`.
fn write(
    f: &mut fmt::Formatter<'_>,
    base: u64,
    units: Units,
    zero: &str,
    gap: &str,
) -> fmt::Result {
    let fitting = units
        .iter()
        .find(|(_, scale)| base != 0 && base.is_multiple_of(*scale));
    match fitting {
        Some((unit, scale)) => write!(f, "{}{gap}{unit}", base / scale),
        None => write!(f, "0{gap}{zero}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Units, blanks and decimals are read exactly: a bound of 0.5 ms must not become 0 or 1 ms.
    #[test]
    fn quantity_is_read_exactly() {
        assert_eq!("12ms".parse(), Ok(Span::millis(12)));
        assert_eq!(" 3 s ".parse(), Ok(Span::secs(3)));
        assert_eq!("0.5ms".parse(), Ok(Span(Duration::from_micros(500))));
        assert_eq!("1.5 min".parse(), Ok(Span::secs(90)));
        assert_eq!("-90 s".parse(), Ok(Shift(-90_000_000_000)));
        assert_eq!("3.3 %".parse(), Ok(Share(33_000)));
        assert_eq!(
            "1 kHz".parse::<Rate>().map(Rate::period),
            Ok(Duration::from_millis(1))
        );
    }

    /// What has no unit, a wrong unit, is too fine or too large is refused with words that help.
    #[test]
    fn quantity_is_refused_with_the_reason() {
        let refusal = |text: &str| text.parse::<Span>().expect_err(text);
        assert!(refusal("12").contains("has no unit"));
        assert!(refusal("12 Hz").contains("`Hz` is not a unit of a duration"));
        assert!(refusal("0.1ns").contains("is not a duration"));
        assert!(refusal("ms").contains("is not a duration"));
        assert!(refusal("1.2.3ms").contains("is not a duration"));
        assert!(refusal("99999999999 d").contains("is not a duration"));
        assert!(refusal("1.00000000000000000001d").contains("is not a duration"));
        assert!("0 Hz".parse::<Rate>().is_err());
        assert!("101 %".parse::<Share>().is_err());
    }

    proptest! {
        /// What is written reads back the same, for every value.
        #[test]
        fn quantity_round_trip(nanos: u64, shift in (i64::MIN + 1)..i64::MAX,
                               ppm in 0..=1_000_000_u32, millihertz in 1..u64::MAX) {
            let span = Span(Duration::from_nanos(nanos));
            prop_assert_eq!(span.to_string().parse(), Ok(span));
            prop_assert_eq!(Shift(shift).to_string().parse(), Ok(Shift(shift)));
            prop_assert_eq!(Share(ppm).to_string().parse(), Ok(Share(ppm)));
            prop_assert_eq!(Rate(millihertz).to_string().parse(), Ok(Rate(millihertz)));
        }

        /// No text makes the reader panic, and what it accepts has a unit.
        #[test]
        fn quantity_any_text_is_answered(text in ".{0,20}") {
            if text.parse::<Span>().is_ok() {
                prop_assert!(text.trim_end().ends_with(['d', 'h', 'n', 's']));
            }
        }
    }
}
