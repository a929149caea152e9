//! What a daemon holds in these stories: a lease as threads share it, and the cable's port, which
//! asks it.

use std::sync::Arc;

use steadfast::linux::carrier::CarrierBoard;
use steadfast::linux::clock::Monotonic;
use steadfast::linux::dataplane::PlaneCounters;
use steadfast::linux::fence::{Fence, Hooks};
use steadfast::linux::lease::Lease;
use steadfast::linux::packet::{PacketPorts, PortSpec};
use steadfast_core::{MacAddr, PortId};
use steadfast_shell::env::{Frames as _, Sent};

use super::frames::advert;
use super::world::World;

pub(crate) const ACTIVE: u8 = 2;
pub(crate) const OFFERING: u8 = 3;
pub(crate) const STANDBY: u8 = 1;
/// The cable's port.
pub(crate) const HA: PortId = PortId(3);

pub(crate) struct Guarded {
    pub(crate) time: Monotonic,
    pub(crate) counters: Arc<PlaneCounters>,
    pub(crate) lease: Arc<Lease>,
    pub(crate) ports: PacketPorts,
}

impl World {
    pub(crate) fn fence_of(&self, hooks: Hooks) -> Fence {
        let mut spec = self.spec();
        spec.hooks = hooks;
        Fence::install(&spec).unwrap()
    }

    /// A lease that is shared, and the port of the cable guarded by it.
    pub(crate) fn guarded(&self, hooks: Hooks) -> Guarded {
        let time = Monotonic::start();
        let counters = Arc::new(PlaneCounters::default());
        let lease = Lease::start(self.fence_of(hooks), time, Arc::clone(&counters)).unwrap();
        let spec = PortSpec {
            id: HA,
            name: "ha0".to_owned(),
            mac: MacAddr(self.ha.mac),
            heartbeat: true,
            served: false,
            datagrams: Some(6973),
            routed: false,
        };
        let ports = PacketPorts::open(&[spec], time, &CarrierBoard::new()).unwrap();
        let guard = lease.guard();
        Guarded {
            time,
            counters,
            lease,
            ports: ports.guarded_by(guard),
        }
    }
}

impl Guarded {
    /// Says a word of this mark on the cable.
    pub(crate) async fn say(&mut self, mark: u8) -> Sent {
        self.ports.send(HA, &advert(mark)).await
    }
}

pub(crate) fn with_runtime(story: impl AsyncFnOnce()) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(story());
}
