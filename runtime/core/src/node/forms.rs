//! In which form messages go out on each port, and how that is found out (D4, R2.5).
//!
//! The cluster names the forms that may be used, the most preferred first. On each port a peer's
//! echo says which message it heard last, and this node knows in which form it sent that one: so a
//! form is known to pass by the peer's own word, and nothing is added to what is said on the wire.
//!
//! ```text
//!  every message   in the forms that the peers are known to hear on that port; in every form while
//!                  one of them is not known to hear any, and if it asks or answers
//!  on trial        one message more, in one form: each other interval on one port where a peer is
//!                  not known to hear any, and each second for a better form than a peer hears
//! ```
//!
//! Only a message that went out in one form shows that this form passes. What is known is never
//! acted upon by saying less to a peer that may not hear: an active that is heard must not fall
//! silent because it does not hear (D12). A form that was not heard for a dead interval, or four of
//! its own, is forgotten.
//!
//! The hard case is a peer that is known by no message yet: its station is learned from its
//! kernel's answer for its address, or from a frame of its own that verified. The limits: IPv4; a
//! port without an address of its own carries our own EtherType alone. A peer [`super::beyond`] a
//! router hears datagrams to it alone, and nothing is tried there. Where no form can be sent at all
//! a frame of our own EtherType is: its way through the lease guard is what keeps an active's lease
//! (D9).

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use super::Node;
use crate::effect::Alert;
use crate::peer::{Admission, Path, Peer};
use crate::wire::advert::{Advert, GROUP_MAC, Kind};
use crate::wire::carriage::{Form, Forms, GROUP_IP, GROUP_IP_MAC, Route};
use crate::{Instant, MacAddr};

/// Messages whose form is remembered: more than are on their way to a peer and back.
const SENT_MAX: usize = 16;
/// Stations are asked for once in so many intervals.
const SEEK_EVERY: usize = 4;
/// A form is forgotten that was not heard for so many intervals, and a dead interval.
const FORGOTTEN_AFTER: u32 = 4;
/// A worse form is no news before a better one was tried for so long.
const FALLEN_FOR: Duration = Duration::from_secs(5);
/// A better form is tried so often.
const BETTER_EVERY: Duration = Duration::from_secs(1);

/// What was tried on a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Trials {
    /// The last messages sent there, and in which forms.
    sent: [(u64, Forms); SENT_MAX],
    next: usize,
    /// Counts intervals.
    turn: usize,
    /// How often a form was tried alone, and when last.
    tries: usize,
    tried_at: Instant,
    /// Since when a peer hears a worse form alone.
    fallen: Option<Instant>,
}

impl Trials {
    fn note(&mut self, counter: u64, forms: Forms) {
        if let Some(place) = self.sent.get_mut(self.next) {
            *place = (counter, forms);
        }
        self.next = (self.next + 1) % SENT_MAX;
    }

    fn sent_in(&self, counter: u64) -> Option<Forms> {
        let of = self.sent.iter().find(|(sent, _)| *sent == counter);
        of.map(|(_, forms)| *forms)
            .filter(|forms| forms.first().is_some())
    }
}

/// Whom a message is for, and in what it goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    /// The receiver's hardware address, or the group's.
    pub(super) to: MacAddr,
    /// The place of the one peer it is for.
    pub(super) peer: Option<usize>,
    /// It answers what came from there.
    pub(super) back: bool,
    /// The forms.
    pub(super) forms: Forms,
}

/// A peer's word on the form in which it hears this node on a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Hearing {
    /// The best form that it is known to hear.
    pub(crate) form: Option<Form>,
    /// When a message in that form was last known to be heard.
    at: Instant,
    /// The newest message that was weighed.
    counter: u64,
    /// Where the peer's frames come from.
    station: Option<MacAddr>,
    /// When a frame that proves itself last came from there.
    seated_at: Option<Instant>,
}

impl Node {
    /// The forms that a port may use.
    fn forms_of(&self, index: usize) -> Forms {
        if self.own_v4(index).is_none() {
            return Forms::only(Form::Ethernet);
        }
        if self.paths(index).next().is_none() && self.has_beyond(index) {
            return Forms::only(Form::Unicast);
        }
        self.config.carriage.forms
    }

