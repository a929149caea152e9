//! Power and boots.

use core::time::Duration;

use steadfast_core::{PortId, Rule};
use steadfast_scenarios::Random;
use steadfast_scenarios::format::{self, AllPacified, CommandName, Verb};
use steadfast_scenarios::trace::{EventKind, PowerState, ProcessState};

use super::gateway::{Daemon, Order, Power};
use super::setup;
use super::world::{Happening, World};
use crate::model::kernel::Kernel;

/// From power to a running daemon. Short of a real box's minute, so that scenarios are not.
pub(crate) const BOOT_TIME: Duration = Duration::from_millis(800);
/// How long a rebooting box is dark.
pub(crate) const DARK: Duration = Duration::from_millis(200);
/// Boots of one plan differ by up to this much.
const BOOT_JITTER: Duration = Duration::from_millis(400);
/// From a carrier change to the daemon's noticing it: an event, usually at once, as in the lab.
const LINK_LATENCY: Duration = Duration::from_micros(150);
const LINK_JITTER: Duration = Duration::from_micros(200);
/// Of so many changes one is told late, before the poll each 2 ms (D18) ...
const LATE_ONCE_IN: u64 = 4;
const LATE_JITTER: Duration = Duration::from_micros(700);
/// ... and ports go dark or come back one after the other, each so much later.
const DARK_JITTER: Duration = Duration::from_micros(900);

/// What the world itself reckons of a gateway's boots, beside what the node believes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reckoning {
    /// Ended boots: uptime, and whether they ended in order.
    past: Vec<(Duration, bool)>,
    /// Starts of the daemon in this boot after a crash, as uptimes.
    restarts: Vec<Duration>,
    /// Whether the daemon's last life in this boot ended in order; none before the first.
    ended: Option<bool>,
    /// Barred in its last boot, and not yet free.
    pub(crate) barred: bool,
}

