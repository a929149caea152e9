//! The tap: every frame that leaves or reaches a gateway, written down for packet tools.
//!
//! The worlds share the stage, so they share this: a frame is recorded where a gateway's kernel
//! puts it on its wire and where one is given to a kernel that runs, with the port's name and the
//! world's time. What happens between is written between the frames ([`Recording::tell`]).
//!
//! A place that refuses to be written to ends the recording, not the run: the first error is kept
//! for whoever asks for it at the end.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::rc::Rc;
use std::time::Duration;

use steadfast_core::{Instant, PortId};
use steadfast_scenarios::Finding;
use steadfast_scenarios::format::Plan;
use steadfast_scenarios::trace::Event;
use steadfast_scenarios::trace::capture::{Direction, PortIndex, Recording};

use crate::model::Frame;

/// Wall time at the start of every simulated run, so that no run differs from another by its date.
pub(crate) const WALL_ORIGIN: Duration = Duration::from_secs(1_700_000_000);

/// A tap that a world writes to and whoever wants the recording finishes.
#[derive(Clone)]
pub struct Tap(Rc<RefCell<Inner>>);

struct Inner {
    recording: Recording<Box<dyn Write>>,
    /// By gateway and segment.
    ports: BTreeMap<(usize, usize), PortIndex>,
    failed: Option<io::Error>,
}

impl Tap {
    /// Records a plan's gateways.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(plan: &Plan, to: Box<dyn Write>) -> io::Result<Self> {
        let mut recording = Recording::new(to, WALL_ORIGIN)?;
        let mut ports = BTreeMap::new();
        for (station, gateway) in plan.layout.gateways.iter().enumerate() {
            for port in &gateway.ports {
                let segment = port.segment.index();
                let name = format!("{}.{}", plan.layout.segments[segment].name, gateway.name);
                ports.insert((station, segment), recording.add_port(&name)?);
            }
        }
        let failed = None;
        let inner = Inner {
            recording,
            ports,
            failed,
        };
        Ok(Self(Rc::new(RefCell::new(inner))))
    }

    /// A frame of a gateway's port; a port's number is that of its segment.
    pub(crate) fn frame(
        &self,
        station: usize,
        port: PortId,
        at: Instant,
        direction: Direction,
        frame: &Frame,
    ) {
        self.write(|inner| {
            let place = (station, usize::from(port.0));
            let Some(port) = inner.ports.get(&place).copied() else {
                return Ok(());
            };
            let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
            inner.recording.frame(port, at, direction, frame, length)
        });
    }

    /// Something happened.
    pub(crate) fn tell(&self, event: &Event) {
        self.write(|inner| inner.recording.tell(event));
    }

    /// What came out, and the end of the recording.
    ///
    /// # Errors
    /// The first thing that could not be written.
    pub(crate) fn finish(&self, at: Instant, findings: &[Finding]) -> io::Result<()> {
        self.write(|inner| inner.recording.judged(at, findings));
        self.write(|inner| inner.recording.flush());
        self.0.borrow_mut().failed.take().map_or(Ok(()), Err)
    }

    fn write(&self, write: impl FnOnce(&mut Inner) -> io::Result<()>) {
        let mut inner = self.0.borrow_mut();
        if inner.failed.is_none() {
            inner.failed = write(&mut inner).err();
        }
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tap").finish_non_exhaustive()
    }
}
