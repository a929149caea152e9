//! From a frame on a port to what it means.
//!
//! Bytes are parsed by the wire codecs, which never panic; what they yield is weighed by the
//! peer's session (D3) and only then acted upon. Frames of other stations count as proof of
//! reception (D12), whatever they carry.

use core::net::IpAddr;
use core::time::Duration;

use super::Node;
use crate::effect::Alert;
use crate::peer::{Admission, Peer};
use crate::role::{ConfiguredRole, EffectiveRole};
use crate::wire::advert::{Advert, Kind, RoleMark};
use crate::wire::arp::{Arp, Operation};
use crate::wire::carriage::{self, Form, HOPS, Opened};
use crate::wire::codec::DecodeError;
use crate::wire::ethernet::{Frame, ethertype};
use crate::wire::foreign::{ForeignSpeaker, foreign_cluster, foreign_speaker};
use crate::wire::ndisc::NeighbourAdvert;
use crate::{Instant, MacAddr, PortId};

/// At most one answer per path and this long: a woken daemon reads hundreds of old probes at once.
const ANSWER_SPACING: Duration = Duration::from_micros(500);

impl Node {
    pub(super) fn frame_received(&mut self, port: PortId, bytes: &[u8], at: Instant) {
        let Some(index) = self.config.port_index(port) else {
            return;
        };
        let Some(frame) = Frame::parse(bytes) else {
            self.drops.undecodable += 1;
            return;
        };
        if self
            .config
            .ports
            .iter()
            .any(|port| port.mac == frame.source)
        {
            return;
        }
        let at = at.min(self.now);
        let own = self.config.ports[index].virtual_mac == Some(frame.source)
            && self.role == EffectiveRole::Active;
        if own {
            // It may be this node's own frame that came back: it proves no reception.
            self.station_used(index);
        } else {
            self.note_station(index, frame.source, at);
            if self.ports[index].hears(at) {
                self.heard_again(index);
            }
        }
        match frame.ethertype {
            ethertype::STEADFAST => self.advert_received(index, (bytes, HOPS), frame.source, at),
            ethertype::ARP => self.arp_received(index, &frame, at),
            ethertype::IPV6 => {
                self.neighbour_received(index, &frame, at);
                self.foreign_received(&frame);
            }
            ethertype::IPV4 => match self.datagram_received(index, bytes) {
                Some(Opened {
                    frame: bare, hops, ..
                }) => {
                    self.advert_received(index, (&bare, hops), frame.source, at);
                }
                None => self.foreign_received(&frame),
            },
            _ => {}
        }
    }

    /// A segment was silent and is not any more: it may be another part of it that joined, where
    /// nobody heard what was announced (F01). A rival may have joined with it: who loses to it must
    /// not announce beside it, and it is heard within the dead interval.
    fn heard_again(&mut self, index: usize) {
        let serves = self.role == EffectiveRole::Active && self.giving.is_none();
        if serves && self.config.ports[index].served() {
            let settled = self.now.after(self.config.timing.dead_interval);
            let count = self
                .config
                .ports
                .iter()
                .map(|port| port.virtuals.len())
                .sum();
            self.announcer.hasten(settled, count);
            self.arm_announcer();
        }
    }

    /// Somebody sends from the virtual MAC that is this node's now: switches lead it there.
    fn station_used(&mut self, index: usize) {
        let settled = self.now.since(self.since) >= self.config.timing.dead_interval;
        if settled && self.giving.is_none() {
            let port = self.config.ports[index].id;
            self.raise(Alert::StationUsed { port });
            self.announce_after_rival();
        }
    }

    /// The advertisement that came in a datagram (D4), through a router only where there is one.
    fn datagram_received(&self, index: usize, bytes: &[u8]) -> Option<Opened> {
        let carriage = &self.config.carriage;
        let opened = carriage::open(bytes, carriage.port)?;
        let routed = self.config.ports[index].via.is_some() && opened.form == Form::Unicast;
        let may_come = opened.hops == HOPS || routed;
        (may_come && carriage.forms.has(opened.form)).then_some(opened)
    }

