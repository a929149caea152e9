//! The protocol's rules by number, and a test-only way to take one away.
//!
//! A rule that can be removed without any oracle noticing is not a rule. With the feature
//! `defects` a simulator builds nodes without a given rule and must find the violation. Without
//! the feature a [`Rules`] holds nothing and every question is answered `true` at compile time.

/// A protocol rule (design, Protocol rules) that stands in code as a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Rank is one total order, incumbent before preference.
    D5,
    /// Judge only after draining; a judge that woke late starts over.
    D6,
    /// Confirm a suspicion before acting on it.
    D7,
    /// Ask the peer's kernel before claiming.
    D8,
    /// The right to use virtual addresses is a lease in the kernel.
    D9,
    /// Hand over by consent, make before break.
    D10,
    /// Two actives resolve.
    D11,
    /// No claim without proof of reception; the deaf yield.
    D12,
    /// What third parties hear of the active counts.
    D13,
    /// With a witness, nobody serves alone without its grant.
    D14,
    /// After a gap of a lease or more, listen before serving.
    D15,
}

impl Rule {
    /// Every rule with a switch.
    pub const ALL: [Self; 11] = [
        Self::D5,
        Self::D6,
        Self::D7,
        Self::D8,
        Self::D9,
        Self::D10,
        Self::D11,
        Self::D12,
        Self::D13,
        Self::D14,
        Self::D15,
    ];
}

/// The rules a node keeps: all of them, outside of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rules {
    #[cfg(feature = "defects")]
    removed: u16,
}

impl Rules {
    /// Every rule holds.
    pub const fn complete() -> Self {
        Self {
            #[cfg(feature = "defects")]
            removed: 0,
        }
    }

    /// Every rule but one.
    #[cfg(feature = "defects")]
    #[must_use]
    pub const fn without(rule: Rule) -> Self {
        Self {
            removed: 1 << rule as u16,
        }
    }

    /// Whether `rule` holds.
    #[cfg(feature = "defects")]
    pub const fn keep(self, rule: Rule) -> bool {
        self.removed & (1 << rule as u16) == 0
    }

    /// Whether `rule` holds.
    #[cfg(not(feature = "defects"))]
    pub const fn keep(self, _rule: Rule) -> bool {
        true
    }
}
