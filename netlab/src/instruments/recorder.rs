//! The recorder: what all instruments tell, in one order.
//!
//! Instruments tell of things with the time they happened, some milliseconds after, each on its own
//! thread. The recorder takes all of it from one bounded queue and holds each event back for
//! [`Setup::hold_back`], so that what is told late finds its place; then times never decrease.
//! The world's own events (steps, powers) go through the same door: [`Recorder::tell`].
//!
//! The hard case is an event later than the hold-back: it is told as of the last released one, is
//! counted, and the window is blind, since order is what verdicts stand on. So it is when the queue
//! overflows: the instruments never wait for the recorder, they drop and count.

use core::time::Duration;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use steadfast_core::Instant;
use steadfast_scenarios::trace::{Event, EventKind};

use super::clock::RunClock;
use super::sys;

/// Told and not yet taken; further ones are dropped, counted and make the run blind.
const QUEUE_MAX: usize = 1 << 15;
/// Held back at once; beyond it the earliest is released before its time.
const HELD_MAX: usize = 1 << 18;
/// Frames of hand-overs that wait to be taken early; later ones only come in their order.
const EARLY_MAX: usize = 1 << 12;
/// Stalls remembered; later ones are only told as events.
pub const STALLS_MAX: usize = 4_096;
/// How long events are held back unless told otherwise: what the observer needs to judge a lost
/// answer (12 ms), and 8 ms for a late thread.
pub const HOLD_BACK: Duration = Duration::from_millis(20);
/// From which length on a stall blinds, unless told otherwise: the bounds that scenarios set are
/// tens of milliseconds, the figures of a race single ones.
pub const BLIND_AFTER: Duration = Duration::from_millis(5);
/// How often the end of the threads is looked for.
const JOIN_STEP: Duration = Duration::from_millis(2);

/// How a recorder works.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// The run's time.
    pub clock: RunClock,
    /// How long an event waits for earlier ones.
    pub hold_back: Duration,
    /// The shortest stall that blinds; the others are only listed in [`Finished::stalls`].
    pub blind_after: Duration,
}

impl Setup {
    /// The usual: [`HOLD_BACK`] and [`BLIND_AFTER`].
    pub const fn new(clock: RunClock) -> Self {
        Self {
            clock,
            hold_back: HOLD_BACK,
            blind_after: BLIND_AFTER,
        }
    }
}

/// A time in which an instrument could not do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// From when on.
    pub since: Instant,
    /// Until when.
    pub until: Instant,
    /// Which instrument, and what happened to it.
    pub why: String,
}

/// Something that watches, on a thread of its own.
pub trait Instrument: Send + 'static {
    /// What it is called, in at most 15 letters.
    fn name(&self) -> &'static str;

    /// Watches until [`Desk::stopped`], which it must ask at least each 20 ms. An error is told as
    /// a blind spot from then on to the end.
    ///
    /// # Errors
    /// When it cannot go on.
    fn run(&mut self, desk: &Desk) -> io::Result<()>;
}

/// Where an instrument tells what it saw.
#[derive(Clone, Debug)]
pub struct Desk {
    clock: RunClock,
    sender: SyncSender<Report>,
    lost: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    hurry: Arc<AtomicBool>,
}

#[derive(Clone, Debug)]
enum Report {
    Event(Event),
    Stall(Stall),
}

impl Desk {
    /// The run's time.
    pub const fn clock(&self) -> RunClock {
        self.clock
    }

    /// Whether the run is over.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether somebody waits for what instruments see.
    pub fn hurried(&self) -> bool {
        self.hurry.load(Ordering::Relaxed)
    }

    /// Somebody waits for what instruments see, or nobody does any more.
    pub fn hurry(&self, hurried: bool) {
        self.hurry.store(hurried, Ordering::Relaxed);
    }

    /// This happened then.
    pub fn tell(&self, at: Instant, kind: EventKind) {
        self.send(Report::Event(Event::new(at, kind)));
    }

    /// The instrument stood still.
    pub fn stall(&self, stall: Stall) {
        self.send(Report::Stall(stall));
    }

