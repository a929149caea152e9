//! How the command ended: the exit code, on which pipelines stand.
//!
//! The worst of all results counts, in the order of the variants. What was not run has proven
//! nothing and broken nothing: it passes unless `--strict` asks for proof.

use steadfast_scenarios::Verdict;

/// The worst thing that happened, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    /// All as expected.
    Pass,
    /// All that was run is as expected; something was not run.
    NotRun,
    /// Evidence is missing.
    Unknown,
    /// Something is not as expected.
    Fail,
}

impl Ending {
    /// The exit code when the command could not be carried out as given.
    pub(crate) const USAGE: u8 = 3;

    /// The exit code: 0 pass, 1 fail, 2 unknown, and `not run` when that is asked for.
    pub(crate) const fn code(self, strict: bool) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Fail => 1,
            Self::Unknown => 2,
            Self::NotRun => {
                if strict {
                    2
                } else {
                    0
                }
            }
        }
    }
}

impl From<Verdict> for Ending {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Pass => Self::Pass,
            Verdict::Unknown => Self::Unknown,
            Verdict::Fail => Self::Fail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The codes are an interface: whoever changes one breaks other people's pipelines.
    #[test]
    fn ending_codes_are_stable() {
        let all = [Ending::Pass, Ending::NotRun, Ending::Unknown, Ending::Fail];
        assert_eq!(all.map(|ending| ending.code(false)), [0, 0, 2, 1]);
        assert_eq!(all.map(|ending| ending.code(true)), [0, 2, 2, 1]);
        assert_eq!(Ending::USAGE, 3);
    }

    /// One failure among many that passed is a failure, and one unknown never hides it.
    #[test]
    fn ending_worst_counts() {
        let endings = [Verdict::Pass, Verdict::Fail, Verdict::Unknown].map(Ending::from);
        assert_eq!(endings.into_iter().max(), Some(Ending::Fail));
        assert_eq!(
            [Ending::NotRun, Ending::Unknown].into_iter().max(),
            Some(Ending::Unknown)
        );
    }
}
