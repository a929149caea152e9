//! Three paths between two gateways: what is in flight, and what stops it.
//!
//! Each path keeps order in each direction and carries a frame in no time; what is free is the
//! order in which a receiver meets the paths, and what strikes before it does. A path fails by a
//! port without carrier, which both ends of a cable see, or it parts: nothing passes between the
//! gateways one way or both, and nobody is told. A parted segment is the worst there is: hosts,
//! and the observer among them, still reach both gateways, as behind a switch that keeps its ports
//! apart.

use std::collections::VecDeque;

use steadfast_core::wire::ethernet::{Frame as Ethernet, ethertype};

use super::setup::{CABLE, NODES, PATHS};
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

/// All paths.
#[derive(Clone, Debug, Default)]
pub(super) struct Wires {
    /// By path and receiver.
    flying: [[VecDeque<Frame>; NODES]; PATHS],
    /// By gateway and path: the port has no carrier.
    pub(super) down: [[bool; PATHS]; NODES],
    /// By path and sender: nothing arrives.
    pub(super) parted: [[bool; NODES]; PATHS],
    /// By sender.
    pub(super) losing: [Option<Losing>; NODES],
    /// Kinds of the advertisements put on a wire since this was last looked at, bit n is kind n.
    pub(super) said: u16,
    /// More than [`IN_FLIGHT_MAX`] frames were in flight.
    pub(super) overrun: bool,
}

impl Wires {
    /// A gateway puts a frame on a path.
    pub(super) fn put(&mut self, from: usize, path: usize, frame: Frame) {
        self.said |= kind(&frame).map_or(0, |kind| 1_u16.checked_shl(kind.into()).unwrap_or(0));
        let to = 1 - from;
        if self.loses(from, &frame) || !self.carries(from, path) {
            return;
        }
        let queue = &mut self.flying[path][to];
        if queue.len() >= IN_FLIGHT_MAX {
            self.overrun = true;
        } else {
            queue.push_back(frame);
        }
    }

    /// The next frame for a gateway on a path.
    pub(super) fn head(&self, path: usize, to: usize) -> Option<&Frame> {
        self.flying[path][to].front()
    }

    pub(super) fn take(&mut self, path: usize, to: usize) -> Option<Frame> {
        self.flying[path][to].pop_front()
    }

    /// Frames in flight to a gateway on a path, in order.
    pub(super) fn flying(&self, path: usize, to: usize) -> impl Iterator<Item = &Frame> {
        self.flying[path][to].iter()
    }

    pub(super) fn idle(&self) -> bool {
        self.flying.iter().flatten().all(VecDeque::is_empty)
    }

    /// Whether what this gateway sends on a path reaches the other's port.
    pub(super) fn carries(&self, from: usize, path: usize) -> bool {
        self.has_carrier(from, path) && self.has_carrier(1 - from, path) && !self.parted[path][from]
    }

    /// Whether a port has carrier; a cable's both ends need each other.
    pub(super) fn has_carrier(&self, gateway: usize, path: usize) -> bool {
        !self.down[gateway][path] && (path != CABLE || !self.down[1 - gateway][path])
    }

    /// Whether nothing of what this gateway sends reaches the other one.
    pub(super) fn is_unheard(&self, from: usize) -> bool {
        (0..PATHS).all(|path| !self.carries(from, path))
    }

    /// Whether every served port of a gateway works.
    pub(super) fn serves(&self, gateway: usize) -> bool {
        (0..CABLE).all(|path| self.has_carrier(gateway, path))
    }

    /// What was in flight where nothing is carried any more is lost.
    pub(super) fn settle(&mut self) {
        for path in 0..PATHS {
            for to in 0..NODES {
                if !self.carries(1 - to, path) {
                    self.flying[path][to].clear();
                }
            }
        }
    }

    /// What was in flight to a gateway is lost with it; on the cable, in both directions.
    pub(super) fn drop_for(&mut self, gateway: usize) {
        for path in 0..PATHS {
            self.flying[path][gateway].clear();
        }
        self.flying[CABLE][1 - gateway].clear();
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
