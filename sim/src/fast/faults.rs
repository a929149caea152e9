//! Carrying out steps: each verb of a scenario, on the models and boxes of this world.

use core::time::Duration;

use steadfast_core::effect::Command;
use steadfast_core::wire::advert::Kind;
use steadfast_core::wire::ethernet::ethertype;
use steadfast_core::{Instant, PortId, RequestId};
use steadfast_scenarios::format::{
    CommandName, DiskState, EffectMode, Plan, Share, Span, Verb, Way,
};
use steadfast_scenarios::trace::{EventKind, FrameKind, ProcessState};
use steadfast_scenarios::{Picture, Schedule, Subject};

use super::gateway::{ApplyMode, Disk, Order};
use super::world::{Happening, World};
use crate::model::kernel::FlushBy;
use crate::model::link::{Link, Match};

/// How long the packet filter's lock is held for each rule of a large load: 200 000 elements took
/// a few hundred milliseconds.
const LOAD_PER_RULE: Duration = Duration::from_micros(2);

/// What is left of a step that takes time.
#[derive(Clone, Debug)]
pub(super) enum Turn {
    /// The daemon goes on.
    Cont { gateway: usize },
    /// Filters on these ends are lifted.
    EndFilter { ends: Vec<(usize, usize)> },
    /// The ports change their state again.
    Flap { ends: Vec<(usize, usize)>, left: u32, down: Duration, up: Duration },
    /// The kernel obeys at once again.
    Obey { gateway: usize },
    /// Power goes, and comes back in a moment, so many times more.
    RebootLoop { gateway: usize, left: u32, uptime: Duration },
    /// Power comes.
    PowerOn { gateway: usize },
    /// The daemon is given, or denied, the processor.
    Starve { gateway: usize, on: Duration, off: Duration, until: Instant, runs: bool },
}

/// The plan's steps, followed.
#[derive(Clone, Debug)]
pub(super) struct Steps {
    pub(super) schedule: Schedule,
    scheduled_at: Option<Instant>,
}

impl Steps {
    pub(super) fn new(plan: &Plan) -> Self {
        Self { schedule: Schedule::new(plan), scheduled_at: None }
    }
}

