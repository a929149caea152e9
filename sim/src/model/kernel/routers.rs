//! Router advertisements (RFC 4861 §4.2): who carries packets out of a segment.
//!
//! A gateway's own program sends them; a host that learns its routers takes the sender's link-local
//! address as a default gateway, and its MAC as that of a neighbour. Limits: routers do not age,
//! and of several the first that was heard is used until it says that it is none any more.

use core::net::{IpAddr, Ipv6Addr};

use steadfast_core::wire::ethernet::{self, ethertype};
use steadfast_core::wire::ndisc::{ALL_NODES, checksum, group_mac};
use steadfast_core::{Instant, MacAddr, PortId};

use super::neighbours::Heard;
use super::packet::protocol;
use super::{Kernel, Outbox};

/// The message's type.
const ROUTER_ADVERT: u8 = 134;
const IP_LEN: usize = 40;
const BODY_LEN: usize = 16;
const HOP_LIMIT: u8 = 255;
const SOURCE_LINK_LAYER: u8 = 1;

/// A router advertisement to all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RouterAdvert {
    /// The router's link-local address: what hosts send to.
    source: Ipv6Addr,
    /// For how many seconds it is a default router; 0 ends it.
    lifetime: u16,
    /// Its MAC.
    mac: MacAddr,
}

impl RouterAdvert {
    /// Reads an IPv6 packet; `None` for anything that a host must ignore (RFC 4861 §6.1.2), and
    /// for one without the sender's MAC as its first option.
    fn parse(packet: &[u8]) -> Option<Self> {
        let (header, rest) = packet.split_first_chunk::<IP_LEN>()?;
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let message = rest.get(..length)?;
        let source = Ipv6Addr::from_octets(*header[8..].first_chunk()?);
        let destination = Ipv6Addr::from_octets(*header[24..].first_chunk()?);
        let ours = header[6] == protocol::ICMPV6 && header[7] == HOP_LIMIT;
        let whole = checksum(source, destination, protocol::ICMPV6, message) == 0;
        if !ours || !whole || !source.is_unicast_link_local() {
            return None;
        }
        let (body, options) = message.split_first_chunk::<BODY_LEN>()?;
        let [SOURCE_LINK_LAYER, 1, mac @ ..] = *options.first_chunk::<8>()? else {
            return None;
        };
        (body[..2] == [ROUTER_ADVERT, 0]).then_some(Self {
            source,
            lifetime: u16::from_be_bytes([body[6], body[7]]),
            mac: MacAddr(mac),
        })
    }

    /// The whole Ethernet frame.
    fn frame(&self) -> Vec<u8> {
        const HOPS_ADVISED: u8 = 64;
        let [high, low] = self.lifetime.to_be_bytes();
        let mut message = vec![ROUTER_ADVERT, 0, 0, 0, HOPS_ADVISED, 0, high, low];
        message.extend_from_slice(&[0; 8]);
        message.extend_from_slice(&[SOURCE_LINK_LAYER, 1]);
        message.extend_from_slice(&self.mac.0);
        let sum = checksum(self.source, ALL_NODES, protocol::ICMPV6, &message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut frame = Vec::new();
        ethernet::header(&mut frame, group_mac(ALL_NODES), self.mac, ethertype::IPV6);
        let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
        frame.extend_from_slice(&[0x60, 0, 0, 0]);
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(&[protocol::ICMPV6, HOP_LIMIT]);
        frame.extend_from_slice(&self.source.octets());
        frame.extend_from_slice(&ALL_NODES.octets());
        frame.extend_from_slice(&message);
        frame
    }
}

/// Whether an IPv6 packet looks like a router advertisement, whole or not.
pub(super) fn is_advert(packet: &[u8]) -> bool {
    packet.get(6) == Some(&protocol::ICMPV6) && packet.get(IP_LEN) == Some(&ROUTER_ADVERT)
}

/// Whether one ends what was said before: its lifetime is nothing.
pub(super) fn ends(packet: &[u8]) -> bool {
    packet.get(IP_LEN + 6..IP_LEN + 8) == Some(&[0, 0])
}

impl Kernel {
    /// What a program on this machine says on a port in the name of the first of these addresses
    /// that is there; the fence may keep it back.
    pub fn advertise_router(
        &mut self,
        now: Instant,
        port: PortId,
        sources: &[Ipv6Addr],
        out: &mut Outbox,
    ) {
        let here = |ip: &&Ipv6Addr| self.addresses.is_local_on(port, IpAddr::V6(**ip));
        let source = sources.iter().find(here).copied();
        if let (Some(source), Some(mac)) = (source, self.mac(port)) {
            let lifetime = 600;
            let advert = RouterAdvert {
                source,
                lifetime,
                mac,
            };
            self.emit(now, port, &advert.frame(), out);
        }
    }

    /// The link-local address that a port made of its MAC, if it has one.
    pub fn link_local(&self, port: PortId) -> Option<Ipv6Addr> {
        match self.addresses.link_local(port) {
            Some(IpAddr::V6(own)) => Some(own),
            Some(IpAddr::V4(_)) | None => None,
        }
    }

    /// A host hears of a router.
    pub(super) fn router_heard(
        &mut self,
        now: Instant,
        port: PortId,
        packet: &[u8],
        out: &mut Outbox,
    ) {
        let Some(advert) = RouterAdvert::parse(packet) else {
            return;
        };
        let router = IpAddr::V6(advert.source);
        let known = self.addresses.gateways.contains(&router);
        if advert.lifetime == 0 {
            self.addresses.gateways.retain(|it| *it != router);
        } else if !known {
            self.addresses.gateways.push(router);
        }
        // As a question that names its sender: the entry is made or changed, and in doubt.
        self.hear(now, (port, router), advert.mac, Heard::Question, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// kernel: a router advertisement reads back as written, and nothing cut short or from an
    /// address that is no link's is one.
    #[test]
    fn router_advert_reads_back_as_written() {
        let advert = RouterAdvert {
            source: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x77),
            lifetime: 600,
            mac: MacAddr([2, 0x77, 0, 0, 0, 1]),
        };
        let frame = advert.frame();
        let packet = &frame[14..];
        assert_eq!(RouterAdvert::parse(packet), Some(advert));
        for len in 0..packet.len() {
            assert_eq!(RouterAdvert::parse(&packet[..len]), None, "{len}");
        }
        let global = RouterAdvert {
            source: Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1),
            ..advert
        };
        assert_eq!(RouterAdvert::parse(&global.frame()[14..]), None);
    }
}
