//! The life of a daemon's process: its start, its seconds, its end.
//!
//! A process takes time to start and to end in which it decides nothing. One that is killed decides
//! nothing from that moment on, however long its kernel takes to bury it.

use core::time::Duration;

use steadfast_core::boot::Boot;
use steadfast_core::{Node, Rule};
use steadfast_scenarios::Random;
use steadfast_scenarios::trace::{EventKind, ProcessState};

use super::gateway::{Body, Daemon, Order, Passage, Power, Turns};
use super::players::Start;
use super::vrrp::Routers;
use super::world::{Happening, World};

/// From a process to its node's first moment: memory is locked, sockets are opened, the fence is
/// set up. 12 ms in the lab, up to 18.
const START_TIME: Duration = Duration::from_millis(9);
const START_JITTER: Duration = Duration::from_millis(6);
/// From a node's last word to the end of its process: the kernel lets go of one packet socket after
/// the other, each after a grace period. 82 ms in the lab, 71 to 103.
const EXIT_TIME: Duration = Duration::from_millis(72);
const EXIT_JITTER: Duration = Duration::from_millis(20);
/// Who would begin while its box stands still looks again after this.
const STANDSTILL: Duration = Duration::from_millis(1);

impl World<'_> {
    /// A process for the daemon.
    pub(crate) fn start_daemon(&mut self, station: usize) {
        let gateway = &mut self.gateways[station];
        if gateway.power != Power::On || gateway.daemon.is_some() {
            return;
        }
        match &mut gateway.passage {
            Some(Passage::Ending { again, .. }) => *again = true,
            Some(Passage::Starting { .. }) => {}
            None => {
                gateway.lives += 1;
                let life = (gateway.boot << 16) | gateway.lives;
                gateway.passage = Some(Passage::Starting { life });
                let at = self.now.after(START_TIME + self.drawn(START_JITTER));
                let gateway = station;
                self.queue.push(at, Happening::Begun { gateway, life });
                self.tell_process(station, ProcessState::Running);
            }
        }
    }

    /// The daemon begins: sweeps what an earlier one left, and looks at its ports.
    pub(crate) fn begun(&mut self, station: usize, life: u64) {
        let now = self.now;
        let gateway = &mut self.gateways[station];
        if gateway.passage != Some(Passage::Starting { life }) {
            return;
        }
        if gateway.frozen.is_some() {
            let gateway = station;
            let at = now.after(STANDSTILL);
            self.queue.push(at, Happening::Begun { gateway, life });
            return;
        }
        gateway.passage = None;
        let body = self.body(station, life);
        let ports = self.configs[station].ports.len();
        self.gateways[station].daemon = Some(Daemon::new(body, life, self.now, ports));
        self.reckon_start(station);
        self.see_links(station);
        self.begin_certificate(station);
        self.begin_hooks(station, life);
        self.pump(station, life);
        let gateway = station;
        self.queue
            .push(now, Happening::EachSecond { gateway, life });
        self.begin_checks(station, life);
        self.wake_soon(station);
    }

    /// A node on a kernel that is swept clean.
    fn body(&mut self, station: usize, life: u64) -> Body {
        let now = self.now;
        let gateway = &mut self.gateways[station];
        let leftovers: Vec<_> = gateway.kernel.virtuals().collect();
        for (port, address) in leftovers {
            gateway.kernel.remove_virtual(port, address);
        }
        gateway.kernel.fence();
        gateway.kernel.rebuild_fence();
        gateway.kernel.close_routers();
        gateway.kernel.rebuild_router_fence();
        let timing = &self.configs[station].timing;
        gateway.kernel.set_fence_times(timing.lease, timing.tail);
        let mut kernel_boot = [0; 16];
        kernel_boot[..8].copy_from_slice(&gateway.boot.to_be_bytes());
        kernel_boot[8] = u8::try_from(station).unwrap_or(u8::MAX);
        let uptime = now.since(gateway.booted_at);
        let restored = gateway.stored.clone();
        let seed = entropy(self.plan.seed, station, life);
        let routers = super::vrrp::placed(&self.plan, &self.plan.layout.gateways[station]);
        // No world begins with routers that are refused.
        let routers = routers.unwrap_or_default();
        let config = self.configs[station].clone();
        match &mut self.players {
            Some(players) => Body::Seat(players.start(Start {
                station,
                life,
                config,
                routers,
                seed,
                kernel_boot,
                uptime,
                delivered: restored,
            })),
            None if !routers.is_empty() => Routers::body(routers, life, now),
            None => {
                let boot = Boot {
                    now,
                    seed,
                    kernel_boot,
                    uptime,
                    restored,
                };
                Turns::body(Node::with_rules(config, boot, self.rules), life)
            }
        }
    }

    /// The daemon is gone; its kernel state stays.
    pub(crate) fn kill(&mut self, station: usize) {
        self.end_daemon(station);
        // A box that waited for its daemon to end waits no longer.
        if core::mem::take(&mut self.gateways[station].reboots) {
            self.reboot(station, false);
        }
    }

    pub(crate) fn end_daemon(&mut self, station: usize) {
        // The table of translations belongs to a socket of the daemon's.
        self.gateways[station].kernel.set_translates(false);
        let passes = self.gateways[station].passage.take().is_some();
        self.gateways[station].hooks = None;
        let crashes = self.withdraw_daemon(station);
        if crashes {
            self.reckon_end(station, false);
        }
        if crashes || passes {
            self.tell_process(station, ProcessState::Killed);
        }
    }

    /// Nothing decides any more; whether something did.
    fn withdraw_daemon(&mut self, station: usize) -> bool {
        let gateway = &mut self.gateways[station];
        let Some(daemon) = gateway.daemon.take() else {
            return false;
        };
        match daemon.body {
            Body::Seat(seat) => seat.end(),
            Body::Routers(_) | Body::Turns(_) => {}
        }
        self.observer.forget_status(station);
        true
    }

    /// The daemon has ended in order; its last word on itself was heard.
    pub(crate) fn daemon_ended(&mut self, station: usize) {
        self.tell_status(station);
        if let Some(waiting) = self.gateways[station]
            .daemon
            .as_mut()
            .and_then(Daemon::turns)
            .and_then(|turns| turns.persist.take())
        {
            // An orderly end waits for its last record.
            self.gateways[station].stored = waiting.wish;
        }
        let life = self.gateways[station].daemon.as_ref().map(|it| it.life);
        if let Some(life) = life {
            self.withdraw_daemon(station);
            self.reckon_end(station, true);
            self.close_hooks(station);
            let again = false;
            self.gateways[station].passage = Some(Passage::Ending { life, again });
            let at = self.now.after(EXIT_TIME + self.drawn(EXIT_JITTER));
            let gateway = station;
            self.queue.push(at, Happening::Exited { gateway, life });
        }
    }

    /// Its process is gone: whoever waited for that goes on.
    pub(crate) fn exited(&mut self, station: usize, life: u64) {
        let gateway = &mut self.gateways[station];
        let Some(Passage::Ending { life: ended, again }) = gateway.passage else {
            return;
        };
        if ended != life {
            return;
        }
        if let Some(at) = self.awaits_hooks(station) {
            let gateway = station;
            self.queue.push(at, Happening::Exited { gateway, life });
            return;
        }
        let gateway = &mut self.gateways[station];
        gateway.passage = None;
        gateway.hooks = None;
        self.tell_process(station, ProcessState::Killed);
        if again {
            self.start_daemon(station);
        }
        if core::mem::take(&mut self.gateways[station].reboots) {
            self.reboot(station, false);
        }
    }

    /// The daemon reads every port's carrier.
    pub(crate) fn see_links(&mut self, station: usize) {
        for index in 0..self.configs[station].ports.len() {
            let port = self.configs[station].ports[index].id;
            let up = self.gateways[station].kernel.has_carrier(port);
            if let Some(daemon) = &mut self.gateways[station].daemon {
                daemon.order(Order::Link(port, up));
            }
        }
    }

    /// Each second the daemon verifies its fence, mends it, and says so (D9).
    pub(crate) fn each_second(&mut self, station: usize, life: u64) {
        let Some(daemon) = self.gateways[station].awake(Some(life)) else {
            return;
        };
        let looks_itself = daemon.seat().is_some();
        let leased = self.rules.keep(Rule::D9);
        // A shell that looks itself finds what there is to find.
        let whole = looks_itself || !leased || self.gateways[station].kernel.take_fence_whole();
        if !whole {
            self.gateways[station].kernel.rebuild_fence();
        }
        let now = self.now;
        self.gateways[station].kernel.hold_addresses(now);
        self.look_at_routers(station, life);
        if let Some(turns) = self.gateways[station].turns(Some(life)) {
            turns.orders.push_back(Order::Fence(whole));
        }
        self.tell_peers(station);
        self.tell_troubles(station);
        self.wake_soon(station);
        let at = self.now.after(Duration::from_secs(1));
        self.queue.push(
            at,
            Happening::EachSecond {
                gateway: station,
                life,
            },
        );
    }

    pub(crate) fn tell_process(&mut self, station: usize, state: ProcessState) {
        let gateway = self.id(station);
        self.emit(EventKind::Process { gateway, state });
    }
}

/// The entropy of one life of one daemon.
fn entropy(seed: u64, station: usize, life: u64) -> [u8; 32] {
    let mut random = Random::new(seed ^ life.rotate_left(17), "entropy");
    let mut bytes = [0; 32];
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&(random.draw() ^ station as u64).to_be_bytes());
    }
    bytes
}
