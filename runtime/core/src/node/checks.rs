//! What a node is told of its own health by checks, and when it believes it (R4.2).
//!
//! Results come one by one; so many in a row change what the node believes. The first one counts at
//! once: a node that starts sick must not be taken for well until it has failed often enough. A
//! check that was never run costs nothing, so a pair whose checks are slow to start is no worse
//! than one without.

use super::Node;
use super::project::View;
use crate::config::Config;
use crate::config::check::CheckConfig;
use crate::effect::Alert;
use crate::role::EffectiveRole;
use crate::status::CheckStatus;
use crate::{CheckId, Instant};

/// What is believed of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Check {
    pub(super) failed: bool,
    /// Results in a row that say otherwise.
    streak: u8,
    /// It was run at least once.
    told: bool,
    since: Instant,
}

impl Check {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            failed: false,
            streak: 0,
            told: false,
            since: now,
        }
    }

    /// Takes a result. True if it changes what is believed.
    fn take(&mut self, config: &CheckConfig, passed: bool, now: Instant) -> bool {
        let is_first = !self.told;
        self.told = true;
        if passed != self.failed {
            self.streak = 0;
            return false;
        }
        self.streak = self.streak.saturating_add(1);
        let wanted = if passed { config.rise } else { config.fall };
        if self.streak < wanted && !is_first {
            return false;
        }
        self.streak = 0;
        self.failed = !passed;
        self.since = now;
        true
    }

    /// For comparing states.
    pub(super) fn project(self, view: View) -> (bool, u8, bool, u16) {
        (self.failed, self.streak, self.told, view.ago(self.since))
    }
}

impl Node {
    /// A check was run.
    pub(super) fn checked(&mut self, id: CheckId, passed: bool) {
        let configured = &self.config.checks;
        let Some(index) = configured.iter().position(|check| check.id == id) else {
            return;
        };
        let before = self.health();
        let is_first = !self.checks[index].told;
        if !self.checks[index].take(&configured[index], passed, self.now) {
            return;
        }
        let alert = Alert::CheckFailed { check: id };
        if passed {
            self.clear(|open| *open == alert);
        } else {
            self.raise(alert);
        }
        // What never passed in this life has not failed: services are slow to come after boot.
        if is_first && !passed && self.role != EffectiveRole::Active {
            self.health_known(before);
        } else {
            self.health_changed(before);
        }
    }

    /// The number of a check, by its name.
    #[must_use]
    pub fn check_id(&self, name: &str) -> Option<CheckId> {
        let mut checks = self.config.checks.iter();
        checks
            .find(|check| check.name == name)
            .map(|check| check.id)
    }

    /// What the node believes under another configuration: of a check of the same name, the same.
    pub(super) fn checks_under(&self, config: &Config) -> Vec<Check> {
        let believed = |new: &CheckConfig| {
            let mut all = self.config.checks.iter().zip(&self.checks);
            let same = all.find(|(old, _)| old.name == new.name);
            same.map_or_else(|| Check::new(self.now), |(_, check)| *check)
        };
        config.checks.iter().map(believed).collect()
    }

    /// Numbers mean other checks under another configuration: what is known to fail is under its
    /// new one, and no news.
    pub(super) fn rename_failed_checks(&mut self) {
        self.clear(|open| matches!(open, Alert::CheckFailed { .. }));
        let all = self.config.checks.iter().zip(&self.checks);
        let failed = all.filter(|(_, check)| check.failed);
        let failed: Vec<CheckId> = failed.map(|(config, _)| config.id).collect();
        for check in failed {
            self.reopen(Alert::CheckFailed { check });
        }
    }

    pub(super) fn check_statuses(&self) -> Vec<CheckStatus> {
        let status = |(config, check): (&CheckConfig, &Check)| CheckStatus {
            check: config.id,
            name: config.name.clone(),
            passes: check.told.then_some(!check.failed),
            since: check.since,
            cost: config.cost,
        };
        let all = self.config.checks.iter().zip(&self.checks);
        all.map(status).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check::Cost;

    const NOW: Instant = Instant::ORIGIN;

    fn config(rise: u8, fall: u8) -> CheckConfig {
        CheckConfig {
            id: CheckId(0),
            name: "uplink".to_owned(),
            cost: Cost::Fault,
            rise,
            fall,
        }
    }

    /// What is believed after each of these results.
    fn after(config: &CheckConfig, results: &[bool]) -> Vec<bool> {
        let mut check = Check::new(NOW);
        let believed = |passed: &bool| {
            check.take(config, *passed, NOW);
            !check.failed
        };
        results.iter().map(believed).collect()
    }

    /// The first word counts at once; later ones only so many in a row.
    #[test]
    fn check_first_result_counts_at_once() {
        assert_eq!(after(&config(3, 3), &[false]), [false]);
        let passes = after(&config(3, 3), &[true, false, false, false]);
        assert_eq!(passes, [true, true, true, false]);
    }

    /// Each way has its own count, and one result to the contrary starts it anew.
    #[test]
    fn check_counts_results_in_a_row() {
        let results = [
            true, false, true, false, false, true, true, false, true, true,
        ];
        let believed = after(&config(3, 2), &results);
        let expected = [
            true, true, true, true, false, false, false, false, false, false,
        ];
        assert_eq!(believed, expected);
        let passes = after(&config(2, 1), &[true, false, true, true]);
        assert_eq!(passes, [true, false, false, true]);
    }
}
