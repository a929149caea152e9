//! The paths between the gateways: what is in flight, and what stops it.
//!
//! Each path keeps order from one sender to one receiver and carries a frame in no time, to whom
//! its station belongs or to all; what is free is the order in which a receiver meets the paths and
//! the senders, and what strikes before it does. A path fails by a port without carrier, which both
//! ends of a cable see, or it parts: nothing passes between some gateways one way or both, and
//! nobody is told. A parted segment is the worst there is: hosts, and the observer among them,
//! still reach every gateway, as behind a switch that keeps its ports apart.

use std::collections::VecDeque;

use steadfast_core::wire::ethernet::{Frame as Ethernet, ethertype};

use super::setup::{CABLE, NODES_MAX, PATHS_MAX, Shape};
use crate::model::Frame;

/// Frames in flight in one direction of one path. Reaching it ends the exploration with an error:
/// a state in which frames breed frames is a fault of the protocol or of the model.
pub(super) const IN_FLIGHT_MAX: usize = 64;

/// Where the counter stands in an advertisement.
const COUNTER_AT: usize = 56;

/// A message of one sender that is to be lost, or is being lost, on every path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Losing {
    /// The next one.
    Next,
    /// This one: its other copies follow.
    Now(u64),
}

/// From whom to whom on which path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Lane {
    pub(super) path: usize,
    pub(super) from: usize,
    pub(super) to: usize,
}

/// All paths.
#[derive(Clone, Debug)]
pub(super) struct Wires {
    pub(super) shape: Shape,
    /// By path, sender and receiver.
    flying: [[[VecDeque<Frame>; NODES_MAX]; NODES_MAX]; PATHS_MAX],
    /// By gateway and path: the port has no carrier.
    pub(super) down: [[bool; PATHS_MAX]; NODES_MAX],
    /// By path, sender and receiver: nothing arrives.
    pub(super) parted: [[[bool; NODES_MAX]; NODES_MAX]; PATHS_MAX],
    /// By sender.
    pub(super) losing: [Option<Losing>; NODES_MAX],
    /// Kinds of the advertisements put on a wire since this was last looked at, bit n is kind n.
    pub(super) said: u16,
    /// More than [`IN_FLIGHT_MAX`] frames were in flight.
    pub(super) overrun: bool,
}

impl Wires {
    /// Every path whole, nothing in flight.
    pub(super) fn new(shape: Shape) -> Self {
        Self {
            shape,
            flying: Default::default(),
            down: Default::default(),
            parted: Default::default(),
            losing: Default::default(),
            said: 0,
            overrun: false,
        }
    }

    /// Every way a frame can go, by path, then receiver, then sender.
    pub(super) fn lanes(&self) -> impl Iterator<Item = Lane> + use<> {
        let Shape { nodes, paths, .. } = self.shape;
        let to_each = move |path| (0..nodes).map(move |to| (path, to));
        let from_each = move |(path, to)| {
            let senders = (0..nodes).filter(move |from| *from != to);
            senders.map(move |from| Lane { path, from, to })
        };
        (0..paths).flat_map(to_each).flat_map(from_each)
    }

    /// The ways between two gateways.
    pub(super) fn lanes_between(
        &self,
        from: usize,
        to: usize,
    ) -> impl Iterator<Item = Lane> + use<> {
        (0..self.shape.paths).map(move |path| Lane { path, from, to })
    }

    /// A gateway puts a frame on a path.
    pub(super) fn put(&mut self, from: usize, path: usize, frame: &Frame) {
        self.said |= kind(frame).map_or(0, |kind| 1_u16.checked_shl(kind.into()).unwrap_or(0));
        if self.loses(from, frame) {
            return;
        }
        let station = self.station(path, frame);
        for to in (0..self.shape.nodes).filter(|to| *to != from) {
            let lane = Lane { path, from, to };
            if station.is_none_or(|owner| owner == to) && self.carries(lane) {
                self.push(lane, frame.clone());
            }
        }
    }

    fn push(&mut self, lane: Lane, frame: Frame) {
        let queue = &mut self.flying[lane.path][lane.from][lane.to];
        if queue.len() >= IN_FLIGHT_MAX {
            self.overrun = true;
        } else {
            queue.push_back(frame);
        }
    }

