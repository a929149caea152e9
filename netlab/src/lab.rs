//! A lab that stands: its ground, its wires and its machines, and every verb carried out on them.
//!
//! This is where the order of things matters. When power goes, all processes stand still first, or
//! a daemon sees its ports go dark and tells of it; then the ports go dark, all in one batch; and
//! only then the processes die: dying sockets would say goodbye to their peers, which no power
//! failure does. Power comes to a fresh namespace; ports come alive when the boot is over. Freezing
//! stops the processes before it blocks the wires, and thawing opens the wires before they go on:
//! what a daemon says must not fall into a wire that is cut already, for it would count as said.
//!
//! Times are the caller's: [`Lab::next_deadline`] says when something changes by itself, and
//! [`Lab::settle`] carries it out. Limit: verbs that need a daemon's help (commands, disks, slow
//! effects) are the caller's, who knows the daemon.

use core::time::Duration;
use std::net::IpAddr;

use steadfast_core::{Instant, NodeId};
use steadfast_scenarios::format::{Layout, Plan, Verb};
use steadfast_scenarios::stranger::Stranger;
use steadfast_scenarios::trace::FrameKind;
use steadfast_scenarios::{SegmentId, Subject};

mod calls;
mod turns;

use crate::error::{Doing as _, LabError};
use crate::ground::{Ground, Wiring, settings};
use crate::machine::{DaemonEvent, DaemonOrder, Machine, Setup};
use crate::nft::Nft;
use crate::strangers::Strangers;
use crate::wires::{CarrierChange, Wires, is_wires};
use turns::{LAID_AFTER, Turn};

/// From power to a running daemon, as in the simulated worlds.
pub const BOOT_TIME: Duration = Duration::from_millis(800);
/// How long a rebooting box is dark, as in the simulated worlds.
pub const DARK: Duration = Duration::from_millis(200);
/// How long a daemon may take to end before an orderly reboot goes on without it.
pub const LEAVING: Duration = Duration::from_secs(10);

/// Ground, wires and machines.
#[derive(Debug)]
pub struct Lab {
    ground: Ground,
    wires: Wires,
    /// In the layout's order.
    machines: Vec<Slot>,
    /// Whom gateways call.
    hosts: Vec<IpAddr>,
    turns: Vec<(Instant, Turn)>,
    told: Vec<Told>,
    strangers: Option<Strangers>,
}

/// What a lab did, for the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// A port's carrier came or went.
    Carrier(CarrierChange),
    /// Something happened to a daemon, when `CLOCK_MONOTONIC` showed these nanoseconds.
    Daemon(NodeId, DaemonEvent, u64),
    /// A daemon stands still, or goes on.
    Stopped(NodeId, bool),
    /// A box stands still, or goes on.
    Frozen(NodeId, bool),
    /// A daemon was killed; its end is told as well.
    Killed(NodeId),
    /// The relay held frames up for so much longer than it should.
    Late(Duration),
    /// Power is gone.
    PowerOff(NodeId),
    /// Power is back, the kernel not yet up.
    Booting(NodeId),
    /// The kernel is up.
    Booted(NodeId),
    /// The wires of a box that boots were laid anew, dark still: who was bound to the switch's ends
    /// must bind again.
    Laid(NodeId),
}

#[derive(Debug)]
struct Slot {
    id: NodeId,
    machine: Machine,
    power: Power,
    /// Whether the daemon stands still by our doing.
    stopped: bool,
    /// The box reboots when its daemon has ended, at the latest then.
    leaving: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Power {
    Booting,
    Off,
    On,
}

impl Lab {
    /// Builds it, every gateway without power. `setup` says what each runs, by name.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn build(
        layout: &Layout,
        wiring: Wiring,
        mut setup: impl FnMut(&str) -> Setup,
    ) -> Result<Self, LabError> {
        let ground = Ground::build(layout, wiring)?;
        let mut machines = Vec::new();
        for gateway in &layout.gateways {
            let mut machine = Machine::new(&gateway.name, setup(&gateway.name))?;
            if let Some(net) = ground.gateway(gateway.id) {
                machine.ready(net)?;
            }
            machines.push(Slot {
                id: gateway.id,
                machine,
                power: Power::Off,
                stopped: false,
                leaving: None,
            });
        }
        machines.iter().for_each(|it| it.machine.await_ready());
        let hosts = layout.hosts.iter().flat_map(|host| &host.addresses);
        Ok(Self {
            machines,
            hosts: hosts.copied().collect(),
            wires: Wires::new(&ground)?,
            ground,
            turns: Vec::new(),
            told: Vec::new(),
            strangers: None,
        })
    }

