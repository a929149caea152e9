//! The picture: what the wire has shown so far.
//!
//! Everything that oracles and schedules ask ("who answers for this address?") is kept here once,
//! updated event by event. A state holds from its event until the next *later* event: what changes
//! and changes back at one instant was never there, so the order in which a world tells of
//! simultaneous changes cannot make a verdict.
//!
//! Limit: events about gateways, segments or addresses that the names do not list are counted in
//! [`Picture::strange_count`] and otherwise ignored; so are events that are earlier than the last,
//! which then count as simultaneous with it.

use std::collections::{BTreeMap, BTreeSet};

use steadfast_core::role::EffectiveRole;
use steadfast_core::{Instant, NodeId, PortId};

use crate::ids::{HostId, SegmentId};
use crate::trace::{Event, EventKind, FrameKind, Holder, Names, PowerState, ProcessState};

/// What the wire has shown so far.
#[derive(Clone, Debug)]
pub struct Picture {
    names: Names,
    now: Instant,
    version: u64,
    strange_count: u64,
    gateways: Vec<GatewayView>,
    segments: Vec<SegmentView>,
    neighbours: BTreeMap<(HostId, u16), Holder>,
}

/// What is known of one gateway.
#[derive(Clone, Debug)]
pub struct GatewayView {
    /// Its number.
    pub id: NodeId,
    /// Its power.
    pub power: PowerState,
    /// Its daemon.
    pub process: ProcessState,
    /// Whether the box stands still.
    pub frozen: bool,
    /// Whether the world declared it barred (R12.1).
    pub barred: bool,
    /// Since when its daemon or its box has not run; none while it runs.
    pub down_since: Option<Instant>,
    /// What its status last said; none when its daemon is gone.
    pub status: Option<StatusView>,
    /// When it last offered the role while it held it; none once it released, or boots again.
    pub offered_at: Option<Instant>,
    /// When it last claimed the role on any wire; none once it boots again.
    pub claimed_at: Option<Instant>,
    /// Its ports, as far as anything was told of them.
    pub ports: BTreeMap<PortId, PortView>,
}

/// What is known of a gateway's port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortView {
    /// Whether it has carrier.
    pub up: bool,
    /// What its node's status says of that; none when its daemon is gone.
    pub said: Option<bool>,
}

impl StatusView {
    /// What a status event says; none of another one.
    const fn said(event: &Event) -> Option<Self> {
        let EventKind::Status { role, since, .. } = event.kind else {
            return None;
        };
        let said_at = event.at;
        Some(Self {
            role,
            said_at,
            since,
        })
    }
}

impl GatewayView {
    /// Whether its daemon can act: powered, running, neither stopped nor frozen.
    pub fn runs(&self) -> bool {
        self.down_since.is_none()
    }

    fn port(&mut self, port: PortId) -> &mut PortView {
        self.ports.entry(port).or_default()
    }
}

/// What a status said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusView {
    /// The role.
    pub role: EffectiveRole,
    /// When it was said.
    pub said_at: Instant,
    /// Since when the role is so, in the node's own words.
    pub since: Instant,
}

/// Who answers for one virtual address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// More than one gateway.
    Contested,
    /// Nobody.
    Nobody,
    /// This gateway alone.
    Sole(NodeId),
}

#[derive(Clone, Debug)]
struct SegmentView {
    /// How many gateways answer, by address.
    owner_counts: Vec<u8>,
    contested_count: usize,
    unowned_count: usize,
    /// By the gateway's position.
    cells: Vec<Cell>,
    switch_port: Holder,
}

/// What one gateway does on one segment.
#[derive(Clone, Debug, Default)]
struct Cell {
    reachable: bool,
    answers: BTreeSet<u16>,
    /// When it last answered for anything and then no more.
    stopped_at: Option<Instant>,
}

