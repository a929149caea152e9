//! Machines that are no part of the cluster: thieves, foreign speakers, forgers, replayers.
//!
//! They sit on the free outlet of a switched segment. They hear what is flooded there and keep the
//! newest of our frames, as an attacker would; they hold no key.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use std::collections::VecDeque;
use steadfast_core::wire::advert::{GROUP_MAC, Kind};
use steadfast_core::wire::announce::{gratuitous_arp, unsolicited_na};
use steadfast_core::wire::arp::{Arp, Operation};
use steadfast_core::wire::ethernet::{self, ethertype};
use steadfast_core::wire::foreign::{ForeignProtocol, ForeignSpeaker};
use steadfast_core::wire::ndisc::{NeighbourAdvert, NeighbourSolicit};
use steadfast_core::{Instant, MacAddr};
use steadfast_scenarios::format::{self, ReplayWhat, Verb};

use super::world::{Happening, World};
use crate::model::Frame;

/// Frames of ours an attacker remembers; the oldest is forgotten.
const MEMORY_MAX: usize = 4_096;
/// Between two announcements of a thief.
const THEFT_INTERVAL: Duration = Duration::from_millis(50);
/// Between two advertisements of a foreign speaker.
const FOREIGN_INTERVAL: Duration = Duration::from_millis(100);

/// A stranger's outlet on one segment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stranger {
    mac: MacAddr,
    deeds: Vec<Deed>,
    memory: VecDeque<Frame>,
}

/// Something a stranger does for a while.
#[derive(Clone, Debug)]
struct Deed {
    until: Instant,
    every: Duration,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Flood,
    Speak(ForeignSpeaker, Ipv4Addr),
    Steal(IpAddr),
}

