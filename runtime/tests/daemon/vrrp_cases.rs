//! Cases of VRRP that need a whole router and what it says on the wire: in which frames it speaks
//! with a virtual MAC, with several addresses among others, and behind an active of another pace.
//!
//! The other cases of the checklist are packet tests of the core; takeovers of and by others are
//! the stories of [`super::interop`]. What is said is heard by a packet socket on the LAN.

use std::time::Duration;

use steadfast::linux::carrier::CarrierBoard;
use steadfast::linux::clock::Monotonic;
use steadfast::linux::interfaces::interface;
use steadfast::linux::packet::{PacketPorts, PortSpec};
use steadfast_core::wire::ethernet::{Frame, ethertype};
use steadfast_core::{Instant, MacAddr, PortId};
use steadfast_shell::env::Frames as _;

use super::common::runtime;
use super::gateways::WAIT;
use super::interop::{Start, theirs_better};
use super::peers::{
    KEEPALIVED, Kind, V3, V6, VRRPD, ZEBRA, frr, is_ordinary_user, keepalived, missing,
};
use super::routers::machines;

/// Two addresses, the link-local one first.
const V6_TWO: Kind = Kind {
    second: Some("2001:db8:1::1"),
    ..V6
};
/// Once a second, behind one that speaks twice as often.
const V3_SLOW: Kind = Kind {
    interval: "1s",
    theirs: 500,
    ..V3
};

/// An advertisement as it was on the wire.
struct Heard {
    at: Instant,
    source: MacAddr,
    destination: MacAddr,
    priority: u8,
}

/// What is said on the LAN.
struct Ear {
    ports: PacketPorts,
    runtime: tokio::runtime::Runtime,
}

impl Ear {
    fn open() -> Self {
        let runtime = runtime();
        let lan = interface("lan").expect("interfaces").expect("the LAN");
        let spec = PortSpec {
            id: PortId(0),
            name: "lan".to_owned(),
            mac: lan.mac.expect("a station"),
            heartbeat: false,
            served: true,
            datagrams: None,
            routed: false,
        };
        let opened =
            async { PacketPorts::open(&[spec], Monotonic::start(), &CarrierBoard::default()) };
        let ports = runtime.block_on(opened).expect("a packet socket");
        Self { ports, runtime }
    }

    /// The next advertisement of router 51 that is wanted.
    fn hears(&mut self, wanted: impl Fn(&Heard) -> bool) -> Heard {
        let Self { ports, runtime } = self;
        let found = async {
            let mut bytes = Vec::new();
            loop {
                while let Some((_, at)) = ports.take(&mut bytes) {
                    if let Some(heard) = advertisement(&bytes, at).filter(&wanted) {
                        return heard;
                    }
                }
                ports.ready().await.expect("frames can be awaited");
            }
        };
        let found = async { tokio::time::timeout(WAIT, found).await };
        runtime.block_on(found).expect("an advertisement in time")
    }
}

fn advertisement(bytes: &[u8], at: Instant) -> Option<Heard> {
    let frame = Frame::parse(bytes)?;
    let message = match frame.ethertype {
        ethertype::IPV4 if frame.payload.get(9) == Some(&112) => frame.payload.get(20..)?,
        ethertype::IPV6 if frame.payload.get(6) == Some(&112) => frame.payload.get(40..)?,
        _ => return None,
    };
    (message.get(1) == Some(&51)).then(|| Heard {
        at,
        source: frame.source,
        destination: frame.destination,
        priority: message[2],
    })
}

/// V04: with a virtual MAC every advertisement comes from it, for either family and to its group.
#[test]
fn vrrp_case_virtual_mac_is_the_source_of_advertisements() {
    if !inside_own_namespace!("vrrp_case_virtual_mac_is_the_source_of_advertisements") {
        return;
    }
    let [a, b] = machines();
    let group4 = MacAddr([0x01, 0x00, 0x5e, 0x00, 0x00, 0x12]);
    let group6 = MacAddr([0x33, 0x33, 0x00, 0x00, 0x00, 0x12]);
    let cases = [(&a, V3, 1, group4), (&b, V6, 2, group6)];
    for (machine, kind, family, group) in cases {
        let mut ear = Ear::open();
        let mut router = machine.start(&format!("{}virtual_mac = true\n", kind.ours(200)));
        router.says(": active: ");
        for _ in 0..3 {
            let heard = ear.hears(|_| true);
            assert_eq!(heard.source, MacAddr([0, 0, 0x5e, 0, family, 51]));
            assert_eq!(heard.destination, group);
        }
        router.stop();
    }
}

/// V61: two addresses, the link-local one first, are at one station, whoever serves. (FRR has to be
/// told both, or others refuse its shorter list.)
fn two_addresses(start: Start) {
    theirs_better(start, V6_TWO);
}

#[test]
fn vrrp_case_two_ipv6_addresses_with_keepalived() {
    if missing(&[KEEPALIVED])
        || !inside_own_namespace!("vrrp_case_two_ipv6_addresses_with_keepalived")
    {
        return;
    }
    two_addresses(keepalived);
}

#[test]
fn vrrp_case_two_ipv6_addresses_with_frr() {
    if missing(&[ZEBRA, VRRPD])
        || is_ordinary_user()
        || !inside_own_namespace!("vrrp_case_two_ipv6_addresses_with_frr")
    {
        return;
    }
    two_addresses(frr);
}

/// V62: a backup that would speak once a second counts in the half second of who is active, from
/// the last it heard: nearer to 1.805 s than to the 3.609 s of its own interval.
#[test]
fn vrrp_case_pace_of_a_faster_keepalived_is_learned() {
    if missing(&[KEEPALIVED])
        || !inside_own_namespace!("vrrp_case_pace_of_a_faster_keepalived_is_learned")
    {
        return;
    }
    let [a, b] = machines();
    let peer = keepalived(&b, V3_SLOW, 150);
    let mut one = a.start(&V3_SLOW.ours(100));
    one.says(": backup");
    let mut ear = Ear::open();
    let theirs = |heard: &Heard| heard.priority == 150;
    let mut last = ear.hears(theirs);
    peer.kill(&b);
    let first = loop {
        match ear.hears(|_| true) {
            heard if heard.priority == 100 => break heard,
            heard => last = heard,
        }
    };
    let waited = first.at.since(last.at);
    let (least, most) = (Duration::from_millis(1_800), Duration::from_millis(2_707));
    assert!(waited >= least && waited < most, "{waited:?}");
    one.stop();
}
