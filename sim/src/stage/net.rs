//! The wiring: which station is plugged into which segment, and what happens to a frame between.
//!
//! A segment is a switch with one attachment per station, or a cable with two. Each attachment has
//! a link in either direction, so silence, loss and slowness can be one-way. Carrier is derived,
//! never set: both ends powered, not shut down, the plug in. The limit is the models': no
//! bandwidth, no queues.

use core::time::Duration;

use steadfast_core::{Instant, PortId};
use steadfast_scenarios::SegmentId;

use crate::model::Frame;
use crate::model::link::Link;
use crate::model::switch::Switch;

/// A machine's number in its world: gateways first, then hosts, then one stranger per segment, then
/// the routers.
pub(crate) type Station = usize;

/// What the wiring wants to happen later.
#[derive(Clone, Debug)]
pub(crate) enum NetEvent {
    /// A frame has reached a switch.
    AtSwitch {
        /// Which.
        segment: usize,
        /// On which attachment.
        from: usize,
        /// The frame.
        frame: Frame,
    },
    /// A frame has reached a station.
    Arrive {
        /// Which.
        station: Station,
        /// On which of its ports.
        port: PortId,
        /// The frame.
        frame: Frame,
    },
}

/// One end of a wire.
#[derive(Clone, Debug)]
pub(crate) struct Attachment {
    /// Who is plugged in.
    pub station: Station,
    /// With which port.
    pub port: PortId,
    /// From the station.
    pub out: Link,
    /// To the station.
    pub back: Link,
    /// The station's side is powered and up.
    pub alive: bool,
    /// The port was not shut down by a fault.
    pub enabled: bool,
    /// It is plugged into the segment's router, not into its switch.
    pub beyond: bool,
}

impl Attachment {
    fn ready(&self) -> bool {
        self.alive && self.enabled
    }

    /// A frame sets out to the station.
    fn deliver(
        &mut self,
        now: Instant,
        frame: &Frame,
        draw: &mut dyn FnMut() -> u64,
        out: &mut Vec<(Instant, NetEvent)>,
    ) {
        let (station, port) = (self.station, self.port);
        for delay in self.back.pass(now, frame, draw).delays() {
            let frame = frame.clone();
            let arrival = NetEvent::Arrive {
                station,
                port,
                frame,
            };
            out.push((now.after(*delay), arrival));
        }
    }
}

/// A broadcast domain.
#[derive(Clone, Debug)]
pub(crate) struct Medium {
    /// The bridge; a cable has none.
    pub switch: Option<Switch>,
    /// A switch is powered; a cable is plugged in.
    pub on: bool,
    /// Who is plugged in.
    pub ends: Vec<Attachment>,
}

/// All segments.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    /// By number.
    pub media: Vec<Medium>,
    /// Grows whenever connectivity may have changed.
    pub version: u64,
    egress: Vec<usize>,
}

impl Network {
    /// A network of these segments, with nobody plugged in.
    pub(crate) fn new(media: Vec<Medium>) -> Self {
        Self {
            media,
            version: 1,
            egress: Vec::new(),
        }
    }

    /// The place of a station's port on its segment.
    pub(crate) fn place(&self, segment: usize, station: Station) -> Option<usize> {
        self.media
            .get(segment)?
            .ends
            .iter()
            .position(|end| end.station == station)
    }

    /// Whether an attachment sees carrier.
    pub(crate) fn carrier(&self, segment: usize, place: usize) -> bool {
        let Some(medium) = self.media.get(segment) else {
            return false;
        };
        let others = |(other, end): (usize, &Attachment)| other == place || end.ready();
        let plugged = |end: &Attachment| end.ready() && (medium.on || end.beyond);
        medium.ends.get(place).is_some_and(plugged)
            && (medium.switch.is_some() || medium.ends.iter().enumerate().all(others))
    }

