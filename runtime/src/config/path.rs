//! Words about a port: `heartbeat`, whether nodes speak there and how much is counted on it (R2.2),
//! and `action`, what becomes of its virtual addresses (R5.3).
//!
//! Every path carries every heartbeat, whatever its rank: the more, the surer. The rank is for
//! people: that only a secondary path is left is a trouble of its own, while all seems well.

use toml::Spanned;

use super::mistake::Findings;
use super::section::{Key, Section, Word};

/// The rank of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heartbeat {
    /// None passes.
    Off,
    /// It is counted on.
    Primary,
    /// It is there in case.
    Secondary,
}

const KEY: Key = Key::new("heartbeat", "\"primary\"");
const WORDS: [Word<Heartbeat>; 3] = [
    ("primary", Heartbeat::Primary, None),
    ("secondary", Heartbeat::Secondary, None),
    ("off", Heartbeat::Off, None),
];

impl Heartbeat {
    /// Reads one of its words, or `true` or `false`.
    pub(super) fn read(
        section: &mut Section<'_>,
        findings: &mut Findings,
    ) -> Option<Spanned<Self>> {
        if !section.is_flag(KEY) {
            return section.word(KEY, &WORDS, findings);
        }
        let flag = section.flag(KEY, findings)?;
        let rank = match flag.get_ref() {
            true => Self::Primary,
            false => Self::Off,
        };
        Some(Spanned::new(flag.span(), rank))
    }

    /// What was written, or that it is counted on.
    pub(super) fn of(written: Option<&Spanned<Self>>) -> Self {
        written.map_or(Self::Primary, |rank| *rank.get_ref())
    }

    /// As it is written.
    pub(super) const fn value(self) -> &'static str {
        match self {
            Self::Off => "\"off\"",
            Self::Primary => "\"primary\"",
            Self::Secondary => "\"secondary\"",
        }
    }
}

/// What becomes of a port's virtual addresses (R5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// They are put beside the port's own.
    Add,
    /// The same, and this gateway's own connections begin in their name.
    Set,
    /// Nothing: as if none were listed.
    Ignore,
}

impl Action {
    /// As a file writes it.
    pub(super) const fn value(self) -> &'static str {
        match self {
            Self::Add => "\"add\"",
            Self::Set => "\"set\"",
            Self::Ignore => "\"ignore\"",
        }
    }
}
