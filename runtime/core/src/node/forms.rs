//! In which form messages go out on each port, and how that is found out (D4, R2.5).
//!
//! The cluster names the forms that may be used, the most preferred first. On each port a peer's
//! echo says which message it heard last, and this node knows in which form it sent that one: so a
//! form is known to pass by the peer's own word, and nothing is added to what is said on the wire.
//!
//! ```text
//!  every message     in the forms that peers are known to hear on that port; while none is known,
//!                    in one form after the other
//!  each fourth       in one form more, if a peer is known to hear none
//!  now and then      one message more, in a better form than is used
//!  questions, answers   in every form; what is heard of them proves nothing
//! ```
//!
//! A form that was not heard for a dead interval, or four of its own, is forgotten, and the trials
//! begin again: a port whose switch begins to drop one form is back after that and an interval for
//! each form; after four intervals for each where another peer is heard there.
//!
//! The hard case is a peer that is known by no message yet: its station is learned from its
//! kernel's answer for its address, or from any frame of its own that verified. The limits: IPv4; a
//! port without an address of its own carries our own EtherType alone; datagrams do not leave the
//! segment.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use super::Node;
use crate::effect::Alert;
use crate::peer::{Admission, Path, Peer};
use crate::wire::advert::{GROUP_MAC, Kind};
use crate::wire::carriage::{Form, Forms, GROUP_IP, GROUP_IP_MAC, Route};
use crate::{Instant, MacAddr};

/// Messages whose form is remembered: more than are on their way to a peer and back.
const SENT_MAX: usize = 16;
/// Stations are asked for once in so many intervals.
const SEEK_EVERY: usize = 4;
/// While some form is known to be heard, every so manieth message is on trial for who hears none.
const TRIAL_EVERY: usize = 4;
/// A form is forgotten that was not heard for so many intervals, and a dead interval.
const FORGOTTEN_AFTER: u32 = 4;
/// A worse form is no news before a better one was tried for so long.
const FALLEN_FOR: Duration = Duration::from_secs(5);
/// A better form is tried so often.
const BETTER_EVERY: Duration = Duration::from_secs(1);

/// What was tried on a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Trials {
    /// The last messages sent there.
    sent: [Sent; SENT_MAX],
    next: usize,
    /// Which form's turn it is.
    turn: usize,
    /// How often a better form was tried, and when last.
    tries: usize,
    better_at: Instant,
    /// Since when a peer hears a worse form alone.
    fallen: Option<Instant>,
}

/// A message, in which forms it went out, and which of these was on trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Sent {
    counter: u64,
    forms: Forms,
    trial: Option<Form>,
}

impl Trials {
    fn note(&mut self, sent: Sent) {
        if let Some(place) = self.sent.get_mut(self.next) {
            *place = sent;
        }
        self.next = (self.next + 1) % SENT_MAX;
    }

    fn sent(&self, counter: u64) -> Option<Sent> {
        let mut sent = self.sent.iter().copied();
        sent.find(|sent| sent.counter == counter && sent.forms.first().is_some())
    }
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
}

impl Node {
    /// The forms that a port may use.
    fn forms_of(&self, index: usize) -> Forms {
        if self.own_v4(index).is_none() {
            return Forms::only(Form::Ethernet);
        }
        self.config.carriage.forms
    }

    fn own_v4(&self, index: usize) -> Option<Ipv4Addr> {
        let units = &self.config.ports.get(index)?.units;
        units.iter().find_map(|(unit, _)| v4(*unit))
    }

    /// The forms that a message goes out in on a port, and which of them is on trial.
    pub(super) fn forms_for(&self, index: usize, kind: Kind) -> (Forms, Option<Form>) {
        let may = self.forms_of(index);
        if may.sole().is_some() || matches!(kind, Kind::Probe | Kind::Answer) {
            return (may, None);
        }
        let heard = self.forms_heard(index).within(may);
        let trial = self.on_trial(index, may, heard);
        let forms = trial.map_or(heard, |trial| heard.and(trial));
        match forms.first() {
            Some(_) => (forms, trial),
            None => (may.first().map(Forms::only).unwrap_or_default(), None),
        }
    }

