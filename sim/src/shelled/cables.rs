//! Frames on their way between hosts: from the stage to whoever puts them on the wire.
//!
//! The stage decides that a frame leaves; the host it leaves from sends it, as a datagram. Between
//! the two is a lane: a bounded queue and a bell. A datagram says which cable it travels on.

use core::cell::{Cell, RefCell};
use std::collections::VecDeque;

use steadfast_core::PortId;
use tokio::sync::Notify;

use crate::model::Frame;

/// Frames waiting in one lane; further ones are dropped and counted. A run that drops any proves
/// nothing and says so.
pub(crate) const LANE_MAX: usize = 8_192;

/// Bytes before the frame: segment, gateway, port.
const HEADER_LEN: usize = 3;

/// A frame and its cable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    /// The segment's number.
    pub(crate) segment: usize,
    /// The gateway's number.
    pub(crate) station: usize,
    /// The gateway's port.
    pub(crate) port: PortId,
    /// The frame.
    pub(crate) frame: Frame,
}

impl Packet {
    /// As a datagram.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let byte = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
        let mut bytes = vec![byte(self.segment), byte(self.station), self.port.0];
        bytes.extend_from_slice(&self.frame);
        bytes
    }

    /// Read from a datagram; nothing if it is too short to be one.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (header, frame) = bytes.split_first_chunk::<HEADER_LEN>()?;
        let [segment, station, port] = header.map(usize::from);
        Some(Self {
            segment,
            station,
            port: PortId(u8::try_from(port).ok()?),
            frame: Frame::from(frame),
        })
    }
}

/// What leaves one host.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    waiting: RefCell<VecDeque<Packet>>,
    dropped: Cell<u64>,
    bell: Notify,
}

impl Lane {
    fn push(&self, packet: Packet) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= LANE_MAX {
            self.dropped.set(self.dropped.get() + 1);
            return;
        }
        waiting.push_back(packet);
        self.bell.notify_one();
    }

    /// The next that leaves, without waiting.
    pub(crate) fn take(&self) -> Option<Packet> {
        self.waiting.borrow_mut().pop_front()
    }

    /// Waits until something may leave. Cancel safe.
    pub(crate) async fn ready(&self) {
        if self.waiting.borrow().is_empty() {
            self.bell.notified().await;
        }
    }

    /// What waits is lost: its host lost power.
    pub(crate) fn clear(&self) {
        self.waiting.borrow_mut().clear();
    }
}

/// All lanes.
#[derive(Debug)]
pub(crate) struct Cables {
    /// By gateway.
    pub(crate) up: Vec<Lane>,
    /// By segment.
    pub(crate) down: Vec<Lane>,
}

impl Cables {
    /// Empty lanes.
    pub(crate) fn new(gateways: usize, segments: usize) -> Self {
        let lanes = |count| (0..count).map(|_| Lane::default()).collect();
        Self {
            up: lanes(gateways),
            down: lanes(segments),
        }
    }

    /// A frame leaves a gateway.
    pub(crate) fn carry_up(&self, packet: Packet) {
        if let Some(lane) = self.up.get(packet.station) {
            lane.push(packet);
        }
    }

    /// A frame leaves a segment for a gateway.
    pub(crate) fn carry_down(&self, packet: Packet) {
        if let Some(lane) = self.down.get(packet.segment) {
            lane.push(packet);
        }
    }

    /// Frames that found no room.
    pub(crate) fn dropped(&self) -> u64 {
        let lanes = self.up.iter().chain(&self.down);
        lanes.map(|lane| lane.dropped.get()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A datagram gives back what was put in; one that is too short is none.
    #[test]
    fn cables_packet_comes_back_from_its_bytes() {
        let packet = Packet {
            segment: 2,
            station: 1,
            port: PortId(2),
            frame: Frame::from(vec![1, 2, 3]),
        };
        assert_eq!(Packet::parse(&packet.to_bytes()), Some(packet));
        assert_eq!(Packet::parse(&[1, 2]), None);
    }

    /// A lane that is full counts what it drops.
    #[test]
    fn cables_full_lane_counts() {
        let cables = Cables::new(1, 0);
        let packet = Packet {
            segment: 0,
            station: 0,
            port: PortId(0),
            frame: Frame::from(vec![0]),
        };
        for _ in 0..=LANE_MAX {
            cables.carry_up(packet.clone());
        }
        assert_eq!(cables.dropped(), 1);
    }
}
