//! Strangers on the free outlets of switches: the simulators' own [`Stranger`], on real wires.
//!
//! What a stranger does is the same value in every world; here a thread gives it its turns, and
//! what it hears comes from a packet socket at its outlet, which it shares with the observer. What
//! passes between the observer and the gateways it does not hear.
//!
//! A flood is as fast as its scenario says on average: a thread that wakes late makes up for it, so
//! the frames come in lumps, as those of a machine do that sends as fast as it can. The thread has
//! no precedence; whoever is watched must not wait for a stranger.

use core::time::Duration;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant as Moment;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use steadfast_core::Instant;
use steadfast_scenarios::format::{Layout, Plan, Segment, SegmentKind, Verb};
use steadfast_scenarios::stranger::{Deeds, Stranger};
use steadfast_scenarios::{Random, SegmentId};

use crate::error::{Doing, LabError};
use crate::ground::Ground;
use crate::instruments::{Frames, PacketSocket};

/// How long the thread waits at most before it looks whether it shall end, or do something new.
const LOOK: Duration = Duration::from_millis(2);
/// Where a stranger's numbers come from.
const STREAM: &str = "strangers";

/// Strangers that act until they are dropped.
#[derive(Debug)]
pub struct Strangers {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    layout: Layout,
    began: Moment,
    ends: AtomicBool,
    /// The free outlets, each segment's.
    outlets: Vec<(SegmentId, PacketSocket)>,
    all: Mutex<All>,
}

#[derive(Debug)]
struct All {
    /// In the order of the outlets.
    strangers: Vec<Stranger>,
    random: Random,
}

impl Strangers {
    /// One on each switched segment, if any step of the plan is theirs; they listen from now on.
    ///
    /// # Errors
    /// No right to open packet sockets.
    pub fn of(plan: &Plan, ground: &Ground) -> Result<Option<Self>, LabError> {
        if !plan.steps.iter().any(|step| Stranger::does(&step.verb)) {
            return Ok(None);
        }
        let outlets = ground.observer().run(|| open(&plan.layout))?;
        let strangers = outlets.and_then(|outlets| Self::start(plan, outlets));
        strangers.map(Some).doing(|| "plug strangers in".to_owned())
    }

    fn start(plan: &Plan, outlets: Vec<(SegmentId, PacketSocket)>) -> io::Result<Self> {
        let strangers = outlets.iter().map(|(segment, _)| Stranger::new(*segment));
        let shared = Arc::new(Shared {
            layout: plan.layout.clone(),
            began: Moment::now(),
            ends: AtomicBool::new(false),
            all: Mutex::new(All {
                strangers: strangers.collect(),
                random: Random::new(plan.seed, STREAM),
            }),
            outlets,
        });
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new().name("strangers".to_owned());
        let thread = Some(thread.spawn(move || theirs.run())?);
        Ok(Self { shared, thread })
    }

    /// Begins what a step asks for.
    ///
    /// # Errors
    /// A segment without a free outlet, or a wire that takes nothing.
    pub fn begin(&self, segment: SegmentId, verb: &Verb) -> io::Result<()> {
        let (shared, now) = (&self.shared, self.shared.now());
        let mut all = shared.all();
        let All { strangers, random } = &mut *all;
        let mut outlets = shared.outlets.iter();
        let place = outlets.position(|(id, _)| *id == segment);
        let place = place.ok_or_else(|| io::Error::other("it has no free outlet"))?;
        let begun = strangers[place].begin(now, verb, &shared.layout, random);
        let Deeds { frames, elsewhere } = begun;
        let other = shared.outlets.iter().position(|(id, _)| *id != segment);
        let at = other.filter(|_| elsewhere).unwrap_or(place);
        let sent = shared.outlets[at].1.send(&frames);
        if sent < frames.len() {
            let all = frames.len();
            return Err(io::Error::other(format!(
                "{sent} of {all} frames were sent"
            )));
        }
        Ok(())
    }
}

impl Drop for Strangers {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its panic was told where it happened.
            let _ = thread.join();
        }
    }
}

/// Sockets at the free outlets; the calling thread stands where those are.
fn open(layout: &Layout) -> io::Result<Vec<(SegmentId, PacketSocket)>> {
    let switched = layout.segments.iter();
    let switched = switched.filter(|it| it.kind != SegmentKind::Cable);
    let outlet = |segment: &Segment| {
        let socket = PacketSocket::beside(segment.observer_mac(), &segment.name)?;
        Ok((segment.id, socket))
    };
    switched.map(outlet).collect()
}

impl Shared {
    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Their own time: they know nothing of the run's.
    fn now(&self) -> Instant {
        Instant::ORIGIN.after(self.began.elapsed())
    }

    fn run(&self) {
        let mut frames = Frames::default();
        while !self.ends.load(Ordering::Relaxed) {
            self.wait();
            let mut all = self.all();
            let All { strangers, random } = &mut *all;
            for (stranger, (_, socket)) in strangers.iter_mut().zip(&self.outlets) {
                let now = self.now();
                // A socket whose interface is down has nothing.
                let heard = socket.take(&mut frames).unwrap_or_default();
                let heard = heard.into_iter().filter_map(|(frame, _)| frame);
                let hear = |it: Vec<u8>| stranger.hear(now, &Arc::from(it));
                let mut out: Vec<Vec<u8>> = heard.filter_map(hear).collect();
                out.extend(stranger.due(now, &self.layout, random));
                // What a dark wire does not take, nobody hears.
                socket.send(&out);
            }
        }
    }

    /// Until a frame comes, or something is due.
    fn wait(&self) {
        let now = self.now();
        let due = self
            .all()
            .strangers
            .iter()
            .filter_map(Stranger::next_deadline)
            .min();
        let left = due.map_or(LOOK, |at| at.since(now).min(LOOK));
        let sockets = self.outlets.iter().map(|(_, socket)| socket.as_fd());
        let mut fds: Vec<PollFd<'_>> = sockets
            .map(|fd: BorrowedFd<'_>| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        let left = Timespec {
            tv_sec: 0,
            tv_nsec: left.subsec_nanos().into(),
        };
        // Interrupted or not: what there is shows in a moment.
        let _ = poll(&mut fds, Some(&left));
    }
}