impl World<'_> {
    pub(super) fn schedule_steps(&mut self) {
        let next = self.steps.schedule.next_deadline().map(|at| at.max(self.now));
        if let Some(at) = next
            && self.steps.scheduled_at.is_none_or(|known| at < known || known < self.now)
        {
            self.steps.scheduled_at = Some(at);
            self.queue.push(at, Happening::Step { index: 0 });
        }
    }

    /// Runs every step that is due.
    pub(super) fn step_due(&mut self, _index: usize) {
        self.steps.scheduled_at = None;
        self.observe();
        while let Some(due) = self.steps.schedule.poll(self.now, self.observer.picture()) {
            let step = &self.plan.steps[due.index];
            let (name, verb) = (step.name.clone(), step.verb.word());
            let done = due.subject.is_some();
            self.emit(EventKind::Step { name, verb, target: due.target, done });
            self.traffic.burst(due.index, self.now);
            if let Some(subject) = due.subject {
                self.carry_out_step(subject, &step.verb);
            }
            self.observe();
        }
        self.schedule_steps();
        self.schedule_probes();
    }

    /// A frame left a gateway: some step may have waited for it.
    pub(super) fn frame_seen(&mut self, station: usize, kind: FrameKind) {
        if self.steps.schedule.wants_frames() {
            let from = self.id(station);
            let picture: &Picture = self.observer.picture();
            self.steps.schedule.frame_seen(self.now, kind, from, picture);
            self.schedule_steps();
        }
    }

    fn carry_out_step(&mut self, subject: Subject, verb: &Verb) {
        match subject {
            Subject::Gateway(id) => {
                let gateway = self.station_of(id);
                self.on_gateway(gateway, verb);
                self.on_ends(subject, verb);
            }
            Subject::Port(..) => self.on_ends(subject, verb),
            Subject::Segment(segment) => {
                self.on_segment(segment.index(), verb);
                self.on_ends(subject, verb);
            }
        }
        self.net.settle(self.now);
        self.carriers_changed();
    }

    pub(super) fn station_of(&self, id: steadfast_core::NodeId) -> usize {
        let gateways = &self.plan.layout.gateways;
        gateways.iter().position(|gateway| gateway.id == id).unwrap_or_default()
    }

    /// The wire ends a subject means.
    fn ends(&self, subject: Subject) -> Vec<(usize, usize)> {
        let all = |segment: usize| {
            let ends = self.net.media[segment].ends.iter().enumerate();
            ends.map(move |(place, end)| ((segment, place), end.station))
        };
        let everywhere = || (0..self.net.media.len()).flat_map(all);
        match subject {
            Subject::Gateway(id) => {
                let station = self.station_of(id);
                everywhere().filter(|(_, at)| *at == station).map(|(end, _)| end).collect()
            }
            Subject::Port(id, port) => {
                let station = self.station_of(id);
                let segment = usize::from(port.0);
                all(segment).filter(|(_, at)| *at == station).map(|(end, _)| end).collect()
            }
            Subject::Segment(segment) => {
                let gateways = self.gateways.len();
                all(segment.index())
                    .filter(|(_, at)| *at < gateways)
                    .map(|(end, _)| end)
                    .collect()
            }
        }
    }

    fn on_ends(&mut self, subject: Subject, verb: &Verb) {
        let ends = self.ends(subject);
        match verb {
            Verb::LinkDown => self.enable(&ends, false),
            Verb::LinkUp => self.enable(&ends, true),
            Verb::Silence { way } => self.links(&ends, *way, |link| link.blocked = true),
            Verb::Unsilence => self.links(&ends, Way::Both, |link| link.blocked = false),
            Verb::DropFrames { kind, ethertype, count, lasting, way } => {
                let matching = matching(*kind, *ethertype);
                let count = *count;
                self.links(&ends, *way, |link| {
                    // A filter that is full loses nothing more; the scenario's oracles will say so.
                    let _ = link.filter.add(matching, count);
                });
                if let Some(Span(lasting)) = lasting {
                    let turn = Turn::EndFilter { ends };
                    self.queue.push(self.now.after(*lasting), Happening::Turn { turn });
                }
            }
            Verb::Flap { count, down, up } => {
                self.enable(&ends, false);
                let turn = Turn::Flap { ends, left: 2 * count - 1, down: down.0, up: up.0 };
                self.queue.push(self.now.after(down.0), Happening::Turn { turn });
            }
            Verb::Impair { loss, delay, jitter, duplicate, reorder, way } => {
                let (delay, jitter) = (delay.0, jitter.0);
                let parts = [permille(*loss), permille(*duplicate), permille(*reorder)];
                self.links(&ends, *way, |link| {
                    link.jitter = jitter;
                    link.delay = delay.max(link.delay);
                    [link.loss_permille, link.duplicate_permille, link.reorder_permille] = parts;
                });
            }
            _ => {}
        }
    }

    fn enable(&mut self, ends: &[(usize, usize)], on: bool) {
        for (segment, place) in ends {
            self.net.media[*segment].ends[*place].enabled = on;
        }
    }

    fn links(&mut self, ends: &[(usize, usize)], way: Way, mut change: impl FnMut(&mut Link)) {
        for (segment, place) in ends {
            let end = &mut self.net.media[*segment].ends[*place];
            if way != Way::To {
                change(&mut end.out);
            }
            if way != Way::From {
                change(&mut end.back);
            }
        }
    }

    fn on_segment(&mut self, segment: usize, verb: &Verb) {
        match verb {
            Verb::CablePull => self.net.media[segment].on = false,
            Verb::CablePlug => self.net.media[segment].on = true,
            Verb::SwitchOff => self.power_switch(segment, false),
            Verb::SwitchOn => self.power_switch(segment, true),
            Verb::SegmentSplit { apart } => self.split(segment, apart),
            Verb::SegmentHeal => self.change_switch(segment, crate::model::switch::Switch::heal),
            Verb::StpDelay { delay } => {
                let delay = delay.0;
                self.change_switch(segment, |switch| switch.set_forward_delay(delay));
            }
            Verb::MacMoveIgnored { enabled: on } => {
                self.change_switch(segment, |switch| switch.ignore_mac_moves(*on));
            }
            Verb::Snooping { enabled: on } => self.change_switch(segment, |it| it.set_snooping(*on)),
            Verb::MacFilter { enabled: on } => self.filter_macs(segment, *on),
            Verb::Flood { .. }
            | Verb::ForeignSpeaker { .. }
            | Verb::Forge { .. }
            | Verb::Garbage { .. }
            | Verb::Replay { .. }
            | Verb::Thief { .. } => self.start_stranger(segment, verb),
            _ => {}
        }
    }

    fn change_switch(
        &mut self,
        segment: usize,
        change: impl FnOnce(&mut crate::model::switch::Switch),
    ) {
        if let Some(switch) = &mut self.net.media[segment].switch {
            change(switch);
        }
    }

    fn power_switch(&mut self, segment: usize, on: bool) {
        let now = self.now;
        self.net.media[segment].on = on;
        self.change_switch(segment, |switch| switch.set_powered(now, on));
        for host in 0..self.hosts.len() {
            if self.hosts[host].segment == segment {
                self.hosts[host].kernel.set_carrier(PortId(0), on);
                self.host_neighbours(host);
            }
        }
    }

    /// Puts the named gateways and hosts into a partition of their own.
    fn split(&mut self, segment: usize, apart: &[String]) {
        let layout = &self.plan.layout;
        let gateways = layout.gateways.len();
        let station = |name: &String| {
            let gateway = layout.gateways.iter().position(|gateway| gateway.name == *name);
            let host = layout.hosts.iter().position(|host| host.name == *name);
            gateway.or(host.map(|host| gateways + host))
        };
        let apart: Vec<usize> = apart.iter().filter_map(station).collect();
        let ends = &self.net.media[segment].ends;
        let parts: Vec<u8> = ends.iter().map(|end| apart.contains(&end.station).into()).collect();
        self.change_switch(segment, |switch| switch.split(&parts));
    }

    fn filter_macs(&mut self, segment: usize, on: bool) {
        let layout = &self.plan.layout;
        let mac = |station: usize| {
            let gateway = layout.gateways.get(station);
            let port = gateway.and_then(|it| it.ports.iter().find(|port| port.segment.index() == segment));
            let host = station.checked_sub(layout.gateways.len());
            let host = host.and_then(|host| layout.hosts.get(host)).map(|host| host.mac);
            port.map(|port| port.mac).or(host)
        };
        let allowed: Vec<_> =
            self.net.media[segment].ends.iter().map(|end| mac(end.station)).collect();
        self.change_switch(segment, |switch| {
            for (place, mac) in allowed.into_iter().enumerate() {
                switch.restrict_source(place, mac.filter(|_| on));
            }
        });
    }

    fn on_gateway(&mut self, gateway: usize, verb: &Verb) {
        match verb {
            Verb::PowerOff => self.power_off(gateway),
            Verb::PowerOn => self.power_on(gateway),
            Verb::Reboot { clean } => self.reboot(gateway, *clean),
            Verb::RebootLoop { count, uptime } => {
                let turn = Turn::RebootLoop { gateway, left: *count, uptime: uptime.0 };
                self.turn_due(turn);
            }
            Verb::Kill => self.kill(gateway),
            Verb::Start => self.start_daemon(gateway),
            Verb::Quit => self.order(gateway, Order::Shutdown),
            Verb::Stop => self.stop(gateway),
            Verb::Cont => self.cont(gateway),
            Verb::Stall { lasting } => {
                self.stop(gateway);
                let turn = Turn::Cont { gateway };
                self.queue.push(self.now.after(lasting.0), Happening::Turn { turn });
            }
            Verb::Starve { runs: on, rests: off, lasting } => {
                let until = self.now.after(lasting.0);
                let (on, off) = (on.0, off.0);
                self.turn_due(Turn::Starve { gateway, on, off, until, runs: true });
            }
            Verb::Freeze { .. } | Verb::Thaw => self.freeze(gateway, verb),
            Verb::Disk { state } => self.gateways[gateway].disk = disk(*state),
            Verb::Apply { mode, by } => self.gateways[gateway].apply = apply(*mode, by.0),
            Verb::LoadRuleset { rules } => {
                let held = LOAD_PER_RULE * *rules;
                self.gateways[gateway].apply = ApplyMode::Slow(held);
                let turn = Turn::Obey { gateway };
                self.queue.push(self.now.after(held), Happening::Turn { turn });
            }
            Verb::FlushRuleset => self.gateways[gateway].kernel.flush_ruleset(FlushBy::Foreign),
            Verb::Command { command } => {
                self.requests += 1;
                let request = RequestId(self.requests);
                self.order(gateway, Order::Command(request, core_command(*command)));
                self.operator_cleared(gateway, *command);
            }
            Verb::Lie { role } => {
                let role = role.map(|word| word.0);
                self.observer.lie(gateway, role);
                let gateway = self.id(gateway);
                self.emit(EventKind::RoleLie { gateway, role });
            }
            // The core is given no wall clock: nothing a clock does can reach a decision (F10).
            Verb::ClockSkew { .. } | Verb::ClockStep { .. } => {}
            _ => {}
        }
    }

    fn order(&mut self, gateway: usize, order: Order) {
        if let Some(daemon) = &mut self.gateways[gateway].daemon {
            daemon.orders.push_back(order);
            self.wake_soon(gateway);
        }
    }

    /// The daemon is stopped and does not know it.
    pub(super) fn stop(&mut self, gateway: usize) {
        if let Some(daemon) = &mut self.gateways[gateway].daemon {
            daemon.stopped = true;
            self.tell_process(gateway, ProcessState::Stopped);
        }
    }

    /// The daemon goes on, and its threads finish what they had begun.
    pub(super) fn cont(&mut self, gateway: usize) {
        let now = self.now;
        let Some(daemon) = self.gateways[gateway].daemon.as_mut().filter(|it| it.stopped) else {
            return;
        };
        daemon.stopped = false;
        daemon.wake_at = None;
        let life = daemon.life;
        let apply = daemon.apply.as_ref().map(|waiting| waiting.op);
        let persist = daemon.persist.as_ref().map(|waiting| waiting.op);
        if let Some(op) = apply {
            self.queue.push(now, Happening::ApplyDue { gateway, life, op });
        }
        if let Some(op) = persist {
            self.queue.push(now, Happening::PersistDue { gateway, life, op });
        }
        self.queue.push(now, Happening::EachSecond { gateway, life });
        self.tell_process(gateway, ProcessState::Running);
        self.see_links(gateway);
        self.wake_soon(gateway);
    }

    /// The next part of a step that takes time.
    pub(super) fn turn_due(&mut self, turn: Turn) {
        let again = |at, turn| (at, Happening::Turn { turn });
        let next = match turn {
            Turn::Cont { gateway } => {
                self.cont(gateway);
                None
            }
            Turn::EndFilter { ends } => {
                self.links(&ends, Way::Both, |link| link.filter.clear());
                None
            }
            Turn::Flap { ends, left, down, up } => {
                let on = left % 2 == 1;
                self.enable(&ends, on);
                let wait = if on { up } else { down };
                let turn = Turn::Flap { ends, left: left.saturating_sub(1), down, up };
                (left > 1).then(|| again(self.now.after(wait), turn))
            }
            Turn::Obey { gateway } => {
                self.gateways[gateway].apply = ApplyMode::Ok;
                None
            }
            Turn::PowerOn { gateway } => {
                self.power_on(gateway);
                None
            }
            Turn::RebootLoop { gateway, left, uptime } => {
                self.reboot(gateway, false);
                let turn = Turn::RebootLoop { gateway, left: left.saturating_sub(1), uptime };
                let wait = uptime + super::power::DARK + super::power::BOOT_TIME;
                (left > 1).then(|| again(self.now.after(wait), turn))
            }
            Turn::Starve { gateway, on, off, until, runs } => {
                if !runs || self.now >= until {
                    self.cont(gateway);
                } else {
                    self.stop(gateway);
                }
                let wait = if runs { off } else { on };
                let turn = Turn::Starve { gateway, on, off, until, runs: !runs };
                (self.now < until).then(|| again(self.now.after(wait), turn))
            }
        };
        if let Some((at, happening)) = next {
            self.queue.push(at, happening);
        }
        self.net.settle(self.now);
        self.carriers_changed();
    }
}

