//! Machines that are no part of the cluster: thieves, foreign speakers, forgers, replayers.
//!
//! A stranger sits on the free outlet of a switched segment. It hears what is flooded there and
//! keeps the newest of our frames, as an attacker would; it holds no key. What it does is a value
//! here, the same for every world: a world hands it what it hears ([`Stranger::hear`]), tells it
//! what a step asks for ([`Stranger::begin`]), gives it its turns ([`Stranger::due`]) and puts on
//! the wire what it answers.
//!
//! Limit: forged frames never bear a gateway's own MAC, which would be a theft at the switch and
//! not one of an identity. Replayed ones do, as they were recorded: while they come the switch
//! sends frames astray.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use steadfast_core::wire::advert::{GROUP_MAC, Kind};
use steadfast_core::wire::announce::{gratuitous_arp, unsolicited_na};
use steadfast_core::wire::arp::{Arp, Operation};
use steadfast_core::wire::ethernet::{self, ethertype};
use steadfast_core::wire::foreign::{ForeignProtocol, ForeignSpeaker};
use steadfast_core::wire::ndisc::{NeighbourAdvert, NeighbourSolicit};
use steadfast_core::{Instant, MacAddr};

use crate::format::{self, Layout, ReplayWhat, Verb};
use crate::ids::SegmentId;
use crate::random::Random;
use crate::trace::FrameKind;

/// Frames of ours an attacker remembers; the oldest is forgotten.
const MEMORY_MAX: usize = 4_096;
/// Between two announcements of a thief.
const THEFT_INTERVAL: Duration = Duration::from_millis(50);
/// Between two advertisements of a foreign speaker.
const FOREIGN_INTERVAL: Duration = Duration::from_millis(100);
/// Whose name a foreign speaker's packets bear: documentation's (RFC 5737), so nobody's.
const FOREIGN_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Where a frame says who sent it; see the core's codec.
const SENDER_AT: usize = 14 + 27;
/// Shortest frame that is a template for forged ones, in bytes: it has a sender, and an end.
const FORGED_MIN: usize = 60;
/// Longest noise in a frame, in bytes.
const NOISE_MAX: u64 = 400;

/// A stranger's outlet on one segment.
#[derive(Clone, Debug)]
pub struct Stranger {
    segment: SegmentId,
    mac: MacAddr,
    deeds: Vec<Deed>,
    memory: VecDeque<Arc<[u8]>>,
}

/// Something a stranger does for a while.
#[derive(Clone, Debug)]
struct Deed {
    next: Instant,
    until: Instant,
    every: Duration,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Flood(u16),
    Speak(ForeignSpeaker),
    Steal(IpAddr),
}

/// What a step has a stranger put on a wire at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deeds {
    /// In their order.
    pub frames: Vec<Vec<u8>>,
    /// On another segment than its own, if there is one with a free outlet.
    pub elsewhere: bool,
}

impl Stranger {
    /// One that has heard nothing yet.
    pub fn new(segment: SegmentId) -> Self {
        let low = u8::try_from(segment.index()).unwrap_or(u8::MAX);
        Self {
            segment,
            mac: MacAddr([0x02, 0x66, low, 0, 0, 1]),
            deeds: Vec::new(),
            memory: VecDeque::new(),
        }
    }

    /// Whether a verb is one that strangers carry out.
    pub const fn does(verb: &Verb) -> bool {
        matches!(
            verb,
            Verb::Flood { .. }
                | Verb::ForeignSpeaker { .. }
                | Verb::Forge { .. }
                | Verb::Garbage { .. }
                | Verb::Replay { .. }
                | Verb::Thief { .. }
        )
    }