    /// Plugs in the strangers whose deeds this plan has among its steps.
    ///
    /// # Errors
    /// No right to open packet sockets.
    pub fn invite(&mut self, plan: &Plan) -> Result<(), LabError> {
        self.strangers = Strangers::of(plan, &self.ground)?;
        Ok(())
    }

    /// Where everything is.
    pub const fn ground(&self) -> &Ground {
        &self.ground
    }

    /// A gateway's machine.
    pub fn machine(&mut self, id: NodeId) -> Option<&mut Machine> {
        let place = self.place(id)?;
        self.machines.get_mut(place).map(|it| &mut it.machine)
    }

    /// Carries a verb out at `now`, as far as it is about wires, switches, power and processes.
    ///
    /// # Errors
    /// [`LabError::Needs`] for what no lab can do; else what the kernel refuses.
    pub fn carry_out(
        &mut self,
        subject: Subject,
        verb: &Verb,
        now: Instant,
    ) -> Result<(), LabError> {
        if is_wires(verb) {
            self.await_wires()?;
        }
        self.wires.carry_out(&mut self.ground, subject, verb, now)?;
        match subject {
            Subject::Gateway(id) => {
                if let Some(place) = self.place(id) {
                    self.on_gateway(place, verb, now)?;
                }
            }
            Subject::Segment(segment) if Stranger::does(verb) => self.strange(segment, verb)?,
            Subject::Port(..) | Subject::Segment(_) => {}
        }
        self.settle(now)
    }

    /// Is ready to strike `subject` in the instant of a frame, before the world knows of it; see
    /// [`Wires::lay`].
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn lay(
        &mut self,
        step: usize,
        subject: Subject,
        verb: &Verb,
        kind: FrameKind,
    ) -> Result<bool, LabError> {
        self.await_wires()?;
        self.wires.lay(step, subject, verb, kind)
    }

    /// That step was carried out; see [`Wires::struck`].
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn struck(&mut self, step: usize, now: Instant) -> Result<bool, LabError> {
        self.wires.struck(step, now)
    }

    /// See [`Wires::sprung_in_vain`].
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn sprung_in_vain(&mut self) -> Result<bool, LabError> {
        self.wires.sprung_in_vain()
    }

