//! What a kernel call produced: frames for the wire, datagrams for programs, copies for sockets.

use core::net::IpAddr;

use steadfast_core::{MacAddr, PortId};

use super::super::Frame;
use super::packet::{ECHO_LEN, protocol};

/// Filled by the kernel's calls, emptied by the caller. One call adds at most one delivery, one
/// captured frame, and as many frames as one reply plus the packets that waited for one neighbour
/// (a tick: one frame per neighbour entry).
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    /// Frames that left a port, with carrier and past the egress hooks.
    pub frames: Vec<(PortId, Frame)>,
    /// Packets addressed to this machine.
    pub delivered: Vec<Delivered>,
    /// What the daemon's packet sockets saw, before any fence.
    pub captured: Vec<(PortId, Frame)>,
    /// Where packets are built before they are shared.
    pub(super) scratch: Vec<u8>,
}

impl Outbox {
    /// Forgets everything, keeping the room.
    pub fn clear(&mut self) {
        self.frames.clear();
        self.delivered.clear();
        self.captured.clear();
    }
}

/// A packet that reached a program on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Delivered {
    /// The port it came in on; the address's own port when the machine sent it to itself.
    pub port: PortId,
    /// Its sender.
    pub source: IpAddr,
    /// The local address it was sent to.
    pub destination: IpAddr,
    /// IP protocol: 253 for datagrams, 1 or 58 for the answer to an echo.
    pub protocol: u8,
    /// The station that put the frame on this segment: the last hop.
    pub via: MacAddr,
    pub(super) frame: Frame,
    pub(super) payload: (usize, usize),
}

impl Delivered {
    /// What the sender sent: a datagram's payload, or an echo's body.
    pub fn payload(&self) -> &[u8] {
        let (from, to) = self.payload;
        let head = match self.protocol {
            protocol::ICMP | protocol::ICMPV6 => ECHO_LEN,
            _ => 0,
        };
        self.frame.get(from + head..to).unwrap_or(&[])
    }

    /// Sequence number of the echo this answers; `None` for anything else.
    pub fn echo_sequence(&self) -> Option<u16> {
        if !matches!(self.protocol, protocol::ICMP | protocol::ICMPV6) {
            return None;
        }
        let (from, to) = self.payload;
        let [_, _, _, _, _, _, s0, s1] = *self.frame.get(from..to)?.first_chunk::<ECHO_LEN>()?;
        Some(u16::from_be_bytes([s0, s1]))
    }
}
