//! What the shell does by habit, and a test-only way to break one.
//!
//! A habit that can be broken without any world noticing is not one that is tested. With the
//! feature `defects` a simulated shell is run without a given habit and must be found out. Without
//! the feature a [`Habits`] holds nothing and every question is answered at compile time. (What the
//! core decides has its own switches: `steadfast_core::Rules`.)

/// A habit of the shell that stands in code as a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Habit {
    /// Changed configurations reach the kernel one after the other, in the order they came in.
    ReloadsInTurn,
    /// A record is synced before it is called stored.
    SyncedRecords,
}

impl Habit {
    /// Every habit with a switch.
    pub const ALL: [Self; 2] = [Self::ReloadsInTurn, Self::SyncedRecords];
}

/// The habits a shell has: all of them, outside of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Habits {
    #[cfg(feature = "defects")]
    broken: Option<Habit>,
}

impl Habits {
    /// Every habit.
    pub const fn complete() -> Self {
        Self {
            #[cfg(feature = "defects")]
            broken: None,
        }
    }

    /// Every habit but one.
    #[cfg(feature = "defects")]
    #[must_use]
    pub const fn without(habit: Habit) -> Self {
        Self {
            broken: Some(habit),
        }
    }

    #[cfg(feature = "defects")]
    fn keeps(self, habit: Habit) -> bool {
        self.broken != Some(habit)
    }

    #[cfg(not(feature = "defects"))]
    const fn keeps(self, _habit: Habit) -> bool {
        true
    }

    /// [`Habit::ReloadsInTurn`].
    pub(crate) fn reloads_in_turn(self) -> bool {
        self.keeps(Habit::ReloadsInTurn)
    }

    /// [`Habit::SyncedRecords`].
    pub(crate) fn syncs_records(self) -> bool {
        self.keeps(Habit::SyncedRecords)
    }
}