    /// When it acts next by itself.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deeds.iter().map(|deed| deed.next).min()
    }

    /// A frame came to its outlet: ours are remembered, and a thief answers questions.
    pub fn hear(&mut self, now: Instant, frame: &Arc<[u8]>) -> Option<Vec<u8>> {
        let parsed = ethernet::Frame::parse(frame)?;
        match parsed.ethertype {
            ethertype::STEADFAST => {
                if self.memory.len() >= MEMORY_MAX {
                    self.memory.pop_front();
                }
                self.memory.push_back(Arc::clone(frame));
                None
            }
            ethertype::ARP => self.reply(now, &Arp::parse(parsed.payload)?),
            ethertype::IPV6 => {
                let solicit = NeighbourSolicit::parse(parsed.payload)?;
                self.advertise(now, parsed.source, &solicit)
            }
            _ => None,
        }
    }

    /// Whether it claims this address now.
    fn steals(&self, now: Instant, address: IpAddr) -> bool {
        let mut deeds = self.deeds.iter();
        deeds.any(|it| it.until > now && matches!(it.what, What::Steal(ip) if ip == address))
    }

    fn reply(&self, now: Instant, arp: &Arp) -> Option<Vec<u8>> {
        let asked = arp.operation == Operation::Request;
        (asked && self.steals(now, IpAddr::V4(arp.target_ip))).then(|| {
            let reply = Arp {
                operation: Operation::Reply,
                sender_mac: self.mac,
                sender_ip: arp.target_ip,
                target_mac: arp.sender_mac,
                target_ip: arp.sender_ip,
            };
            reply.frame(arp.sender_mac, self.mac).to_vec()
        })
    }

    fn advertise(
        &self,
        now: Instant,
        asker: MacAddr,
        solicit: &NeighbourSolicit,
    ) -> Option<Vec<u8>> {
        let is_question = !solicit.source.is_unspecified();
        (is_question && self.steals(now, IpAddr::V6(solicit.target))).then(|| {
            let advert = NeighbourAdvert {
                source: solicit.target,
                destination: solicit.source,
                target: solicit.target,
                router: false,
                solicited: true,
                overrides: true,
                link_layer: Some(self.mac),
            };
            advert.frame(asker, self.mac)
        })
    }

    /// Begins what a step asks for; what is done for a while, the next turn begins.
    pub fn begin(
        &mut self,
        now: Instant,
        verb: &Verb,
        layout: &Layout,
        random: &mut Random,
    ) -> Deeds {
        let at_once = |frames| Deeds {
            frames,
            elsewhere: false,
        };
        match verb {
            Verb::Garbage { count } => {
                let noise = |_| self.noise(random, ethertype::STEADFAST);
                at_once((0..*count).map(noise).collect())
            }
            Verb::Forge {
                kind,
                sender,
                count,
            } => {
                let id = layout.gateway(sender).map_or(1, |gateway| gateway.id.0);
                let forged = |_| self.forged(random, *kind, id);
                at_once((0..*count).map(forged).collect())
            }
            Verb::Replay { what, count } => Deeds {
                frames: self.replayed(*what, *count),
                elsewhere: *what == ReplayWhat::WrongPath,
            },
            _ => {
                // No more at one time than the scenario has steps.
                if let Some((lasting, every, what)) = self.lasting(verb, layout) {
                    self.deeds.push(Deed {
                        next: now,
                        until: now.after(lasting),
                        every,
                        what,
                    });
                }
                Deeds::default()
            }
        }
    }

    /// What a verb has done for a while: how long, how often, and what.
    fn lasting(&self, verb: &Verb, layout: &Layout) -> Option<(Duration, Duration, What)> {
        let virtuals = layout.segments.get(self.segment.index());
        let virtuals = virtuals.map(|segment| segment.virtuals.as_slice());
        match verb {
            Verb::Flood {
                rate,
                lasting,
                heard,
            } => {
                let kind = if *heard {
                    ethertype::STEADFAST
                } else {
                    ethertype::IPV4
                };
                Some((lasting.0, rate.period(), What::Flood(kind)))
            }
            Verb::ForeignSpeaker {
                protocol,
                vrid,
                priority,
                lasting,
            } => {
                let speaker = ForeignSpeaker {
                    protocol: foreign(*protocol),
                    virtual_id: *vrid,
                    priority: *priority,
                    source: self.mac,
                };
                Some((lasting.0, FOREIGN_INTERVAL, What::Speak(speaker)))
            }
            Verb::Thief { address, lasting } => {
                let ip = *virtuals?.get(usize::from(*address))?;
                Some((lasting.0, THEFT_INTERVAL, What::Steal(ip)))
            }
            _ => None,
        }
    }

    /// Whatever is due by now, in order of time: a turn that came late is made up for.
    pub fn due(&mut self, now: Instant, layout: &Layout, random: &mut Random) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        loop {
            self.deeds.retain(|deed| deed.next < deed.until);
            let due = self.deeds.iter_mut().filter(|deed| deed.next <= now);
            let Some(deed) = due.min_by_key(|deed| deed.next) else {
                return frames;
            };
            deed.next = deed.next.after(deed.every);
            match deed.what {
                What::Flood(kind) => frames.push(self.noise(random, kind)),
                What::Speak(speaker) => {
                    let segment = layout.segments.get(self.segment.index());
                    if let Some(IpAddr::V4(ip)) = segment.and_then(|it| it.virtuals.first()) {
                        frames.push(speaker.frame(FOREIGN_ADDRESS, *ip));
                    }
                }
                What::Steal(IpAddr::V4(ip)) => {
                    frames.extend(gratuitous_arp(self.mac, ip).map(|it| it.to_vec()));
                }
                What::Steal(IpAddr::V6(ip)) => frames.push(unsolicited_na(self.mac, ip)),
            }
        }
    }

    fn noise(&self, random: &mut Random, kind: u16) -> Vec<u8> {
        let length = random.between(1, NOISE_MAX);
        let mut frame = Vec::new();
        ethernet::header(&mut frame, MacAddr::BROADCAST, self.mac, kind);
        frame.extend((0..length).map(|_| (random.draw() & 0xff) as u8));
        frame
    }

    /// A frame in a gateway's name, by somebody without the key: the newest that was heard, with
    /// another sender, kind and end.
    fn forged(&self, random: &mut Random, kind: FrameKind, sender: u8) -> Vec<u8> {
        let newest = self.memory.back();
        let mut frame = newest.map_or_else(Vec::new, |frame| frame.to_vec());
        if frame.len() < FORGED_MIN {
            frame.clear();
            let to = GROUP_MAC;
            ethernet::header(&mut frame, to, MacAddr::BROADCAST, ethertype::STEADFAST);
            frame.extend(std::iter::repeat_n(0, 200));
        }
        // From its own address: one of a gateway's would be a theft at the switch.
        frame[6..12].copy_from_slice(&self.mac.0);
        if let Some(byte) = kind_byte(kind) {
            frame[15] = 2;
            frame[16] = byte;
        }
        let noise = random.draw().to_be_bytes();
        let end = frame.len();
        frame[end - 8..].copy_from_slice(&noise);
        frame[SENDER_AT] = sender;
        frame
    }

    /// Recorded frames again: of an earlier life the oldest, of this one the newest.
    fn replayed(&self, what: ReplayWhat, count: u32) -> Vec<Vec<u8>> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let heard = self.memory.iter();
        let again = |frame: &Arc<[u8]>| frame.to_vec();
        match what {
            ReplayWhat::PastLife => heard.take(count).map(again).collect(),
            ReplayWhat::ThisLife | ReplayWhat::WrongPath => {
                heard.rev().take(count).map(again).collect()
            }
        }
    }
}

