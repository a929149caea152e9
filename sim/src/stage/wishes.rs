//! What kernels and disks are asked, and what becomes of it.
//!
//! It takes a while, on a thread of its own; the newest wish overtakes one that was not begun. The
//! core's wishes wait here; a shell's wait in its own mailboxes, and it calls when their time has
//! come.

use core::time::Duration;
use std::collections::BTreeSet;

use steadfast_core::config::Config;
use steadfast_core::effect::{Alert, Failure, Forwarding};
use steadfast_core::{OpId, Rule};
use steadfast_scenarios::trace::{EventKind, Outcome};

use super::gateway::{ApplyMode, Disk, Waiting};
use super::world::{Happening, World};

/// From a wish to the kernel's having done it: netlink, on a thread of its own.
const APPLY_LATENCY: Duration = Duration::from_micros(300);
const APPLY_JITTER: Duration = Duration::from_micros(250);
/// From a record to its being on disk.
const PERSIST_LATENCY: Duration = Duration::from_millis(3);
/// A slow disk's.
const PERSIST_SLOW: Duration = Duration::from_secs(2);

impl World<'_> {
    /// A core wishes its kernel to be so; the newest wish counts.
    pub(crate) fn apply_wished(&mut self, station: usize, op: OpId, desired: Forwarding) {
        let now = self.now;
        let latency = self.apply_latency(station);
        self.tell_asked(station, desired);
        let Some(daemon) = self.gateways[station].turns(None) else {
            return;
        };
        let life = daemon.life;
        if let Some(older) = daemon.apply.replace(Waiting { op, wish: desired }) {
            daemon
                .completions
                .push_back((older.op, Err(Failure::Superseded)));
        }
        self.queue.push(
            now.after(latency),
            Happening::ApplyDue {
                gateway: station,
                life,
                op,
            },
        );
    }

    /// The kernel does what is wished. A stopped daemon's threads stand still with it.
    pub(crate) fn apply_due(&mut self, station: usize, life: u64, op: OpId) {
        let Some(daemon) = self.gateways[station].turns(Some(life)) else {
            return;
        };
        let Some(waiting) = daemon.apply.take_if(|waiting| waiting.op == op) else {
            return;
        };
        let outcome = self.apply(station, waiting.wish);
        if let Some(turns) = self.gateways[station].turns(Some(life)) {
            turns.completions.push_back((op, outcome));
        }
        self.wake_soon(station);
    }

    /// A core is given a changed configuration: the kernel first, the newest counts.
    pub(crate) fn reload_wished(&mut self, station: usize, life: u64, config: Box<Config>) {
        let latency = self.apply_latency(station);
        let Some(daemon) = self.gateways[station].turns(Some(life)) else {
            return;
        };
        if daemon.node.accepts(&config).is_ok() && daemon.reload.replace(config).is_none() {
            let gateway = station;
            self.queue.push(
                self.now.after(latency),
                Happening::ReloadDue { gateway, life },
            );
        }
    }

    /// The kernel takes the configuration, and then its node.
    pub(crate) fn reload_due(&mut self, station: usize, life: u64) {
        let now = self.now;
        let Some(config) = self.gateways[station]
            .turns(Some(life))
            .and_then(|it| it.reload.take())
        else {
            return;
        };
        if self.reconfigure(station, &config).is_err() {
            return;
        }
        if let Some(turns) = self.gateways[station].turns(Some(life)) {
            // A role that moves meanwhile refuses it, as on a gateway.
            let _ = turns.node.replace_config(now, *config);
            self.pump(station, life);
        }
        self.wake_soon(station);
    }

    /// The kernel's fence gets the times of a configuration, or refuses.
    pub(crate) fn reconfigure(&mut self, station: usize, config: &Config) -> Result<(), Failure> {
        if self.gateways[station].apply == ApplyMode::Failing {
            return Err(Failure::Refused);
        }
        let (lease, tail) = (config.timing.lease, config.timing.tail);
        self.gateways[station].kernel.set_fence_times(lease, tail);
        Ok(())
    }

    /// The kernel is made so, or refuses.
    pub(crate) fn apply(&mut self, station: usize, wish: Forwarding) -> Result<(), Failure> {
        let serve = matches!(wish, Forwarding::Active { .. });
        let outcome = match self.gateways[station].apply {
            ApplyMode::Lying if serve => {
                let done = self.obey(station, wish);
                done.and(Err(Failure::Refused))
            }
            ApplyMode::Failing | ApplyMode::Lying => Err(Failure::Refused),
            ApplyMode::Refusing if serve => {
                let fenced = self.obey(station, Forwarding::Standby);
                fenced.and(Err(Failure::Fenced))
            }
            ApplyMode::Ok | ApplyMode::Refusing | ApplyMode::Slow(_) => self.obey(station, wish),
        };
        let gateway = self.id(station);
        let told = if outcome.is_ok() {
            Outcome::Done
        } else {
            Outcome::Failed
        };
        self.emit(EventKind::Apply {
            gateway,
            serve: serves(wish),
            outcome: told,
        });
        let next = self.gateways[station].kernel.next_change(self.now);
        self.schedule_tick(station, next);
        outcome
    }

    /// How long the kernel will take for what it is asked.
    pub(crate) fn apply_latency(&mut self, station: usize) -> Duration {
        match self.gateways[station].apply {
            ApplyMode::Failing | ApplyMode::Lying | ApplyMode::Ok | ApplyMode::Refusing => {
                APPLY_LATENCY + self.drawn(APPLY_JITTER)
            }
            ApplyMode::Slow(by) => by,
        }
    }

    /// Something is asked of the kernel.
    pub(crate) fn tell_asked(&mut self, station: usize, wish: Forwarding) {
        let gateway = self.id(station);
        self.emit(EventKind::Apply {
            gateway,
            serve: serves(wish),
            outcome: Outcome::Asked,
        });
    }

    /// A node raised an alert.
    pub(crate) fn tell_alert(&mut self, station: usize, alert: Alert) {
        let gateway = self.id(station);
        let alert = format!("{alert:?}");
        self.emit(EventKind::Alert {
            gateway,
            alert,
            raised: true,
        });
    }

    fn obey(&mut self, station: usize, wish: Forwarding) -> Result<(), Failure> {
        let now = self.now;
        let leased = self.rules.keep(Rule::D9);
        let kernel = &mut self.gateways[station].kernel;
        let ports = &self.configs[station].ports;
        let all = || {
            ports
                .iter()
                .flat_map(|port| port.virtuals.iter().map(|ip| (port.id, *ip)))
        };
        match wish {
            Forwarding::Active { .. } => {
                if leased {
                    kernel
                        .arm(now)
                        .or_else(|_| {
                            kernel.mend_fence();
                            kernel.arm(now)
                        })
                        .map_err(|_| Failure::Refused)?;
                }
                kernel.forget_dead_neighbours();
                // What the configuration lists no more goes.
                let listed: BTreeSet<_> = all().collect();
                let held: Vec<_> = kernel.virtuals().collect();
                let stray = held.into_iter().filter(|it| !listed.contains(it));
                stray.for_each(|(port, ip)| kernel.remove_virtual(port, ip));
                all().for_each(|(port, ip)| kernel.add_virtual(port, ip));
                kernel.hold_addresses(now);
                kernel.set_translates(true);
                Ok(())
            }
            Forwarding::Offering { remaining } => {
                if leased {
                    kernel
                        .offer(now, remaining)
                        .map_err(|_| Failure::LeaseLapsed)?;
                }
                Ok(())
            }
            Forwarding::Tail => {
                // Without a lease there is nothing to leave a tail of: fenced already.
                let _ = kernel.release_to_tail(now);
                Ok(())
            }
            Forwarding::Standby => {
                kernel.fence();
                kernel.set_translates(false);
                let held: Vec<_> = kernel.virtuals().collect();
                held.into_iter()
                    .for_each(|(port, ip)| kernel.remove_virtual(port, ip));
                if leased {
                    kernel.mend_fence();
                }
                Ok(())
            }
        }
    }

    /// A core wishes a record to be stored; the newest counts.
    pub(crate) fn persist_wished(
        &mut self,
        station: usize,
        op: OpId,
        record: steadfast_core::boot::Record,
    ) {
        let now = self.now;
        let latency = self.persist_latency(station);
        let Some(daemon) = self.gateways[station].turns(None) else {
            return;
        };
        let life = daemon.life;
        if let Some(older) = daemon.persist.replace(Waiting { op, wish: record }) {
            daemon
                .completions
                .push_back((older.op, Err(Failure::Superseded)));
        }
        self.queue.push(
            now.after(latency),
            Happening::PersistDue {
                gateway: station,
                life,
                op,
            },
        );
    }

    /// A shell looks at its fence: true if it was whole; it is afterwards.
    pub(crate) fn check_fence(&mut self, station: usize) -> bool {
        let kernel = &mut self.gateways[station].kernel;
        let whole = !self.rules.keep(Rule::D9) || kernel.take_fence_whole();
        if !whole {
            kernel.rebuild_fence();
        }
        whole
    }

    /// A record is on the disk, as far as its writer knows.
    pub(crate) fn persisted(&mut self, station: usize, record: &steadfast_core::boot::Record) {
        self.gateways[station].stored = record.clone();
    }

    /// Whether the disk refuses to write.
    pub(crate) fn disk_fails(&self, station: usize) -> bool {
        self.gateways[station].disk == Disk::Failing
    }

    /// Whether this is the first start of a daemon in this box.
    pub(crate) fn unpacks(&mut self, station: usize) -> bool {
        let gateway = &mut self.gateways[station];
        !core::mem::replace(&mut gateway.unpacked, true)
    }

    /// How long the disk will take for a record.
    pub(crate) fn persist_latency(&self, station: usize) -> Duration {
        match self.gateways[station].disk {
            Disk::Slow => PERSIST_SLOW,
            Disk::Failing | Disk::Ok | Disk::Torn => PERSIST_LATENCY,
        }
    }

    pub(crate) fn persist_due(&mut self, station: usize, life: u64, op: OpId) {
        let disk = self.gateways[station].disk;
        let Some(daemon) = self.gateways[station].turns(Some(life)) else {
            return;
        };
        let Some(waiting) = daemon.persist.take_if(|waiting| waiting.op == op) else {
            return;
        };
        let failed = disk == Disk::Failing;
        let outcome = if failed {
            Err(Failure::Refused)
        } else {
            Ok(())
        };
        daemon.completions.push_back((op, outcome));
        if !failed {
            self.gateways[station].stored = waiting.wish;
        }
        self.wake_soon(station);
    }
}

const fn serves(wish: Forwarding) -> bool {
    matches!(wish, Forwarding::Active { .. })
}