impl World<'_> {
    /// The stranger of a segment, plugged in when first needed.
    fn stranger(&mut self, segment: usize) -> &mut Stranger {
        let media = self.net.media.len();
        while self.strangers.len() < media {
            let number = self.strangers.len();
            let low = u8::try_from(number).unwrap_or(u8::MAX);
            self.strangers.push(Stranger {
                mac: MacAddr([0x02, 0x66, low, 0, 0, 1]),
                ..Stranger::default()
            });
        }
        &mut self.strangers[segment]
    }

    fn outlet(&self, segment: usize) -> Option<usize> {
        let station = self.gateways.len() + self.hosts.len() + segment;
        self.net.place(segment, station)
    }

    fn stranger_puts(&mut self, segment: usize, frame: Vec<u8>) {
        if let Some(place) = self.outlet(segment) {
            self.put(segment, place, &Frame::from(frame));
        }
    }

    /// What is flooded to the free outlet: remembered, and answered by a thief.
    pub(crate) fn stranger_receives(&mut self, segment: usize, frame: &Frame) {
        let Some(parsed) = ethernet::Frame::parse(frame) else {
            return;
        };
        match parsed.ethertype {
            ethertype::STEADFAST => {
                let memory = &mut self.stranger(segment).memory;
                if memory.len() >= MEMORY_MAX {
                    memory.pop_front();
                }
                memory.push_back(frame.clone());
            }
            ethertype::ARP => {
                if let Some(arp) = Arp::parse(parsed.payload) {
                    self.thief_answers(segment, &arp);
                }
            }
            ethertype::IPV6 => {
                if let Some(solicit) = NeighbourSolicit::parse(parsed.payload) {
                    self.thief_advertises(segment, parsed.source, &solicit);
                }
            }
            _ => {}
        }
    }

    /// Whether a stranger claims this address now.
    fn steals(&mut self, segment: usize, address: IpAddr) -> bool {
        let now = self.now;
        let mut deeds = self.stranger(segment).deeds.iter();
        deeds.any(|it| it.until > now && matches!(it.what, What::Steal(ip) if ip == address))
    }

    fn thief_advertises(&mut self, segment: usize, asker: MacAddr, solicit: &NeighbourSolicit) {
        let mac = self.stranger(segment).mac;
        let is_question = !solicit.source.is_unspecified();
        if is_question && self.steals(segment, IpAddr::V6(solicit.target)) {
            let advert = NeighbourAdvert {
                source: solicit.target,
                destination: solicit.source,
                target: solicit.target,
                router: false,
                solicited: true,
                overrides: true,
                link_layer: Some(mac),
            };
            self.stranger_puts(segment, advert.frame(asker, mac));
        }
    }

    fn thief_answers(&mut self, segment: usize, arp: &Arp) {
        let mac = self.stranger(segment).mac;
        let steals = self.steals(segment, IpAddr::V4(arp.target_ip));
        if arp.operation == Operation::Request && steals {
            let reply = Arp {
                operation: Operation::Reply,
                sender_mac: mac,
                sender_ip: arp.target_ip,
                target_mac: arp.sender_mac,
                target_ip: arp.sender_ip,
            };
            self.stranger_puts(segment, reply.frame(arp.sender_mac, mac));
        }
    }

    /// Begins what a step asks for.
    pub(crate) fn start_stranger(&mut self, segment: usize, verb: &Verb) {
        match verb {
            Verb::ForeignSpeaker {
                protocol,
                vrid,
                priority,
                lasting,
            } => {
                let mac = self.stranger(segment).mac;
                let speaker = ForeignSpeaker {
                    protocol: foreign(*protocol),
                    virtual_id: *vrid,
                    priority: *priority,
                    source: mac,
                };
                let from = Ipv4Addr::new(192, 0, 2, 1);
                self.begin(
                    segment,
                    lasting.0,
                    FOREIGN_INTERVAL,
                    What::Speak(speaker, from),
                );
            }
            Verb::Thief { address, lasting } => {
                let virtuals = &self.plan.layout.segments[segment].virtuals;
                if let Some(ip) = virtuals.get(usize::from(*address)).copied() {
                    self.begin(segment, lasting.0, THEFT_INTERVAL, What::Steal(ip));
                }
            }
            Verb::Flood { rate, lasting } => {
                self.begin(segment, lasting.0, rate.period(), What::Flood);
            }
            Verb::Garbage { count } => {
                for _ in 0..*count {
                    let frame = self.noise(segment, ethertype::STEADFAST);
                    self.stranger_puts(segment, frame);
                }
            }
            Verb::Forge {
                kind,
                sender,
                count,
            } => self.forge(segment, *kind, sender, *count),
            Verb::Replay { what, count } => self.replay(segment, *what, *count),
            _ => {}
        }
    }

    fn begin(&mut self, segment: usize, lasting: Duration, every: Duration, what: What) {
        let until = self.now.after(lasting);
        self.stranger(segment)
            .deeds
            .push(Deed { until, every, what });
        self.queue
            .push(self.now, Happening::Stranger { index: segment });
    }

    /// Everything a stranger is at is done once more.
    pub(crate) fn stranger_due(&mut self, segment: usize) {
        let now = self.now;
        let stranger = self.stranger(segment);
        stranger.deeds.retain(|deed| deed.until > now);
        let (mac, deeds) = (stranger.mac, stranger.deeds.clone());
        let next = deeds.iter().map(|deed| now.after(deed.every)).min();
        for deed in deeds {
            match deed.what {
                What::Flood => {
                    let frame = self.noise(segment, ethertype::IPV4);
                    self.stranger_puts(segment, frame);
                }
                What::Speak(speaker, from) => {
                    if let Some(IpAddr::V4(ip)) = self.first_virtual(segment) {
                        self.stranger_puts(segment, speaker.frame(from, ip));
                    }
                }
                What::Steal(ip) => {
                    let frames = match ip {
                        IpAddr::V4(ip) => gratuitous_arp(mac, ip).to_vec(),
                        IpAddr::V6(ip) => vec![unsolicited_na(mac, ip)],
                    };
                    for frame in frames {
                        self.stranger_puts(segment, frame);
                    }
                }
            }
        }
        if let Some(at) = next {
            self.queue.push(at, Happening::Stranger { index: segment });
        }
    }

    fn noise(&mut self, segment: usize, kind: u16) -> Vec<u8> {
        let mac = self.stranger(segment).mac;
        let length = self.random.between(1, 400);
        let mut frame = Vec::new();
        ethernet::header(&mut frame, MacAddr::BROADCAST, mac, kind);
        frame.extend((0..length).map(|_| (self.random.draw() & 0xff) as u8));
        frame
    }

    /// A frame in a gateway's name, by somebody without the key.
    fn forge(
        &mut self,
        segment: usize,
        kind: steadfast_scenarios::trace::FrameKind,
        sender: &str,
        count: u32,
    ) {
        let stranger = self.stranger(segment);
        let (template, mac) = (stranger.memory.back().cloned(), stranger.mac);
        let id = self
            .plan
            .layout
            .gateway(sender)
            .map_or(1, |gateway| gateway.id.0);
        for _ in 0..count {
            let mut frame = template
                .as_ref()
                .map_or_else(Vec::new, |frame| frame.to_vec());
            if frame.is_empty() {
                ethernet::header(
                    &mut frame,
                    GROUP_MAC,
                    MacAddr::BROADCAST,
                    ethertype::STEADFAST,
                );
                frame.extend(std::iter::repeat_n(0, 200));
            }
            // From its own address: one of a gateway's would be a theft at the switch.
            frame[6..12].copy_from_slice(&mac.0);
            if let Some(byte) = kind_byte(kind) {
                frame[15] = 2;
                frame[16] = byte;
            }
            let noise = self.random.draw().to_be_bytes();
            let end = frame.len();
            frame[end - 8..].copy_from_slice(&noise);
            frame[14 + 27] = id;
            self.stranger_puts(segment, frame);
        }
    }

    /// Recorded frames again: of an earlier life the oldest, of this one the newest.
    fn replay(&mut self, segment: usize, what: ReplayWhat, count: u32) {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let other = (0..self.net.media.len())
            .find(|other| *other != segment && self.outlet(*other).is_some());
        let place = match what {
            ReplayWhat::WrongPath => other.unwrap_or(segment),
            ReplayWhat::PastLife | ReplayWhat::ThisLife => segment,
        };
        let memory = &self.stranger(segment).memory;
        let frames: Vec<Frame> = match what {
            ReplayWhat::PastLife => memory.iter().take(count).cloned().collect(),
            ReplayWhat::ThisLife | ReplayWhat::WrongPath => {
                memory.iter().rev().take(count).cloned().collect()
            }
        };
        for frame in frames {
            self.stranger_puts(place, frame.to_vec());
        }
    }
}

fn kind_byte(kind: steadfast_scenarios::trace::FrameKind) -> Option<u8> {
    (1..=u8::MAX).find(|byte| Kind::from_byte(*byte).map(Into::into) == Some(kind))
}

const fn foreign(protocol: format::ForeignProtocol) -> ForeignProtocol {
    match protocol {
        format::ForeignProtocol::Carp => ForeignProtocol::Carp,
        format::ForeignProtocol::Steadfast => ForeignProtocol::Steadfast,
        format::ForeignProtocol::Vrrp2 => ForeignProtocol::Vrrp2,
        format::ForeignProtocol::Vrrp3 => ForeignProtocol::Vrrp3,
    }
}