    /// A station other than the suspect shows that this node can receive. If it is the first since
    /// the suspicion began, and comes late, nothing was heard before it: what went unanswered then
    /// proves nothing, and is asked again.
    fn note_station(&mut self, index: usize, source: MacAddr, at: Instant) {
        let id = self.config.ports[index].id;
        let suspect = self.suspicion.as_ref().map(|open| open.peer);
        let is_suspect = |peer: &Peer| Some(peer.node) == suspect && peer.mac(id) == Some(source);
        // What comes from the virtual MAC may be the suspect's.
        let shared = self.config.ports[index].virtual_mac == Some(source);
        if shared || self.peers.iter().any(is_suspect) {
            return;
        }
        let since = self.suspicion.as_ref().map(|open| open.since);
        let first = |port: &super::Port| port.other_at < since;
        let late = since.is_some_and(|since| at > since.after(self.config.timing.round * 2));
        let served = self.config.ports[index].served();
        if served
            && late
            && self.ports.iter().all(first)
            && let Some(open) = &mut self.suspicion
        {
            let timing = &self.config.timing;
            let left = timing.dead_interval.saturating_sub(at.since(open.since));
            open.heard(left.max(timing.w_silence));
        }
        let facts = &mut self.ports[index];
        facts.other_at = facts.other_at.max(Some(at));
    }

    fn advert_received(
        &mut self,
        index: usize,
        (bytes, hops): (&[u8], u8),
        source: MacAddr,
        at: Instant,
    ) {
        if hops != HOPS && !self.names_far(index, bytes) {
            self.drops.beyond += 1;
            return;
        }
        let port = self.config.ports[index].id;
        let advert = match Advert::decode(bytes, port, &self.config.keys) {
            Ok(advert) => advert,
            Err(error) => return self.not_decoded(error, (index, source), (bytes, at)),
        };
        let Some(place) = self
            .peers
            .iter()
            .position(|peer| peer.node == advert.sender)
        else {
            self.drops.undecodable += 1;
            return;
        };
        let own = self.config.node;
        let secret = self.secret;
        let due = self.peers[place].due();
        let admission = self.peers[place].admit(&advert, own, index, at, &secret);
        let regular = admission == Admission::Fresh && advert.kind == Kind::Advert;
        if let Some(due) = due.filter(|_| regular) {
            self.peers[place].note_lateness(due, at, self.config.timing.slack);
        }
        self.note_seat((place, index), source, admission);
        if !matches!(
            admission,
            Admission::Copy | Admission::Stale | Admission::Unproven
        ) {
            self.note_trip(place, index, &advert, at);
        }
        match admission {
            Admission::Fresh => self.peer_spoke(place, advert, at),
            Admission::NewLife => {
                self.peers[place].forget_kernel_evidence();
                self.peers[place].latest = None;
                self.peer_spoke(place, advert, at);
                self.answer_paced(place, index, source, None);
            }
            Admission::PathOnly if advert.kind == Kind::Probe => {
                // The first copy's answer may be lost on the path it came in on (D7).
                self.answer_paced(place, index, source, None);
            }
            Admission::PathOnly | Admission::Late => {}
            // The same message in another form.
            Admission::Copy if self.config.carriage.has_datagrams() => {}
            Admission::Copy | Admission::Stale => self.drops.stale += 1,
            Admission::Unproven => {
                self.drops.unproven += 1;
                self.look_for_unread();
                self.answer_paced(place, index, source, Some(place));
            }
        }
    }

    /// Whether a message is in the name of a peer beyond the port's router: nothing else that came
    /// through one is looked at any further.
    fn names_far(&self, index: usize, bytes: &[u8]) -> bool {
        let sender = Advert::names(bytes);
        let mut peers = self.peers.iter();
        peers.any(|peer| Some(peer.node) == sender && self.is_beyond(index, peer))
    }

