//! Every frame a node sends is built here.
//!
//! One message goes out on every heartbeat path with one counter, sealed for each path on its own.
//! What the lease guard reads (D9) is decided here and nowhere else: only a confirmed active
//! marks a frame as active, and an offering one as offering.

use core::net::IpAddr;

use super::forms::Way;
use super::handover::Giving;
use super::{DEFAULT_GROUP, Node};
use crate::config::Config;
use crate::effect::Effect;
use crate::role::EffectiveRole;
use crate::wire::advert::{Advert, Flags, GROUP_MAC, Kind, RoleMark};
use crate::wire::announce;
use crate::wire::arp::{Arp, Operation};
use crate::wire::carriage::{self, Form, Forms};
use crate::wire::ndisc;
use crate::{MacAddr, PortId};

impl Node {
    /// Sends one message to everybody on every heartbeat port that has carrier. While the fence is
    /// not confirmed, the first message waits for it and the others are void.
    pub(super) fn broadcast(&mut self, kind: Kind) {
        self.send_everywhere(kind, None);
    }

    /// The same to one peer alone, where its address is known.
    pub(super) fn send_to(&mut self, kind: Kind, place: usize) {
        self.send_everywhere(kind, Some(place));
    }

    fn send_everywhere(&mut self, kind: Kind, peer: Option<usize>) {
        if self.silenced() {
            self.kernel.owed.get_or_insert(kind);
            return;
        }
        self.count_message();
        let facts = (self.health(), self.eligible());
        if self.told.facts != facts {
            self.told.facts = facts;
            self.told.counter = self.counter;
        }
        self.say_grants();
        let mut advert = self.advert(kind, None);
        if advert.mark == RoleMark::Active && peer.is_none() && self.is_in_the_dark() {
            if self.serves_unheard() {
                self.guarded(advert.mark);
                self.keep_lease(&mut advert);
            }
            return;
        }
        self.guarded(advert.mark);
        for index in 0..self.ports.len() {
            let port = &self.config.ports[index];
            if port.heartbeat
                && self.ports[index].up
                && let Some(to) = peer.map_or(Some(GROUP_MAC), |it| self.peers[it].mac(port.id))
            {
                let forms = self.forms_for(index, kind, peer);
                let back = false;
                let way = Way {
                    to,
                    peer,
                    back,
                    forms,
                };
                self.seal(&mut advert, index, way);
            }
        }
    }

    /// The periodic message, for one port alone.
    pub(super) fn own_advert(&self) -> Advert {
        self.advert(Kind::Advert, None)
    }

    /// Sends one message to the peer that just spoke, on the port where it did.
    pub(super) fn answer(
        &mut self,
        kind: Kind,
        (place, index): (usize, usize),
        to: MacAddr,
        candidate: Option<usize>,
    ) {
        if !self.ports[index].up || !self.config.ports[index].heartbeat || self.silenced() {
            return;
        }
        self.count_message();
        self.say_grants();
        let mut advert = self.advert(kind, candidate);
        self.guarded(advert.mark);
        let forms = self.forms_for(index, kind, Some(place));
        let way = Way {
            to,
            peer: Some(place),
            back: true,
            forms,
        };
        self.seal(&mut advert, index, way);
    }

    pub(super) fn silenced(&self) -> bool {
        self.kernel.fencing.is_some_and(|until| self.now < until)
    }

    pub(super) fn guarded(&mut self, mark: RoleMark) {
        if mark != RoleMark::Standby {
            self.kernel.sent_on = 0;
            self.kernel.refused_on = 0;
        }
        if mark == RoleMark::Active {
            self.kernel.refreshed_at = self.now;
        }
    }