fn kind_byte(kind: FrameKind) -> Option<u8> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scenario;

    const NOW: Instant = Instant::from_millis(1_000);

    fn layout() -> Layout {
        let text = "format = 1\nname = \"strangers\"\ntitle = \"stranger: none\"\n\
                    duration = \"1s\"\n[[expect]]\noracle = \"no_flap\"\nmax_moves = 1\n";
        let scenario = Scenario::parse("strangers.toml", text).expect("the text is right");
        scenario.plan().layout.clone()
    }

    fn verb(text: &str) -> Verb {
        serde_json::from_str(text).expect("a verb")
    }

    fn stranger() -> (Stranger, Layout, Random) {
        let random = Random::new(1, "strangers");
        (Stranger::new(SegmentId(0)), layout(), random)
    }

    fn kind(frame: &[u8]) -> u16 {
        ethernet::Frame::parse(frame).map_or(0, |frame| frame.ethertype)
    }

    /// stranger: a flood has its rate whenever its turns come, and ends; what is heard by daemons
    /// bears their own type.
    #[test]
    fn stranger_flood_keeps_its_rate() {
        let (mut stranger, layout, mut random) = stranger();
        let flood = verb(r#"{"flood":{"rate":"1 kHz","for":"1s","heard":true}}"#);
        let begun = stranger.begin(NOW, &flood, &layout, &mut random);
        assert_eq!(begun, Deeds::default());
        assert_eq!(stranger.next_deadline(), Some(NOW));
        let late = NOW.after(Duration::from_millis(9));
        let frames = stranger.due(late, &layout, &mut random);
        assert_eq!(frames.len(), 10, "a turn that came late is made up for");
        assert!(frames.iter().all(|it| kind(it) == ethertype::STEADFAST));
        let over = NOW.after(Duration::from_secs(5));
        assert_eq!(stranger.due(over, &layout, &mut random).len(), 990);
        assert_eq!(stranger.next_deadline(), None);
        let flood = verb(r#"{"flood":{"rate":"1 kHz","for":"1s"}}"#);
        stranger.begin(NOW, &flood, &layout, &mut random);
        let frames = stranger.due(NOW, &layout, &mut random);
        assert_eq!(
            frames.iter().map(|it| kind(it)).collect::<Vec<_>>(),
            [ethertype::IPV4]
        );
    }

    /// stranger: two deeds at a time keep each its own pace.
    #[test]
    fn stranger_deeds_keep_their_own_pace() {
        let (mut stranger, layout, mut random) = stranger();
        for rate in ["1 kHz", "10 Hz"] {
            let text = format!(r#"{{"flood":{{"rate":"{rate}","for":"1s"}}}}"#);
            stranger.begin(NOW, &verb(&text), &layout, &mut random);
        }
        let over = NOW.after(Duration::from_secs(1));
        assert_eq!(stranger.due(over, &layout, &mut random).len(), 1_010);
    }

    /// stranger: a thief announces the address and answers whoever asks for it, as long as it
    /// steals; others' addresses it leaves alone.
    #[test]
    fn stranger_thief_answers_for_what_it_steals() {
        let (mut stranger, layout, mut random) = stranger();
        let theft = verb(r#"{"thief":{"address":0,"for":"1s"}}"#);
        stranger.begin(NOW, &theft, &layout, &mut random);
        assert_eq!(stranger.due(NOW, &layout, &mut random).len(), 2);
        let IpAddr::V4(stolen) = layout.segments[0].virtuals[0] else {
            panic!("the family is v4 where none is said")
        };
        let asker = MacAddr([2, 0, 0, 0, 0, 9]);
        let question = |target_ip| Arp {
            operation: Operation::Request,
            sender_mac: asker,
            sender_ip: Ipv4Addr::UNSPECIFIED,
            target_mac: MacAddr([0; 6]),
            target_ip,
        };
        let asked = |ip| Arc::from(question(ip).frame(MacAddr::BROADCAST, asker).as_slice());
        let answer = stranger.hear(NOW, &asked(stolen)).expect("an answer");
        let parsed = ethernet::Frame::parse(&answer).expect("a frame");
        assert_eq!((parsed.destination, parsed.source), (asker, stranger.mac));
        let other = Ipv4Addr::new(192, 0, 2, 77);
        assert_eq!(stranger.hear(NOW, &asked(other)), None);
        let over = NOW.after(Duration::from_secs(1));
        assert_eq!(stranger.hear(over, &asked(stolen)), None);
    }

    /// stranger: what was heard is said again, the oldest of a past life and the newest of this
    /// one; a forged frame is the newest with another sender and from the forger's own address.
    #[test]
    fn stranger_replays_and_forges_what_it_heard() {
        let (mut stranger, layout, mut random) = stranger();
        for number in 0..3_u8 {
            let mut frame = Vec::new();
            let gateway = MacAddr([2, 0, 0, 0, 0, 1]);
            ethernet::header(&mut frame, GROUP_MAC, gateway, ethertype::STEADFAST);
            frame.extend([number; 80]);
            assert_eq!(stranger.hear(NOW, &Arc::from(frame)), None);
        }
        let mut said = |text: &str| stranger.begin(NOW, &verb(text), &layout, &mut random);
        let past = said(r#"{"replay":{"what":"past_life","count":2}}"#);
        let body = |frames: &[Vec<u8>]| frames.iter().map(|it| it[20]).collect::<Vec<_>>();
        assert_eq!((body(&past.frames), past.elsewhere), (vec![0, 1], false));
        let this = said(r#"{"replay":{"what":"this_life","count":2}}"#);
        assert_eq!((body(&this.frames), this.elsewhere), (vec![2, 1], false));
        assert!(said(r#"{"replay":{"what":"wrong_path","count":1}}"#).elsewhere);
        let forged = said(r#"{"forge":{"kind":"claim","sender":"b","count":1}}"#).frames;
        assert_eq!(forged[0][SENDER_AT], 2);
        assert_eq!(
            Kind::from_byte(forged[0][16]).map(Into::into),
            Some(FrameKind::Claim)
        );
        assert_eq!(forged[0][6..12], stranger.mac.0);
        // Nothing that could be forged was heard: it is made up.
        let mut deaf = Stranger::new(SegmentId(1));
        let forge = verb(r#"{"forge":{"kind":"claim","sender":"a","count":1}}"#);
        let forged = deaf.begin(NOW, &forge, &layout, &mut random).frames;
        assert_eq!(forged[0][SENDER_AT], 1);
    }
}
