//! A virtual router under test, with time in a tester's hands.

use core::net::Ipv4Addr;

use super::super::*;
use crate::wire::vrrp::{GROUP, TTL};
use crate::wire::vrrp::{Sum, Sums};

/// The unit's address, and addresses below and above it.
pub(super) const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10));
pub(super) const LOWER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
pub(super) const HIGHER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 200));

pub(super) fn interval(version: Version, centis: u16) -> Interval {
    Interval::new(version, centis).unwrap()
}

pub(super) fn settings(version: Version) -> Settings {
    Settings {
        version,
        virtual_id: 52,
        priority: 100,
        interval: interval(version, 100),
        preempt: true,
        addresses: vec![IpAddr::V4(Ipv4Addr::new(192, 0, 2, 4))],
        primary: OWN,
        sum: Sum::PseudoHeader,
        sums: Sums::Either,
        lists: Lists::Counted,
        answers_lower: false,
        unicast: Vec::new(),
    }
}

/// A router at the tester's wire.
pub(super) struct Unit {
    pub(super) router: Router,
    pub(super) now: Instant,
    /// When it said what, and what it did.
    pub(super) done: Vec<(f64, Action)>,
}

impl Unit {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            router: Router::new(settings),
            now: Instant::from_millis(1_000),
            done: Vec::new(),
        }
    }

    pub(super) fn started(version: Version, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = settings(version);
        change(&mut settings);
        assert_eq!(settings.problems(), []);
        let mut unit = Self::new(settings);
        unit.handle(Input::Started);
        unit
    }

    /// One that has become active, with its beginning forgotten.
    pub(super) fn active(version: Version, change: impl FnOnce(&mut Settings)) -> Self {
        let mut unit = Self::started(version, change);
        unit.run(10.0);
        assert_eq!(unit.router.state(), State::Active);
        // Right after a word of its own.
        let next = unit.router.next_deadline().unwrap();
        unit.run(seconds(next.since(unit.now)));
        unit.done.clear();
        unit
    }

    pub(super) fn handle(&mut self, input: Input<'_>) {
        self.router.handle(self.now, input);
        while let Some(action) = self.router.poll_action() {
            self.done.push((self.at(), action));
        }
    }

    pub(super) fn at(&self) -> f64 {
        seconds(self.now.since(Instant::from_millis(1_000)))
    }

    /// Time passes.
    pub(super) fn run(&mut self, wait: f64) {
        let end = self.now.after(Duration::from_secs_f64(wait));
        while let Some(due) = self.router.next_deadline().filter(|at| *at <= end) {
            self.now = due;
            self.handle(Input::DeadlineReached);
        }
        self.now = end;
    }

    /// The tester says this.
    pub(super) fn hear(&mut self, priority: u8, change: impl FnOnce(&mut Advertisement)) {
        self.hear_from(LOWER, priority, change);
    }

    pub(super) fn hear_from(
        &mut self,
        source: IpAddr,
        priority: u8,
        change: impl FnOnce(&mut Advertisement),
    ) {
        let settings = &self.router.settings;
        let mut said = Advertisement {
            version: settings.version,
            virtual_id: settings.virtual_id,
            priority,
            interval: settings.interval,
            addresses: settings.addresses.clone(),
        };
        change(&mut said);
        let destination = IpAddr::V4(GROUP);
        let message = said.message(source, destination, Sum::PseudoHeader);
        self.handle(Input::PacketReceived(Packet {
            source,
            destination,
            ttl: TTL,
            message: &message,
        }));
    }

    /// When it takes over, counted from now; not within a minute: never.
    pub(super) fn takes_over_after(&mut self) -> Option<f64> {
        assert_eq!(self.router.state(), State::Backup);
        let begin = self.at();
        self.done.clear();
        self.run(60.0);
        let serves = self.done.iter().find(|(_, it)| *it == Action::Serve);
        serves.map(|(at, _)| at - begin)
    }

    /// What it has said: when, with which priority.
    pub(super) fn said(&self) -> Vec<(f64, u8)> {
        let words = self.done.iter().filter_map(|(at, it)| match it {
            Action::Advertise(said) => Some((*at, said.priority)),
            Action::Announce(_) | Action::Serve | Action::Withdraw => None,
        });
        words.collect()
    }
}

pub(super) fn seconds(span: Duration) -> f64 {
    span.as_secs_f64()
}

#[track_caller]
pub(super) fn assert_near(found: Option<f64>, wanted: f64) {
    let found = found.expect("a takeover");
    assert!((found - wanted).abs() < 1e-6, "{found}, not {wanted}");
}