    /// Sends one message on one port, in each of these forms.
    pub(super) fn seal(&mut self, advert: &mut Advert, index: usize, way: Way) {
        let port = &self.config.ports[index];
        advert.path = port.id;
        let mut frame = Vec::with_capacity(320);
        let left_out = advert.encode(way.to, port.mac, &self.config.keys, &mut frame);
        self.drops.left_out += u64::try_from(left_out).unwrap_or(u64::MAX);
        if advert.mark != RoleMark::Standby {
            self.kernel.sent_on |= 1 << port.id.0;
        }
        let port = port.id;
        self.note_forms(index, advert, way.forms);
        let far = self.has_beyond(index);
        let routes = if way.forms == Forms::only(Form::Ethernet) && !far {
            Vec::new()
        } else {
            self.routes(index, way)
        };
        for route in &routes {
            let frame = carriage::datagram(&frame, route);
            self.emit(Effect::Transmit { port, frame });
        }
        // What is for nobody in any other form still goes through the lease guard (D9).
        if way.forms.has(Form::Ethernet) || routes.is_empty() {
            self.emit(Effect::Transmit { port, frame });
        }
    }

    /// From the moment the kernel is asked to shorten the lease, no frame may lengthen it again;
    /// once an offer is over there is no lease, and the guard would drop the question that asks
    /// the taker what became of it.
    fn mark(&self) -> RoleMark {
        if self.role != EffectiveRole::Active {
            return RoleMark::Standby;
        }
        let offer = self.config.timing.offer;
        match &self.giving {
            Some(Giving::Offering { at, .. }) if self.now >= at.after(offer) => RoleMark::Standby,
            Some(Giving::Offering { .. } | Giving::Preparing { ready: true, .. }) => {
                RoleMark::Offering
            }
            Some(Giving::Preparing { ready: false, .. }) | None => RoleMark::Active,
        }
    }

    fn advert(&self, kind: Kind, candidate: Option<usize>) -> Advert {
        let config = &*self.config;
        let mark = self.mark();
        let echo = |(place, peer): (usize, &crate::peer::Peer)| {
            peer.echo(&config.ports, candidate == Some(place))
        };
        Advert {
            kind,
            mark,
            active_groups: u32::from(mark != RoleMark::Standby) << DEFAULT_GROUP.0,
            cluster: config.cluster,
            virtual_router: config.virtual_router,
            sender: config.node,
            path: PortId(0),
            boot: self.boot,
            counter: self.counter,
            configured: config.policy.configured,
            effective: self.role_said(),
            health: self.health(),
            priority: config.policy.priority,
            flags: self.flags(),
            epoch: self.epoch(),
            handover: self.handover_number(),
            ports_down: self.ports_down(),
            interval: config.timing.interval,
            lease: config.timing.lease,
            config_digest: config.digests.config,
            facts_digest: config.digests.facts,
            interfaces_digest: config.digests.interfaces,
            version: config.digests.version,
            macs: config
                .ports
                .iter()
                .map(|port| (port.id, port.mac))
                .collect(),
            echoes: {
                let echoes = self.peers.iter().enumerate().map(echo);
                echoes.chain(self.twin_echo()).collect()
            },
            grant: self.grant_said(),
            waits: self.waits(),
            certificate: self.certificate,
        }
    }

    /// A daemon that ends is out of service as soon as it owns nothing: a standby that stays would
    /// be waited for.
    fn role_said(&self) -> EffectiveRole {
        match self.role {
            EffectiveRole::Standby | EffectiveRole::Starting if self.stopping => EffectiveRole::Off,
            role => role,
        }
    }

    fn flags(&self) -> Flags {
        let flags = Flags::default()
            .with(Flags::WITNESSED, self.claim.witnessed)
            .with(Flags::UNINTERRUPTED, self.claim.uninterrupted)
            .with(Flags::FENCE_WHOLE, self.fence_whole)
            .with(Flags::RECEPTION, self.receives())
            .with(Flags::ELIGIBLE, self.eligible())
            .with(Flags::MAINTENANCE, self.record.maintenance)
            .with(Flags::PREFERRED, self.config.policy.preferred)
            .with(Flags::COMMANDED, self.asked.is_some())
            .with(Flags::HEARS_ACTIVE, self.hears_active());
        self.grant_flags(flags)
    }

