//! The one source of chance in scenarios: SplitMix64, named streams from one seed.
//!
//! A run is a function of its scenario and its seed, so the generator must give the same numbers
//! on every platform and in every release. SplitMix64 (Steele, Lea, Flood: "Fast splittable
//! pseudorandom number generators", 2014) is eight lines and is written down here for good. Each
//! use draws from a stream of its own name, so that a new parameter does not move the others.
//! Limit: it is for simulation only; nothing secret may ever come from it.

/// A stream of numbers that depends on nothing but its seed and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The stream called `name` of `seed`; streams of different names are independent.
    pub fn new(seed: u64, name: &str) -> Self {
        let mut random = Self {
            state: seed ^ fnv1a(name),
        };
        // One step parts the streams of neighbouring seeds.
        random.state = random.draw();
        random
    }

    /// The next number, any of 2^64.
    pub const fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` to `high`, both included; `low` when the range is empty.
    ///
    /// By multiplication and shift: the bias is below range / 2^64.
    pub const fn between(&mut self, low: u64, high: u64) -> u64 {
        if high <= low {
            return low;
        }
        let width = (high - low) as u128 + 1;
        low + ((self.draw() as u128 * width) >> 64) as u64
    }
}

/// FNV-1a, 64 bit: parts streams by name.
const fn fnv1a(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut index = 0;
    while index < bytes.len() {
        hash = (hash ^ bytes[index] as u64).wrapping_mul(0x0100_0000_01b3);
        index += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of the reference implementation with state 1234567: a changed generator
    /// would change the meaning of every recorded seed.
    #[test]
    fn random_reference_vector() {
        let mut random = Random { state: 1_234_567 };
        let drawn: Vec<u64> = (0..3).map(|_| random.draw()).collect();
        assert_eq!(
            drawn,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    /// Both ends of a range are reached and nothing beyond: a swarm's extremes are where bugs live.
    #[test]
    fn random_range_ends_are_reached() {
        let mut random = Random::new(1, "range");
        let drawn: Vec<u64> = (0..200).map(|_| random.between(5, 8)).collect();
        for value in 5..=8 {
            assert!(drawn.contains(&value), "{value} was never drawn");
        }
        assert!(drawn.iter().all(|value| (5..=8).contains(value)));
        assert_eq!(random.between(7, 7), 7);
        assert_eq!(random.between(9, 7), 9);
    }

    /// Another name or another seed gives other numbers, the same gives the same.
    #[test]
    fn random_streams_are_parted_by_name_and_seed() {
        assert_eq!(Random::new(3, "x").draw(), Random::new(3, "x").draw());
        assert_ne!(Random::new(3, "x").draw(), Random::new(3, "y").draw());
        assert_ne!(Random::new(3, "x").draw(), Random::new(4, "x").draw());
    }
}