impl Picture {
    /// Nothing seen yet.
    pub fn new(names: &Names) -> Self {
        let gateways = names.gateways.iter().map(|gateway| GatewayView {
            id: gateway.id,
            power: PowerState::Off,
            process: ProcessState::Killed,
            frozen: false,
            barred: false,
            down_since: Some(Instant::ORIGIN),
            status: None,
            offered_at: None,
            claimed_at: None,
            ports: BTreeMap::new(),
        });
        let segments = names.segments.iter().map(|segment| SegmentView {
            owner_counts: vec![0; usize::from(segment.addresses)],
            contested_count: 0,
            unowned_count: usize::from(segment.addresses),
            cells: vec![Cell::default(); names.gateways.len()],
            switch_port: Holder::Nobody,
        });
        Self {
            now: Instant::ORIGIN,
            version: 0,
            strange_count: 0,
            gateways: gateways.collect(),
            segments: segments.collect(),
            neighbours: BTreeMap::new(),
            names: names.clone(),
        }
    }

    /// Takes one event in.
    pub fn observe(&mut self, event: &Event) {
        let backwards = event.at < self.now;
        self.now = self.now.max(event.at);
        if !self.take(event) || backwards {
            self.strange_count += 1;
        }
    }

    /// What the numbers are called.
    pub const fn names(&self) -> &Names {
        &self.names
    }

    /// The time of the latest event.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Grows whenever any state changed; probes change none.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Events about things that have no name, or out of their order.
    pub const fn strange_count(&self) -> u64 {
        self.strange_count
    }

    /// All gateways, in order of node id.
    pub fn gateways(&self) -> &[GatewayView] {
        &self.gateways
    }

    /// One gateway.
    pub fn gateway(&self, id: NodeId) -> Option<&GatewayView> {
        self.gateways.iter().find(|gateway| gateway.id == id)
    }

