//! Address resolution: answering questions, believing answers, asking.
//!
//! What is answered (`arp_process`, and facts measured on Linux 6.18): a request for any local
//! address on any port, from any sender but one of our own addresses; a sender of 0.0.0.0 is
//! answered and leaves no trace. IPv6 is stricter: the address must be on that very port, a
//! solicitation from `::` must go to the group, and the asker must fit into the cache; but it
//! does not mind being asked in the name of an address of its own.
//!
//! Limit: no membership reports are sent for groups (behind a snooping switch a world joins hosts
//! itself), and the kernel's worker that makes a new IPv6 address usable takes no time.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use steadfast_core::wire::arp::{Arp, Operation};
use steadfast_core::wire::ethernet::{self, ethertype};
use steadfast_core::wire::ndisc::{self, NeighbourAdvert, NeighbourSolicit};
use steadfast_core::{Instant, MacAddr, PortId};

use super::neighbours::{Ask, Heard};
use super::packet::Packet;
use super::{Kernel, Outbox};

/// The station in whose name [`Kernel::answers_for`] asks.
const OBSERVER: MacAddr = MacAddr([0x02, 0x53, 0x46, 0xff, 0xff, 0xff]);
/// Its link-local address: a solicitation from `::` to one station would not be answered.
const OBSERVER_IP: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x53, 0x46ff, 0xfeff, 0xffff);

/// An answer to a question, and whom to remember for having asked.
pub(super) struct Reply {
    pub(super) frame: Vec<u8>,
    pub(super) asker: Option<(IpAddr, MacAddr)>,
}

impl Kernel {
    /// What a port says to switches that ask who listens: a report for each IPv6 address on it, of
    /// the group on which others ask for that (RFC 3810 §6, RFC 4861 §7.2.1).
    pub fn membership_reports(&self, port: PortId) -> Vec<Vec<u8>> {
        let Some(mac) = self.mac(port) else {
            return Vec::new();
        };
        let from = match self.addresses.link_local(port) {
            Some(IpAddr::V6(own)) => own,
            Some(IpAddr::V4(_)) | None => Ipv6Addr::UNSPECIFIED,
        };
        let report = |ip| match ip {
            IpAddr::V6(v6) => {
                let group = ndisc::solicited_node(v6);
                let station = self.addresses.station_of(port, ip).unwrap_or(mac);
                // A device for virtual addresses has none of its own to speak from.
                let from = if station == mac {
                    from
                } else {
                    Ipv6Addr::UNSPECIFIED
                };
                Some(ndisc::mld2_report(station, from, group))
            }
            IpAddr::V4(_) => None,
        };
        self.addresses.on(port).filter_map(report).collect()
    }

    /// The frame with which [`Kernel::answers_for`] asks.
    pub(super) fn question(&self, port: PortId, address: IpAddr) -> Option<Vec<u8>> {
        let own = self.addresses.station_of(port, address);
        let own = own.or_else(|| self.mac(port))?;
        match address {
            IpAddr::V4(target_ip) => {
                let request = Arp {
                    operation: Operation::Request,
                    sender_mac: OBSERVER,
                    sender_ip: Ipv4Addr::UNSPECIFIED,
                    target_mac: MacAddr::ZERO,
                    target_ip,
                };
                Some(request.frame(own, OBSERVER))
            }
            IpAddr::V6(target) => {
                let solicit = NeighbourSolicit {
                    source: OBSERVER_IP,
                    destination: target,
                    target,
                    link_layer: Some(OBSERVER),
                };
                Some(solicit.frame(own, OBSERVER))
            }
        }
    }

    /// The answer to a frame that asks for one of our addresses; changes nothing.
    pub(super) fn reply_to(&self, port: PortId, frame: &ethernet::Frame<'_>) -> Option<Reply> {
        match frame.ethertype {
            ethertype::ARP => self.arp_reply(port, &Arp::parse(frame.payload)?, frame.destination),
            ethertype::IPV6 => {
                let solicit = NeighbourSolicit::parse(frame.payload)?;
                self.nd_reply(port, &solicit, frame.destination)
            }
            _ => None,
        }
    }