    /// What the peers are known to hear on a port.
    fn forms_heard(&self, index: usize) -> Forms {
        let forms = self.paths(index).filter_map(|path| path.hearing.form);
        forms.fold(Forms::default(), Forms::and)
    }

    /// The form whose turn it is, while a peer is known to hear none on a port.
    fn on_trial(&self, index: usize, may: Forms, heard: Forms) -> Option<Form> {
        if self.paths(index).all(|path| path.hearing.form.is_some()) {
            return None;
        }
        let seated = || {
            self.peers
                .iter()
                .any(|peer| self.seat(index, peer).is_some())
        };
        let useful = |form: &Form| !heard.has(*form) && (*form != Form::Unicast || seated());
        let choice: Vec<Form> = may.iter().filter(useful).collect();
        let turn = self.ports[index].trials.turn;
        let turn = match heard.first() {
            None => turn,
            Some(_) if turn.is_multiple_of(TRIAL_EVERY) => turn / TRIAL_EVERY,
            Some(_) => return None,
        };
        choice.get(turn.checked_rem(choice.len())?).copied()
    }

    fn paths(&self, index: usize) -> impl Iterator<Item = &Path> {
        self.peers
            .iter()
            .filter_map(move |peer| peer.paths.get(index))
    }

    /// The message with this counter went out so. Of one that went out in all forms at once, as
    /// questions and answers do, nothing can be learned.
    pub(super) fn note_forms(
        &mut self,
        (index, kind): (usize, Kind),
        counter: u64,
        (forms, trial): (Forms, Option<Form>),
    ) {
        let many = forms.sole().is_none();
        let asks = many && matches!(kind, Kind::Probe | Kind::Answer);
        if self.config.carriage.has_datagrams() && !asks {
            let sent = Sent {
                counter,
                forms,
                trial,
            };
            self.ports[index].trials.note(sent);
        }
    }

    /// Where a datagram of this form goes on a port: to `to`, or to everybody.
    pub(super) fn routes(&self, index: usize, form: Form, to: MacAddr) -> Vec<Route> {
        let port = self.config.carriage.port;
        let Some(from) = self.own_v4(index) else {
            return Vec::new();
        };
        let route = |station, to| Route {
            station,
            from,
            to,
            port,
        };
        match form {
            Form::Ethernet => Vec::new(),
            Form::Multicast => vec![route(GROUP_IP_MAC, GROUP_IP)],
            Form::Broadcast => vec![route(MacAddr::BROADCAST, Ipv4Addr::BROADCAST)],
            Form::Unicast => {
                let known = self.peers.iter().filter_map(|peer| self.seat(index, peer));
                let meant = known.filter(|(station, _)| to == GROUP_MAC || *station == to);
                meant.map(|(station, unit)| route(station, unit)).collect()
            }
        }
    }

    /// A peer's station on a port, and its address there.
    fn seat(&self, index: usize, peer: &Peer) -> Option<(MacAddr, Ipv4Addr)> {
        let id = self.config.ports.get(index)?.id;
        let unit = v4(peer.unit(id, false)?)?;
        let path = peer.paths.get(index)?;
        Some((path.hearing.station.or_else(|| peer.mac(id))?, unit))
    }

    /// A frame of a peer, sent by itself, came in from there. One that proves nothing, and may be
    /// an old one that somebody else sends again, only fills a gap.
    pub(super) fn note_seat(
        &mut self,
        (place, index): (usize, usize),
        station: MacAddr,
        admission: Admission,
    ) {
        let known = &mut self.peers[place].paths[index].hearing.station;
        match admission {
            Admission::Fresh | Admission::NewLife => *known = Some(station),
            Admission::Unproven => {
                known.get_or_insert(station);
            }
            Admission::PathOnly | Admission::Stale => {}
        }
    }

    /// A kernel said that its address is there.
    pub(super) fn note_kernel_seat(&mut self, index: usize, station: MacAddr, address: IpAddr) {
        if !self.config.carriage.has_datagrams() {
            return;
        }
        let id = self.config.ports[index].id;
        for peer in &mut self.peers {
            let hearing = &mut peer.paths[index].hearing;
            if peer.units.contains(&(id, address)) && hearing.form.is_none() {
                hearing.station = Some(station);
            }
        }
    }

