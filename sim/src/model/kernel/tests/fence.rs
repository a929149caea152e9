//! The fence: what passes with a lease, with a tail, and with neither.

use super::*;

const VIRTUAL_MAC: MacAddr = MacAddr([0, 0, 0x5e, 0, 1, 0x33]);
const UNIT: &str = "10.0.1.2";
const VIRTUAL: &str = "10.0.1.1";
const PEER_UNIT: &str = "10.0.1.3";

fn tailed_gateway() -> Kernel {
    let mut kernel = active_gateway();
    kernel.release_to_tail(ms(1)).unwrap();
    kernel
}

fn knows_peer(mut kernel: Kernel) -> Kernel {
    let (own, asked) = (mac(1, LAN), request(UNIT, PEER_UNIT));
    let out = receive(&mut kernel, ms(1), LAN, &asked.frame(own, PEER));
    assert_eq!(out.frames.len(), 1, "unit addresses answer in every state");
    kernel
}

/// fence: standby drops ARP both ways: it answers no question about a virtual address and lets
/// none of its own announcements out, while its unit address answers.
#[test]
fn fence_standby_drops_arp_both_ways() {
    let mut kernel = gateway();
    assert_eq!(ask(&mut kernel, ms(0), LAN, (VIRTUAL, PEER_UNIT)), None);
    assert_eq!(kernel.counters().fenced_in_count, 1);
    assert_eq!(
        ask(&mut kernel, ms(0), LAN, (UNIT, PEER_UNIT)),
        Some(mac(1, LAN))
    );
    for operation in [Operation::Request, Operation::Reply] {
        let announcement = announcement(operation, VIRTUAL, mac(1, LAN));
        let sent = kernel.transmit(ms(0), LAN, &announcement);
        assert_eq!(sent, Transmitted::Dropped);
    }
    assert_eq!(kernel.counters().fenced_out_count, 2);
}

/// fence: with the lease the virtual address answers and announces; at its end it falls silent by
/// itself, whatever the daemon does.
#[test]
fn fence_active_answers_until_the_lease_ends() {
    let mut kernel = active_gateway();
    let question = (VIRTUAL, PEER_UNIT);
    let end = kernel.lease_end(ms(0)).unwrap();
    let last = end.before(Duration::from_nanos(1));
    assert_eq!(ask(&mut kernel, last, LAN, question), Some(mac(1, LAN)));
    let announcement = announcement(Operation::Request, VIRTUAL, mac(1, LAN));
    assert_eq!(kernel.transmit(last, LAN, &announcement), Transmitted::Sent);
    assert_eq!(ask(&mut kernel, end, LAN, question), None);
    assert_eq!(
        kernel.transmit(end, LAN, &announcement),
        Transmitted::Dropped
    );
}

/// fence: the tail forwards and answers packets in flight but no question, so that nothing is
/// lost in a hand-over and nobody is taught the old owner.
#[test]
fn fence_tail_forwards_but_does_not_answer_arp() {
    let mut kernel = knows_peer(tailed_gateway());
    assert_eq!(ask(&mut kernel, ms(2), LAN, (VIRTUAL, PEER_UNIT)), None);
    let announcement = announcement(Operation::Reply, VIRTUAL, mac(1, LAN));
    let sent = kernel.transmit(ms(2), LAN, &announcement);
    assert_eq!(sent, Transmitted::Dropped);

    let transit = datagram(mac(1, WAN), "10.0.2.9", PEER_UNIT);
    assert_eq!(receive(&mut kernel, ms(2), WAN, &transit).frames.len(), 1);
    let to_virtual = datagram(mac(1, LAN), PEER_UNIT, VIRTUAL);
    let out = receive(&mut kernel, ms(2), LAN, &to_virtual);
    assert_eq!(out.delivered.len(), 1);
    let mut out = Outbox::default();
    kernel.send_datagram(ms(2), ip(VIRTUAL), ip(PEER_UNIT), b"late", &mut out);
    assert_eq!(out.frames.len(), 1);
    let end = kernel.tail_end(ms(2)).unwrap();
    assert!(
        receive(&mut kernel, end, LAN, &to_virtual)
            .delivered
            .is_empty()
    );
}

/// fence: without lease or tail, packets to and from a virtual address are dropped; those to and
/// from the unit address pass.
#[test]
fn fence_standby_drops_packets_of_virtual_addresses() {
    let mut kernel = knows_peer(gateway());
    for (to, delivered) in [(VIRTUAL, 0), (UNIT, 1)] {
        let frame = datagram(mac(1, LAN), PEER_UNIT, to);
        let out = receive(&mut kernel, ms(2), LAN, &frame);
        assert_eq!(out.delivered.len(), delivered, "to {to}");
    }
    for (from, sent) in [(VIRTUAL, 0), (UNIT, 1)] {
        let mut out = Outbox::default();
        kernel.send_datagram(ms(2), ip(from), ip(PEER_UNIT), b"reply", &mut out);
        assert_eq!(out.frames.len(), sent, "from {from}");
    }
}