    /// Announces the chunk of addresses that is due.
    pub(super) fn announce_due(&mut self) {
        if self.role != EffectiveRole::Active {
            self.announcer.stop();
            return;
        }
        if self.giving.is_none() {
            self.announcer.refresh(self.now);
        }
        // Who stood still so long that another may serve hears that first.
        let heard = self.now.after(self.config.timing.w_silence);
        if !self.claim.uninterrupted && self.is_dazed() && self.announcer.put_off(heard) {
            self.arm_announcer();
            return;
        }
        if self.announcer.begins() {
            self.show_stations();
        }
        for (place, form) in self.announcer.chunk(self.now, self.virtuals.len()) {
            let (index, address) = self.virtuals[place];
            if self.ports[index].up {
                self.announce(index, address, form);
            }
        }
        self.arm_announcer();
    }

    /// Somebody else spoke in the name of what this node owns.
    pub(super) fn announce_after_rival(&mut self) {
        self.announcer.after_rival(self.now, self.virtuals.len());
        self.arm_announcer();
    }

    /// Shows switches the virtual MACs before every burst, those that refresh included: a switch
    /// that drops the burst, or whose entry has aged, would lead clients nowhere.
    fn show_stations(&mut self) {
        for index in 0..self.ports.len() {
            let port = &self.config.ports[index];
            if let Some(mac) = port.virtual_mac.filter(|_| self.ports[index].up) {
                let (port, frame) = (port.id, announce::station(mac));
                self.emit(Effect::Transmit { port, frame });
            }
        }
    }

    /// The form that hosts listen to comes first: what opens a snooping switch for later
    /// questions, and what the few understand that ignore the first, comes second.
    fn announce(&mut self, index: usize, address: IpAddr, form: usize) {
        let (port, mac) = (
            self.config.ports[index].id,
            self.config.ports[index].owners_mac(),
        );
        let frame = match (address, form) {
            (IpAddr::V4(ip), 0) => announce::gratuitous_request(mac, ip),
            (IpAddr::V4(ip), _) => announce::gratuitous_reply(mac, ip),
            (IpAddr::V6(ip), 0) => announce::unsolicited_na(mac, ip),
            (IpAddr::V6(ip), _) => announce::mld_report(mac, ip),
        };
        self.emit(Effect::Transmit { port, frame });
    }

    /// Asks one station about one address. The question names no address of ours where it can
    /// avoid it: it makes no neighbour entry there, and is answered even when that table is full.
    pub(super) fn ask(&mut self, index: usize, station: MacAddr, address: IpAddr) {
        let port = &self.config.ports[index];
        let frame = match address {
            IpAddr::V4(target) => Arp {
                operation: Operation::Request,
                sender_mac: port.mac,
                sender_ip: core::net::Ipv4Addr::UNSPECIFIED,
                target_mac: MacAddr::ZERO,
                target_ip: target,
            }
            .frame(station, port.mac),
            IpAddr::V6(target) => {
                let own = port.units.iter().find_map(|(unit, _)| match unit {
                    IpAddr::V6(own) => Some(*own),
                    IpAddr::V4(_) => None,
                });
                let Some(own) = own else {
                    return;
                };
                let everybody = station == MacAddr::BROADCAST;
                let group = ndisc::group_mac(ndisc::solicited_node(target));
                let station = if everybody { group } else { station };
                announce::ns_request(port.mac, station, own, target)
            }
        };
        let port = port.id;
        self.emit(Effect::Transmit { port, frame });
    }
}

/// Every virtual address, with the place of its port; the first of every port first, so that no
/// segment waits for another's long list.
pub(super) fn in_turn(config: &Config) -> Vec<(usize, IpAddr)> {
    let ports = || config.ports.iter().enumerate();
    let lengths = ports().map(|(_, port)| port.virtuals.len());
    let row = |row: usize| {
        ports().filter_map(move |(index, port)| Some((index, *port.virtuals.get(row)?)))
    };
    (0..lengths.max().unwrap_or(0)).flat_map(row).collect()
}