    /// Power comes to a gateway: [`BOOT_TIME`] later its daemon is started.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn power_on(&mut self, id: NodeId, now: Instant) -> Result<(), LabError> {
        match self.place(id) {
            Some(place) => self.on(place, now),
            None => Ok(()),
        }
    }

    /// When something changes by itself.
    pub fn next_deadline(&self) -> Option<Instant> {
        let turns = self.turns.iter().map(|(at, _)| *at);
        let leaving = self.machines.iter().filter_map(|it| it.leaving);
        turns.chain(self.wires.next_deadline()).chain(leaving).min()
    }

    /// Carries out what is due and brings the kernel in line.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn settle(&mut self, now: Instant) -> Result<(), LabError> {
        while let Some(place) = self.turns.iter().position(|(at, _)| *at <= now) {
            let (_, turn) = self.turns.swap_remove(place);
            self.take(turn, now)?;
        }
        self.hear();
        for place in 0..self.machines.len() {
            if self.machines[place]
                .leaving
                .is_some_and(|until| until <= now)
            {
                self.reboot(place, now)?;
            }
        }
        self.settle_wires(now)
    }

    /// What happened since the last call, in order.
    pub fn poll_told(&mut self) -> Vec<Told> {
        self.hear();
        self.told.extend(self.wires.relay_late().map(Told::Late));
        core::mem::take(&mut self.told)
    }

    /// Hears what daemons do; the end of one is what an orderly reboot waits for.
    fn hear(&mut self) {
        for it in &mut self.machines {
            while let Some((event, at)) = it.machine.poll_event() {
                self.told.push(Told::Daemon(it.id, event, at));
                if matches!(event, DaemonEvent::Ended(_)) && it.leaving.is_some() {
                    it.leaving = Some(Instant::ORIGIN);
                }
            }
        }
    }

    fn place(&self, id: NodeId) -> Option<usize> {
        self.machines.iter().position(|it| it.id == id)
    }

    fn settle_wires(&mut self, now: Instant) -> Result<(), LabError> {
        let changes = self.wires.settle(&mut self.ground, now)?;
        self.told.extend(changes.into_iter().map(Told::Carrier));
        Ok(())
    }

    fn on_gateway(&mut self, place: usize, verb: &Verb, now: Instant) -> Result<(), LabError> {
        match verb {
            Verb::PowerOff => self.off(place, now)?,
            Verb::PowerOn => self.on(place, now)?,
            Verb::Reboot { clean: true } => {
                self.machines[place].machine.order(DaemonOrder::Quit);
                self.machines[place].leaving = Some(now.after(LEAVING));
            }
            Verb::Reboot { clean: false } => self.reboot(place, now)?,
            Verb::RebootLoop { count, uptime } => {
                let turn = Turn::RebootLoop {
                    place,
                    left: *count,
                    uptime: uptime.0,
                };
                self.take(turn, now)?;
            }
            Verb::Kill => {
                self.machines[place].machine.order(DaemonOrder::Kill);
                // It decides nothing any more, however long its kernel takes to bury it.
                self.told.push(Told::Killed(self.machines[place].id));
            }
            Verb::Quit => self.machines[place].machine.order(DaemonOrder::Quit),
            Verb::Start => self.start(place),
            Verb::Stop => self.stop(place, true),
            Verb::Cont => self.stop(place, false),
            Verb::Stall { lasting } => {
                self.stop(place, true);
                self.later(now.after(lasting.0), Turn::Cont(place))?;
            }
            Verb::Starve {
                runs,
                rests,
                lasting,
            } => {
                let turn = Turn::Starve {
                    place,
                    runs: runs.0,
                    rests: rests.0,
                    until: now.after(lasting.0),
                    running: true,
                };
                self.take(turn, now)?;
            }
            Verb::Freeze { .. } => self.freeze(place, now)?,
            Verb::Thaw => self.thaw(place, now)?,
            Verb::FlushRuleset => self.filter(place)?.flush()?,
            Verb::LoadRuleset { elements } => self.filter(place)?.load("foreign", *elements)?,
            Verb::Call => self.call(place)?,
            // Wires' and the agent's, or refused: `wires::refuses` lists every verb.
            _ => {}
        }
        Ok(())
    }

    /// A segment's stranger does something.
    fn strange(&self, segment: SegmentId, verb: &Verb) -> Result<(), LabError> {
        let uninvited = || LabError::Needs("strangers".to_owned());
        let strangers = self.strangers.as_ref().ok_or_else(uninvited)?;
        let begun = strangers.begin(segment, verb);
        begun.doing(|| format!("have a stranger {}", verb.word()))
    }

    /// The gateway's own program calls every host, each time from the same ports.
    fn call(&self, place: usize) -> Result<(), LabError> {
        let id = self.machines[place].id;
        let needs = || LabError::Needs(format!("a gateway {}", id.0));
        let net = self.ground.gateway(id).ok_or_else(needs)?;
        let hosts = &self.hosts;
        net.run(|| hosts.iter().try_for_each(|host| calls::call(*host)))?
            .doing(|| "call the hosts".to_owned())
    }

    fn filter(&self, place: usize) -> Result<Nft, LabError> {
        let id = self.machines[place].id;
        let needs = || LabError::Needs(format!("a gateway {}", id.0));
        Nft::open(self.ground.gateway(id).ok_or_else(needs)?)
    }

    fn on(&mut self, place: usize, now: Instant) -> Result<(), LabError> {
        if self.machines[place].power != Power::Off {
            return Ok(());
        }
        let id = self.machines[place].id;
        if self.ground.renew(id, self.wires.ports_may_be())? {
            self.told.push(Told::Laid(id));
        }
        if self.ground.is_laying(id) {
            self.later(now.after(LAID_AFTER), Turn::Laid(place))?;
        }
        if let Some(net) = self.ground.gateway(id) {
            self.machines[place].machine.ready(net)?;
        }
        self.machines[place].power = Power::Booting;
        self.told.push(Told::Booting(id));
        self.later(now.after(BOOT_TIME), Turn::Booted(place))
    }

    fn booted(&mut self, place: usize, now: Instant) -> Result<(), LabError> {
        let it = &mut self.machines[place];
        if it.power != Power::Booting {
            return Ok(());
        }
        if let Some(net) = self.ground.gateway(it.id) {
            if !it.machine.setup().forwards {
                settings::apply(net, settings::FORWARDING)?;
            }
            it.machine.boot(net)?;
        }
        it.power = Power::On;
        it.stopped = false;
        self.told.push(Told::Booted(it.id));
        self.wires.power(it.id, true);
        self.settle_wires(now)?;
        self.start(place);
        Ok(())
    }

    fn off(&mut self, place: usize, now: Instant) -> Result<(), LabError> {
        let it = &mut self.machines[place];
        if it.power == Power::Off {
            return Ok(());
        }
        // What multiplies faster than it can be stopped dies all the same.
        let _ = it.machine.freeze();
        self.wires.power(it.id, false);
        let changes = self.wires.settle(&mut self.ground, now)?;
        it.machine.cut();
        it.power = Power::Off;
        it.stopped = false;
        it.leaving = None;
        let id = it.id;
        self.wires.freeze(id, false);
        self.turns.retain(|(_, turn)| turn.boot() != Some(place));
        self.told.extend(changes.into_iter().map(Told::Carrier));
        self.told.push(Told::PowerOff(id));
        Ok(())
    }

    fn reboot(&mut self, place: usize, now: Instant) -> Result<(), LabError> {
        self.off(place, now)?;
        self.later(now.after(DARK), Turn::PowerOn(place))
    }

    fn start(&mut self, place: usize) {
        let it = &mut self.machines[place];
        if it.power == Power::On {
            it.machine.order(DaemonOrder::Start);
        }
    }

    fn stop(&mut self, place: usize, stopped: bool) {
        let it = &mut self.machines[place];
        if it.power != Power::On || it.stopped == stopped {
            return;
        }
        it.stopped = stopped;
        it.machine.order(if stopped {
            DaemonOrder::Stop
        } else {
            DaemonOrder::Cont
        });
        self.told.push(Told::Stopped(it.id, stopped));
    }

    fn freeze(&mut self, place: usize, now: Instant) -> Result<(), LabError> {
        let it = &mut self.machines[place];
        if it.power != Power::On {
            return Ok(());
        }
        it.machine.freeze()?;
        self.wires.freeze(it.id, true);
        let changes = self.wires.settle(&mut self.ground, now)?;
        self.told.push(Told::Frozen(it.id, true));
        self.told.extend(changes.into_iter().map(Told::Carrier));
        Ok(())
    }

    fn thaw(&mut self, place: usize, now: Instant) -> Result<(), LabError> {
        let id = self.machines[place].id;
        self.wires.freeze(id, false);
        self.settle_wires(now)?;
        self.machines[place].machine.thaw();
        self.told.push(Told::Frozen(id, false));
        self.stop(place, false);
        Ok(())
    }
}
