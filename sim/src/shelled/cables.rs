//! Frames on their way between hosts: from the stage to whoever puts them on the wire.
//!
//! The stage decides that a frame leaves; the host it leaves from sends it, as a datagram. Between
//! the two is a lane: a bounded queue and a bell. A datagram says which cable it travels on.

use core::cell::{Cell, RefCell};
use std::collections::VecDeque;

use steadfast_core::PortId;
use tokio::sync::Notify;

use super::ground::Host;
use crate::model::Frame;

/// Frames waiting in one lane; further ones are dropped and counted. A run that drops any proves
/// nothing and says so.
pub(crate) const LANE_MAX: usize = 8_192;

/// Bytes before the frame: segment, gateway, port.
const HEADER_LEN: usize = 3;
/// Bytes of a datagram after which no further frame is put in.
const BATCH_BYTES: usize = 32 * 1024;

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
    /// Adds it to a datagram, after its length.
    fn add_to(&self, bytes: &mut Vec<u8>) {
        let byte = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
        let length = u16::try_from(HEADER_LEN + self.frame.len()).unwrap_or(u16::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&[byte(self.segment), byte(self.station), self.port.0]);
        bytes.extend_from_slice(&self.frame);
    }

    /// All that a datagram carries, in order; what is cut short is left out.
    pub(crate) fn all_in(mut bytes: &[u8]) -> Vec<Self> {
        let mut packets = Vec::new();
        while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*length));
            let Some((packet, rest)) = rest.split_at_checked(length) else {
                break;
            };
            packets.extend(Self::parse(packet));
            bytes = rest;
        }
        packets
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
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

    /// The next datagram that leaves, without waiting: all that waits for one host, in order.
    pub(crate) fn take(&self, to: impl Fn(&Packet) -> Host) -> Option<(Host, Vec<u8>)> {
        let mut waiting = self.waiting.borrow_mut();
        let host = to(waiting.front()?);
        let mut bytes = Vec::new();
        waiting.retain(|packet| {
            let goes_along = bytes.len() < BATCH_BYTES && to(packet) == host;
            if goes_along {
                packet.add_to(&mut bytes);
            }
            !goes_along
        });
        Some((host, bytes))
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

    fn packet(station: usize, frame: Vec<u8>) -> Packet {
        Packet {
            segment: 0,
            station,
            port: PortId(0),
            frame: Frame::from(frame),
        }
    }

    /// What waits for one host leaves in one datagram, in order, and comes back from it; what is
    /// for another leaves after it. A datagram that is cut short gives what is whole.
    #[test]
    fn cables_frames_come_back_from_their_datagram() {
        let cables = Cables::new(2, 1);
        let sent = [
            packet(0, vec![1, 2, 3]),
            packet(0, vec![4]),
            packet(1, vec![5]),
        ];
        sent.iter().cloned().for_each(|it| cables.carry_down(it));
        let to = |packet: &Packet| Host::Gateway(packet.station);
        let (host, bytes) = cables.down[0].take(to).expect("a datagram");
        assert_eq!(host, Host::Gateway(0));
        assert_eq!(Packet::all_in(&bytes), sent[..2]);
        assert_eq!(Packet::all_in(&bytes[..bytes.len() - 1]), sent[..1]);
        let (host, bytes) = cables.down[0].take(to).expect("a datagram");
        assert_eq!(
            (host, Packet::all_in(&bytes)),
            (Host::Gateway(1), sent[2..].to_vec())
        );
        assert_eq!(cables.down[0].take(to), None);
    }

    /// A lane that is full counts what it drops.
    #[test]
    fn cables_full_lane_counts() {
        let cables = Cables::new(1, 0);
        let packet = packet(0, vec![0]);
        for _ in 0..=LANE_MAX {
            cables.carry_up(packet.clone());
        }
        assert_eq!(cables.dropped(), 1);
    }
}
