//! Faults of wires and switches: what is cut, silenced, lossy, split or filtered.

use steadfast_core::PortId;
use steadfast_core::wire::advert::Kind;
use steadfast_core::wire::ethernet::ethertype;
use steadfast_scenarios::Subject;
use steadfast_scenarios::format::{Share, Span, Verb, Way};
use steadfast_scenarios::trace::FrameKind;

use super::turns::Turn;
use super::world::{Happening, World};
use crate::model::link::{Link, Match, Rule};

impl World<'_> {
    /// The wire ends a subject means.
    fn ends(&self, subject: Subject) -> Vec<(usize, usize)> {
        let all = |segment: usize| {
            let ends = self.net.media[segment].ends.iter().enumerate();
            ends.map(move |(place, end)| ((segment, place), end.station))
        };
        let everywhere = || (0..self.net.media.len()).flat_map(all);
        match subject {
            Subject::Gateway(id) => {
                let station = self.station_of(id);
                everywhere()
                    .filter(|(_, at)| *at == station)
                    .map(|(end, _)| end)
                    .collect()
            }
            Subject::Port(id, port) => {
                let station = self.station_of(id);
                let segment = usize::from(port.0);
                all(segment)
                    .filter(|(_, at)| *at == station)
                    .map(|(end, _)| end)
                    .collect()
            }
            Subject::Segment(segment) => {
                let gateways = self.gateways.len();
                all(segment.index())
                    .filter(|(_, at)| *at < gateways)
                    .map(|(end, _)| end)
                    .collect()
            }
        }
    }

    pub(crate) fn on_ends(&mut self, subject: Subject, verb: &Verb) {
        let ends = self.ends(subject);
        match verb {
            Verb::LinkDown => self.enable(&ends, false),
            Verb::LinkUp => self.enable(&ends, true),
            Verb::Silence { way } => self.links(&ends, *way, |link| link.blocked = true),
            Verb::Unsilence => self.links(&ends, Way::Both, |link| link.blocked = false),
            Verb::DropFrames {
                kind,
                ethertype,
                sender,
                count,
                lasting,
                way,
            } => {
                let rule = Rule {
                    left: *count,
                    ..Rule::of(matching(*kind, *ethertype))
                };
                self.filter(&ends, *way, rule, sender.as_deref());
                if let Some(Span(lasting)) = lasting {
                    let turn = Turn::EndFilter { ends };
                    self.queue
                        .push(self.now.after(*lasting), Happening::Turn { turn });
                }
            }
            Verb::Flap { count, down, up } => {
                self.enable(&ends, false);
                let turn = Turn::Flap {
                    ends,
                    left: 2 * count - 1,
                    down: down.0,
                    up: up.0,
                };
                self.queue
                    .push(self.now.after(down.0), Happening::Turn { turn });
            }
            Verb::Impair {
                loss,
                delay,
                jitter,
                duplicate,
                reorder,
                rate,
                way,
            } => {
                let rate = rate.map(|rate| rate.0);
                let (delay, jitter) = (delay.0, jitter.0);
                let parts = [permille(*loss), permille(*duplicate), permille(*reorder)];
                self.links(&ends, *way, |link| {
                    link.jitter = jitter;
                    link.added = delay;
                    link.set_rate(rate);
                    [
                        link.loss_permille,
                        link.duplicate_permille,
                        link.reorder_permille,
                    ] = parts;
                });
            }
            _ => {}
        }
    }

    /// Where the named sender has no port nothing is lost.
    fn filter(&mut self, ends: &[(usize, usize)], way: Way, rule: Rule, sender: Option<&str>) {
        for end in ends {
            let segment = self.plan.layout.segments[end.0].id;
            let station = self.net.media[end.0].ends[end.1].station;
            let at = self.plan.layout.gateways.get(station).map(|it| it.id);
            let source = sender.map(|name| self.plan.layout.source_of(name, segment, at));
            if source == Some(None) {
                continue;
            }
            let rule = Rule {
                source: source.flatten(),
                ..rule
            };
            self.links(core::slice::from_ref(end), way, |link| {
                // A filter that is full loses nothing more; the scenario's oracles will say so.
                let _ = link.filter.add(rule);
            });
        }
    }

    pub(crate) fn enable(&mut self, ends: &[(usize, usize)], on: bool) {
        for (segment, place) in ends {
            self.net.media[*segment].ends[*place].enabled = on;
        }
    }

    pub(crate) fn links(
        &mut self,
        ends: &[(usize, usize)],
        way: Way,
        mut change: impl FnMut(&mut Link),
    ) {
        for (segment, place) in ends {
            let end = &mut self.net.media[*segment].ends[*place];
            if way != Way::To {
                change(&mut end.out);
            }
            if way != Way::From {
                change(&mut end.back);
            }
        }
    }

    pub(crate) fn on_segment(&mut self, segment: usize, verb: &Verb) {
        match verb {
            Verb::CablePull => self.net.media[segment].on = false,
            Verb::CablePlug => self.net.media[segment].on = true,
            Verb::SwitchOff => self.power_switch(segment, false),
            Verb::SwitchOn => self.power_switch(segment, true),
            Verb::SegmentSplit { apart } => self.split(segment, apart),
            Verb::SegmentHeal => self.change_switch(segment, crate::model::switch::Switch::heal),
            Verb::StpDelay { delay } => {
                let delay = delay.0;
                self.change_switch(segment, |switch| switch.set_forward_delay(delay));
            }
            Verb::MacMoveIgnored { enabled: on } => {
                self.change_switch(segment, |switch| switch.ignore_mac_moves(*on));
            }
            Verb::Snooping { enabled: on } => {
                let now = self.now;
                self.change_switch(segment, |it| it.set_snooping(now, *on));
                if *on {
                    self.members_asked(segment);
                }
            }
            Verb::MacFilter { enabled: on } => self.filter_macs(segment, *on),
            Verb::Flood { .. }
            | Verb::ForeignSpeaker { .. }
            | Verb::Forge { .. }
            | Verb::Garbage { .. }
            | Verb::Replay { .. }
            | Verb::Thief { .. } => self.start_stranger(segment, verb),
            _ => {}
        }
    }

    fn change_switch(
        &mut self,
        segment: usize,
        change: impl FnOnce(&mut crate::model::switch::Switch),
    ) {
        if let Some(switch) = &mut self.net.media[segment].switch {
            change(switch);
        }
    }

    fn power_switch(&mut self, segment: usize, on: bool) {
        let now = self.now;
        self.net.media[segment].on = on;
        self.change_switch(segment, |switch| switch.set_powered(now, on));
        for host in 0..self.hosts.len() {
            if self.hosts[host].segment == segment {
                self.hosts[host].kernel.set_carrier(PortId(0), on);
                self.host_neighbours(host);
                if on {
                    self.members_later(self.gateways.len() + host, segment);
                }
            }
        }
    }

    /// Puts the named gateways and hosts into a partition of their own.
    fn split(&mut self, segment: usize, apart: &[String]) {
        let layout = &self.plan.layout;
        let gateways = layout.gateways.len();
        let station = |name: &String| {
            let gateway = layout
                .gateways
                .iter()
                .position(|gateway| gateway.name == *name);
            let host = layout.hosts.iter().position(|host| host.name == *name);
            gateway.or(host.map(|host| gateways + host))
        };
        let apart: Vec<usize> = apart.iter().filter_map(station).collect();
        let ends = &self.net.media[segment].ends;
        let parts: Vec<u8> = ends
            .iter()
            .map(|end| apart.contains(&end.station).into())
            .collect();
        self.change_switch(segment, |switch| switch.split(&parts));
    }

    fn filter_macs(&mut self, segment: usize, on: bool) {
        let layout = &self.plan.layout;
        let mac = |station: usize| {
            let gateway = layout.gateways.get(station);
            let port =
                gateway.and_then(|it| it.ports.iter().find(|port| port.segment.index() == segment));
            let host = station.checked_sub(layout.gateways.len());
            let host = host
                .and_then(|host| layout.hosts.get(host))
                .map(|host| host.mac);
            port.map(|port| port.mac).or(host)
        };
        let allowed: Vec<_> = self.net.media[segment]
            .ends
            .iter()
            .map(|end| mac(end.station))
            .collect();
        self.change_switch(segment, |switch| {
            for (place, mac) in allowed.into_iter().enumerate() {
                switch.restrict_source(place, mac.filter(|_| on));
            }
        });
    }
}

fn matching(kind: Option<FrameKind>, wanted: Option<u16>) -> Match {
    let Some(kind) = kind else {
        return wanted.map_or(Match::Any, Match::EtherType);
    };
    let kind = match kind {
        FrameKind::Advert => Kind::Advert,
        FrameKind::Answer => Kind::Answer,
        FrameKind::Claim => Kind::Claim,
        FrameKind::Decline => Kind::Decline,
        FrameKind::LetGo => Kind::LetGo,
        FrameKind::Offer => Kind::Offer,
        FrameKind::Prepare => Kind::Prepare,
        FrameKind::Probe => Kind::Probe,
        FrameKind::Ready => Kind::Ready,
        FrameKind::Released => Kind::Released,
        FrameKind::Request => Kind::Request,
        FrameKind::Arp => return Match::EtherType(ethertype::ARP),
        FrameKind::Ndisc => return Match::EtherType(ethertype::IPV6),
        FrameKind::Vrrp => return Match::EtherType(ethertype::IPV4),
    };
    Match::Kind(kind.byte())
}

fn permille(share: Share) -> u16 {
    u16::try_from(share.0 / 1000).unwrap_or(1000)
}
