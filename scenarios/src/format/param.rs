//! Parameters: values a seed may draw.
//!
//! `limit = "12ms"` is a name for a value. `at = { default = "3s", swarm = ["2s", "4s"] }` is drawn
//! uniformly between both ends, included; `{ default = 1, among = [1, 3, 5] }` from the list. Seed
//! 0 takes the default. Each parameter has its own stream ([`Random`]), so adding one moves no
//! other. Times are drawn in whole microseconds where both ends are.

use serde::{Deserialize, Serialize};
use toml::Value;

use super::{Bandwidth, Rate, Share, Span};
use crate::random::Random;

/// A parameter of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Param {
    /// What seed 0 takes.
    #[schemars(with = "serde_json::Value")]
    pub default: Value,
    /// Lowest and highest value drawn: two integers, or two quantities of one kind.
    #[serde(default)]
    #[schemars(with = "Option<[serde_json::Value; 2]>")]
    pub swarm: Option<[Value; 2]>,
    /// The values drawn from, instead of a range.
    #[serde(default)]
    #[schemars(with = "Vec<serde_json::Value>")]
    pub among: Vec<Value>,
}

impl Param {
    /// A parameter that is always this.
    pub(super) const fn fixed(default: Value) -> Self {
        Self {
            default,
            swarm: None,
            among: Vec::new(),
        }
    }

    /// What `seed` makes of the parameter called `name`; says what is wrong with it.
    pub(super) fn draw(&self, name: &str, seed: u64) -> Result<Value, String> {
        if self.swarm.is_some() && !self.among.is_empty() {
            return Err(format!("parameter `{name}` has both `swarm` and `among`"));
        }
        let mut random = Random::new(seed, name);
        if let Some([low, high]) = &self.swarm {
            let drawn = between(low, high, &mut random).ok_or_else(|| {
                format!("`swarm` of `{name}` is no range of numbers or quantities")
            })?;
            return Ok(if seed == 0 {
                self.default.clone()
            } else {
                drawn
            });
        }
        let last = match self.among.len() {
            0 => return Ok(self.default.clone()),
            count => count as u64 - 1,
        };
        let drawn = usize::try_from(random.between(0, last)).ok();
        let chosen = drawn
            .filter(|_| seed != 0)
            .and_then(|index| self.among.get(index));
        Ok(chosen.unwrap_or(&self.default).clone())
    }

    /// Every value that should be tried before any is drawn: the default, the ends, the list.
    pub(super) fn extremes(&self) -> impl Iterator<Item = &Value> {
        let ends = self.swarm.iter().flatten();
        core::iter::once(&self.default)
            .chain(ends)
            .chain(&self.among)
    }
}

fn between(low: &Value, high: &Value, random: &mut Random) -> Option<Value> {
    if let (Some(low), Some(high)) = (low.as_integer(), high.as_integer()) {
        let width = u64::try_from(high.checked_sub(low)?).ok()?;
        let step = i64::try_from(random.between(0, width)).ok()?;
        return Some(Value::Integer(low + step));
    }
    let (low, high) = (low.as_str()?, high.as_str()?);
    if let (Ok(low), Ok(high)) = (low.parse::<Span>(), high.parse::<Span>()) {
        let (low, high) = (low.nanos(), high.nanos());
        let grain = if low % 1000 == 0 && high % 1000 == 0 {
            1000
        } else {
            1
        };
        let drawn = ordered(low / grain, high / grain, random)? * grain;
        return Some(
            Span(core::time::Duration::from_nanos(drawn))
                .to_string()
                .into(),
        );
    }
    if let (Ok(low), Ok(high)) = (low.parse::<Rate>(), high.parse::<Rate>()) {
        return Some(Rate(ordered(low.0, high.0, random)?).to_string().into());
    }
    if let (Ok(low), Ok(high)) = (low.parse::<Bandwidth>(), high.parse::<Bandwidth>()) {
        return Some(
            Bandwidth(ordered(low.0, high.0, random)?)
                .to_string()
                .into(),
        );
    }
    let (low, high) = (low.parse::<Share>().ok()?, high.parse::<Share>().ok()?);
    let drawn = ordered(u64::from(low.0), u64::from(high.0), random)?;
    Some(Share(u32::try_from(drawn).ok()?).to_string().into())
}

fn ordered(low: u64, high: u64, random: &mut Random) -> Option<u64> {
    (low <= high).then(|| random.between(low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn swarm(low: &str, high: &str) -> Param {
        let swarm = Some([low.into(), high.into()]);
        Param {
            swarm,
            ..Param::fixed("3s".into())
        }
    }

    /// Seed 0 is the story as told; other seeds stay inside the range and differ.
    #[test]
    fn param_seed_zero_takes_the_default_others_draw() {
        let param = swarm("2s", "4s");
        assert_eq!(param.draw("at", 0), Ok("3s".into()));
        let drawn: Vec<Span> = (1..100)
            .map(|seed| {
                param
                    .draw("at", seed)
                    .unwrap()
                    .as_str()
                    .unwrap()
                    .parse()
                    .unwrap()
            })
            .collect();
        assert!(
            drawn
                .iter()
                .all(|span| (Span::secs(2)..=Span::secs(4)).contains(span))
        );
        assert!(drawn.iter().any(|span| *span != drawn[0]));
    }

    /// A list is drawn from, whatever its values are.
    #[test]
    fn param_among_draws_from_the_list() {
        let among = vec![Value::Integer(1), Value::Integer(5)];
        let param = Param {
            among,
            ..Param::fixed(Value::Integer(9))
        };
        assert_eq!(param.draw("n", 0), Ok(Value::Integer(9)));
        for seed in 1..50 {
            let drawn = param.draw("n", seed).unwrap().as_integer();
            assert!(drawn == Some(1) || drawn == Some(5));
        }
    }

    /// A range that is none is a mistake even for seed 0: it must not wait for a sweep.
    #[test]
    fn param_bad_range_is_refused_at_once() {
        assert!(swarm("4s", "2s").draw("at", 0).is_err());
        assert!(swarm("2s", "4 Hz").draw("at", 0).is_err());
        assert!(swarm("x", "y").draw("at", 0).is_err());
    }
}
