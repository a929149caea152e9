//! Faults of wires and switches, carried out on a [`Ground`]: the same verbs with the same meaning
//! as the simulated worlds give them.
//!
//! Everything is kept as a state and [`Wires::settle`] brings the kernel in line: a wire has
//! carrier exactly if its machine has power, nobody shut the port down, and the switch runs (a
//! cable: both ends are so); frames pass unless a rule says no. So faults that overlap end in any
//! order.
//!
//! Rules stand at the switch's end of a wire, on what comes in (from the machine) and what goes out
//! (to it). Dropping on a sender's own way out would be told to the sender as a full buffer.
//!
//! The hard case is the switch with a forward delay: a port that comes up is blocked before it has
//! carrier, and opened when the delay is over, so no frame slips through.
//! Delay, jitter, duplicates and reordering are the business of a [`Relay`] in the wire, which a
//! ground has that was built for it ([`Wiring`](crate::ground::Wiring)).
//! Limit: a switch that ignores moves of a MAC is refused.

mod relay;
mod snare;
mod verbs;

use core::time::Duration;

use steadfast_core::{Instant, MacAddr, NodeId, PortId};
use steadfast_scenarios::format::{Layout, SegmentKind, Share, Verb, Way};
use steadfast_scenarios::{SegmentId, Subject};

use crate::error::LabError;
use crate::ground::{Ground, Plug, Ports, Station};
use crate::nft::{Hook, Nft, Rule, Test, Then};
pub use relay::Relay;
use snare::Snare;
use verbs::{MACS_AT, dropped, hooks, unobserved};
pub use verbs::{is_wires, mends, needs_relay, refuses};

/// Most filters of one run; a scenario with more is refused.
pub const FILTERS_MAX: usize = 64;
/// Most faults that take turns at one time; a scenario with more is refused.
pub const TURNS_MAX: usize = 64;

/// The table of everything but counted filters.
const TABLE: &str = "faults";

/// All wires and switches, as faults have left them.
#[derive(Debug)]
pub struct Wires {
    ends: Vec<End>,
    media: Vec<Medium>,
    filters: Vec<Filter>,
    /// Filters that ever were: their tables' names.
    filter_count: usize,
    /// For steps that strike in the instant of a frame.
    snares: Vec<Snare>,
    turns: Vec<(Instant, Turn)>,
    written: Vec<Rule>,
    nft: Nft,
    /// The gateways' ends, in the order of `ends`, if they are relayed.
    relay: Option<Relay>,
}

/// A port's carrier that came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarrierChange {
    /// Whose port.
    pub gateway: NodeId,
    /// Which.
    pub port: PortId,
    /// Came, or went.
    pub up: bool,
}

#[derive(Debug)]
struct End {
    plug: Plug,
    alive: bool,
    enabled: bool,
    frozen: bool,
    silenced: [bool; 2],
    loss: [u32; 2],
    /// It is plugged into the segment's router, which has power.
    beyond: bool,
    /// The switch does not forward for this port before.
    listening: Option<Instant>,
    /// What the kernel has.
    carrier: bool,
}

#[derive(Debug)]
struct Medium {
    cable: bool,
    observer: MacAddr,
    on: bool,
    mac_filter: bool,
    stp_delay: Duration,
}

#[derive(Debug)]
struct Filter {
    table: String,
    until: Option<Instant>,
}

/// What is left of a fault that takes turns.
#[derive(Clone, Debug)]
struct Turn {
    ends: Vec<usize>,
    left: u32,
    down: Duration,
    up: Duration,
}

