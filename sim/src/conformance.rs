//! The kernel model as a machine on which statements about Linux are tried, in virtual time.
//!
//! It is set up as the worlds set up a gateway. An act takes no time; a rest ticks the model at
//! every change it announces, as a world does.

use core::convert::Infallible;
use core::net::IpAddr;

use steadfast_core::{Instant, PortId};
use steadfast_scenarios::conformance::{Act, Entry, EntryState, Machine, Observation, Seen};
use steadfast_scenarios::conformance::{Statement, Told, ground};

use crate::model::Frame;
use crate::model::kernel::{FenceConfig, Kernel, KernelConfig, Lapsed, NeighbourState, Outbox};
use crate::model::kernel::{PortConfig, Transmitted};

/// When a statement begins: not at the origin, where an age of zero would look like any other.
const BEGIN: Instant = Instant::from_millis(1_000_000);
const BODY: &[u8] = b"a statement's own";

/// A gateway that is nothing but a model.
#[derive(Clone, Debug)]
pub struct Modelled {
    kernel: Kernel,
    now: Instant,
}

impl Modelled {
    /// A gateway just powered on, with the lease of a statement.
    pub fn new(statement: &Statement) -> Self {
        let port = |place: ground::Place| PortConfig {
            id: place.port,
            mac: place.mac,
            virtual_mac: (statement.stationed && place.port == ground::LAN)
                .then_some(ground::STATION),
            names: Vec::new(),
            addresses: place.units.to_vec(),
            served: place.served,
            heartbeat: true,
            routed: false,
        };
        let virtuals = ground::virtuals().map(|(_, address)| address);
        let mut fence = FenceConfig::new(virtuals.to_vec());
        (fence.lease, fence.tail) = statement.lease;
        fence.egress = statement.egress;
        fence.virtual_macs = statement
            .stationed
            .then_some(ground::STATION)
            .into_iter()
            .collect();
        let ports = ground::places().map(port).to_vec();
        let mut config = KernelConfig::gateway(ports, fence);
        config.ignores_linkdown_routes = true;
        Self {
            kernel: Kernel::new(config),
            now: BEGIN,
        }
    }

    /// Does to the model what an act says; what a program is told of it.
    fn carry_out(&mut self, act: &Act, out: &mut Outbox) -> Told {
        let (kernel, now) = (&mut self.kernel, self.now);
        match act {
            Act::Add(port, address) => kernel.add_virtual(*port, *address),
            // The table is there: nothing flushes it.
            Act::Arm => drop(kernel.arm(now)),
            // The model sends no reports.
            Act::AwaitReport(..) => return Told::Reported(false),
            Act::Carrier(port, up) => kernel.set_carrier(*port, *up),
            Act::Close => kernel.fence(),
            Act::ForgetDead => kernel.forget_dead_neighbours(),
            Act::Look(port, address) => return Told::Entry(self.entry(*port, *address)),
            Act::Offer(left) => return told(kernel.offer(now, *left)),
            Act::Receive(port, frame) => {
                kernel.receive(now, *port, &Frame::from(&frame[..]), out);
            }
            Act::Release => return told(kernel.release_to_tail(now)),
            Act::Remove(port, address) => kernel.remove_virtual(*port, *address),
            Act::Rest(_) => {}
            Act::Send(from, to) => kernel.send_datagram(now, *from, *to, BODY, out),
            Act::Transmit(port, frame) => match kernel.transmit(now, *port, frame) {
                Transmitted::Dropped | Transmitted::Refused => return Told::Refused,
                Transmitted::NoCarrier => {}
                Transmitted::Sent => out.frames.push((*port, Frame::from(&frame[..]))),
            },
        }
        Told::Nothing
    }

    fn rest(&mut self, until: Instant, out: &mut Outbox) {
        while let Some(next) = self.kernel.next_change(self.now) {
            if next > until {
                break;
            }
            self.now = next;
            self.kernel.tick(next, out);
        }
        self.now = self.now.max(until);
    }

    fn entry(&self, port: PortId, address: IpAddr) -> Option<Entry> {
        let found = self.kernel.neighbour(self.now, port, address)?;
        let state = match found {
            NeighbourState::Failed => EntryState::Failed,
            NeighbourState::Incomplete { .. } => EntryState::Incomplete,
            NeighbourState::Probing { asks: 0, .. } => EntryState::Delay,
            NeighbourState::Probing { .. } => EntryState::Probe,
            NeighbourState::Reachable { .. } => EntryState::Reachable,
            NeighbourState::Stale { .. } => EntryState::Stale,
        };
        let mac = found.mac();
        Some(Entry { state, mac })
    }
}

impl Machine for Modelled {
    type Error = Infallible;

    fn now(&self) -> Instant {
        self.now
    }

    fn act(&mut self, act: &Act, mark: Instant) -> Result<Observation, Self::Error> {
        let mut out = Outbox::default();
        let told = self.carry_out(act, &mut out);
        if let Act::Rest(wait) = act {
            self.rest(mark.after(*wait), &mut out);
        }
        let frames = out.frames.iter();
        let seen = frames.filter_map(|(port, frame)| Seen::read(*port, frame));
        Ok(Observation::new(seen.collect(), told))
    }
}

fn told(outcome: Result<(), Lapsed>) -> Told {
    match outcome {
        Ok(()) => Told::Nothing,
        Err(Lapsed) => Told::Lapsed,
    }
}
