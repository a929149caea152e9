//! Packets through a gateway and to its addresses.

use proptest::prelude::*;

use super::super::packet::{Packet, checksum};
use super::*;

/// Most hand-overs between machines in one settling: more means a loop.
const HANDOVERS_MAX: usize = 64;

/// Machines on segments without delay or switch: each frame reaches all others on its segment.
struct Lab {
    kernels: Vec<Kernel>,
    wires: Vec<(usize, PortId, &'static str)>,
    delivered: Vec<(usize, Delivered)>,
    seen: Vec<Frame>,
}

impl Lab {
    /// A client on the LAN, a server on the WAN, gateway 1 active and gateway 2 standby.
    fn pair() -> Self {
        let host = |id, at, address, gateway| {
            let ports = vec![port(id, at, address, false)];
            Kernel::new(KernelConfig::host(ports, vec![ip(gateway)]))
        };
        let standby = with_virtuals(Kernel::new(gateway_config(2, fence_config())));
        Self {
            kernels: vec![
                host(9, LAN, "10.0.1.9", "10.0.1.1"),
                host(8, WAN, "10.0.2.9", "10.0.2.1"),
                active_gateway(),
                standby,
            ],
            wires: vec![
                (0, LAN, "lan"),
                (1, WAN, "wan"),
                (2, LAN, "lan"),
                (2, WAN, "wan"),
                (3, LAN, "lan"),
                (3, WAN, "wan"),
            ],
            delivered: Vec::new(),
            seen: Vec::new(),
        }
    }

    fn send(&mut self, now: Instant, from: usize, (source, to): (&str, &str)) {
        let mut out = Outbox::default();
        self.kernels[from].send_datagram(now, ip(source), ip(to), b"probe", &mut out);
        self.settle(now, from, out);
    }

    fn ping(&mut self, now: Instant, from: usize, (source, to): (&str, &str)) {
        let mut out = Outbox::default();
        self.kernels[from].ping(now, ip(source), ip(to), (7, b"body!"), &mut out);
        self.settle(now, from, out);
    }

    fn settle(&mut self, now: Instant, from: usize, out: Outbox) {
        let mut pending = vec![(from, out)];
        for _ in 0..HANDOVERS_MAX {
            let Some((sender, out)) = pending.pop() else {
                return;
            };
            self.delivered
                .extend(out.delivered.into_iter().map(|one| (sender, one)));
            for (port, frame) in out.frames {
                self.seen.push(frame.clone());
                for (machine, at) in self.others(sender, port) {
                    let mut next = Outbox::default();
                    self.kernels[machine].receive(now, at, &frame, &mut next);
                    pending.push((machine, next));
                }
            }
        }
        panic!("frames go round");
    }