impl Wires {
    /// As a ground is built: gateways without power, everything else well.
    ///
    /// # Errors
    /// When there is no packet filter.
    pub fn new(ground: &Ground) -> Result<Self, LabError> {
        let medium = |segment: &steadfast_scenarios::format::Segment| Medium {
            cable: segment.kind == SegmentKind::Cable,
            observer: segment.observer_mac(),
            on: true,
            mac_filter: false,
            stp_delay: segment.stp_delay.0,
        };
        let end = |plug: &Plug| {
            let alive = !matches!(plug.station, Station::Gateway(..));
            End {
                plug: plug.clone(),
                alive,
                enabled: true,
                frozen: false,
                silenced: [false; 2],
                loss: [0; 2],
                beyond: ground.router_of(plug).is_some(),
                listening: None,
                carrier: alive,
            }
        };
        Ok(Self {
            ends: ground.plugs().iter().map(end).collect(),
            media: ground.layout().segments.iter().map(medium).collect(),
            filters: Vec::new(),
            filter_count: 0,
            snares: Vec::new(),
            turns: Vec::new(),
            written: Vec::new(),
            relay: Relay::of(ground)?,
            nft: Nft::open(ground.switch())?,
        })
    }

    /// A gateway gets power, or loses it. Call [`Self::settle`] at once, before anything ends.
    pub fn power(&mut self, gateway: NodeId, on: bool) {
        for place in self.of_gateway(gateway) {
            self.ends[place].alive = on;
        }
    }

    /// A gateway's frames are lost in both directions, or pass again; its carriers stay.
    pub fn freeze(&mut self, gateway: NodeId, frozen: bool) {
        for place in self.of_gateway(gateway) {
            self.ends[place].frozen = frozen;
        }
    }

    /// How ports may come to a boot: laid anew, unless a rule, a snare or a relay hangs on any end.
    pub(crate) fn ports_may_be(&self) -> Ports {
        let ruled = !self.written.is_empty() || !self.filters.is_empty();
        match ruled || !self.snares.is_empty() || self.relay.is_some() {
            true => Ports::Moved,
            false => Ports::Laid,
        }
    }

    /// Begins what a verb means for wires and switches. Verbs about machines mean nothing here.
    /// Call [`Self::settle`] afterwards.
    ///
    /// # Errors
    /// [`LabError::Needs`] for what no lab can do, or this kernel cannot.
    pub fn carry_out(
        &mut self,
        ground: &mut Ground,
        subject: Subject,
        verb: &Verb,
        now: Instant,
    ) -> Result<(), LabError> {
        if let Some(what) = refuses(verb) {
            return Err(LabError::Needs(what.to_owned()));
        }
        if let Subject::Segment(segment) = subject {
            self.on_segment(ground, segment, verb)?;
        }
        let ends = self.ends_of(subject);
        self.on_ends(ground.layout(), &ends, verb, now)
    }

    /// How late the relay was at worst since the last question, if it was.
    pub fn relay_late(&self) -> Option<Duration> {
        self.relay.as_ref().and_then(Relay::late)
    }

    /// When something changes by itself.
    pub fn next_deadline(&self) -> Option<Instant> {
        let turns = self.turns.iter().map(|(at, _)| *at);
        let filters = self.filters.iter().filter_map(|filter| filter.until);
        let ports = self.ends.iter().filter_map(|end| end.listening);
        let snares = self.snared_until();
        turns.chain(filters).chain(ports).chain(snares).min()
    }

