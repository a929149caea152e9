//! The fence of virtual routers: whose words leave, and what a router without a lease is.

use core::time::Duration;

use steadfast_core::wire::vrrp::{Advertisement, Interval, RESIGNS, Sum, Version};

use super::*;

const UNIT: &str = "10.0.1.2";
const VIRTUAL: &str = "10.0.1.1";
const PEER_UNIT: &str = "10.0.1.3";
const LEASE: Duration = Duration::from_millis(300);
/// A first word may take a third of it.
const FIRST: Duration = Duration::from_millis(100);
/// Numbers of the routers on LAN and WAN.
const IDS: [u8; 2] = [81, 82];

/// Gateway 1 with a router on LAN and one on WAN, their addresses installed: fenced until armed.
fn routers() -> Kernel {
    let router = |(id, port, address): (u8, PortId, &str)| FencedRouter {
        port,
        virtual_id: id,
        addresses: vec![ip(address)],
        lease: LEASE,
    };
    let both = [(IDS[0], LAN, "10.0.1.1"), (IDS[1], WAN, "10.0.2.1")];
    let config = KernelConfig {
        fence: None,
        routers: both.map(router).into(),
        ..gateway_config(1, fence_config())
    };
    with_virtuals(Kernel::new(config))
}

fn word(virtual_id: u8, priority: u8) -> Vec<u8> {
    let said = Advertisement {
        version: Version::V3,
        virtual_id,
        priority,
        interval: Interval::SECOND,
        addresses: vec![ip(VIRTUAL)],
    };
    said.frame(mac(1, LAN), ip(UNIT), Sum::PseudoHeader)
}

/// vrrp: without its lease a router's address answers nothing, announces nothing and is not heard;
/// the machine's own address answers.
#[test]
fn vrrp_router_without_lease_is_silent() {
    let mut kernel = routers();
    let question = (VIRTUAL, PEER_UNIT);
    assert_eq!(ask(&mut kernel, ms(0), LAN, question), None);
    assert!(!kernel.answers_for(ms(0), LAN, ip(VIRTUAL)));
    let own = ask(&mut kernel, ms(0), LAN, (UNIT, PEER_UNIT));
    assert_eq!(own, Some(mac(1, LAN)));
    let announced = announcement(Operation::Request, VIRTUAL, mac(1, LAN));
    assert_eq!(
        kernel.transmit(ms(0), LAN, &announced),
        Transmitted::Dropped
    );
    assert_eq!(
        kernel.transmit(ms(0), LAN, &word(IDS[0], 100)),
        Transmitted::Refused,
        "and it says so to nobody"
    );
}

/// vrrp: a fresh lease lasts as long as a first word may take; each word makes it last the whole
/// time from then, and its neighbour on another port has one of its own.
#[test]
fn vrrp_lease_lasts_from_the_last_word() {
    let mut kernel = routers();
    kernel.arm_router(ms(0), 0).unwrap();
    assert!(kernel.router_is_live(ms(0).after(FIRST).before(JIFFY), 0));
    assert!(!kernel.router_is_live(ms(0).after(FIRST), 0));
    assert!(!kernel.router_is_live(ms(0), 1));
    let said = kernel.transmit(ms(80), LAN, &word(IDS[0], 100));
    assert_eq!(said, Transmitted::Sent);
    let end = ms(80).after(LEASE);
    let question = (VIRTUAL, PEER_UNIT);
    let last = end.before(JIFFY);
    assert_eq!(ask(&mut kernel, last, LAN, question), Some(mac(1, LAN)));
    assert_eq!(ask(&mut kernel, end, LAN, question), None);
}

/// vrrp: a resignation ends the lease in the instant in which it leaves; a word in another
/// router's name neither needs nor refreshes it.
#[test]
fn vrrp_resignation_ends_the_lease() {
    let mut kernel = routers();
    kernel.arm_router(ms(0), 0).unwrap();
    let other = kernel.transmit(ms(0), LAN, &word(99, 100));
    assert_eq!(other, Transmitted::Sent);
    assert!(!kernel.router_is_live(ms(0).after(FIRST), 0));
    let said = kernel.transmit(ms(1), LAN, &word(IDS[0], RESIGNS));
    assert_eq!(said, Transmitted::Sent);
    assert!(!kernel.router_is_live(ms(1), 0));
    assert_eq!(ask(&mut kernel, ms(1), LAN, (VIRTUAL, PEER_UNIT)), None);
}

/// vrrp: a foreign flush passes the table by; one in its owner's name ends every lease, and until
/// it is built again nothing is fenced.
#[test]
fn vrrp_table_outlives_a_foreign_flush() {
    let mut kernel = routers();
    kernel.arm_router(ms(0), 0).unwrap();
    kernel.flush_ruleset(FlushBy::Foreign);
    assert!(kernel.router_is_live(ms(0), 0));
    kernel.flush_ruleset(FlushBy::ForeignIgnoringOwner);
    let question = ("10.0.2.1", "10.0.2.3");
    assert!(ask(&mut kernel, ms(0), WAN, question).is_some());
    assert_eq!(kernel.arm_router(ms(0), 1), Err(TableGone));
    assert!(kernel.rebuild_router_fence());
    assert!(!kernel.router_is_live(ms(0), 0));
    assert_eq!(ask(&mut kernel, ms(0), WAN, question), None);
}
