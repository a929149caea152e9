//! A whole frame around a message: Ethernet and IP as RFC 9568 §5.1 wants them.
//!
//! IPv4 headers carry no options, and both families the traffic class of network control (RFC 9568
//! leaves it open; deployed routers send it so). The limit: only to the group, since a single
//! station's MAC would have to be asked for.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Advertisement, GROUP, GROUP6, PROTOCOL, Sum, TTL, macs};
use crate::MacAddr;
use crate::wire::ethernet::{self, ethertype};
use crate::wire::{foreign, ndisc};

/// CS6: network control (RFC 2474 §4.2.2.2), with nothing said of congestion.
const NETWORK_CONTROL: u8 = 0xc0;

impl Advertisement {
    /// The frame that tells it to the group, from this station and address; summed this way if it
    /// is of version 3 over IPv4.
    pub fn frame(&self, mac: MacAddr, source: IpAddr, sum: Sum) -> Vec<u8> {
        let (_, group) = macs(self.virtual_id, source.is_ipv6());
        match source {
            IpAddr::V4(source) => {
                let message = self.message(source.into(), GROUP.into(), sum);
                ipv4((group, mac), source, &message)
            }
            IpAddr::V6(source) => {
                let message = self.message(source.into(), GROUP6.into(), sum);
                ipv6((group, mac), source, &message)
            }
        }
    }
}

fn ipv4((to, from): (MacAddr, MacAddr), source: Ipv4Addr, message: &[u8]) -> Vec<u8> {
    let total = u16::try_from(foreign::IPV4_LEN + message.len()).unwrap_or(u16::MAX);
    let [high, low] = total.to_be_bytes();
    let mut header = [0; foreign::IPV4_LEN];
    header[..4].copy_from_slice(&[0x45, NETWORK_CONTROL, high, low]);
    header[8] = TTL;
    header[9] = PROTOCOL;
    header[12..16].copy_from_slice(&source.octets());
    header[16..].copy_from_slice(&GROUP.octets());
    let sum = ndisc::plain_checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut out = Vec::with_capacity(ethernet::HEADER_LEN + usize::from(total));
    ethernet::header(&mut out, to, from, ethertype::IPV4);
    out.extend_from_slice(&header);
    out.extend_from_slice(message);
    out
}

fn ipv6(macs: (MacAddr, MacAddr), source: Ipv6Addr, message: &[u8]) -> Vec<u8> {
    let mut frame = ndisc::ip_frame(macs, (GROUP6, source), (PROTOCOL, TTL), message);
    // The traffic class stands across the first two bytes of the header.
    frame[ethernet::HEADER_LEN] |= NETWORK_CONTROL >> 4;
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ethernet::Frame;
    use crate::wire::vrrp::{Expect, Interval, Packet, Sums, Version};

    /// What is written is understood, as IP and as VRRP, for both families and both sums.
    #[test]
    fn vrrp_frames_are_what_a_router_expects() {
        let interval = Interval::new(Version::V3, 100).unwrap();
        let routers: [(IpAddr, IpAddr, Sum); 3] = [
            (
                [10, 0, 0, 2].into(),
                [10, 0, 0, 1].into(),
                Sum::PseudoHeader,
            ),
            ([10, 0, 0, 2].into(), [10, 0, 0, 1].into(), Sum::Message),
            (
                "fe80::2".parse().unwrap(),
                "fe80::1".parse().unwrap(),
                Sum::Message,
            ),
        ];
        for (source, address, sum) in routers {
            let said = Advertisement {
                version: Version::V3,
                virtual_id: 10,
                priority: 200,
                interval,
                addresses: Vec::from([address]),
            };
            let bytes = said.frame(MacAddr([2, 0, 0, 0, 0, 2]), source, sum);
            let frame = Frame::parse(&bytes).unwrap();
            assert_eq!(frame.destination, macs(10, source.is_ipv6()).1);
            let packet = Packet::parse(&frame).unwrap();
            assert_eq!((packet.source, packet.ttl), (source, TTL));
            let expect = Expect {
                version: Version::V3,
                virtual_id: 10,
                ipv6: source.is_ipv6(),
                interval,
                sums: Sums::Only(sum),
                unicast: &[],
            };
            assert_eq!(packet.advertisement(&expect), Ok(said));
        }
    }

    /// The header's sum is right, or no router takes the packet at all.
    #[test]
    fn vrrp_frames_have_a_sound_ipv4_header() {
        let said = Advertisement {
            version: Version::V2,
            virtual_id: 1,
            priority: 100,
            interval: Interval::new(Version::V2, 100).unwrap(),
            addresses: Vec::from([IpAddr::from([10, 0, 0, 1])]),
        };
        let bytes = said.frame(
            MacAddr([2, 0, 0, 0, 0, 2]),
            [10, 0, 0, 2].into(),
            Sum::Message,
        );
        let header = &bytes[ethernet::HEADER_LEN..][..foreign::IPV4_LEN];
        assert_eq!(
            ndisc::plain_checksum(header),
            0,
            "a whole header sums to nothing"
        );
        assert_eq!(bytes.len(), 14 + 20 + 8 + 4 + 8);
    }
}
