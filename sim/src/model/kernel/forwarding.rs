//! Packets: taken in, delivered, passed on, and sent.
//!
//! A gateway passes packets on whatever its role: only the fence knows roles. Every packet leaves
//! through the neighbour cache, where it may wait for an answer.

use core::net::IpAddr;

use steadfast_core::wire::ethernet;
use steadfast_core::{Instant, MacAddr, PortId};

use super::super::Frame;
use super::addresses::Port;
use super::neighbours::{Ask, Resolution};
use super::packet::{self, Echo, Packet, protocol};
use super::{Delivered, Kernel, Outbox};

/// Identifier of the models' echo requests.
const IDENTIFIER: u16 = 0x5346;

impl Kernel {
    /// Sends a datagram of IP protocol 253 from a local program.
    pub fn send_datagram(
        &mut self,
        now: Instant,
        source: IpAddr,
        destination: IpAddr,
        payload: &[u8],
        out: &mut Outbox,
    ) {
        let protocol = protocol::DATAGRAM;
        self.send(now, destination, out, |buffer| {
            packet::write(buffer, (source, destination), protocol, &[payload])
        });
    }

    /// Sends an echo request; its answer is delivered with the same sequence number and body.
    pub fn ping(
        &mut self,
        now: Instant,
        source: IpAddr,
        destination: IpAddr,
        (sequence, body): (u16, &[u8]),
        out: &mut Outbox,
    ) {
        let echo = Echo {
            is_request: true,
            identifier: IDENTIFIER,
            sequence,
        };
        self.send(now, destination, out, |buffer| {
            packet::write_echo(buffer, (source, destination), echo, body)
        });
    }

    /// Sends a UDP datagram between these ports from a local program that asked for no address:
    /// from the port's own, or the name that this has.
    pub fn send_unbound(
        &mut self,
        now: Instant,
        destination: IpAddr,
        ports: (u16, u16),
        out: &mut Outbox,
    ) {
        let Some((port, _)) = self.addresses.route(destination) else {
            self.counters.0.unroutable_count += 1;
            return;
        };
        let Some(own) = self.addresses.source_for(port, destination) else {
            self.counters.0.unroutable_count += 1;
            return;
        };
        let named = |it: &Port| {
            let mut names = it.config.names.iter();
            names.find(|(unit, _)| *unit == own).map(|(_, name)| *name)
        };
        let translates = self.translates;
        let place = self.addresses.port(port).filter(|_| translates);
        let source = place.and_then(named).unwrap_or(own);
        self.send(now, destination, out, |buffer| {
            packet::write_datagram(buffer, (source, destination), ports, &[0])
        });
    }

    pub(super) fn ip_input(
        &mut self,
        now: Instant,
        port: PortId,
        frame: &Frame,
        parsed: &ethernet::Frame<'_>,
        out: &mut Outbox,
    ) {
        let Some(packet) = Packet::parse(parsed.ethertype, parsed.payload) else {
            self.counters.0.malformed_count += 1;
            return;
        };
        if self.addresses.is_local(packet.destination) {
            self.deliver(now, port, frame, &packet, out);
        } else if self.forwards && !parsed.destination.is_group() {
            self.forward(now, &packet, out);
        } else {
            self.counters.0.not_ours_count += 1;
        }
    }

    fn forward(&mut self, now: Instant, packet: &Packet<'_>, out: &mut Outbox) {
        if packet.hops <= 1 {
            self.counters.0.hops_count += 1;
            return;
        }
        self.send(now, packet.destination, out, |buffer| {
            buffer.extend_from_slice(packet.bytes);
            packet::take_hop(&mut buffer[ethernet::HEADER_LEN..]);
            true
        });
    }

    fn deliver(
        &mut self,
        now: Instant,
        port: PortId,
        frame: &Frame,
        packet: &Packet<'_>,
        out: &mut Outbox,
    ) {
        if let Some(echo) = packet.echo().filter(|echo| echo.is_request) {
            let (from, to) = (packet.destination, packet.source);
            let answer = Echo {
                is_request: false,
                ..echo
            };
            let body = &packet.payload()[packet::ECHO_LEN..];
            self.send(now, to, out, |buffer| {
                packet::write_echo(buffer, (from, to), answer, body)
            });
            return;
        }
        let at = ethernet::HEADER_LEN;
        let via = ethernet::Frame::parse(frame).map_or(MacAddr::ZERO, |parsed| parsed.source);
        out.delivered.push(Delivered {
            port,
            source: packet.source,
            destination: packet.destination,
            protocol: packet.protocol,
            via,
            frame: frame.clone(),
            payload: (at + packet.payload_at, at + packet.bytes.len()),
        });
    }

    /// Builds a frame behind an empty Ethernet header and sends it on its way.
    fn send(
        &mut self,
        now: Instant,
        destination: IpAddr,
        out: &mut Outbox,
        build: impl FnOnce(&mut Vec<u8>) -> bool,
    ) {
        let mut buffer = core::mem::take(&mut out.scratch);
        buffer.clear();
        let ethertype = packet::ethertype_of(destination);
        ethernet::header(&mut buffer, MacAddr::ZERO, MacAddr::ZERO, ethertype);
        if build(&mut buffer) {
            self.dispatch(now, destination, &mut buffer, out);
        } else {
            self.counters.0.malformed_count += 1;
        }
        out.scratch = buffer;
    }

    fn dispatch(&mut self, now: Instant, destination: IpAddr, buffer: &mut [u8], out: &mut Outbox) {
        if self.addresses.is_local(destination) {
            self.loop_back(now, destination, buffer, out);
            return;
        }
        let hop = self.addresses.route(destination);
        let Some((port, hop, own)) = hop.and_then(|(port, hop)| Some((port, hop, self.mac(port)?)))
        else {
            self.counters.0.unroutable_count += 1;
            return;
        };
        buffer[6..12].copy_from_slice(&own.0);
        let dropped = &mut self.counters.0.unresolved_count;
        match self.neighbours.resolve(now, (port, hop), buffer, dropped) {
            Resolution::Full => self.counters.0.neighbours_full_count += 1,
            Resolution::Send(mac) => {
                buffer[..6].copy_from_slice(&mac.0);
                self.emit(now, port, buffer, out);
            }
            Resolution::Ask => {
                let ask = Ask {
                    port,
                    ip: hop,
                    at: None,
                    first_waiting: Some(buffer.to_vec()),
                };
                self.ask(now, &ask, out);
            }
            Resolution::Wait => {}
        }
    }

    /// Delivers a packet the machine sent to itself: it never meets a fence.
    fn loop_back(&mut self, now: Instant, address: IpAddr, buffer: &[u8], out: &mut Outbox) {
        let frame = Frame::from(buffer);
        let parsed = ethernet::Frame::parse(&frame);
        let packet = parsed.and_then(|parsed| Packet::parse(parsed.ethertype, parsed.payload));
        if let (Some(packet), Some(local)) = (packet, self.addresses.local(address)) {
            self.deliver(now, local.port, &frame, &packet, out);
        }
    }
}
