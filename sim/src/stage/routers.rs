//! Programs that say on every gateway that it is a router: what hosts choose their gateway by.
//!
//! Such a program knows nothing of roles. It runs from boot to the end of power, and speaks each
//! few seconds on every served port, in the name of the link-local address that moves with the role
//! while it finds that there, else of the machine's own; the fence says what of it leaves (F44).
//!
//! Limit: hosts do not ask for routers, they wait.

use core::time::Duration;

use steadfast_core::PortId;

use super::gateway::Power;
use super::world::{Happening, World};

/// Between two advertisements: 3 s at least, 4 s at most.
const EVERY: Duration = Duration::from_secs(3);
const JITTER: Duration = Duration::from_secs(1);
/// From boot to the first one.
const START: Duration = Duration::from_millis(100);

impl World<'_> {
    /// A gateway has booted.
    pub(crate) fn begin_router(&mut self, station: usize) {
        if self.plan.topology.router_adverts && !self.plan.layout.gateways[station].witness {
            let wait = self.drawn(START);
            self.router_later(station, wait);
        }
    }

    fn router_later(&mut self, station: usize, wait: Duration) {
        let boot = self.gateways[station].boot;
        let gateway = station;
        let happening = Happening::RouterDue { gateway, boot };
        self.queue.push(self.now.after(wait), happening);
    }

    /// Its program speaks again, unless its box lost power since, or stands still.
    pub(crate) fn router_due(&mut self, station: usize, boot: u64) {
        if self.gateways[station].boot != boot || self.gateways[station].power != Power::On {
            return;
        }
        let wait = EVERY + self.drawn(JITTER);
        self.router_later(station, wait);
        if !self.gateways[station].runs() {
            return;
        }
        let plan = std::rc::Rc::clone(&self.plan);
        let mut out = core::mem::take(&mut self.outbox);
        out.clear();
        for segment in &plan.layout.segments {
            let Some(moving) = segment.router else {
                continue;
            };
            let port = PortId(segment.id.0);
            let kernel = &mut self.gateways[station].kernel;
            if let Some(own) = kernel.link_local(port) {
                kernel.advertise_router(self.now, port, &[moving, own], &mut out);
            }
        }
        self.gateway_sends(station, &mut out);
        self.outbox = out;
    }
}