    /// A peer's newest word says what it hears of this node on each path.
    pub(super) fn weigh_forms(&mut self, place: usize) {
        if !self.config.carriage.has_datagrams() {
            return;
        }
        let (own, boot, now) = (self.config.node, self.boot, self.now);
        let peer = &mut self.peers[place];
        for (index, port) in self.config.ports.iter().enumerate() {
            let Some(counter) = peer.heard_there(own, boot, port.id) else {
                continue;
            };
            let sent = self.ports[index].trials.sent(counter);
            let hearing = &mut peer.paths[index].hearing;
            if let Some(sent) = sent.filter(|_| counter > hearing.counter) {
                hearing.counter = counter;
                hearing.weigh(sent, now);
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

    /// Once an interval, behind the advertisement: the next form has its turn, and one port tries a
    /// better form than it uses. One alone, since a peer may read another port's message first, and
    /// the older one proves nothing then.
    pub(super) fn try_forms(&mut self) {
        if !self.config.carriage.has_datagrams() || self.silenced() {
            return;
        }
        let mut longest: Option<(Instant, usize, Form)> = None;
        for index in 0..self.ports.len() {
            let trials = &mut self.ports[index].trials;
            trials.turn = trials.turn.wrapping_add(1);
            let (turn, tried) = (trials.turn, trials.better_at);
            if !self.ports[index].up || !self.config.ports[index].heartbeat {
                continue;
            }
            if turn.is_multiple_of(SEEK_EVERY) {
                self.seek_seats(index);
            }
            let due = self.now.since(tried) >= BETTER_EVERY;
            let better = self.better_form(index).filter(|_| due);
            if let Some(form) = better
                && longest.is_none_or(|(at, ..)| tried < at)
            {
                longest = Some((tried, index, form));
            }
        }
        if let Some((_, index, form)) = longest {
            self.send_on_trial(index, form);
        }
    }

    /// A form that is preferred to one that is used on a port; each in its turn.
    fn better_form(&self, index: usize) -> Option<Form> {
        let heard = self.forms_heard(index);
        let worst = heard.iter().next_back()?;
        let better = |form: &Form| *form < worst && !heard.has(*form);
        let choice: Vec<Form> = self.forms_of(index).iter().filter(better).collect();
        let tries = self.ports[index].trials.tries;
        choice.get(tries.checked_rem(choice.len())?).copied()
    }

    fn send_on_trial(&mut self, index: usize, form: Form) {
        let trials = &mut self.ports[index].trials;
        trials.tries = trials.tries.wrapping_add(1);
        trials.better_at = self.now;
        self.counter += 1;
        self.say_grants();
        let mut advert = self.own_advert();
        self.guarded(advert.mark);
        let forms = (Forms::only(form), Some(form));
        self.seal(&mut advert, index, GROUP_MAC, forms);
    }

    /// Asks for the stations of peers that are not known.
    fn seek_seats(&mut self, index: usize) {
        if !self.forms_of(index).has(Form::Unicast) {
            return;
        }
        let id = self.config.ports[index].id;
        let unknown = self
            .peers
            .iter()
            .filter(|peer| self.seat(index, peer).is_none());
        let units: Vec<IpAddr> = unknown.filter_map(|peer| peer.unit(id, false)).collect();
        for unit in units {
            self.ask(index, MacAddr::BROADCAST, unit);
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
    /// A message was heard that went out so. One in several forms proves none of them: it keeps what
    /// is known, unless one of them was on trial, and shows that one to who hears no other.
    fn weigh(&mut self, sent: Sent, now: Instant) {
        let better = |form: &Form| self.form.is_none_or(|known| *form < known);
        let found = match (sent.forms.sole(), sent.trial) {
            (Some(form), _) => Some(form).filter(better),
            (None, trial) => trial.filter(|_| self.form.is_none()),
        };
        let certain = sent.forms.sole().is_some() || sent.trial.is_none();
        let known = self.form.filter(|known| certain && sent.forms.has(*known));
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