    /// The gateway that a frame is for alone.
    fn station(&self, path: usize, frame: &Frame) -> Option<usize> {
        let destination = Ethernet::parse(frame)?.destination;
        (0..self.shape.nodes).find(|place| self.shape.macs[*place][path] == destination)
    }

    /// The next frame on a way.
    pub(super) fn head(&self, lane: Lane) -> Option<&Frame> {
        self.flying(lane).front()
    }

    pub(super) fn take(&mut self, lane: Lane) -> Option<Frame> {
        self.flying[lane.path][lane.from][lane.to].pop_front()
    }

    /// Frames in flight on a way, in order.
    pub(super) fn flying(&self, lane: Lane) -> &VecDeque<Frame> {
        &self.flying[lane.path][lane.from][lane.to]
    }

    pub(super) fn idle(&self) -> bool {
        self.lanes().all(|lane| self.flying(lane).is_empty())
    }

    /// Whether what is sent this way reaches the receiver's port.
    pub(super) fn carries(&self, lane: Lane) -> bool {
        let Lane { path, from, to } = lane;
        let open = !self.parted[path][from][to];
        self.has_carrier(from, path) && self.has_carrier(to, path) && open
    }

    /// Whether a port has carrier; a cable's both ends need each other.
    pub(super) fn has_carrier(&self, gateway: usize, path: usize) -> bool {
        let ends = |path: usize| (0..self.shape.nodes).all(|end| !self.down[end][path]);
        !self.down[gateway][path] && (path != CABLE || ends(path))
    }

    /// Whether nothing of what this gateway sends reaches that one.
    pub(super) fn is_unheard(&self, from: usize, to: usize) -> bool {
        self.lanes_between(from, to).all(|lane| !self.carries(lane))
    }

    /// Which ways on a path that are open this would cut, as bits; none if there is none.
    pub(super) fn would_cut(
        &self,
        path: usize,
        cuts: impl Fn(usize, usize) -> bool,
    ) -> Option<u16> {
        let (mut bits, mut bit) = (0_u16, 1_u16);
        for lane in self.lanes().filter(|lane| lane.path == path) {
            if cuts(lane.from, lane.to) && self.carries(lane) {
                bits |= bit;
            }
            bit <<= 1;
        }
        (bits != 0).then_some(bits)
    }

    /// Whether every served port of a gateway works.
    pub(super) fn serves(&self, gateway: usize) -> bool {
        (0..CABLE).all(|path| self.has_carrier(gateway, path))
    }

    /// What was in flight where nothing is carried any more is lost.
    pub(super) fn settle(&mut self) {
        for lane in self.lanes() {
            if !self.carries(lane) {
                self.flying[lane.path][lane.from][lane.to].clear();
            }
        }
    }

    /// What was in flight to a gateway is lost with it; on the cable, in both directions.
    pub(super) fn drop_for(&mut self, gateway: usize) {
        for Lane { path, from, to } in self.lanes() {
            if to == gateway || path == CABLE {
                self.flying[path][from][to].clear();
            }
        }
    }

    fn loses(&mut self, from: usize, frame: &Frame) -> bool {
        let (Some(losing), Some(counter)) = (self.losing[from], counter(frame)) else {
            return false;
        };
        match losing {
            Losing::Next => {
                self.losing[from] = Some(Losing::Now(counter));
                true
            }
            Losing::Now(lost) if lost == counter => true,
            Losing::Now(_) => {
                self.losing[from] = None;
                false
            }
        }
    }
}

/// An advertisement's counter, unverified; none for other frames.
pub(super) fn counter(frame: &[u8]) -> Option<u64> {
    let parsed = Ethernet::parse(frame)?;
    (parsed.ethertype == ethertype::STEADFAST)
        .then(|| {
            frame
                .get(COUNTER_AT..)?
                .first_chunk()
                .map(|bytes| u64::from_be_bytes(*bytes))
        })
        .flatten()
}

/// An advertisement's kind, unverified; none for other frames.
pub(super) fn kind(frame: &[u8]) -> Option<u8> {
    counter(frame)?;
    frame.get(16).copied()
}