    /// Carries out what is due and brings the kernel in line: rules first, then all carriers
    /// together: it takes milliseconds on a busy machine, and whoever loses a cable asks the other
    /// end at once, which must not answer if it has no power. Gives back the gateways' ports whose
    /// carrier changed.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn settle(
        &mut self,
        ground: &mut Ground,
        now: Instant,
    ) -> Result<Vec<CarrierChange>, LabError> {
        self.take_turns(now);
        self.end_filters(now)?;
        self.take_up(now)?;
        let mut wires = Vec::new();
        let mut changes = Vec::new();
        for place in 0..self.ends.len() {
            let up = self.carrier(place);
            let stp_delay = self.medium(place).stp_delay;
            let end = &mut self.ends[place];
            if end.listening.is_some_and(|until| until <= now) || !up {
                end.listening = None;
            }
            if end.carrier == up {
                continue;
            }
            end.carrier = up;
            if up && !end.beyond && !stp_delay.is_zero() {
                end.listening = Some(now.after(stp_delay));
            }
            wires.push((end.plug.index, up));
            if let Station::Gateway(gateway, port) = end.plug.station {
                changes.push(CarrierChange { gateway, port, up });
            }
        }
        self.write_rules()?;
        if !wires.is_empty() {
            ground.enable(&wires)?;
        }
        Ok(changes)
    }

    fn carrier(&self, place: usize) -> bool {
        let own = &self.ends[place];
        let ready = |end: &End| end.alive && end.enabled;
        let medium = self.medium(place);
        let mates = self
            .ends
            .iter()
            .filter(|end| end.plug.segment == own.plug.segment);
        (medium.on || own.beyond) && ready(own) && (!medium.cable || mates.into_iter().all(ready))
    }

    fn medium(&self, place: usize) -> &Medium {
        &self.media[self.ends[place].plug.segment.index()]
    }

    fn of_gateway(&self, id: NodeId) -> Vec<usize> {
        self.places(|plug| matches!(plug.station, Station::Gateway(owner, _) if owner == id))
    }

    fn places(&self, wanted: impl Fn(&Plug) -> bool) -> Vec<usize> {
        let ends = self.ends.iter().enumerate();
        ends.filter(|(_, end)| wanted(&end.plug))
            .map(|(place, _)| place)
            .collect()
    }

    /// The ends a subject means: of a segment, the gateways'.
    fn ends_of(&self, subject: Subject) -> Vec<usize> {
        match subject {
            Subject::Gateway(id) => self.of_gateway(id),
            Subject::Port(id, port) => {
                self.places(|plug| plug.station == Station::Gateway(id, port))
            }
            Subject::Segment(segment) => self.places(|plug| {
                plug.segment == segment && matches!(plug.station, Station::Gateway(..))
            }),
        }
    }

    fn on_ends(
        &mut self,
        layout: &Layout,
        ends: &[usize],
        verb: &Verb,
        now: Instant,
    ) -> Result<(), LabError> {
        match verb {
            Verb::LinkDown => self.enable(ends, false),
            Verb::LinkUp => self.enable(ends, true),
            Verb::Flap { count, down, up } => {
                self.enable(ends, false);
                let turn = Turn {
                    ends: ends.to_vec(),
                    left: (2 * count).saturating_sub(1),
                    down: down.0,
                    up: up.0,
                };
                if self.turns.len() >= TURNS_MAX {
                    return Err(LabError::Needs("fewer ports that flap at once".to_owned()));
                }
                self.turns.push((now.after(down.0), turn));
            }
            Verb::Silence { way } => self.each(ends, *way, |end, hook| end.silenced[hook] = true),
            Verb::Unsilence => self.each(ends, Way::Both, |end, hook| end.silenced[hook] = false),
            Verb::Impair { loss, way, .. } => {
                let Share(parts) = *loss;
                self.each(ends, *way, |end, hook| end.loss[hook] = parts);
                relay::impair(self.relay.as_ref(), ends, verb)?;
            }
            Verb::DropFrames { lasting, way, .. } => {
                let until = lasting.map(|lasting| now.after(lasting.0));
                let tests = |plug: &Plug| dropped(verb, layout, plug);
                self.add_filter(ends, *way, tests, until)?;
            }
            // Carried out elsewhere, or refused: `refuses` lists every verb.
            _ => {}
        }
        Ok(())
    }

    fn on_segment(
        &mut self,
        ground: &mut Ground,
        segment: SegmentId,
        verb: &Verb,
    ) -> Result<(), LabError> {
        let medium = &mut self.media[segment.index()];
        match verb {
            Verb::CablePull | Verb::SwitchOff => medium.on = false,
            Verb::CablePlug => medium.on = true,
            Verb::SwitchOn => {
                medium.on = true;
                ground.forget(segment)?;
            }
            Verb::StpDelay { delay } => medium.stp_delay = delay.0,
            Verb::MacFilter { enabled } => medium.mac_filter = *enabled,
            Verb::SegmentSplit { apart } => {
                let apart = self.indexes(ground.layout(), segment, apart);
                ground.split(segment, &apart)?;
            }
            Verb::SegmentHeal => ground.split(segment, &[])?,
            Verb::Snooping { enabled } => ground.snoop(segment, *enabled)?,
            // As above.
            _ => {}
        }
        Ok(())
    }

    /// The wires of these gateways and hosts on a segment.
    fn indexes(&self, layout: &Layout, segment: SegmentId, names: &[String]) -> Vec<u32> {
        let named = |station: Station| match station {
            Station::Gateway(id, _) => layout
                .gateways
                .iter()
                .any(|gateway| gateway.id == id && names.contains(&gateway.name)),
            Station::Host(id) => names.contains(&layout.hosts[id.index()].name),
            Station::Spare => false,
        };
        let ends = self.ends.iter().map(|end| &end.plug);
        ends.filter(|plug| plug.segment == segment && named(plug.station))
            .map(|plug| plug.plugged)
            .collect()
    }

    fn enable(&mut self, ends: &[usize], on: bool) {
        for place in ends {
            self.ends[*place].enabled = on;
        }
    }

    fn each(&mut self, ends: &[usize], way: Way, mut change: impl FnMut(&mut End, usize)) {
        for place in ends {
            for (_, hook) in hooks(way) {
                change(&mut self.ends[*place], hook);
            }
        }
    }

    fn take_turns(&mut self, now: Instant) {
        let mut place = 0;
        while let Some((at, turn)) = self.turns.get_mut(place) {
            if *at > now {
                place += 1;
                continue;
            }
            let on = turn.left % 2 == 1;
            let ends = turn.ends.clone();
            *at = at.after(if on { turn.up } else { turn.down });
            turn.left = turn.left.saturating_sub(1);
            if turn.left == 0 {
                self.turns.swap_remove(place);
            }
            self.enable(&ends, on);
        }
    }

    fn add_filter(
        &mut self,
        ends: &[usize],
        way: Way,
        tests: impl Fn(&Plug) -> Option<Vec<Test>>,
        until: Option<Instant>,
    ) -> Result<(), LabError> {
        if self.filters.len() >= FILTERS_MAX {
            return Err(LabError::Needs(format!(
                "at most {FILTERS_MAX} filters at once"
            )));
        }
        self.filter_count += 1;
        let table = format!("filter-{}", self.filter_count);
        let rules: Vec<Rule> = ends
            .iter()
            .flat_map(|place| hooks(way).map(move |(hook, _)| (*place, hook)))
            .filter_map(|(place, hook)| {
                let tests = tests(&self.ends[place].plug)?;
                Some(self.rule(place, hook, tests))
            })
            .collect();
        self.nft.write(&table, &rules)?;
        self.filters.push(Filter { table, until });
        Ok(())
    }

    fn end_filters(&mut self, now: Instant) -> Result<(), LabError> {
        let ended = |filter: &Filter| filter.until.is_some_and(|until| until <= now);
        for filter in self.filters.extract_if(.., |filter| ended(filter)) {
            self.nft.write(&filter.table, &[])?;
        }
        Ok(())
    }

    fn rule(&self, place: usize, hook: Hook, tests: Vec<Test>) -> Rule {
        Rule {
            device: self.ends[place].plug.name.clone(),
            hook,
            tests,
            then: Then::Drop,
        }
    }

    fn write_rules(&mut self) -> Result<(), LabError> {
        let mut rules = Vec::new();
        for (place, end) in self.ends.iter().enumerate() {
            let closed = end.frozen || end.listening.is_some();
            for (hook, way) in hooks(Way::Both) {
                if closed || end.silenced[way] {
                    rules.push(self.rule(place, hook, Vec::new()));
                    continue;
                }
                if end.loss[way] > 0 {
                    let observer = self.medium(place).observer;
                    let tests = vec![unobserved(observer, hook), Test::Chance(end.loss[way])];
                    rules.push(self.rule(place, hook, tests));
                }
            }
            let known = !matches!(end.plug.station, Station::Spare);
            if known && self.medium(place).mac_filter {
                let MacAddr(mac) = end.plug.mac;
                let [_, at] = MACS_AT;
                let other = Test::Not {
                    at,
                    bytes: mac,
                    len: 6,
                };
                rules.push(self.rule(place, Hook::In, vec![other]));
            }
        }
        if rules != self.written {
            self.nft.write(TABLE, &rules)?;
            self.written = rules;
        }
        Ok(())
    }
}