    fn send(&self, report: Report) {
        match self.sender.try_send(report) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Takes what instruments tell, and puts it in order.
#[derive(Debug)]
pub struct Recorder {
    setup: Setup,
    desk: Desk,
    receiver: Receiver<Report>,
    threads: Vec<(&'static str, JoinHandle<()>)>,
    held: BTreeMap<(Instant, u64), EventKind>,
    counted: u64,
    released: Instant,
    lost_told: u64,
    late_count: u64,
    stalls: Vec<Stall>,
    early: Vec<Event>,
}

/// What is left when a recorder has stopped.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The last events, in order.
    pub events: Vec<Event>,
    /// Every stall of an instrument, the short ones too; at most [`STALLS_MAX`].
    pub stalls: Vec<Stall>,
    /// Events dropped because the queue was full.
    pub lost_count: u64,
    /// Events that came after their place in the order was gone.
    pub late_count: u64,
    /// Instruments that did not end in time; their threads go on.
    pub unfinished: Vec<&'static str>,
    /// Instruments that broke down: what they saw is not whole.
    pub broken: Vec<&'static str>,
}

impl Recorder {
    /// Nothing recorded yet.
    pub fn new(setup: Setup) -> Self {
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        let desk = Desk {
            clock: setup.clock,
            sender,
            lost: Arc::default(),
            stop: Arc::default(),
            hurry: Arc::default(),
        };
        Self {
            setup,
            desk,
            receiver,
            threads: Vec::new(),
            held: BTreeMap::new(),
            counted: 0,
            released: Instant::ORIGIN,
            lost_told: 0,
            late_count: 0,
            stalls: Vec::new(),
            early: Vec::new(),
        }
    }

    /// Where others than instruments may tell of events, from any thread.
    pub fn desk(&self) -> Desk {
        self.desk.clone()
    }

    /// Starts an instrument on a thread of its own.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn start(&mut self, mut instrument: impl Instrument) -> io::Result<()> {
        let (name, desk) = (instrument.name(), self.desk.clone());
        let work = move || {
            sys::run_first();
            if let Err(error) = instrument.run(&desk) {
                let since = desk.clock.now();
                let why = format!("{} failed: {error}", instrument.name());
                desk.tell(since, EventKind::Blind { since, why });
            }
        };
        let thread = std::thread::Builder::new().name(name.to_owned());
        self.threads.push((name, thread.spawn(work)?));
        Ok(())
    }

    /// The world's own event: it is put in order with the others.
    pub fn tell(&mut self, at: Instant, kind: EventKind) {
        self.hold(at, kind);
    }

    /// Frames of hand-overs as they were told, before their place in the order is known: who waits
    /// for one must not wait for the others. They come again in their order.
    #[must_use]
    pub fn early(&mut self) -> Vec<Event> {
        self.take_reports();
        core::mem::take(&mut self.early)
    }

    /// Everything that has its place by now, in order.
    #[must_use]
    pub fn poll(&mut self) -> Vec<Event> {
        self.take_reports();
        let until = self.setup.clock.now().before(self.setup.hold_back);
        let mut events = Vec::new();
        while let Some(entry) = self.held.first_entry() {
            if entry.key().0 > until && self.held.len() <= HELD_MAX {
                break;
            }
            if let Some(((at, _), kind)) = self.held.pop_first() {
                self.released = at;
                events.push(Event::new(at, kind));
            }
        }
        events
    }

    /// Stalls so far.
    pub fn stalls(&self) -> &[Stall] {
        &self.stalls
    }

    /// Ends all instruments, waits for them for at most `within`, and gives what is left.
    pub fn stop(mut self, within: Duration) -> Finished {
        self.desk.stop.store(true, Ordering::Relaxed);
        let deadline = self.setup.clock.now().after(within);
        loop {
            self.take_reports();
            let all = self.threads.iter().all(|(_, thread)| thread.is_finished());
            let now = self.setup.clock.now();
            if all || now >= deadline {
                break;
            }
            self.setup.clock.sleep_until(now.after(JOIN_STEP));
        }
        self.take_reports();
        let (mut unfinished, mut broken) = (Vec::new(), Vec::new());
        for (name, thread) in core::mem::take(&mut self.threads) {
            if !thread.is_finished() {
                unfinished.push(name);
            } else if thread.join().is_err() {
                broken.push(name);
                let since = self.released;
                let why = format!("{name} broke down");
                self.hold(self.setup.clock.now(), EventKind::Blind { since, why });
            }
        }
        let held = core::mem::take(&mut self.held).into_iter();
        Finished {
            events: held.map(|((at, _), kind)| Event::new(at, kind)).collect(),
            stalls: self.stalls,
            lost_count: self.lost_told,
            late_count: self.late_count,
            unfinished,
            broken,
        }
    }

    fn take_reports(&mut self) {
        // Bounded: a producer faster than this loop must not hold it for ever.
        for _ in 0..QUEUE_MAX {
            match self.receiver.try_recv() {
                Ok(Report::Event(event)) => {
                    let awaited = matches!(event.kind, EventKind::HandoverFrame { .. });
                    if awaited && self.early.len() < EARLY_MAX {
                        self.early.push(event.clone());
                    }
                    self.hold(event.at, event.kind);
                }
                Ok(Report::Stall(stall)) => self.take_stall(stall),
                Err(_) => break,
            }
        }
        let lost = self.desk.lost.load(Ordering::Relaxed);
        if lost > self.lost_told {
            let why = format!("{} events did not fit", lost - self.lost_told);
            self.lost_told = lost;
            let since = self.released;
            self.hold(self.setup.clock.now(), EventKind::Blind { since, why });
        }
    }

    fn take_stall(&mut self, stall: Stall) {
        if stall.until.since(stall.since) >= self.setup.blind_after {
            let (since, why) = (stall.since, stall.why.clone());
            self.hold(stall.until, EventKind::Blind { since, why });
        }
        if self.stalls.len() < STALLS_MAX {
            self.stalls.push(stall);
        }
    }

    fn hold(&mut self, at: Instant, kind: EventKind) {
        if at < self.released {
            self.late_count += 1;
            let behind = self.released.since(at).as_micros();
            let why = format!("an event came {behind} us too late for its place");
            let blind = EventKind::Blind { since: at, why };
            self.held.insert((self.released, self.counted), blind);
            self.counted += 1;
        }
        self.held
            .insert((at.max(self.released), self.counted), kind);
        self.counted += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use steadfast_scenarios::StreamId;

    const MS: Duration = Duration::from_millis(1);

    fn sent(seq: u32) -> EventKind {
        EventKind::ProbeSent {
            stream: StreamId(0),
            seq,
        }
    }

    fn numbers(events: &[Event]) -> Vec<u32> {
        let number = |event: &Event| match event.kind {
            EventKind::ProbeSent { seq, .. } => Some(seq),
            _ => None,
        };
        events.iter().filter_map(number).collect()
    }

    /// What is told in the wrong order within the hold-back comes out in the right one, and
    /// what happened at one moment in the order told.
    #[test]
    fn recorder_orders_what_is_told_late() {
        let clock = RunClock::start();
        let mut recorder = Recorder::new(Setup::new(clock));
        let now = clock.now();
        let desk = recorder.desk();
        desk.tell(now.after(3 * MS), sent(2));
        recorder.tell(now.after(3 * MS), sent(3));
        desk.tell(now.after(MS), sent(0));
        desk.tell(now.after(2 * MS), sent(1));
        // The world's own event was held at once, the others when the queue was read.
        assert!(recorder.poll().is_empty(), "all are held back");
        clock.sleep_until(now.after(24 * MS));
        assert_eq!(numbers(&recorder.poll()), [0, 1, 3, 2]);
    }

    /// An event whose place is gone does not go back in time: it is dated forward, counted, and
    /// the window it belongs to is blind.
    #[test]
    fn recorder_too_late_is_dated_forward_and_blinds() {
        let clock = RunClock::from_monotonic(0);
        let mut recorder = Recorder::new(Setup::new(clock));
        recorder.tell(Instant::from_millis(50), sent(0));
        assert_eq!(numbers(&recorder.poll()), [0]);
        recorder.tell(Instant::from_millis(30), sent(1));
        let finished = recorder.stop(MS);
        assert_eq!(finished.late_count, 1);
        let since = Instant::from_millis(30);
        let blind =
            |event: &Event| matches!(event.kind, EventKind::Blind { since: it, .. } if it == since);
        assert!(finished.events.iter().any(blind));
        assert!(
            finished
                .events
                .iter()
                .all(|it| it.at >= Instant::from_millis(50))
        );
    }

    /// The queue has an end: what does not fit is counted and told, and nobody waits.
    #[test]
    fn recorder_overflow_is_counted_and_blinds() {
        let clock = RunClock::start();
        let mut recorder = Recorder::new(Setup::new(clock));
        let desk = recorder.desk();
        for seq in 0..QUEUE_MAX as u32 + 7 {
            desk.tell(clock.now(), sent(seq));
        }
        let before = recorder.poll().len();
        let finished = recorder.stop(MS);
        assert_eq!(finished.lost_count, 7);
        assert_eq!(before + finished.events.len(), QUEUE_MAX + 1);
        let blind = |event: &Event| matches!(event.kind, EventKind::Blind { .. });
        assert_eq!(finished.events.iter().filter(|it| blind(it)).count(), 1);
    }

    /// A long stall blinds, a short one is only listed: the limit is the caller's.
    #[test]
    fn recorder_stalls_blind_by_length() {
        let clock = RunClock::from_monotonic(0);
        let mut recorder = Recorder::new(Setup::new(clock));
        let desk = recorder.desk();
        for length in [3, 9] {
            let since = Instant::from_millis(100 + length);
            desk.stall(Stall {
                since,
                until: since.after(u32::try_from(length).unwrap() * MS),
                why: "late".to_owned(),
            });
        }
        let events = recorder.poll();
        let since = Instant::from_millis(109);
        assert_eq!(events.len(), 1);
        let why = "late".to_owned();
        assert_eq!(events[0].kind, EventKind::Blind { since, why });
        assert_eq!(recorder.stalls().len(), 2);
    }

    struct Broken;

    impl Instrument for Broken {
        fn name(&self) -> &'static str {
            "broken"
        }

        fn run(&mut self, _desk: &Desk) -> io::Result<()> {
            Err(io::ErrorKind::NetworkDown.into())
        }
    }

    /// An instrument that gives up leaves a blind spot to the end, never a silent hole.
    #[test]
    fn recorder_failed_instrument_blinds() {
        let mut recorder = Recorder::new(Setup::new(RunClock::start()));
        recorder.start(Broken).unwrap();
        let finished = recorder.stop(Duration::from_secs(5));
        assert!(finished.unfinished.is_empty());
        let why = |event: &Event| match &event.kind {
            EventKind::Blind { why, .. } => why.clone(),
            _ => String::new(),
        };
        assert_eq!(finished.events.len(), 1);
        assert!(why(&finished.events[0]).starts_with("broken failed: "));
    }
}