    /// The station that answers for an address, if what was sent there reaches it.
    fn answering(&self, port: PortId, address: IpAddr, sent_to: MacAddr) -> Option<MacAddr> {
        let station = self.addresses.station_of(port, address)?;
        (sent_to.is_group() || sent_to == station).then_some(station)
    }

    pub(super) fn arp_input(
        &mut self,
        now: Instant,
        port: PortId,
        frame: &ethernet::Frame<'_>,
        out: &mut Outbox,
    ) {
        let Some(arp) = Arp::parse(frame.payload) else {
            self.counters.0.malformed_count += 1;
            return;
        };
        if let Some(reply) = self.reply_to(port, frame) {
            self.answer(now, port, &reply, out);
            return;
        }
        let sender = IpAddr::V4(arp.sender_ip);
        let announces = arp.sender_ip == arp.target_ip
            && (arp.operation == Operation::Request || arp.target_mac == arp.sender_mac);
        let overrides = announces || self.neighbours.is_unlocked(now, port, sender);
        let heard = match arp.operation {
            Operation::Reply if Some(frame.destination) == self.mac(port) => {
                Heard::Answer { overrides }
            }
            Operation::Reply | Operation::Request => Heard::Passing { overrides },
        };
        self.hear(now, (port, sender), arp.sender_mac, heard, out);
    }

    /// Takes a neighbour solicitation or advertisement.
    pub(super) fn nd_input(
        &mut self,
        now: Instant,
        port: PortId,
        frame: &ethernet::Frame<'_>,
        out: &mut Outbox,
    ) {
        if let Some(reply) = self.reply_to(port, frame) {
            self.answer(now, port, &reply, out);
            return;
        }
        let Some(advert) = NeighbourAdvert::parse(frame.payload) else {
            self.counters.0.not_ours_count += 1;
            return;
        };
        let target = IpAddr::V6(advert.target);
        let known = self.neighbour_mac(port, target);
        let Some(mac) = advert.link_layer.or(known) else {
            return;
        };
        let overrides = advert.overrides;
        let heard = if advert.solicited {
            Heard::Answer { overrides }
        } else {
            Heard::Passing { overrides }
        };
        self.hear(now, (port, target), mac, heard, out);
    }

    /// Asks for a neighbour.
    pub(super) fn ask(&mut self, now: Instant, ask: &Ask, out: &mut Outbox) {
        let Some(frame) = self.ask_frame(ask) else {
            return;
        };
        self.emit(now, ask.port, &frame, out);
    }

    fn arp_reply(&self, port: PortId, arp: &Arp, sent_to: MacAddr) -> Option<Reply> {
        let sender = IpAddr::V4(arp.sender_ip);
        let is_question = arp.operation == Operation::Request
            && self.addresses.is_local(IpAddr::V4(arp.target_ip))
            && !self.addresses.is_local(sender);
        let is_probe = arp.sender_ip.is_unspecified();
        if !is_question || !(is_probe || self.neighbours.has_room(port, sender)) {
            return None;
        }
        let own = self.answering(port, IpAddr::V4(arp.target_ip), sent_to)?;
        let reply = Arp {
            operation: Operation::Reply,
            sender_mac: own,
            sender_ip: arp.target_ip,
            target_mac: arp.sender_mac,
            target_ip: arp.sender_ip,
        };
        Some(Reply {
            frame: reply.frame(arp.sender_mac, own),
            asker: (!is_probe).then_some((sender, arp.sender_mac)),
        })
    }

