//! Playing a statement on a machine, and judging what was observed.
//!
//! A machine is held to the statement's own words. Where the model is known to differ from Linux,
//! [`Known`] says what it does instead and why; it is then held to that, so that a listed
//! difference that vanished fails just as a new one does. Linux is never excused.
//!
//! The limit: a step that took longer than it may count says nothing, and what comes after it
//! neither. Such a statement is [`Verdict::Unknown`], never one that holds.

use core::fmt;
use core::time::Duration;

use steadfast_core::Instant;

use super::differences::Known;
use super::statement::{Act, Observation, Statement};

/// What a statement can be tried on.
pub trait Machine {
    /// Why an act could not be carried out.
    type Error: fmt::Display;

    /// Its time.
    fn now(&self) -> Instant;

    /// Carries out an act and observes what follows from it. [`Act::Rest`] is counted from `mark`.
    ///
    /// # Errors
    /// The machine is not able to.
    fn act(&mut self, act: &Act, mark: Instant) -> Result<Observation, Self::Error>;
}

/// What a machine showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Played {
    /// What each step led to.
    pub seen: Vec<Observation>,
    /// The first step that ended too late to count, and by how much.
    pub late: Option<(usize, Duration)>,
}

/// Which machine a statement was tried on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Linux itself.
    Kernel,
    /// The model of it.
    Model,
}

/// Whether a statement is true of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A step led to something else.
    Differs(Difference),
    /// Every step led to what it should.
    Holds,
    /// It could not be tried: this step was late by so much.
    Unknown(usize, Duration),
}

/// The first step that led to something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its number, from 0.
    pub step: usize,
    /// What was done.
    pub act: String,
    /// What must be observed.
    pub wanted: Observation,
    /// What was.
    pub seen: Observation,
}

/// Plays every step of a statement.
///
/// # Errors
/// The machine is not able to carry out an act.
pub fn play<M: Machine>(machine: &mut M, statement: &Statement) -> Result<Played, M::Error> {
    let mut mark = (machine.now(), machine.now());
    let mut played = Played {
        seen: Vec::new(),
        late: None,
    };
    for (number, step) in statement.steps.iter().enumerate() {
        let begun = machine.now();
        played.seen.push(machine.act(&step.act, mark.1)?);
        let ended = machine.now();
        if let Some(limit) = step.by {
            let late = ended.since(mark.0).saturating_sub(limit);
            if late > Duration::ZERO && played.late.is_none() {
                played.late = Some((number, late));
            }
        }
        if step.marks {
            mark = (begun, ended);
        }
    }
    Ok(played)
}

/// Holds what was observed against the statement.
pub fn judge(statement: &Statement, played: &Played, side: Side, known: &[Known]) -> Verdict {
    let steps = statement.steps.iter().zip(&played.seen).enumerate();
    for (number, (step, seen)) in steps {
        if let Some((late, by)) = played.late.filter(|(late, _)| *late == number) {
            return Verdict::Unknown(late, by);
        }
        let is_known = |one: &&Known| {
            side == Side::Model && one.statement == statement.name && one.step == number
        };
        let excused = known.iter().find(is_known).map(|one| &one.model);
        let wanted = excused.unwrap_or(&step.wanted);
        if seen != wanted {
            return Verdict::Differs(Difference {
                step: number,
                act: step.act.to_string(),
                wanted: wanted.clone(),
                seen: seen.clone(),
            });
        }
    }
    Verdict::Holds
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Differs(Difference {
                step,
                act,
                wanted,
                seen,
            }) => write!(
                f,
                "differs at step {step}: {act}\n    wanted: {wanted}\n      seen: {seen}"
            ),
            Self::Holds => f.write_str("holds"),
            Self::Unknown(step, by) => write!(f, "unknown: step {step} was late by {by:?}"),
        }
    }
}