/// fence: a frame to or from a virtual MAC is dropped without a lease; a tail still lets it in
/// but never out.
#[test]
fn fence_virtual_mac_is_fenced() {
    let mut config = fence_config();
    config.virtual_macs = vec![VIRTUAL_MAC];
    for (armed, tailed, outcome) in [
        (false, false, Transmitted::Dropped),
        (true, false, Transmitted::Sent),
        (true, true, Transmitted::Dropped),
    ] {
        let mut kernel = Kernel::new(gateway_config(1, config.clone()));
        if armed {
            kernel.arm(ms(0)).unwrap();
        }
        if tailed {
            kernel.release_to_tail(ms(0)).unwrap();
        }
        let mut frame = Vec::new();
        ethernet::header(&mut frame, PEER, VIRTUAL_MAC, ethertype::IPV4);
        assert_eq!(kernel.transmit(ms(1), LAN, &frame), outcome);
        let mut incoming = Vec::new();
        ethernet::header(&mut incoming, VIRTUAL_MAC, PEER, ethertype::IPV4);
        let incoming = ethernet::Frame::parse(&incoming).unwrap();
        assert_eq!(kernel.admits(ms(1), LAN, &incoming), armed);
    }
}

/// fence: transit arriving on a served port is dropped without lease or tail, if so configured;
/// multicast, frames for others and packets for the unit address are not transit.
#[test]
fn fence_transit_follows_its_setting() {
    let transit = datagram(mac(1, WAN), "10.0.2.9", PEER_UNIT);
    for (drops, tailed, passes) in [
        (true, false, false),
        (false, false, true),
        (true, true, true),
    ] {
        let mut config = fence_config();
        config.drop_transit = drops;
        let mut kernel = knows_peer(Kernel::new(gateway_config(1, config)));
        if tailed {
            kernel.arm(ms(1)).unwrap();
            kernel.release_to_tail(ms(1)).unwrap();
        }
        let out = receive(&mut kernel, ms(2), WAN, &transit);
        assert_eq!(out.frames.len(), usize::from(passes));
    }
    let standby = gateway();
    for (destination, to) in [
        (mac(1, WAN), "224.0.0.18"),
        (OTHER, PEER_UNIT),
        (mac(1, WAN), "10.0.2.2"),
    ] {
        let frame = datagram(destination, "10.0.2.9", to);
        let frame = ethernet::Frame::parse(&frame).unwrap();
        assert!(standby.admits(ms(0), WAN, &frame), "{to}");
    }
}

/// fence: stands on served ports alone: a dedicated cable is not fenced, and a weak host answers
/// there for a staged virtual address.
#[test]
fn fence_does_not_stand_on_an_unserved_port() {
    let mut kernel = knows_peer(gateway());
    let question = (VIRTUAL, "10.0.0.3");
    assert_eq!(
        ask(&mut kernel, ms(2), CABLE, question),
        Some(mac(1, CABLE))
    );
    let transit = datagram(mac(1, CABLE), "10.0.0.3", PEER_UNIT);
    assert_eq!(receive(&mut kernel, ms(2), CABLE, &transit).frames.len(), 1);
}

/// kernel: packet sockets see a frame before the fence drops it: a standby hears the active's
/// announcements, and questions about the address it does not own.
#[test]
fn kernel_packet_sockets_see_frames_before_the_fence() {
    let mut kernel = gateway();
    let asked = request(VIRTUAL, PEER_UNIT).frame(mac(1, LAN), PEER);
    let mut vrrp = datagram(MacAddr::BROADCAST, PEER_UNIT, "224.0.0.18");
    vrrp[ethernet::HEADER_LEN + 9] = protocol::VRRP;
    for (frame, captured) in [
        (asked.clone(), 1),
        (steadfast(1), 1),
        (vrrp, 1),
        (datagram(mac(1, LAN), PEER_UNIT, UNIT), 0),
        (request(VIRTUAL, PEER_UNIT).frame(OTHER, PEER), 0),
    ] {
        let out = receive(&mut kernel, ms(0), LAN, &frame);
        assert_eq!(out.captured.len(), captured);
        assert!(
            out.captured
                .iter()
                .all(|(at, seen)| *at == LAN && **seen == frame[..])
        );
    }
    kernel.set_capture(false);
    assert!(receive(&mut kernel, ms(0), LAN, &asked).captured.is_empty());
}

/// observer: what it is told is what a real question gets, in every state of lease, table,
/// address and carrier.
#[test]
fn observer_agrees_with_a_real_question() {
    type Change = fn(&mut Kernel);
    let states: [(&str, Change, bool); 8] = [
        ("fenced", |_| {}, false),
        ("armed", |k| k.arm(ms(1)).unwrap(), true),
        ("lapsed", |k| k.offer(ms(1), Duration::ZERO).unwrap(), false),
        ("armed again", |k| k.arm(ms(1)).unwrap(), true),
        ("tail", |k| k.release_to_tail(ms(1)).unwrap(), false),
        (
            "no table",
            |k| k.flush_ruleset(FlushBy::ForeignIgnoringOwner),
            true,
        ),
        (
            "address gone",
            |k| k.remove_virtual(LAN, ip(VIRTUAL)),
            false,
        ),
        ("no carrier", |k| k.set_carrier(LAN, false), false),
    ];
    let mut kernel = gateway();
    for (state, change, answers) in states {
        change(&mut kernel);
        let told = kernel.answers_for(ms(1), LAN, ip(VIRTUAL));
        let real = ask(&mut kernel, ms(1), LAN, (VIRTUAL, "0.0.0.0")).is_some();
        assert_eq!((told, real), (answers, answers), "{state}");
        let unit = ask(&mut kernel, ms(1), LAN, (UNIT, "0.0.0.0")).is_some();
        assert_eq!(kernel.answers_for(ms(1), LAN, ip(UNIT)), unit, "{state}");
    }
    assert!(!kernel.answers_for(ms(1), PortId(9), ip(UNIT)));
}
