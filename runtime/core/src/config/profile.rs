//! Product profiles: timers, limits and policies of five gateways, as their makers document them.
//!
//! Who replaces one of these products wants its behaviour first and ours later. A profile is where
//! a configuration starts from: what a file writes itself still counts, as long as the product
//! offers it (`refuses_*`). What a product's documents leave open follows the house: an interval of
//! one second, a dead interval of three of them. All of them detect by the dead interval alone.
//!
//! A profile sets numbers and choices, and takes no rule away: whoever claims still asks the peer's
//! kernel first (D8), the lease still fences a dead daemon (D9), the role still moves by consent
//! (D10). So a cluster with a profile is as slow as the product, and safer; `docs/profiles.md`
//! lists what differs. Sources: R2.1, R3.2, R3.3, R12.1.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::{AllPacified, Detection, Isolation, OnFailure, Policy, Preempt, Timing};

/// What a product documents no heartbeat interval for.
const INTERVAL: Duration = Duration::from_secs(1);
/// LoadMaster: what its HA time-out can be set to.
const KEMP_DEAD: [Duration; 5] = [
    Duration::from_secs(3),
    Duration::from_secs(6),
    Duration::from_secs(9),
    Duration::from_secs(12),
    Duration::from_secs(15),
];
/// Where it stands unless set.
const KEMP_DEAD_USUAL: Duration = Duration::from_secs(9);
/// FortiMail: the heartbeat lost threshold of its guide's examples.
const FORTIMAIL_DEAD: Duration = Duration::from_secs(15);

/// A product whose documented behaviour a cluster takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// FortiMail, active-passive.
    Fortimail,
    /// KEMP LoadMaster, a pair.
    Kemp,
    /// Kerio Control, active/passive.
    Kerio,
    /// Check Point Safe@Office, two or more gateways.
    SafeAtOffice,
    /// Seqrite UTM, active-passive.
    Seqrite,
}

/// A time that a product cannot be set to, and what it offers instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is fixed.
    Fixed(Duration),
    /// One of these.
    OneOf(&'static [Duration]),
    /// Whole seconds, at least one.
    WholeSeconds,
}

impl Profile {
    /// All, in the order of their names.
    pub const ALL: [Self; 5] = [
        Self::Fortimail,
        Self::Kemp,
        Self::Kerio,
        Self::SafeAtOffice,
        Self::Seqrite,
    ];

    /// What a configuration calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fortimail => "fortimail",
            Self::Kemp => "kemp",
            Self::Kerio => "kerio",
            Self::SafeAtOffice => "safe-at-office",
            Self::Seqrite => "seqrite",
        }
    }

    /// What its maker calls it.
    pub const fn product(self) -> &'static str {
        match self {
            Self::Fortimail => "FortiMail",
            Self::Kemp => "KEMP LoadMaster",
            Self::Kerio => "Kerio Control",
            Self::SafeAtOffice => "Check Point Safe@Office",
            Self::Seqrite => "Seqrite UTM",
        }
    }

    /// Between two advertisements, unless set.
    pub const fn interval(self) -> Duration {
        INTERVAL
    }

    /// Its times, with this interval between advertisements.
    pub fn timing(self, interval: Duration) -> Timing {
        let three = interval.saturating_mul(3);
        let house = Timing::default();
        Timing {
            interval,
            dead_interval: match self {
                Self::Kemp => KEMP_DEAD_USUAL,
                Self::Fortimail => FORTIMAIL_DEAD,
                Self::Kerio | Self::SafeAtOffice | Self::Seqrite => three,
            },
            lease: three,
            // Whose priority is highest becomes the active one as soon as it is back.
            preempt_delay: match self {
                Self::SafeAtOffice => Duration::ZERO,
                Self::Fortimail | Self::Kemp | Self::Kerio | Self::Seqrite => house.preempt_delay,
            },
            hold_down: match self {
                Self::SafeAtOffice => Duration::ZERO,
                Self::Fortimail | Self::Kemp | Self::Kerio | Self::Seqrite => house.hold_down,
            },
            ..house
        }
    }

    /// Its choices; what this node is meant to be stays open.
    pub fn policy(self) -> Policy {
        Policy {
            preempt: match self {
                Self::Kemp | Self::Kerio => Preempt::Prefer,
                Self::SafeAtOffice => Preempt::Priority,
                Self::Fortimail | Self::Seqrite => Preempt::Never,
            },
            on_failure: OnFailure::Standby,
            isolation: Isolation::Serve,
            detection: Detection::DeadInterval,
            all_pacified: match self {
                Self::Kemp => AllPacified::Never,
                Self::Fortimail | Self::Kerio | Self::SafeAtOffice | Self::Seqrite => {
                    AllPacified::Serve
                }
            },
            ..Policy::default()
        }
    }

    /// Why the product cannot be set to this interval, if it cannot.
    pub const fn refuses_interval(self, interval: Duration) -> Option<Refused> {
        let whole = is_whole_seconds(interval);
        match self {
            Self::Kemp if !whole || interval.as_secs() != INTERVAL.as_secs() => {
                Some(Refused::Fixed(INTERVAL))
            }
            Self::Seqrite | Self::Kerio if !whole => Some(Refused::WholeSeconds),
            Self::Fortimail | Self::Kemp | Self::Kerio | Self::SafeAtOffice | Self::Seqrite => None,
        }
    }

    /// Why the product cannot be set to this dead interval, if it cannot.
    pub fn refuses_dead_interval(self, dead_interval: Duration) -> Option<Refused> {
        match self {
            Self::Kemp if !KEMP_DEAD.contains(&dead_interval) => Some(Refused::OneOf(&KEMP_DEAD)),
            Self::Fortimail if !is_whole_seconds(dead_interval) => Some(Refused::WholeSeconds),
            Self::Fortimail | Self::Kemp | Self::Kerio | Self::SafeAtOffice | Self::Seqrite => None,
        }
    }
}

