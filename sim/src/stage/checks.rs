//! Checks of the gateways' own health: run by each daemon that runs, as often as they are to be.
//!
//! Whether one passes belongs to the box and stays what a step made it, over boots and daemons. A
//! daemon that stands still runs none, and begins anew when it goes on. One that hangs is told as
//! failed when its time is over, and is run as often as before: only its results come later.

use steadfast_scenarios::format::Verb;

use super::gateway::Order;
use super::world::{Happening, World};

/// How a check fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It says so.
    Fails,
    /// It never answers.
    Hangs,
}

impl World<'_> {
    /// The daemon runs every check now, and goes on doing so.
    pub(crate) fn begin_checks(&mut self, station: usize, life: u64) {
        for check in 0..self.plan.cluster.checks.len() {
            self.run_check_later(station, life, check, core::time::Duration::ZERO);
        }
    }

    /// A check is run: its result reaches the daemon.
    pub(crate) fn check_due(&mut self, station: usize, life: u64, check: usize) {
        let gateway = &mut self.gateways[station];
        // A daemon that stood still began anew meanwhile, and is to run it later.
        if gateway
            .check_at
            .get(check)
            .is_none_or(|due| self.now < *due)
        {
            return;
        }
        let setup = &self.plan.cluster.checks[check];
        let fate = gateway.failing.get(&check).copied();
        if fate == Some(Fate::Hangs) && gateway.awaited.insert(check) {
            self.run_check_later(station, life, check, setup.timeout());
            return;
        }
        // One that hung until now has failed, whatever became of what it hung on.
        let passed = fate.is_none() && !gateway.awaited.remove(&check);
        let Some(daemon) = gateway.awake(Some(life)) else {
            return;
        };
        daemon.order(Order::Checked(setup.name.clone(), passed));
        let every = setup.every.0;
        self.wake_soon(station);
        self.run_check_later(station, life, check, every);
    }

    /// A step makes a check fail, hang, or pass.
    pub(crate) fn set_check(&mut self, station: usize, verb: &Verb) {
        let Verb::Check {
            check: name,
            passes,
            hangs,
        } = verb
        else {
            return;
        };
        let mut checks = self.plan.cluster.checks.iter();
        let Some(check) = checks.position(|check| check.name == *name) else {
            return;
        };
        let fate = if *hangs { Fate::Hangs } else { Fate::Fails };
        let fate = (!passes).then_some(fate);
        let gateway = &mut self.gateways[station];
        match fate {
            None => gateway.failing.remove(&check),
            Some(fate) => gateway.failing.insert(check, fate),
        };
    }

    fn run_check_later(
        &mut self,
        station: usize,
        life: u64,
        check: usize,
        wait: core::time::Duration,
    ) {
        let at = self.now.after(wait);
        let due = &mut self.gateways[station].check_at;
        due.resize(self.plan.cluster.checks.len(), at);
        due[check] = at;
        let gateway = station;
        let happening = Happening::CheckDue {
            gateway,
            life,
            check,
        };
        self.queue.push(at, happening);
    }
}
