//! What a lab does later: verbs that take time, step by step.

use core::time::Duration;

use steadfast_core::Instant;

use super::{BOOT_TIME, DARK, Lab, Told};
use crate::error::LabError;
use crate::wires::TURNS_MAX;

/// From power to the first look whether a gateway's wires are laid; see [`crate::ground`].
pub(super) const LAID_AFTER: Duration = Duration::from_millis(250);
/// From one such look to the next.
const LOOK: Duration = Duration::from_millis(10);

/// What is left of a verb that takes time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Turn {
    Booted(usize),
    /// Its wires should be laid by now.
    Laid(usize),
    Cont(usize),
    PowerOn(usize),
    RebootLoop {
        place: usize,
        left: u32,
        uptime: Duration,
    },
    Starve {
        place: usize,
        runs: Duration,
        rests: Duration,
        until: Instant,
        running: bool,
    },
}

impl Lab {
    pub(super) fn later(&mut self, at: Instant, turn: Turn) -> Result<(), LabError> {
        if self.turns.len() >= TURNS_MAX {
            return Err(LabError::Needs("fewer faults that take turns".to_owned()));
        }
        self.turns.push((at, turn));
        Ok(())
    }

    /// Waits for wires that are laid anew: what is done to a wire must find it.
    pub(super) fn await_wires(&mut self) -> Result<(), LabError> {
        (0..self.machines.len()).try_for_each(|place| self.await_wires_of(place))
    }

    fn await_wires_of(&mut self, place: usize) -> Result<(), LabError> {
        let id = self.machines[place].id;
        if self.ground.await_wires(id)? {
            self.told.push(Told::Laid(id));
        }
        Ok(())
    }

    pub(super) fn take(&mut self, turn: Turn, now: Instant) -> Result<(), LabError> {
        match turn {
            Turn::Booted(place) => {
                // Usually they were there long ago; who listens to them hears too late if not.
                self.await_wires_of(place)?;
                self.booted(place, now)
            }
            Turn::Laid(place) => {
                let id = self.machines[place].id;
                if self.ground.laid(id)? {
                    self.told.push(Told::Laid(id));
                    return Ok(());
                }
                self.later(now.after(LOOK), turn)
            }
            Turn::Cont(place) => {
                self.stop(place, false);
                Ok(())
            }
            Turn::PowerOn(place) => self.on(place, now),
            Turn::RebootLoop {
                place,
                left,
                uptime,
            } => {
                self.reboot(place, now)?;
                let next = Turn::RebootLoop {
                    place,
                    left: left.saturating_sub(1),
                    uptime,
                };
                if left <= 1 {
                    return Ok(());
                }
                self.later(now.after(uptime + DARK + BOOT_TIME), next)
            }
            Turn::Starve {
                place,
                runs,
                rests,
                until,
                running,
            } => {
                self.stop(place, running && now < until);
                let next = Turn::Starve {
                    place,
                    runs,
                    rests,
                    until,
                    running: !running,
                };
                if now >= until {
                    return Ok(());
                }
                self.later(now.after(if running { rests } else { runs }), next)
            }
        }
    }
}

impl Turn {
    /// Whose boot this is part of: it does not survive a loss of power.
    pub(super) const fn boot(&self) -> Option<usize> {
        match self {
            Self::Booted(place) | Self::Laid(place) => Some(*place),
            Self::Cont(_) | Self::PowerOn(_) | Self::RebootLoop { .. } | Self::Starve { .. } => {
                None
            }
        }
    }
}