fn matching(kind: Option<FrameKind>, wanted: Option<u16>) -> Match {
    let Some(kind) = kind else {
        return wanted.map_or(Match::Any, Match::EtherType);
    };
    let kind = match kind {
        FrameKind::Advert => Kind::Advert,
        FrameKind::Answer => Kind::Answer,
        FrameKind::Claim => Kind::Claim,
        FrameKind::Decline => Kind::Decline,
        FrameKind::LetGo => Kind::LetGo,
        FrameKind::Offer => Kind::Offer,
        FrameKind::Prepare => Kind::Prepare,
        FrameKind::Probe => Kind::Probe,
        FrameKind::Ready => Kind::Ready,
        FrameKind::Released => Kind::Released,
        FrameKind::Request => Kind::Request,
        FrameKind::Arp => return Match::EtherType(ethertype::ARP),
        FrameKind::Ndisc => return Match::EtherType(ethertype::IPV6),
        FrameKind::Vrrp => return Match::EtherType(ethertype::IPV4),
    };
    Match::Kind(kind.byte())
}

fn permille(share: Share) -> u16 {
    u16::try_from(share.0 / 1000).unwrap_or(1000)
}

fn disk(state: DiskState) -> Disk {
    match state {
        DiskState::Full | DiskState::Readonly => Disk::Failing,
        DiskState::Ok => Disk::Ok,
        DiskState::Slow => Disk::Slow,
        DiskState::Torn => Disk::Torn,
    }
}

fn apply(mode: EffectMode, by: Duration) -> ApplyMode {
    match mode {
        EffectMode::Fail => ApplyMode::Failing,
        EffectMode::Ok => ApplyMode::Ok,
        EffectMode::Slow => ApplyMode::Slow(by),
    }
}

fn core_command(command: CommandName) -> Command {
    match command {
        CommandName::ClearPacified => Command::ClearPacified,
        CommandName::Enable => Command::Enable,
        CommandName::MaintenanceOff => Command::MaintenanceOff,
        CommandName::MaintenanceOn => Command::MaintenanceOn,
        CommandName::Release => Command::Release,
        CommandName::Takeover => Command::TakeOver,
    }
}
