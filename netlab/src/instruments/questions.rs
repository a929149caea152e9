//! What the observer asks, as frames, and what it reads of an answer.
//!
//! Questions have no room for a round's number, but the answer goes to the MAC that asked. So the
//! observer has sixteen MACs, one for each round modulo 16, and with IPv6 as many link-local
//! addresses; its switch learns them all, and an answer says by its destination which round asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use steadfast_core::wire::arp::{Arp, Operation};
use steadfast_core::wire::ethernet::{Frame, ethertype};
use steadfast_core::wire::ndisc::{NeighbourAdvert, NeighbourSolicit};
use steadfast_core::{MacAddr, NodeId};

/// Rounds whose answers can be told apart.
pub(super) const TAGS: u8 = 16;

/// Who is asked for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    pub(super) gateway: NodeId,
    pub(super) mac: MacAddr,
    pub(super) ip: IpAddr,
    /// The virtual address's index; none for the unit address.
    pub(super) address: Option<u16>,
}

/// The observer's MAC of a round.
pub(super) fn tagged(mac: MacAddr, tag: u8) -> MacAddr {
    let [a, b, c, d, e, _] = mac.0;
    MacAddr([a, b, c, d, e, tag + 1])
}

/// The observer's IPv6 address of a round.
fn source(tag: u8) -> Ipv6Addr {
    Ipv6Addr::new(
        0xfe80,
        0,
        0,
        0,
        0x53,
        0x46ff,
        0xfeff,
        0xff00 + u16::from(tag),
    )
}

/// The question in a round, from this station.
pub(super) fn frame(asker: MacAddr, tag: u8, question: &Question) -> Vec<u8> {
    match question.ip {
        IpAddr::V4(ip) => {
            let arp = Arp {
                operation: Operation::Request,
                sender_mac: asker,
                sender_ip: Ipv4Addr::UNSPECIFIED,
                target_mac: MacAddr::default(),
                target_ip: ip,
            };
            arp.frame(question.mac, asker)
        }
        IpAddr::V6(ip) => {
            let solicit = NeighbourSolicit {
                source: source(tag),
                destination: ip,
                target: ip,
                link_layer: Some(asker),
            };
            solicit.frame(question.mac, asker)
        }
    }
}

/// The round's tag, who answers, and for what; nothing if it is no answer to us.
pub(super) fn read(mac: MacAddr, bytes: &[u8]) -> Option<(u8, MacAddr, IpAddr)> {
    let frame = Frame::parse(bytes)?;
    let tag = frame.destination.0[5].checked_sub(1)?;
    let ours = tag < TAGS && frame.destination == tagged(mac, tag);
    let (answers, ip) = match frame.ethertype {
        ethertype::ARP => {
            let arp = Arp::parse(frame.payload)?;
            let answers = arp.operation == Operation::Reply && arp.sender_mac == frame.source;
            (answers, IpAddr::V4(arp.sender_ip))
        }
        ethertype::IPV6 => {
            let advert = NeighbourAdvert::parse(frame.payload)?;
            // A unicast answer may leave its MAC out (RFC 4861 §7.2.4).
            let from = advert.link_layer.unwrap_or(frame.source);
            let answers = advert.solicited && from == frame.source;
            (answers, IpAddr::V6(advert.target))
        }
        _ => return None,
    };
    (ours && answers).then_some((tag, frame.source, ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBSERVER: MacAddr = MacAddr([2, 0x77, 1, 2, 0, 1]);
    const GATEWAY: MacAddr = MacAddr([2, 0x77, 1, 0, 0, 1]);
    const IP: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
    const IP6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 1, 0, 0, 0, 1);

    fn reply(to: MacAddr, sender_mac: MacAddr, source: MacAddr) -> Vec<u8> {
        let arp = Arp {
            operation: Operation::Reply,
            sender_mac,
            sender_ip: IP,
            target_mac: to,
            target_ip: Ipv4Addr::UNSPECIFIED,
        };
        arp.frame(to, source)
    }

    /// The question of every round is told apart by the MAC it is answered to.
    #[test]
    fn observer_answers_carry_their_round() {
        for tag in 0..TAGS {
            let frame = reply(tagged(OBSERVER, tag), GATEWAY, GATEWAY);
            assert_eq!(read(OBSERVER, &frame), Some((tag, GATEWAY, IP.into())));
            let advert = NeighbourAdvert {
                source: IP6,
                destination: source(tag),
                target: IP6,
                router: true,
                solicited: true,
                overrides: true,
                link_layer: Some(GATEWAY),
            };
            let frame = advert.frame(tagged(OBSERVER, tag), GATEWAY);
            assert_eq!(read(OBSERVER, &frame), Some((tag, GATEWAY, IP6.into())));
        }
    }

    /// Answers to others, questions, lies about the sender and rubbish are no answers.
    #[test]
    fn observer_ignores_what_is_no_answer() {
        assert_eq!(read(OBSERVER, &reply(GATEWAY, GATEWAY, GATEWAY)), None);
        assert_eq!(read(OBSERVER, &reply(OBSERVER, GATEWAY, OBSERVER)), None);
        let beyond = tagged(OBSERVER, TAGS);
        assert_eq!(read(OBSERVER, &reply(beyond, GATEWAY, GATEWAY)), None);
        for ip in [IP.into(), IP6.into()] {
            let question = Question {
                gateway: NodeId(1),
                mac: GATEWAY,
                ip,
                address: None,
            };
            assert_eq!(read(OBSERVER, &frame(OBSERVER, 1, &question)), None);
        }
        assert_eq!(read(OBSERVER, &[0; 20]), None);
    }
}
