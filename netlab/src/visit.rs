//! A visit to a lab: one request to a worker in a lab of its own, and its answer.
//!
//! The request goes over a socket, which is the worker's standard input; the answer comes back in a
//! file in memory. Between the two lie gates: the worker stops at each and goes on when it is told.
//! Alone it is told at once. In [`Company`] nobody passes a gate before all have come to it: labs
//! side by side build together, play together and end together, because whoever builds or ends a
//! lab keeps the kernel's one configuration lock from those that play.
//!
//! The hard case is one that ends before its last gate, in order or not: its socket ends, it leaves
//! the company, and the others are not kept waiting.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Seek as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::{Condvar, Mutex, PoisonError};

use rustix::fs::{MemfdFlags, memfd_create};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::enter::Entrance;
use crate::error::{Doing, LabError};

/// Visits that pass their gates together.
#[derive(Debug)]
pub struct Company {
    members: Mutex<Members>,
    passed: Condvar,
}

#[derive(Debug)]
struct Members {
    present: usize,
    waiting: usize,
    gate: u64,
}

impl Company {
    /// Of so many; each must visit once.
    pub const fn of(count: usize) -> Self {
        Self {
            members: Mutex::new(Members {
                present: count,
                waiting: 0,
                gate: 0,
            }),
            passed: Condvar::new(),
        }
    }

    /// One has come to its next gate: returns when all that are present have.
    fn arrive(&self) {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let gate = members.gate;
        members.waiting += 1;
        self.open_if_complete(&mut members);
        let waits = |members: &mut Members| members.gate == gate;
        let _passed = self
            .passed
            .wait_while(members, waits)
            .unwrap_or_else(PoisonError::into_inner);
    }

    /// One comes to no gate any more.
    fn leave(&self) {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.present = members.present.saturating_sub(1);
        self.open_if_complete(&mut members);
    }

    fn open_if_complete(&self, members: &mut Members) {
        if members.waiting > 0 && members.waiting >= members.present {
            members.waiting = 0;
            members.gate += 1;
            self.passed.notify_all();
        }
    }
}

/// A member's place in its company: however its visit ends, it leaves.
struct Place<'a>(&'a Company);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Where a worker stops until all have come so far.
#[derive(Debug)]
pub(crate) struct Gates(UnixStream);

impl Gates {
    /// Comes to the next gate and passes it with the others.
    ///
    /// # Errors
    /// When whoever wanted the answer is gone.
    pub(crate) fn pass(&mut self) -> io::Result<()> {
        self.0.write_all(b"\n")?;
        self.0.read_exact(&mut [0])
    }
}

/// Enters a lab with a worker that answers one request; in company, with the others.
///
/// # Errors
/// When no lab can be entered, or its worker ended without an answer.
pub(crate) fn visit<Q: Serialize, A: DeserializeOwned>(
    worker: &str,
    request: &Q,
    company: &Company,
) -> Result<A, LabError> {
    let place = Place(company);
    let asking = || "ask a lab's worker".to_owned();
    let (mut ours, theirs) = UnixStream::pair().doing(asking)?;
    let answered = memfd_create("answer", MemfdFlags::CLOEXEC).map_err(io::Error::from);
    let answered = answered.doing(|| "make the file of an answer".to_owned())?;
    let mut answer = File::from(answered);
    let written = answer.try_clone().doing(|| "keep the answer".to_owned())?;
    let entered = Entrance::new("/proc/self/exe")
        .arg(worker)
        .stdio([
            Some(OwnedFd::from(theirs)),
            Some(OwnedFd::from(written)),
            None,
        ])
        .enter()?;
    let mut asked = serde_json::to_vec(request)
        .map_err(io::Error::other)
        .doing(asking)?;
    asked.push(b'\n');
    // A worker that died does not read; how it ended tells more than a broken pipe.
    if ours.write_all(&asked).is_ok() {
        while let Ok(1..) = ours.read(&mut [0]) {
            place.0.arrive();
            if ours.write_all(b"\n").is_err() {
                break;
            }
        }
    }
    drop(place);
    let code = entered.wait().doing(|| "wait for a lab".to_owned())?;
    let content = read(&mut answer).doing(|| "read a lab's answer".to_owned())?;
    serde_json::from_slice(&content)
        .map_err(|_| io::Error::other(format!("its worker ended with code {code}")))
        .doing(|| "play in a lab".to_owned())
}

fn read(file: &mut File) -> io::Result<Vec<u8>> {
    file.rewind()?;
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    Ok(content)
}

/// A worker: inside the lab, with the request from its standard input and the answer as output.
pub(crate) fn answer<Q: DeserializeOwned, A: Serialize>(
    answer: impl FnOnce(&Q, &mut Gates) -> A,
) -> ExitCode {
    let answered = || -> io::Result<()> {
        let input = io::stdin().as_fd().try_clone_to_owned()?;
        let mut reader = BufReader::new(UnixStream::from(input));
        let mut text = String::new();
        reader.read_line(&mut text)?;
        let request: Q = serde_json::from_str(&text)?;
        // Nothing more was sent yet: the buffer is empty.
        let mut gates = Gates(reader.into_inner());
        let answer = answer(&request, &mut gates);
        serde_json::to_writer(io::stdout().lock(), &answer)?;
        io::stdout().flush()
    };
    match answered() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("failed to answer from a lab: {why}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    /// Nobody passes a gate before all have come to it, gate after gate.
    #[test]
    fn visit_gates_are_passed_together() {
        const MEMBERS: usize = 3;
        let company = Company::of(MEMBERS);
        let arrived = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..MEMBERS {
                scope.spawn(|| {
                    let place = Place(&company);
                    for gate in 1..=5 {
                        arrived.fetch_add(1, Ordering::SeqCst);
                        place.0.arrive();
                        assert!(arrived.load(Ordering::SeqCst) >= gate * MEMBERS);
                    }
                });
            }
        });
        assert_eq!(arrived.load(Ordering::SeqCst), 5 * MEMBERS);
    }

    /// Who ends early keeps nobody waiting.
    #[test]
    fn visit_early_end_opens_the_gate_for_the_others() {
        let company = Company::of(3);
        thread::scope(|scope| {
            for gates in [0, 1, 2] {
                let company = &company;
                scope.spawn(move || {
                    let place = Place(company);
                    for _ in 0..gates {
                        place.0.arrive();
                    }
                });
            }
        });
        assert_eq!(company.members.lock().unwrap().present, 0);
    }
}