    fn others(&self, sender: usize, port: PortId) -> Vec<(usize, PortId)> {
        let own = self
            .wires
            .iter()
            .find(|(k, p, _)| (*k, *p) == (sender, port));
        let segment = own.unwrap().2;
        let on_it = self
            .wires
            .iter()
            .filter(|(k, _, s)| *s == segment && *k != sender);
        on_it.map(|(k, p, _)| (*k, *p)).collect()
    }
}

/// kernel: a datagram crosses the active gateway in both directions, one hop shorter, with a
/// correct header, and its last hop is the gateway's station.
#[test]
fn kernel_forwards_datagrams_both_ways() {
    let mut lab = Lab::pair();
    lab.send(ms(0), 0, ("10.0.1.9", "10.0.2.9"));
    lab.send(ms(1), 1, ("10.0.2.9", "10.0.1.9"));
    let [(1, there), (0, back)] = &lab.delivered[..] else {
        panic!("{:?}", lab.delivered);
    };
    assert_eq!(
        (there.source, there.destination),
        (ip("10.0.1.9"), ip("10.0.2.9"))
    );
    assert_eq!(
        (there.payload(), there.protocol),
        (&b"probe"[..], protocol::DATAGRAM)
    );
    assert_eq!((there.via, back.via), (mac(1, WAN), mac(1, LAN)));
    assert_eq!(there.echo_sequence(), None);
    let frame = ethernet::Frame::parse(&there.frame).unwrap();
    assert_eq!(
        Packet::parse(frame.ethertype, frame.payload).unwrap().hops,
        63
    );
}

/// kernel: answers a ping from the address asked, virtual or unit; a fenced gateway answers for
/// its unit address alone.
#[test]
fn kernel_answers_ping_from_the_address_asked() {
    let mut lab = Lab::pair();
    for (at, target) in ["10.0.1.1", "10.0.1.2", "10.0.2.1", "10.0.1.3"]
        .into_iter()
        .enumerate()
    {
        lab.ping(ms(0), 0, ("10.0.1.9", target));
        let (machine, answer) = &lab.delivered[at];
        assert_eq!((*machine, answer.source), (0, ip(target)));
        assert_eq!(
            (answer.echo_sequence(), answer.payload()),
            (Some(7), &b"body!"[..])
        );
    }
    lab.kernels[2].fence();
    lab.ping(ms(1), 0, ("10.0.1.9", "10.0.1.1"));
    assert_eq!(lab.delivered.len(), 4, "nobody owns it now");
    lab.ping(ms(1), 0, ("10.0.1.9", "10.0.1.2"));
    assert_eq!(lab.delivered.len(), 5);
}

/// kernel: every frame of an exchange has correct header and echo checksums, so that a capture
/// of a simulated run decodes without complaint.
#[test]
fn kernel_packets_decode_in_a_capture() {
    let mut lab = Lab::pair();
    lab.ping(ms(0), 0, ("10.0.1.9", "10.0.2.9"));
    let mut echoes = 0;
    for frame in &lab.seen {
        let frame = ethernet::Frame::parse(frame).unwrap();
        if frame.ethertype == ethertype::IPV4 {
            let packet = Packet::parse(frame.ethertype, frame.payload).unwrap();
            assert_eq!(checksum(&[packet.payload()]), 0);
            echoes += 1;
        }
    }
    assert_eq!(echoes, 4, "two hops there, two back");
}

/// kernel: after the takeover and its announcement the client's packets go through the new owner.
#[test]
fn kernel_traffic_follows_an_announced_takeover() {
    let mut lab = Lab::pair();
    lab.send(ms(0), 0, ("10.0.1.9", "10.0.2.9"));
    lab.kernels[2].fence();
    lab.send(ms(1), 0, ("10.0.1.9", "10.0.2.9"));
    assert_eq!(lab.delivered.len(), 1, "sent to the fenced one");
    lab.kernels[3].arm(ms(2)).unwrap();
    let news = announcement(Operation::Request, "10.0.1.1", mac(2, LAN));
    assert_eq!(
        lab.kernels[3].transmit(ms(2), LAN, &news),
        Transmitted::Sent
    );
    let out = receive(&mut lab.kernels[0], ms(2), LAN, &news);
    assert!(out.frames.is_empty());
    lab.send(ms(3), 0, ("10.0.1.9", "10.0.2.9"));
    assert_eq!(lab.delivered.last().unwrap().1.via, mac(2, WAN));
}

/// kernel: a packet that used up its hops, or has no route, is dropped and counted; a host does
/// not forward.
#[test]
fn kernel_drops_what_it_cannot_pass_on() {
    let mut kernel = active_gateway();
    let mut spent = datagram(mac(1, LAN), "10.0.1.9", "10.0.2.9");
    for _ in 0..63 {
        packet::take_hop(&mut spent[ethernet::HEADER_LEN..]);
    }
    assert!(receive(&mut kernel, ms(0), LAN, &spent).frames.is_empty());
    assert_eq!(kernel.counters().hops_count, 1);
    let lost = datagram(mac(1, LAN), "10.0.1.9", "192.0.2.1");
    assert!(receive(&mut kernel, ms(0), LAN, &lost).frames.is_empty());
    assert_eq!(kernel.counters().unroutable_count, 1);
    kernel.set_gateways(vec![ip("10.0.2.254")]);
    assert_eq!(
        receive(&mut kernel, ms(0), LAN, &lost).frames.len(),
        1,
        "asks"
    );
    let mut host = Lab::pair().kernels.swap_remove(0);
    let transit = datagram(mac(9, LAN), "10.0.1.7", "10.0.1.8");
    assert!(receive(&mut host, ms(0), LAN, &transit).frames.is_empty());
    assert_eq!(host.counters().not_ours_count, 1);
}

/// kernel: a machine that sends to an address of its own reaches itself, lease or not: the reason
/// staged addresses capture the standby's own traffic.
#[test]
fn kernel_loops_its_own_addresses_back() {
    let mut kernel = gateway();
    let mut out = Outbox::default();
    kernel.send_datagram(ms(0), ip("10.0.1.2"), ip("10.0.1.1"), b"self", &mut out);
    kernel.ping(ms(0), ip("10.0.1.2"), ip("10.0.1.1"), (3, b"x"), &mut out);
    assert!(out.frames.is_empty());
    assert_eq!(out.delivered[0].payload(), b"self");
    assert_eq!(out.delivered[1].echo_sequence(), Some(3));
    assert_eq!(out.delivered[1].source, ip("10.0.1.1"));
}

/// kernel: addresses of two IP versions, or a payload beyond the length field, make no packet.
#[test]
fn kernel_refuses_impossible_packets() {
    let mut kernel = gateway();
    let mut out = Outbox::default();
    kernel.send_datagram(ms(0), ip("fd00::1"), ip("10.0.1.9"), b"x", &mut out);
    kernel.send_datagram(
        ms(0),
        ip("10.0.1.2"),
        ip("10.0.1.9"),
        &[0; 70_000],
        &mut out,
    );
    assert!(out.frames.is_empty());
    assert_eq!(kernel.counters().malformed_count, 2);
}

/// kernel: a frame cut short anywhere, or with a broken header checksum, is dropped.
#[test]
fn kernel_drops_packets_cut_short() {
    let whole = datagram(mac(1, LAN), "10.0.1.9", "10.0.1.2");
    for len in 0..whole.len() {
        let mut kernel = active_gateway();
        assert!(
            receive(&mut kernel, ms(0), LAN, &whole[..len])
                .delivered
                .is_empty()
        );
    }
    for at in ethernet::HEADER_LEN..ethernet::HEADER_LEN + 20 {
        let mut broken = whole.clone();
        broken[at] ^= 0x10;
        let out = receive(&mut active_gateway(), ms(0), LAN, &broken);
        assert!(
            out.delivered.is_empty() && out.frames.is_empty(),
            "byte {at}"
        );
    }
}

proptest! {
    /// kernel: no bytes make it panic, whatever its state, and no call makes it send more than it
    /// was given a reason for.
    #[test]
    fn kernel_survives_any_bytes(
        mut frame in proptest::collection::vec(any::<u8>(), 0..120),
        kind in 0..5usize,
        armed in any::<bool>(),
    ) {
        let kinds = [ethertype::ARP, ethertype::IPV4, ethertype::IPV6, ethertype::STEADFAST];
        if let (Some(kind), Some(head)) = (kinds.get(kind), frame.first_chunk_mut::<14>()) {
            head[..6].copy_from_slice(&mac(1, LAN).0);
            head[12..].copy_from_slice(&kind.to_be_bytes());
        }
        let mut kernel = if armed { active_gateway() } else { gateway() };
        let out = receive(&mut kernel, ms(0), LAN, &frame);
        prop_assert!(out.frames.len() <= 1 + WAITING_MAX);
        kernel.transmit(ms(0), LAN, &frame);
    }

    /// kernel: a valid frame with some bytes changed does not make it panic either.
    #[test]
    fn kernel_survives_changed_frames(
        changes in proptest::collection::vec((0..60usize, any::<u8>()), 0..4),
        which in 0..4usize,
    ) {
        let mut frame = match which {
            0 => request("10.0.1.1", "10.0.1.9").frame(mac(1, LAN), PEER),
            1 => datagram(mac(1, LAN), "10.0.1.9", "10.0.1.1"),
            2 => datagram(mac(1, LAN), "10.0.1.9", "10.0.2.9"),
            _ => announcement(Operation::Reply, "10.0.1.9", PEER),
        };
        for (at, byte) in changes {
            if let Some(target) = frame.get_mut(at) {
                *target = byte;
            }
        }
        let out = receive(&mut active_gateway(), ms(0), LAN, &frame);
        prop_assert!(out.frames.len() <= 1 + WAITING_MAX);
    }
}