    fn own_v4(&self, index: usize) -> Option<Ipv4Addr> {
        let units = &self.config.ports.get(index)?.units;
        units.iter().find_map(|(unit, _)| v4(*unit))
    }

    /// The forms that a message goes out in on a port, to everybody or to one peer.
    pub(super) fn forms_for(&self, index: usize, kind: Kind, peer: Option<usize>) -> Forms {
        let may = self.forms_of(index);
        if peer.is_some_and(|place| self.is_beyond(index, &self.peers[place])) {
            return Forms::only(Form::Unicast);
        }
        let unheard = || self.paths(index).any(|path| path.hearing.form.is_none());
        if may.sole().is_some() || matches!(kind, Kind::Probe | Kind::Answer) || unheard() {
            return may;
        }
        self.forms_heard(index).within(may)
    }

    /// What the peers are known to hear on a port.
    fn forms_heard(&self, index: usize) -> Forms {
        let forms = self.paths(index).filter_map(|path| path.hearing.form);
        forms.fold(Forms::default(), Forms::and)
    }

    /// The paths to peers on a port's own segment; a peer that says that it has no port there has
    /// none.
    fn paths(&self, index: usize) -> impl Iterator<Item = &Path> {
        let id = self.config.ports.get(index).map(|port| port.id);
        let absent = move |peer: &Peer| {
            let latest = peer.latest.as_ref();
            latest.is_some_and(|latest| latest.macs.iter().all(|(port, _)| Some(*port) != id))
        };
        let near = move |peer: &&Peer| !absent(peer) && !self.is_beyond(index, peer);
        let there = self.peers.iter().filter(near);
        there.filter_map(move |peer| peer.paths.get(index))
    }

    /// The message with this counter went out so. A question and an answer go out in every form
    /// whatever is known, so that they are heard says nothing of it.
    pub(super) fn note_forms(&mut self, index: usize, advert: &Advert, forms: Forms) {
        let always = matches!(advert.kind, Kind::Probe | Kind::Answer);
        let proves = !always || forms.sole().is_some();
        if self.config.carriage.has_datagrams() && proves {
            self.ports[index].trials.note(advert.counter, forms);
        }
    }

    /// Where the datagrams of a message go on a port.
    pub(super) fn routes(&self, index: usize, way: Way) -> Vec<Route> {
        let mut routes = Vec::new();
        let Some(from) = self.own_v4(index) else {
            return routes;
        };
        let port = self.config.carriage.port;
        let asked = way.back.then_some(way.to);
        let mut route = |station, to| {
            routes.push(Route {
                station,
                from,
                to,
                port,
            });
        };
        for form in way.forms.iter() {
            match form {
                Form::Ethernet => {}
                Form::Multicast => route(GROUP_IP_MAC, GROUP_IP),
                Form::Broadcast => route(MacAddr::BROADCAST, Ipv4Addr::BROADCAST),
                Form::Unicast => {
                    for peer in self.meant(way).filter(|peer| !self.is_beyond(index, peer)) {
                        let station = asked.or_else(|| self.station(index, peer));
                        if let (Some(station), Some(unit)) = (station, self.unit_v4(index, peer)) {
                            route(station, unit);
                        }
                    }
                }
            }
        }
        // Whatever the others hear: beyond a router it is this or nothing.
        for peer in self.meant(way).filter(|peer| self.is_beyond(index, peer)) {
            let station = self.station(index, peer).or(asked);
            if let (Some(station), Some(unit)) = (station, self.unit_v4(index, peer)) {
                route(station, unit);
            }
        }
        routes
    }

    /// Whom a message is for.
    fn meant(&self, way: Way) -> impl Iterator<Item = &Peer> {
        let all = self.peers.iter().enumerate();
        let meant = move |(place, _): &(usize, &Peer)| way.peer.is_none_or(|peer| peer == *place);
        all.filter(meant).map(|(_, peer)| peer)
    }