    /// A station sends a frame.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        (segment, place): (usize, usize),
        frame: &Frame,
        draw: &mut dyn FnMut() -> u64,
        out: &mut Vec<(Instant, NetEvent)>,
    ) {
        if !self.carrier(segment, place) {
            return;
        }
        let medium = &mut self.media[segment];
        let passage = medium.ends[place].out.pass(now, frame, draw);
        for delay in passage.delays() {
            let at = now.after(*delay);
            if medium.switch.is_some() {
                let frame = frame.clone();
                out.push((
                    at,
                    NetEvent::AtSwitch {
                        segment,
                        from: place,
                        frame,
                    },
                ));
            } else {
                medium.ends[1 - place].deliver(at, frame, draw, out);
            }
        }
    }

    /// A router sends a frame to who is plugged into it.
    pub(crate) fn send_beyond(
        &mut self,
        now: Instant,
        (segment, place): (usize, usize),
        frame: &Frame,
        draw: &mut dyn FnMut() -> u64,
        out: &mut Vec<(Instant, NetEvent)>,
    ) {
        let ends = &mut self.media[segment].ends;
        if let Some(end) = ends.get_mut(place).filter(|end| end.ready()) {
            end.deliver(now, frame, draw, out);
        }
    }

    /// A frame has reached a switch: it goes on to where the bridge says.
    pub(crate) fn forward(
        &mut self,
        now: Instant,
        (segment, from): (usize, usize),
        frame: &Frame,
        draw: &mut dyn FnMut() -> u64,
        out: &mut Vec<(Instant, NetEvent)>,
    ) {
        let medium = &mut self.media[segment];
        let Some(switch) = medium.switch.as_mut().filter(|_| medium.on) else {
            return;
        };
        let mut egress = core::mem::take(&mut self.egress);
        egress.clear();
        switch.receive(now, from, frame, &mut egress);
        for place in &egress {
            let Some(end) = medium.ends.get_mut(*place).filter(|end| end.ready()) else {
                continue;
            };
            end.deliver(now, frame, draw, out);
        }
        self.egress = egress;
    }

    /// Whether nothing passes on a station's cable: from it, and to it.
    pub(crate) fn cut(&self, segment: usize, station: Station) -> (bool, bool) {
        let Some(place) = self.place(segment, station) else {
            return (true, true);
        };
        let dead = !self.carrier(segment, place);
        let end = &self.media[segment].ends[place];
        (dead || end.out.blocked, dead || end.back.blocked)
    }

    /// Brings the switches' ports in line with what is plugged in and powered.
    pub(crate) fn settle(&mut self, now: Instant) {
        self.version += 1;
        for medium in &mut self.media {
            let on = medium.on;
            let Some(switch) = &mut medium.switch else {
                continue;
            };
            for (place, end) in medium.ends.iter().enumerate() {
                switch.set_port(now, place, on && end.ready() && !end.beyond);
            }
        }
    }

    /// Whether a question from one attachment reaches another and its answer comes back.
    pub(crate) fn reachable(
        &self,
        now: Instant,
        segment: SegmentId,
        from: usize,
        to: usize,
    ) -> bool {
        let Some(medium) = self.media.get(segment.index()) else {
            return false;
        };
        let passes =
            |end: &Attachment| !end.out.blocked && !end.back.blocked && end.out.up && end.back.up;
        let open = |place: usize| medium.ends.get(place).is_some_and(passes);
        let bridged =
            |switch: &Switch| switch.connects(now, from, to) && switch.connects(now, to, from);
        self.carrier(segment.index(), from)
            && self.carrier(segment.index(), to)
            && open(from)
            && open(to)
            && medium.switch.as_ref().is_none_or(bridged)
    }
}

/// An attachment whose links take `delay` each way.
pub(crate) fn attachment(station: Station, port: PortId, delay: Duration) -> Attachment {
    Attachment {
        station,
        port,
        out: Link::quiet(delay),
        back: Link::quiet(Duration::ZERO),
        alive: false,
        enabled: true,
        beyond: false,
    }
}