    /// The segments on which virtual addresses live.
    pub fn served(&self) -> impl Iterator<Item = SegmentId> + '_ {
        let ids = (0..).map(SegmentId).zip(&self.segments);
        ids.filter(|(_, segment)| !segment.owner_counts.is_empty())
            .map(|(id, _)| id)
    }

    /// How many virtual addresses live on a segment.
    pub fn address_count(&self, segment: SegmentId) -> u16 {
        self.names
            .segments
            .get(segment.index())
            .map_or(0, |segment| segment.addresses)
    }

    /// Whether the observer hears this gateway's unit address.
    pub fn reachable(&self, segment: SegmentId, gateway: NodeId) -> bool {
        self.cell(segment, gateway)
            .is_some_and(|cell| cell.reachable)
    }

    /// How many virtual addresses this gateway answers for.
    pub fn answer_count(&self, segment: SegmentId, gateway: NodeId) -> usize {
        self.cell(segment, gateway)
            .map_or(0, |cell| cell.answers.len())
    }

    /// When this gateway stopped answering for anything; none if it answers or never did.
    pub fn stopped_at(&self, segment: SegmentId, gateway: NodeId) -> Option<Instant> {
        self.cell(segment, gateway).and_then(|cell| cell.stopped_at)
    }

    /// Whether any address of this segment is answered for by more than one gateway.
    pub fn contested(&self, segment: SegmentId) -> bool {
        self.segments
            .get(segment.index())
            .is_some_and(|it| it.contested_count > 0)
    }

    /// Whether any address of this segment is answered for by nobody.
    pub fn unowned(&self, segment: SegmentId) -> bool {
        self.segments
            .get(segment.index())
            .is_some_and(|it| it.unowned_count > 0)
    }

    /// Who answers for one address.
    pub fn ownership(&self, segment: SegmentId, address: u16) -> Ownership {
        let mut owners = self.owners(segment, address);
        match (owners.next(), owners.next()) {
            (None, _) => Ownership::Nobody,
            (Some(owner), None) => Ownership::Sole(owner),
            (Some(_), Some(_)) => Ownership::Contested,
        }
    }

    /// All who answer for one address.
    pub fn owners(&self, segment: SegmentId, address: u16) -> impl Iterator<Item = NodeId> + '_ {
        let cells = self
            .segments
            .get(segment.index())
            .map_or(&[][..], |it| &it.cells);
        let gateways = self.gateways.iter().zip(cells);
        gateways
            .filter(move |(_, cell)| cell.answers.contains(&address))
            .map(|(gateway, _)| gateway.id)
    }

    /// The one gateway that answers for every address of a segment, nobody else for any.
    pub fn sole_owner(&self, segment: SegmentId) -> Option<NodeId> {
        let view = self.segments.get(segment.index())?;
        if view.contested_count > 0 || view.unowned_count > 0 {
            return None;
        }
        let full = |cell: &Cell| cell.answers.len() == view.owner_counts.len();
        let position = view.cells.iter().position(full)?;
        self.gateways.get(position).map(|gateway| gateway.id)
    }

    /// The gateway that answers for most virtual addresses; the lower id of equals.
    pub fn active(&self) -> Option<NodeId> {
        let count = |id: NodeId| -> usize {
            self.served()
                .map(|segment| self.answer_count(segment, id))
                .sum()
        };
        let counted = self
            .gateways
            .iter()
            .map(|gateway| (count(gateway.id), gateway.id));
        let owning = counted.filter(|(count, _)| *count > 0);
        owning
            .max_by_key(|(count, id)| (*count, core::cmp::Reverse(*id)))
            .map(|(_, id)| id)
    }

    /// The gateway that runs and is not the active one; the lower id of several.
    pub fn standby(&self) -> Option<NodeId> {
        let active = self.active();
        let ready = |gateway: &&GatewayView| gateway.runs() && Some(gateway.id) != active;
        self.gateways.iter().find(ready).map(|gateway| gateway.id)
    }

    /// All neighbour entries for virtual addresses.
    pub fn neighbours(&self) -> impl Iterator<Item = (HostId, u16, Holder)> + '_ {
        self.neighbours
            .iter()
            .map(|((host, address), holder)| (*host, *address, *holder))
    }

    /// Where a segment's switch sends frames for the virtual MAC.
    pub fn switch_port(&self, segment: SegmentId) -> Holder {
        self.segments
            .get(segment.index())
            .map_or(Holder::Nobody, |it| it.switch_port)
    }

    /// The segment a host is on.
    pub fn segment_of(&self, host: HostId) -> Option<SegmentId> {
        self.names.hosts.get(host.index()).map(|host| host.segment)
    }

    fn cell(&self, segment: SegmentId, gateway: NodeId) -> Option<&Cell> {
        let position = self.position(gateway)?;
        self.segments.get(segment.index())?.cells.get(position)
    }

    fn position(&self, gateway: NodeId) -> Option<usize> {
        self.gateways.iter().position(|view| view.id == gateway)
    }

    /// Whether the event was about known things.
    fn take(&mut self, event: &Event) -> bool {
        let at = event.at;
        let changed = match &event.kind {
            EventKind::Owner {
                segment,
                gateway,
                address,
                answered,
            } => self.take_owner(at, *segment, *gateway, *address, *answered),
            EventKind::Reachable {
                segment,
                gateway,
                reachable,
            } => {
                let position = self.position(*gateway);
                let view = self.segments.get_mut(segment.index());
                let cell = view.zip(position).and_then(|(it, at)| it.cells.get_mut(at));
                cell.map(|cell| cell.reachable = *reachable)
            }
            EventKind::Neighbour {
                host,
                address,
                holder,
            } => {
                let known = self.names.hosts.get(host.index()).is_some();
                known.then(|| {
                    self.neighbours.insert((*host, *address), *holder);
                })
            }
            EventKind::SwitchPort { segment, holder } => {
                let segment = self.segments.get_mut(segment.index());
                segment.map(|it| it.switch_port = *holder)
            }
            EventKind::HandoverFrame { kind, from, .. } => self.take_handover(at, *kind, *from),
            EventKind::Power { gateway, state } => {
                self.with_gateway(at, *gateway, |view| view.power = *state)
            }
            EventKind::Process { gateway, state } => {
                self.with_gateway(at, *gateway, |view| view.process = *state)
            }
            EventKind::Frozen { gateway, frozen } => {
                self.with_gateway(at, *gateway, |view| view.frozen = *frozen)
            }
            EventKind::Barred { gateway, barred } => {
                self.with_gateway(at, *gateway, |view| view.barred = *barred)
            }
            EventKind::Status { gateway, .. } => {
                let status = StatusView::said(event);
                self.with_gateway(at, *gateway, |view| view.status = status)
            }
            EventKind::Carrier { gateway, port, up } => {
                self.with_gateway(at, *gateway, |view| view.port(*port).up = *up)
            }
            EventKind::PortStatus { gateway, port, up } => {
                self.with_gateway(at, *gateway, |view| view.port(*port).said = Some(*up))
            }
            EventKind::Alert { .. }
            | EventKind::Apply { .. }
            | EventKind::Blind { .. }
            | EventKind::End
            | EventKind::Holds { .. }
            | EventKind::Hook { .. }
            | EventKind::Names(_)
            | EventKind::PeerStatus { .. }
            | EventKind::ProbeReceived { .. }
            | EventKind::ProbeSent { .. }
            | EventKind::RoleLie { .. }
            | EventKind::Step { .. }
            | EventKind::Trouble { .. }
            | EventKind::Call { .. }
            | EventKind::VirtualSource { .. } => return true,
        };
        self.version += 1;
        changed.is_some()
    }

    fn take_owner(
        &mut self,
        at: Instant,
        segment: SegmentId,
        gateway: NodeId,
        address: u16,
        answered: bool,
    ) -> Option<()> {
        let position = self.position(gateway)?;
        let view = self.segments.get_mut(segment.index())?;
        let count = view.owner_counts.get_mut(usize::from(address))?;
        let cell = view.cells.get_mut(position)?;
        let before = *count;
        if answered {
            if cell.answers.insert(address) {
                *count += 1;
            }
            cell.stopped_at = None;
        } else if cell.answers.remove(&address) {
            *count -= 1;
            if cell.answers.is_empty() {
                cell.stopped_at = Some(at);
            }
        }
        let after = *count;
        view.contested_count += usize::from(before < 2 && after == 2);
        view.contested_count -= usize::from(before == 2 && after < 2);
        view.unowned_count += usize::from(before > 0 && after == 0);
        view.unowned_count -= usize::from(before == 0 && after > 0);
        Some(())
    }

    /// Only who holds an address can offer it; RELEASED ends the offer (D10).
    fn take_handover(&mut self, at: Instant, kind: FrameKind, from: NodeId) -> Option<()> {
        let holds = self
            .served()
            .any(|segment| self.answer_count(segment, from) > 0);
        self.with_gateway(at, from, |view| match kind {
            FrameKind::Offer if holds => view.offered_at = Some(at),
            FrameKind::Released => view.offered_at = None,
            FrameKind::Claim => view.claimed_at = Some(at),
            _ => {}
        })
    }

    fn with_gateway(
        &mut self,
        at: Instant,
        gateway: NodeId,
        change: impl FnOnce(&mut GatewayView),
    ) -> Option<()> {
        let view = self.gateways.iter_mut().find(|view| view.id == gateway)?;
        change(view);
        let powered = view.power == PowerState::Running;
        let runs = powered && view.process == ProcessState::Running && !view.frozen;
        if runs {
            view.down_since = None;
        } else {
            view.down_since.get_or_insert(at);
        }
        if !powered || view.process == ProcessState::Killed {
            view.status = None;
            view.ports.values_mut().for_each(|port| port.said = None);
        }
        // A box that went dark answers nothing, though the last answer still stands in the
        // picture: what excuses that answer stays as long.
        if view.power == PowerState::Booting {
            view.offered_at = None;
            view.claimed_at = None;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests;
