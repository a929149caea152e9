//! The lab's eyes: what is measured in real namespaces, told in the words of a trace.
//!
//! Each instrument is a thread of its own that watches one thing and tells [`Recorder`] what it
//! saw, as the same events that the simulated world makes, so the same oracles judge both:
//!
//! * [`Observer`] asks every gateway, a thousand times a second, what it answers for;
//! * [`ProbeSender`] sends what clients would send, [`Capture`] sees what of it arrives and what
//!   leaves every gateway's port;
//! * [`Neighbours`] reads what hosts and switches believe;
//! * [`StallWatch`] notices when the machine stood still and nothing of this can be trusted;
//! * [`Connections`] opens a new TCP connection every 10 ms, for the race;
//! * [`Heralds`] hears who announces which address, for the costs of a claim.
//!
//! Sockets are opened inside a namespace and used anywhere: every `open` below must run on a thread
//! that stands in the namespace it is for, all else may run on any. Threads ask for real-time
//! priority and go on without. All queues are bounded; what is lost is counted and told as
//! [`steadfast_scenarios::trace::EventKind::Blind`], so that no verdict stands on it.
//!
//! The limit: of many virtual addresses on a segment only the first [`ASKED_MAX`] are asked for;
//! [`observed_names`] says so to the oracles.

mod capture;
mod clock;
mod connections;
mod filter;
mod heralds;
mod neighbours;
mod observer;
mod probes;
mod questions;
mod recorder;
mod rounds;
mod stall;
mod sys;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use steadfast_core::{MacAddr, NodeId};
use steadfast_scenarios::SegmentId;
use steadfast_scenarios::format::{Layout, Plan};
use steadfast_scenarios::trace::{Holder, Names};

pub use capture::{Capture, SharedRecording, Tap, TapDoor, WAITING_MAX};
pub use clock::RunClock;
pub use connections::{Connection, ConnectionLog, Connections, Enter};
pub use heralds::{Claim, Heard, HeraldLog, Heralds};
pub use neighbours::{Neighbours, Station};
pub use observer::{Eye, EyeDoor, Observer};
pub use probes::{Outlet, Pace, ProbeSender};
pub use recorder::{
    BLIND_AFTER, Desk, Finished, HOLD_BACK, Instrument, Recorder, STALLS_MAX, Setup, Stall,
};
pub use stall::StallWatch;
pub(crate) use stall::await_quiet;
pub use sys::PacketSocket;
pub(crate) use sys::{Frames, VNET_LEN, run_first};

/// Most virtual addresses of a segment that are asked for and looked up; the first ones.
pub const ASKED_MAX: u16 = 4;
/// The UDP port that probes go to.
pub const PROBE_PORT: u16 = 30_777;
/// The TCP port that connections of the race go to.
pub const CONNECTION_PORT: u16 = 30_778;

/// The MACs that a segment's virtual addresses answer with where that is no gateway's own.
pub type VirtualMacs = BTreeMap<SegmentId, MacAddr>;

/// The names of a plan's things as the lab's trace must give them: with no more addresses on a
/// segment than are asked for, since an address nobody asks for would count as owned by nobody.
pub fn observed_names(plan: &Plan) -> Names {
    let mut names = Names::of(plan);
    for segment in &mut names.segments {
        segment.addresses = segment.addresses.min(ASKED_MAX);
    }
    names
}

/// Whose MAC this is on a segment; a virtual MAC is nobody's own.
fn gateway_of(layout: &Layout, segment: SegmentId, mac: MacAddr) -> Option<NodeId> {
    let mut owners = layout.gateways.iter().filter(|gateway| {
        let mut ports = gateway.ports.iter();
        ports.any(|port| port.segment == segment && port.mac == mac)
    });
    owners.next().map(|gateway| gateway.id)
}

/// Where an entry with this MAC points; a virtual MAC points at nobody, its switch does.
fn holder_of(
    layout: &Layout,
    segment: SegmentId,
    mac: Option<MacAddr>,
    virtual_mac: Option<MacAddr>,
) -> Holder {
    let Some(mac) = mac.filter(|_| mac != virtual_mac) else {
        return Holder::Nobody;
    };
    gateway_of(layout, segment, mac).map_or(Holder::Other, Holder::Gateway)
}
