//! Statements about Linux that the kernel model must keep. Each title is a sentence of a
//! conformance suite: what must happen, and why it matters to a takeover.

mod fence;
mod forwarding;
mod ipv6;
mod lease;
mod resolution;
mod vrrp;

use core::net::Ipv4Addr;

use steadfast_core::wire::arp::{Arp, Operation};

use super::*;

const LAN: PortId = PortId(0);
const WAN: PortId = PortId(1);
const CABLE: PortId = PortId(2);

const PEER: MacAddr = MacAddr([2, 0, 0, 0, 9, 9]);
const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 8, 8]);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn ms(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn mac(machine: u8, port: PortId) -> MacAddr {
    MacAddr([2, 0, 0, 0, machine, port.0])
}

fn port(machine: u8, id: PortId, address: &str, served: bool) -> PortConfig {
    let prefix = if address.contains(':') { 64 } else { 24 };
    PortConfig {
        id,
        mac: mac(machine, id),
        virtual_mac: None,
        names: Vec::new(),
        addresses: vec![(ip(address), prefix)],
        served,
        heartbeat: served || id == CABLE,
        routed: false,
    }
}

fn fence_config() -> FenceConfig {
    FenceConfig::new(vec![ip("10.0.1.1"), ip("10.0.2.1")])
}

fn gateway_config(machine: u8, fence: FenceConfig) -> KernelConfig {
    let ports = vec![
        port(machine, LAN, &format!("10.0.1.{}", machine + 1), true),
        port(machine, WAN, &format!("10.0.2.{}", machine + 1), true),
        port(machine, CABLE, &format!("10.0.0.{}", machine + 1), false),
    ];
    KernelConfig::gateway(ports, fence)
}

/// Gateway 1 (units 10.0.x.2) with the virtual addresses installed: fenced until armed.
fn gateway() -> Kernel {
    with_virtuals(Kernel::new(gateway_config(1, fence_config())))
}

fn with_virtuals(mut kernel: Kernel) -> Kernel {
    kernel.add_virtual(LAN, ip("10.0.1.1"));
    kernel.add_virtual(WAN, ip("10.0.2.1"));
    kernel
}

fn active_gateway() -> Kernel {
    let mut kernel = gateway();
    kernel.arm(ms(0)).unwrap();
    kernel
}

fn request(target: &str, sender: &str) -> Arp {
    Arp {
        operation: Operation::Request,
        sender_mac: PEER,
        sender_ip: v4(sender),
        target_mac: MacAddr::ZERO,
        target_ip: v4(target),
    }
}

/// An announcement in request form, or in reply form.
fn announcement(operation: Operation, address: &str, owner: MacAddr) -> Vec<u8> {
    let target_mac = match operation {
        Operation::Request => MacAddr::ZERO,
        Operation::Reply => owner,
    };
    let arp = Arp {
        operation,
        sender_mac: owner,
        sender_ip: v4(address),
        target_mac,
        target_ip: v4(address),
    };
    arp.frame(MacAddr::BROADCAST, owner)
}

/// An ARP reply to us.
fn reply(address: &str, owner: MacAddr, kernel: &Kernel, port: PortId) -> Vec<u8> {
    let own = kernel.mac(port).unwrap();
    let arp = Arp {
        operation: Operation::Reply,
        sender_mac: owner,
        sender_ip: v4(address),
        target_mac: own,
        target_ip: Ipv4Addr::UNSPECIFIED,
    };
    arp.frame(own, owner)
}

fn receive(kernel: &mut Kernel, now: Instant, port: PortId, frame: &[u8]) -> Outbox {
    let mut out = Outbox::default();
    kernel.receive(now, port, &Frame::from(frame), &mut out);
    out
}

/// Asks the port's own MAC, as a standby and an observer do; the station that answered.
fn ask(
    kernel: &mut Kernel,
    now: Instant,
    port: PortId,
    (target, sender): (&str, &str),
) -> Option<MacAddr> {
    let own = kernel.mac(port).unwrap();
    let out = receive(kernel, now, port, &request(target, sender).frame(own, PEER));
    let (at, frame) = out.frames.first()?;
    assert_eq!((*at, out.frames.len()), (port, 1));
    let frame = ethernet::Frame::parse(frame).unwrap();
    assert_eq!(
        frame.destination, PEER,
        "answers are sent to the asker alone"
    );
    let arp = Arp::parse(frame.payload).unwrap();
    assert_eq!(
        (arp.operation, arp.sender_ip, arp.target_ip),
        (Operation::Reply, v4(target), v4(sender))
    );
    assert_eq!(arp.sender_mac, frame.source);
    Some(arp.sender_mac)
}

/// A Steadfast frame with this role mark.
fn steadfast(mark: u8) -> Vec<u8> {
    let mut out = Vec::new();
    ethernet::header(&mut out, MacAddr::BROADCAST, PEER, ethertype::STEADFAST);
    out.extend_from_slice(&[1, mark, 0, 0, 0, 0]);
    out
}

/// An IP packet in a frame from [`PEER`] to a station.
fn datagram(destination: MacAddr, from: &str, to: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let ethertype = packet::ethertype_of(ip(to));
    ethernet::header(&mut out, destination, PEER, ethertype);
    let ends = (ip(from), ip(to));
    assert!(packet::write(
        &mut out,
        ends,
        protocol::DATAGRAM,
        &[b"probe"]
    ));
    out
}