const fn is_whole_seconds(time: Duration) -> bool {
    time.as_secs() > 0 && time.subsec_nanos() == 0
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = String;

    /// # Errors
    /// No profile is called so; the message names them all.
    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.name() == name)
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::name).join(", ");
                format!("no profile is called `{name}`; there are {names}")
            })
    }
}

/// What the product offers, to follow "it is".
impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(time) => write!(f, "fixed at {} s", time.as_secs()),
            Self::WholeSeconds => f.write_str("set in whole seconds"),
            Self::OneOf(times) => {
                let (last, others) = match times.split_last() {
                    Some((last, others)) => (last.as_secs(), others),
                    None => return f.write_str("not to be set"),
                };
                let others: Vec<String> =
                    others.iter().map(|it| it.as_secs().to_string()).collect();
                write!(f, "{} or {last} s", others.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::de::value::{Error, StrDeserializer};

    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn profile_names_are_read_back_and_are_those_of_serde() {
        for profile in Profile::ALL {
            assert_eq!(profile.name().parse(), Ok(profile));
            let word = StrDeserializer::<Error>::new(profile.name());
            assert_eq!(Profile::deserialize(word), Ok(profile));
        }
        let wrong = "loadmaster".parse::<Profile>().unwrap_err();
        assert!(wrong.contains("fortimail, kemp, kerio, safe-at-office, seqrite"));
    }

    /// The figures of the five manuals: a LoadMaster's interval is 1 s and its time-out 9 s unless
    /// set, FortiMail's threshold 15 s; all wait for the dead interval, and nothing else.
    #[test]
    fn profile_times_are_those_of_the_manuals() {
        let dead = |profile: Profile| profile.timing(profile.interval()).dead_interval;
        assert_eq!(dead(Profile::Kemp), secs(9));
        assert_eq!(dead(Profile::Fortimail), secs(15));
        assert_eq!(Profile::Seqrite.timing(secs(5)).dead_interval, secs(15));
        for profile in Profile::ALL {
            assert_eq!(profile.interval(), secs(1));
            assert_eq!(profile.policy().detection, Detection::DeadInterval);
            assert_eq!(profile.policy().isolation, Isolation::Serve);
        }
    }

    /// A LoadMaster that was preferred takes back, a Safe@Office of higher priority at once; the
    /// others wait until told. Only a LoadMaster stays out when every node is pacified.
    #[test]
    fn profile_policies_are_those_of_the_manuals() {
        let preempt = |profile: Profile| profile.policy().preempt;
        assert_eq!(preempt(Profile::Kemp), Preempt::Prefer);
        assert_eq!(preempt(Profile::Kerio), Preempt::Prefer);
        assert_eq!(preempt(Profile::SafeAtOffice), Preempt::Priority);
        assert_eq!(preempt(Profile::Fortimail), Preempt::Never);
        assert_eq!(preempt(Profile::Seqrite), Preempt::Never);
        let at_once = Profile::SafeAtOffice.timing(secs(1));
        assert_eq!(
            (at_once.preempt_delay, at_once.hold_down),
            (secs(0), secs(0))
        );
        for profile in Profile::ALL {
            let never = profile.policy().all_pacified == AllPacified::Never;
            assert_eq!(never, profile == Profile::Kemp);
            assert_eq!(
                (profile.policy().boot_limit, profile.policy().boot_window),
                (3, secs(300))
            );
        }
    }

    #[test]
    fn profile_limits_say_what_the_product_offers() {
        let kemp = Profile::Kemp;
        assert_eq!(kemp.refuses_interval(secs(1)), None);
        let refused = kemp
            .refuses_interval(Duration::from_millis(1_500))
            .expect("not 1 s");
        assert_eq!(refused.to_string(), "fixed at 1 s");
        assert_eq!(kemp.refuses_dead_interval(secs(12)), None);
        let refused = kemp.refuses_dead_interval(secs(10)).expect("not offered");
        assert_eq!(refused.to_string(), "3, 6, 9, 12 or 15 s");
        let half = Duration::from_millis(500);
        assert_eq!(
            Profile::Seqrite.refuses_interval(half),
            Some(Refused::WholeSeconds)
        );
        assert_eq!(Profile::Seqrite.refuses_interval(secs(7)), None);
        assert_eq!(
            Profile::Fortimail.refuses_dead_interval(half),
            Some(Refused::WholeSeconds)
        );
        assert_eq!(Profile::SafeAtOffice.refuses_interval(half), None);
    }
}