    fn not_decoded(
        &mut self,
        error: DecodeError,
        (index, source): (usize, MacAddr),
        (bytes, at): (&[u8], Instant),
    ) {
        self.drops.undecodable += 1;
        let speaker = foreign_cluster(error, source);
        if let Some(speaker) = speaker.filter(|_| self.config.ports[index].served()) {
            self.foreign_spoke(speaker);
        }
        match error {
            DecodeError::BadTag | DecodeError::UnknownKey => {
                self.drops.unverified += 1;
                if let Some(sender) = Advert::names(bytes) {
                    self.not_verified(sender);
                }
            }
            DecodeError::UnknownSender => {
                self.drops.unknown_senders += 1;
                self.stranger_spoke();
            }
            DecodeError::OwnId { .. } => self.own_id_spoke(index, bytes, at),
            _ => {}
        }
    }

    fn answer_paced(&mut self, place: usize, index: usize, to: MacAddr, candidate: Option<usize>) {
        let path = &mut self.peers[place].paths[index];
        if path
            .answered_at
            .is_some_and(|at| self.now.since(at) < ANSWER_SPACING)
        {
            return;
        }
        path.answered_at = Some(self.now);
        self.answer(Kind::Answer, (place, index), to, candidate);
    }

    /// A fresh question is answered on every path: the one it came in on may carry nothing back.
    fn answer_everywhere(&mut self, place: usize) {
        for path in &mut self.peers[place].paths {
            path.answered_at = Some(self.now);
        }
        self.broadcast(Kind::Answer);
    }

    /// A proven, fresh word of a peer.
    fn peer_spoke(&mut self, place: usize, advert: Advert, at: Instant) {
        let kind = advert.kind;
        let peer = advert.sender;
        let was_active = self.peers[place].says_active();
        self.known = self.known.max(advert.epoch);
        if self.is_raised(&Alert::PeerDown { peer }) {
            self.clear(|alert| *alert == Alert::PeerDown { peer });
            // What it was while nobody heard it is not known.
            self.peers[place].active_since = None;
            self.rival_at = Some(self.now);
            self.tell(Alert::PeerUp { peer });
        }
        self.compare_roles(&advert);
        let before = self.peers[place].latest.as_ref();
        let reloaded = before.is_some_and(|before| before.config_digest != advert.config_digest);
        if before.is_none_or(|before| advert.health < before.health) {
            self.peers[place].improved_at = Some(self.now);
        }
        if reloaded {
            // It may own other addresses now: what it does not answer for proves no lapse.
            self.peers[place].forget_ownership();
        }
        let serves = advert.effective == EffectiveRole::Active;
        let since = self.peers[place].active_since.filter(|_| was_active);
        self.peers[place].active_since = serves.then(|| since.unwrap_or(at));
        let latest = self.peers[place].latest.insert(advert);
        if latest.mark != RoleMark::Standby {
            self.peers[place].let_go_at = None;
        } else if was_active || kind == Kind::LetGo {
            self.peers[place].let_go_at = Some(at);
        }
        self.weigh_forms(place);
        self.end_suspicion(place, at);
        self.hear_of_active(place);
        self.watch(place, was_active);
        self.consider_giver_gone(place);
        self.grant_heard(place);
        self.meet_claims(place, at);
        let wants_grant = self.consider_granting(place);
        match kind {
            Kind::Probe => {
                self.notice_deafness(place, at);
                self.answer_everywhere(place);
                self.ask_for(place);
            }
            Kind::Prepare => self.prepare_received(place),
            Kind::Ready => self.ready_received(place),
            Kind::Offer => self.offer_received(place),
            Kind::Decline => self.decline_received(place),
            Kind::Released => self.claims_left = 0,
            Kind::Request => self.request_received(place),
            Kind::Advert | Kind::Answer | Kind::Claim | Kind::LetGo => {}
        }
        if wants_grant && kind != Kind::Probe {
            self.send_to(Kind::Answer, place);
        }
    }

    /// Two nodes that are meant to be the same (R1.3).
    fn compare_roles(&mut self, advert: &Advert) {
        let peer = advert.sender;
        if self.meant_as(advert) {
            self.raise(Alert::SameRole { peer });
        } else {
            self.clear(|alert| *alert == Alert::SameRole { peer });
        }
    }

    fn meant_as(&self, advert: &Advert) -> bool {
        let own = self.config.policy.configured;
        let meant = matches!(own, ConfiguredRole::Active | ConfiguredRole::Standby);
        meant && own == advert.configured
    }