    /// Where a peer is on a port, as far as is known, or the way to it.
    fn station(&self, index: usize, peer: &Peer) -> Option<MacAddr> {
        if self.is_beyond(index, peer) {
            return self.ports[index].router.station;
        }
        let id = self.config.ports.get(index)?.id;
        let path = peer.paths.get(index)?;
        path.hearing.station.or_else(|| peer.mac(id))
    }

    pub(super) fn unit_v4(&self, index: usize, peer: &Peer) -> Option<Ipv4Addr> {
        v4(peer.unit(self.config.ports.get(index)?.id, false)?)
    }

    /// A frame of a peer that verified came in from there. One that proves nothing may be an old
    /// one that somebody else sends again: it does not move a peer that was heard just now.
    pub(super) fn note_seat(
        &mut self,
        (place, index): (usize, usize),
        station: MacAddr,
        admission: Admission,
    ) {
        if self.is_beyond(index, &self.peers[place]) {
            if matches!(admission, Admission::Fresh | Admission::NewLife) {
                self.note_way_back(index, station);
            }
            return;
        }
        let (now, long) = (self.now, self.config.timing.dead_interval);
        let hearing = &mut self.peers[place].paths[index].hearing;
        let heard = hearing.seated_at.is_some_and(|at| now.since(at) < long);
        match admission {
            Admission::Fresh | Admission::NewLife => {
                hearing.station = Some(station);
                hearing.seated_at = Some(now);
            }
            Admission::Unproven if !heard => hearing.station = Some(station),
            Admission::Copy
            | Admission::Late
            | Admission::PathOnly
            | Admission::Stale
            | Admission::Unproven => {}
        }
    }

    /// A kernel said that its address is there. Anybody can say so: it only fills a gap.
    pub(super) fn note_kernel_seat(&mut self, index: usize, station: MacAddr, address: IpAddr) {
        if !self.config.carriage.has_datagrams() {
            return;
        }
        let id = self.config.ports[index].id;
        for peer in &mut self.peers {
            if peer.units.contains(&(id, address)) {
                let known = &mut peer.paths[index].hearing.station;
                known.get_or_insert(station);
            }
        }
    }

    /// A peer's newest word says what it hears of this node on each path.
    pub(super) fn weigh_forms(&mut self, place: usize) {
        if !self.config.carriage.has_datagrams() {
            return;
        }
        let (own, boot, now) = (self.config.node, self.boot, self.now);
        let beyond = |index| self.is_beyond(index, &self.peers[place]);
        let beyond: Vec<bool> = (0..self.ports.len()).map(beyond).collect();
        let peer = &mut self.peers[place];
        for (index, port) in self.config.ports.iter().enumerate() {
            let Some(counter) = peer.heard_there(own, boot, port.id) else {
                continue;
            };
            let sent = self.ports[index].trials.sent_in(counter);
            let hearing = &mut peer.paths[index].hearing;
            if let Some(forms) = sent.filter(|_| counter > hearing.counter) {
                let forms = if beyond[index] {
                    Forms::only(Form::Unicast)
                } else {
                    forms
                };
                hearing.counter = counter;
                hearing.weigh(forms, now);
            }
        }
        self.say_forms();
    }

    /// What nobody has heard for long is forgotten.
    pub(super) fn forget_forms(&mut self) {
        if !self.config.carriage.has_datagrams() {
            return;
        }
        let timing = &self.config.timing;
        let long = timing.dead_interval.max(timing.interval * FORGOTTEN_AFTER);
        let now = self.now;
        for path in self.peers.iter_mut().flat_map(|peer| &mut peer.paths) {
            if now.since(path.hearing.at) >= long {
                path.hearing.form = None;
            }
        }
    }