    /// To a named asker alone, or, in duplicate address detection, to everybody. A solicitation
    /// sent to us alone is answered without our station's address: the asker knows it.
    fn nd_reply(
        &self,
        port: PortId,
        solicit: &NeighbourSolicit,
        sent_to: MacAddr,
    ) -> Option<Reply> {
        let asker = IpAddr::V6(solicit.source);
        let is_question = self.addresses.is_local_on(port, IpAddr::V6(solicit.target));
        let is_named = !solicit.source.is_unspecified();
        if !is_question || (is_named && !self.neighbours.has_room(port, asker)) {
            return None;
        }
        let own = self.answering(port, IpAddr::V6(solicit.target), sent_to)?;
        let introduces = solicit.destination.is_multicast();
        let advert = NeighbourAdvert {
            source: solicit.target,
            destination: if is_named {
                solicit.source
            } else {
                ndisc::ALL_NODES
            },
            target: solicit.target,
            router: self.forwards,
            solicited: is_named,
            overrides: introduces,
            link_layer: introduces.then_some(own),
        };
        if !is_named {
            return Some(Reply {
                frame: advert.frame(ndisc::group_mac(ndisc::ALL_NODES), own),
                asker: None,
            });
        }
        let mac = solicit.link_layer.or(self.neighbour_mac(port, asker))?;
        Some(Reply {
            frame: advert.frame(mac, own),
            asker: solicit.link_layer.map(|mac| (asker, mac)),
        })
    }

    fn neighbour_mac(&self, port: PortId, ip: IpAddr) -> Option<MacAddr> {
        // Where a neighbour is does not depend on the age of its entry.
        let state = self.neighbours.state(Instant::ORIGIN, port, ip)?;
        state.mac()
    }

    fn answer(&mut self, now: Instant, port: PortId, reply: &Reply, out: &mut Outbox) {
        if let Some((asker, mac)) = reply.asker {
            self.hear(now, (port, asker), mac, Heard::Question, out);
        }
        self.emit(now, port, &reply.frame, out);
        if let Some((asker @ IpAddr::V6(_), _)) = reply.asker {
            // Unlike an ARP reply, an advertisement goes out as packets do: through the cache.
            self.neighbours.note_use(now, port, asker);
        }
    }

    /// Notes a neighbour and sends the packets that waited for it.
    pub(super) fn hear(
        &mut self,
        now: Instant,
        (port, ip): (PortId, IpAddr),
        mac: MacAddr,
        heard: Heard,
        out: &mut Outbox,
    ) {
        for mut frame in self.neighbours.hear(now, (port, ip), mac, heard) {
            frame[..6].copy_from_slice(&mac.0);
            self.emit(now, port, &frame, out);
        }
    }

    fn ask_frame(&self, ask: &Ask) -> Option<Vec<u8>> {
        let own = self.mac(ask.port)?;
        let sender = self.asking_address(ask)?;
        match (sender, ask.ip) {
            (IpAddr::V4(sender_ip), IpAddr::V4(target_ip)) => {
                let request = Arp {
                    operation: Operation::Request,
                    sender_mac: own,
                    sender_ip,
                    target_mac: MacAddr::ZERO,
                    target_ip,
                };
                Some(request.frame(ask.at.unwrap_or(MacAddr::BROADCAST), own))
            }
            (IpAddr::V6(source), IpAddr::V6(target)) => {
                let group = ndisc::solicited_node(target);
                let solicit = NeighbourSolicit {
                    source,
                    destination: if ask.at.is_some() { target } else { group },
                    target,
                    link_layer: Some(own),
                };
                Some(solicit.frame(ask.at.unwrap_or(ndisc::group_mac(group)), own))
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
        }
    }

    /// In whose name to ask (`arp_announce` = 0, or 2 below a virtual MAC): the source of the
    /// packet that waits if it is ours, which may be a virtual address, else the port's own
    /// address. For IPv6 "ours" is what this very port has, and the port's own address its
    /// link-local one (RFC 4861 7.2.2).
    fn asking_address(&self, ask: &Ask) -> Option<IpAddr> {
        let waiting = ask.first_waiting.as_deref();
        let frame = waiting.and_then(ethernet::Frame::parse);
        let packet = frame.and_then(|frame| Packet::parse(frame.ethertype, frame.payload));
        let source = packet.map(|packet| packet.source);
        let ours = source.filter(|source| match source {
            IpAddr::V4(_) => self.addresses.is_local(*source),
            IpAddr::V6(_) => self.addresses.is_local_on(ask.port, *source),
        });
        let ours = ours.filter(|source| self.addresses.asks_as(ask.port, *source));
        let local = || {
            self.addresses
                .link_local(ask.port)
                .filter(|_| ask.ip.is_ipv6())
        };
        ours.or_else(local)
            .or_else(|| self.addresses.source_for(ask.port, ask.ip))
    }
}