    /// By its last word, the peer is meant to be the same as this node.
    pub(super) fn same_role(&self, peer: &Peer) -> bool {
        peer.latest
            .as_ref()
            .is_some_and(|latest| self.meant_as(latest))
    }

    /// What another claim to the role means to ours.
    fn meet_claims(&mut self, place: usize, at: Instant) {
        let Some(latest) = &self.peers[place].latest else {
            return;
        };
        let claims = latest.mark != RoleMark::Standby;
        let confirms = !claims && latest.effective != EffectiveRole::Promoting;
        match self.role {
            EffectiveRole::Active if claims => self.active_meets_active(place, at),
            EffectiveRole::Active => {
                if confirms {
                    self.confirmed_by(place);
                }
                self.giver_meets_word(place);
            }
            EffectiveRole::Promoting if claims => self.promoting_meets_active(place),
            EffectiveRole::Demoting
            | EffectiveRole::Failed
            | EffectiveRole::Off
            | EffectiveRole::Pacified
            | EffectiveRole::Promoting
            | EffectiveRole::Standby
            | EffectiveRole::Starting => {}
        }
    }

    fn arp_received(&mut self, index: usize, frame: &Frame<'_>, at: Instant) {
        let Some(arp) = Arp::parse(frame.payload) else {
            return;
        };
        let address = IpAddr::V4(arp.sender_ip);
        let own = self.config.ports[index].mac;
        if arp.operation == Operation::Reply && frame.destination == own {
            self.kernel_answered(index, (arp.sender_mac, at), address);
            self.note_kernel_seat(index, arp.sender_mac, address);
            self.note_router(index, arp.sender_mac, arp.sender_ip);
        }
        self.address_claimed(index, arp.sender_mac, address);
    }

    fn neighbour_received(&mut self, index: usize, frame: &Frame<'_>, at: Instant) {
        let Some(advert) = NeighbourAdvert::parse(frame.payload) else {
            return;
        };
        let address = IpAddr::V6(advert.target);
        let station = advert.link_layer.unwrap_or(frame.source);
        if advert.solicited && frame.destination == self.config.ports[index].mac {
            self.kernel_answered(index, (station, at), address);
        }
        self.address_claimed(index, station, address);
    }

    /// Some station says that a virtual address is at `station`.
    fn address_claimed(&mut self, index: usize, station: MacAddr, address: IpAddr) {
        let port = &self.config.ports[index];
        if !port.virtuals.contains(&address) || station == port.mac {
            return;
        }
        let (id, shared) = (port.id, port.virtual_mac == Some(station));
        self.owner_answered();
        self.meets_owner_in_the_dark(index, station);
        // A node that has just started knows no peer's addresses yet; a peer that lives is heard
        // within the dead interval, and only then is a stranger a stranger.
        let knows_peers = self.now.since(self.started) >= self.config.timing.dead_interval;
        let knows_peers = knows_peers && !self.is_in_the_dark();
        if knows_peers && !shared && !self.peers.iter().any(|peer| peer.mac(id) == Some(station)) {
            self.raise(Alert::AddressConflict {
                address,
                mac: station,
            });
        }
        if self.role == EffectiveRole::Active && self.giving.is_none() {
            self.announce_after_rival();
        }
    }

    fn foreign_received(&mut self, frame: &Frame<'_>) {
        if let Some(speaker) = foreign_speaker(frame) {
            self.foreign_spoke(speaker);
        }
    }

    /// Whoever uses our virtual id is told, once, with an id that is free (F26, R5.4).
    fn foreign_spoke(&mut self, speaker: ForeignSpeaker) {
        let own = self.config.virtual_router;
        self.ids_heard.note(speaker.virtual_id);
        if speaker.virtual_id == own {
            let told = |alert: Alert| match alert {
                Alert::ForeignSpeaker { speaker: it, free } if it == speaker => Some(free),
                _ => None,
            };
            // What is proposed is no news while the episode lasts.
            let told = self.raised.iter().find_map(|open| told(open.alert()));
            let free = told.unwrap_or_else(|| self.ids_heard.free(own));
            self.raise(Alert::ForeignSpeaker { speaker, free });
        }
    }
}
