//! Who listens to which group: what kernels tell switches of their IPv6 addresses.
//!
//! A kernel reports its groups when a port gets carrier, and when a switch begins to ask. Each does
//! so after a time of its own. What a daemon says of virtual addresses that it takes comes beside
//! that, at once (D17).
//!
//! Limits: the kernel's own, late reports of a virtual address are not made; IPv4 members are not
//! reported.

use steadfast_core::PortId;
use steadfast_scenarios::format::Version;

use super::net::Station;
use super::world::{Happening, World};
use crate::model::Frame;
use crate::model::switch::QUERY_RESPONSE;

impl World<'_> {
    /// A switch begins to ask who listens: everybody on its segment will answer.
    pub(crate) fn members_asked(&mut self, segment: usize) {
        let stations: Vec<Station> = {
            let ends = self.net.media[segment].ends.iter();
            ends.map(|end| end.station).collect()
        };
        for station in stations {
            self.members_later(station, segment);
        }
    }

    /// A station will report what it listens to on a segment.
    pub(crate) fn members_later(&mut self, station: Station, segment: usize) {
        if self.plan.topology.family.has(Version::Ipv6) {
            let at = self.now.after(self.drawn(QUERY_RESPONSE));
            self.queue.push(at, Happening::Members { station, segment });
        }
    }

    /// It does, if its kernel still runs.
    pub(crate) fn members_due(&mut self, station: Station, segment: usize) {
        let gateways = self.gateways.len();
        let mut out = core::mem::take(&mut self.outbox);
        out.clear();
        if station < gateways {
            let port = PortId(u8::try_from(segment).unwrap_or(u8::MAX));
            if self.gateways[station].runs() {
                let reports = self.gateways[station].kernel.membership_reports(port);
                let frames = reports.into_iter().map(|it| (port, Frame::from(it)));
                out.frames.extend(frames);
                self.gateway_sends(station, &mut out);
            }
        } else if let Some(host) = self.hosts.get(station - gateways) {
            let reports = host.kernel.membership_reports(PortId(0));
            let frames = reports.into_iter().map(|it| (PortId(0), Frame::from(it)));
            out.frames.extend(frames);
            self.host_sends(station - gateways, &mut out);
        }
        self.outbox = out;
    }
}