    /// Once an interval, behind the advertisement: one port sends one message in one form. One port
    /// alone, since a peer may read another port's message first, and the older one proves nothing
    /// then.
    pub(super) fn try_forms(&mut self) {
        if !self.config.carriage.has_datagrams() || self.silenced() {
            return;
        }
        let mut longest: Option<(Instant, usize, Form)> = None;
        for index in 0..self.ports.len() {
            if !self.ports[index].up || !self.config.ports[index].heartbeat {
                continue;
            }
            self.seek_router(index);
            let trials = &mut self.ports[index].trials;
            trials.turn = trials.turn.wrapping_add(1);
            let (turn, at) = (trials.turn, trials.tried_at);
            if turn.is_multiple_of(SEEK_EVERY) {
                self.seek_stations(index);
            }
            if let Some(form) = self.on_trial(index)
                && longest.is_none_or(|(longest, ..)| at < longest)
            {
                longest = Some((at, index, form));
            }
        }
        if let Some((_, index, form)) = longest {
            self.send_on_trial(index, form);
        }
    }

    /// The form whose turn it is to be sent alone on a port, if one is to be.
    fn on_trial(&self, index: usize) -> Option<Form> {
        let may = self.forms_of(index);
        may.sole().is_none().then_some(())?;
        let trials = &self.ports[index].trials;
        let unheard = self.paths(index).any(|path| path.hearing.form.is_none());
        // In between, peers that do hear say that they still do.
        let unheard = unheard && trials.turn.is_multiple_of(2);
        let worst = self.forms_heard(index).iter().next_back();
        let better = self.now.since(trials.tried_at) >= BETTER_EVERY;
        let wanted = |form: &Form| unheard || (better && worst.is_some_and(|worst| *form < worst));
        let choice: Vec<Form> = may.iter().filter(wanted).collect();
        choice.get(trials.tries.checked_rem(choice.len())?).copied()
    }

    fn send_on_trial(&mut self, index: usize, form: Form) {
        let trials = &mut self.ports[index].trials;
        trials.tries = trials.tries.wrapping_add(1);
        trials.tried_at = self.now;
        self.count_message();
        self.say_grants();
        // It is no further word on the lease: what was refused of the one before still counts.
        let mut advert = self.own_advert();
        let way = Way {
            to: GROUP_MAC,
            peer: None,
            back: false,
            forms: Forms::only(form),
        };
        self.seal(&mut advert, index, way);
    }

    /// Asks for the stations of peers that are not known, where datagrams go to each alone.
    fn seek_stations(&mut self, index: usize) {
        if !self.forms_of(index).has(Form::Unicast) {
            return;
        }
        let near = self.peers.iter();
        let near = near.filter(|peer| !self.is_beyond(index, peer));
        let unknown = near.filter(|peer| self.station(index, peer).is_none());
        let units: Vec<Ipv4Addr> = unknown
            .filter_map(|peer| self.unit_v4(index, peer))
            .collect();
        for unit in units {
            self.ask(index, MacAddr::BROADCAST, IpAddr::V4(unit));
        }
    }

    /// Says on which ports a peer is reached in another form than the most preferred, once that was
    /// tried in vain.
    fn say_forms(&mut self) {
        for index in 0..self.ports.len() {
            let best = self.forms_of(index).first();
            let port = self.config.ports[index].id;
            let worst = self.paths(index).filter_map(|path| path.hearing.form).max();
            let Some(form) = worst else {
                continue;
            };
            let told = |alert: &Alert| match alert {
                Alert::FormFallback { port: told, .. } => *told == port,
                _ => false,
            };
            let alert = Alert::FormFallback { port, form };
            let now = self.now;
            let fallen = &mut self.ports[index].trials.fallen;
            if Some(form) == best {
                *fallen = None;
                self.clear(told);
            } else if now.since(*fallen.get_or_insert(now)) >= FALLEN_FOR && !self.is_raised(&alert)
            {
                self.clear(told);
                self.raise(alert);
            }
        }
    }
}

impl Hearing {
    /// A message was heard that went out in these forms. In several it proves none of them, and
    /// keeps what is known: while it does, nothing is said in fewer.
    fn weigh(&mut self, forms: Forms, now: Instant) {
        let better = |form: &Form| self.form.is_none_or(|known| *form < known);
        let found = forms.sole().filter(better);
        let known = self.form.filter(|known| forms.has(*known));
        if let Some(form) = found.or(known) {
            self.form = Some(form);
            self.at = now;
        }
    }
}

const fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}
