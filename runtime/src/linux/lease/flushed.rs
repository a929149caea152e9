//! A lease whose table somebody took along (Linux before 5.13, where nobody can own a table).
//!
//! The kernel ends a lease early by less than two of its ticks, never by more. So one that is not
//! there before that was taken, by a flush of the ruleset. It is put back with its table, in one
//! transaction, as far as our own clock still gives it: at the next word, offer or look. A claim
//! sets up a missing table before it arms, and the end of a role closes one anew.
//!
//! The hard case is a kernel that comes to the transaction late, because another program holds the
//! lock of nf_tables: it counts what is left from then. So the clock is read again behind it, and a
//! lease that was given too much is shortened, or closed if its time is over.
//!
//! Limit: until the table stands again its node answers whoever asks.

use std::sync::atomic::Ordering;
use std::time::Duration;

use log::error;
use steadfast_core::Instant;

use super::super::fence::{Fence, FenceError, Health};
use super::{Held, Lease};

impl Lease {
    /// As [`Lease::close`]; a fence that is not there is set up again, closed. That takes longer,
    /// so whatever else must go goes first.
    ///
    /// # Errors
    /// As there.
    pub fn close_anew(&self) -> Result<(), FenceError> {
        match self.close() {
            Err(why) if why.is_absence() && self.with(|held| self.set_up(held)) => self.close(),
            closed => closed,
        }
    }

    /// Looks after the fence ([`Fence::check`]). What was set up again has no
    /// lease, unless the daemon renews it and its own clock says that it lasts. What a word or an
    /// offer set up again since the last look is told as damage now.
    pub fn check(&self) -> Health {
        self.with(|held| {
            let lasts = self.left(held.ends).filter(|_| held.is_renewable);
            let health = match lasts {
                Some(left) => self.keep(held, left),
                None => held.look(None),
            };
            let kept = matches!(health, Health::Whole) || held.has_lease();
            if !kept {
                held.is_renewable = false;
                held.ends = Instant::ORIGIN;
                self.cut(Instant::ORIGIN);
            }
            match (health, held.mended.take()) {
                (Health::Whole, Some(what)) => Health::Repaired(what),
                (health, _) => health,
            }
        })
    }

    /// A fence that is not there is set up again, without a lease. Nobody serves by it, so it costs
    /// no health, and only the log tells.
    pub(super) fn set_up(&self, held: &mut Held) -> bool {
        let Health::Repaired(what) = held.look(None) else {
            return false;
        };
        self.counters.repaired.fetch_add(1, Ordering::Relaxed);
        error!("the fence was damaged and is set up again: {what}");
        true
    }

    /// Where the daemon renews the lease itself, one that is not there before its end was taken
    /// along with its table: both are set up again.
    pub(super) fn found_again(&self, held: &mut Held) -> bool {
        let Some(left) = self.left(held.ends) else {
            return false;
        };
        let Health::Repaired(what) = self.keep(held, left) else {
            return false;
        };
        held.mended = Some(what);
        held.has_lease()
    }

    /// Looks after a fence whose lease lasts so long yet: what is set up again holds it, and ends
    /// when it would have, or early.
    fn keep(&self, held: &mut Held, left: Duration) -> Health {
        let begun = self.time.now();
        let ends = begun.after(left);
        let health = held.look(Some(left));
        if let Health::Repaired(_) = health {
            held.ends = held.ends.min(ends);
            self.cut(self.surely(ends));
            let waited = self.time.now().since(begun);
            if waited > self.early()
                && let Err(why) = self.shorten(held, ends)
            {
                error!("failed to shorten a lease that was put back late: {why}");
            }
        }
        health
    }

    fn shorten(&self, held: &mut Held, ends: Instant) -> Result<(), FenceError> {
        let left = self.surely(ends).since(self.time.now());
        let fence = held.standing()?;
        if left.is_zero() || fence.renew(left).is_err() {
            return fence.close();
        }
        Ok(())
    }

    /// For how long a lease that ends then, and that only the daemon lengthens, is surely there.
    fn left(&self, ends: Instant) -> Option<Duration> {
        let left = self.surely(ends).since(self.time.now());
        (self.word.judges() && !left.is_zero()).then_some(left)
    }
}

impl Held {
    fn look(&mut self, left: Option<Duration>) -> Health {
        match self.standing() {
            Ok(fence) => fence.check_keeping(left),
            Err(why) => Health::Missing(why),
        }
    }

    fn has_lease(&mut self) -> bool {
        let left = self.standing().and_then(Fence::lease_left);
        matches!(left, Ok(Some(_)))
    }
}