impl World<'_> {
    /// A kernel as it comes up in a new boot: its ports are dark, and come alive for everybody to
    /// see.
    pub(crate) fn fresh_kernel(&mut self, gateway: &format::Gateway) -> Kernel {
        let phase = self.drawn(Duration::from_micros(3_999));
        let leased = self.rules.keep(Rule::D9);
        let mut kernel = setup::gateway_kernel(&self.plan, gateway, phase, leased);
        for port in &gateway.ports {
            kernel.set_carrier(port.id, false);
        }
        kernel
    }

    /// Who is switched on when: drawn as the lab draws it, so that the same seed has its boots, and
    /// all that follows from their phase, at the same time there and here.
    pub(crate) fn schedule_boots(&mut self) {
        let mut random = Random::new(self.plan.seed, "boots");
        let most = u64::try_from(BOOT_JITTER.as_nanos()).unwrap_or(u64::MAX);
        for station in 0..self.gateways.len() {
            let setup = self.plan.gateway(&self.plan.layout.gateways[station].name);
            let past = |boot: &format::PastBoot| (boot.uptime.0, boot.clean);
            let past = setup.boots.iter().map(past).collect();
            self.observer.reckonings.push(Reckoning {
                past,
                ..Reckoning::default()
            });
            let jitter = Duration::from_nanos(random.between(0, most));
            if setup.powered {
                let turn = super::turns::Turn::PowerOn { gateway: station };
                let at = self.now.after(setup.boot_at.0 + jitter);
                self.queue.push(at, Happening::Turn { turn });
            }
        }
    }

    /// Power comes: ports are dark until the kernel is up.
    pub(crate) fn power_on(&mut self, station: usize) {
        let gateway = &mut self.gateways[station];
        if gateway.power != Power::Off {
            return;
        }
        gateway.power = Power::Booting;
        gateway.boot += 1;
        let boot = gateway.boot;
        self.queue.push(
            self.now.after(BOOT_TIME),
            Happening::Booted {
                gateway: station,
                boot,
            },
        );
        self.tell_power(station, PowerState::Booting);
    }

    /// The kernel is up: ports come alive, the daemon starts.
    pub(crate) fn booted(&mut self, station: usize, boot: u64) {
        if self.gateways[station].power != Power::Booting || self.gateways[station].boot != boot {
            return;
        }
        let plan = std::rc::Rc::clone(&self.plan);
        let place = &plan.layout.gateways[station];
        let kernel = self.fresh_kernel(place);
        let gateway = &mut self.gateways[station];
        gateway.kernel = kernel;
        gateway.power = Power::On;
        gateway.booted_at = self.now;
        gateway.tick_at = None;
        if let Some(players) = &mut self.players {
            players.power(station, true);
        }
        self.tell_power(station, PowerState::Running);
        self.reckon(station);
        self.liven(station, true);
        self.begin_router(station);
        self.start_daemon(station);
    }

    /// Power goes: the ports first, each a little later than the one before, then everything.
    pub(crate) fn power_off(&mut self, station: usize) {
        if self.gateways[station].power == Power::Off {
            return;
        }
        let uptime = self.now.since(self.gateways[station].booted_at);
        if self.gateways[station].power == Power::On {
            let clean = self.gateways[station]
                .stored
                .boots
                .last()
                .is_some_and(|it| it.clean);
            self.observer.reckonings[station].past.push((uptime, clean));
        }
        self.end_daemon(station);
        let gateway = &mut self.gateways[station];
        gateway.power = Power::Off;
        gateway.programs.clear();
        gateway.reboots = false;
        gateway.frozen = None;
        if let Some(players) = &mut self.players {
            players.power(station, false);
        }
        self.liven(station, false);
        self.tell_power(station, PowerState::Off);
    }

    /// Power goes and comes again; a clean reboot first ends the daemon in order.
    pub(crate) fn reboot(&mut self, station: usize, clean: bool) {
        let seat = self.gateways[station].awake(None).and_then(Daemon::seat);
        if let Some(seat) = seat.filter(|_| clean) {
            // A shell writes its own record; the box goes down when it has ended.
            seat.order(Order::Shutdown);
            self.gateways[station].reboots = true;
            return;
        }
        if clean {
            let now = self.now;
            let gateway = &mut self.gateways[station];
            let up = now.since(gateway.booted_at).as_secs();
            if let Some(last) = gateway.stored.boots.last_mut() {
                last.clean = true;
                last.uptime_s = last.uptime_s.max(up);
            }
        }
        self.power_off(station);
        let turn = super::turns::Turn::PowerOn { gateway: station };
        self.queue
            .push(self.now.after(DARK), Happening::Turn { turn });
    }

    fn liven(&mut self, station: usize, alive: bool) {
        for medium in &mut self.net.media {
            for end in medium.ends.iter_mut().filter(|end| end.station == station) {
                end.alive = alive;
            }
        }
        self.net.settle(self.now);
        self.carriers_changed();
    }

    /// Brings kernels' carriers in line with the wires, and lets daemons notice.
    pub(crate) fn carriers_changed(&mut self) {
        let mut spread = Duration::ZERO;
        // Drawn when the first port has changed: what changes nothing draws nothing.
        let mut late = None;
        for station in 0..self.gateways.len() {
            for index in 0..self.configs[station].ports.len() {
                let port = self.configs[station].ports[index].id;
                let segment = usize::from(port.0);
                let Some(place) = self.net.place(segment, station) else {
                    continue;
                };
                let up = self.net.carrier(segment, place);
                if self.gateways[station].kernel.has_carrier(port) == up {
                    continue;
                }
                self.gateways[station].kernel.set_carrier(port, up);
                let gateway = self.id(station);
                self.emit(EventKind::Carrier { gateway, port, up });
                let mut wait = LINK_LATENCY + self.drawn(LINK_JITTER);
                let is_late = || self.random.draw().is_multiple_of(LATE_ONCE_IN);
                if *late.get_or_insert_with(is_late) {
                    spread += self.drawn(DARK_JITTER);
                    wait += self.drawn(LATE_JITTER) + spread;
                }
                self.notice_link(station, port, up, wait);
                if up {
                    self.members_later(station, segment);
                }
            }
        }
    }

    fn notice_link(&mut self, station: usize, port: PortId, up: bool, wait: Duration) {
        let Some(daemon) = &self.gateways[station].daemon else {
            return;
        };
        let life = daemon.life;
        let happening = Happening::LinkSeen {
            gateway: station,
            life,
            port,
            up,
        };
        self.queue.push(self.now.after(wait), happening);
    }

    pub(crate) fn link_seen(&mut self, station: usize, life: u64, port: PortId, up: bool) {
        if let Some(daemon) = self.gateways[station].awake(Some(life)) {
            daemon.order(Order::Link(port, up));
            if up {
                self.gateways[station].kernel.forget_dead_neighbours();
            }
            self.wake_soon(station);
        }
    }

    /// The whole box stands still, or goes on. Its frames are lost meanwhile; its kernel's clock
    /// goes on, unless the machine is virtual and paused.
    pub(crate) fn freeze(&mut self, station: usize, verb: &Verb) {
        let now = self.now;
        let id = self.id(station);
        match verb {
            Verb::Freeze { clock_stands } if self.gateways[station].runs() => {
                self.gateways[station].frozen = Some(now);
                self.gateways[station].clock_stands = *clock_stands;
                if let Some(seat) = self.gateways[station]
                    .daemon
                    .as_mut()
                    .and_then(Daemon::seat)
                {
                    seat.stop(true);
                }
                self.emit(EventKind::Frozen {
                    gateway: id,
                    frozen: true,
                });
            }
            Verb::Thaw => {
                let Some(since) = self.gateways[station].frozen.take() else {
                    return;
                };
                if self.gateways[station].clock_stands {
                    self.gateways[station].kernel.resume(now.since(since));
                    self.gateways[station].tick_at = None;
                }
                self.gateways[station].clock_stands = false;
                self.emit(EventKind::Frozen {
                    gateway: id,
                    frozen: false,
                });
                let next = self.gateways[station].kernel.next_change(now);
                self.schedule_tick(station, next);
                let daemon = self.gateways[station].daemon.as_ref();
                if daemon.is_some_and(|it| it.stopped) {
                    self.tell_process(station, ProcessState::Running);
                }
                self.go_on(station);
            }
            _ => {}
        }
        self.net.version += 1;
    }

    /// Whether the boots so far bar a gateway, reckoned from what the world carried out (R12.1).
    fn reckon(&mut self, station: usize) {
        let cluster = &self.plan.cluster;
        let reckoning = &mut self.observer.reckonings[station];
        reckoning.restarts.clear();
        reckoning.ended = None;
        let window = cluster.boot_window.0;
        let mut sum = Duration::ZERO;
        let mut count = 1;
        for (uptime, clean) in reckoning.past.iter().rev() {
            sum += *uptime;
            if *clean || sum >= window {
                break;
            }
            count += 1;
        }
        let stays = reckoning.barred
            && reckoning
                .past
                .last()
                .is_none_or(|(uptime, clean)| !clean || *uptime < window);
        reckoning.barred = stays || count > u32::from(cluster.boot_limit);
        self.tell_barred();
    }

    /// A daemon begins. Too many that follow a crash bar their gateway, too (R12.1).
    pub(crate) fn reckon_start(&mut self, station: usize) {
        let uptime = self.now.since(self.gateways[station].booted_at);
        let cluster = &self.plan.cluster;
        let reckoning = &mut self.observer.reckonings[station];
        match reckoning.ended.take() {
            Some(true) => reckoning.restarts.clear(),
            Some(false) => reckoning.restarts.push(uptime),
            None => {}
        }
        let since = uptime.saturating_sub(cluster.boot_window.0);
        let within = reckoning.restarts.iter().filter(|at| **at >= since);
        reckoning.barred |= within.count() > usize::from(cluster.restart_limit);
        self.tell_barred();
    }

    /// A daemon's life is over.
    pub(crate) fn reckon_end(&mut self, station: usize, in_order: bool) {
        self.observer.reckonings[station].ended = Some(in_order);
    }

    /// An operator's word ends a bar.
    pub(crate) fn operator_cleared(&mut self, station: usize, command: CommandName) {
        if command == CommandName::ClearPacified && self.gateways[station].daemon.is_some() {
            let reckoning = &mut self.observer.reckonings[station];
            reckoning.barred = false;
            reckoning.past.clear();
            reckoning.restarts.clear();
            self.tell_barred();
        }
    }

    /// A barred gateway stays out; unless all are barred and the policy is to serve.
    fn tell_barred(&mut self) {
        let all = self.observer.reckonings.iter().all(|it| it.barred);
        let exempt = all && self.plan.cluster.all_pacified == AllPacified::Serve;
        for station in 0..self.gateways.len() {
            let barred = self.observer.reckonings[station].barred && !exempt;
            if self.observer.say_barred(station, barred) {
                let gateway = self.id(station);
                self.emit(EventKind::Barred { gateway, barred });
            }
        }
    }

    fn tell_power(&mut self, station: usize, state: PowerState) {
        let gateway = self.id(station);
        self.net.version += 1;
        self.emit(EventKind::Power { gateway, state });
    }
}
