//! What forwarding a packet costs: datagrams from the client to the server, one after the other.
//!
//! A wire of the lab is no wire: what the gateway does to a packet is done within the call that
//! sends it, or right after it on the same processor. So the time from call to call is the whole
//! way's, and the difference between two daemons is what they do to forwarded packets. Batches are
//! timed, and the middle one counts: whatever else ran then spoils some, not most.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use steadfast_scenarios::format::Plan;

use crate::error::{Doing, LabError};
use crate::instruments::CONNECTION_PORT;
use crate::lab::Lab;

/// Datagrams that are timed together.
const BATCH: u32 = 500;
/// How many such.
const BATCHES: usize = 101;
/// What a datagram carries: with its headers the least that Ethernet knows.
const PAYLOAD: [u8; 18] = [0x5f; 18];
/// What may be lost to a full queue, in a thousand.
const LOST_MAX: u64 = 10;
/// How long the receiver waits before it looks whether it is over.
const LOOK: Duration = Duration::from_millis(20);

/// Two sockets, at the first host and at the second.
#[derive(Debug)]
pub(super) struct Flood {
    here: UdpSocket,
    there: UdpSocket,
}

impl Flood {
    /// Opens them.
    ///
    /// # Errors
    /// A layout with fewer than two hosts, or what the kernel refuses.
    pub(super) fn open(plan: &Plan, lab: &Lab) -> Result<Self, LabError> {
        let needs = || LabError::Needs("two hosts".to_owned());
        let [from, to, ..] = plan.layout.hosts.as_slice() else {
            return Err(needs());
        };
        let version = plan.topology.family.first();
        let (Some(client), Some(server)) = (from.address(version), to.address(version)) else {
            return Err(needs());
        };
        let address = SocketAddr::new(server, CONNECTION_PORT);
        let there = lab.ground().host(to.id).ok_or_else(needs)?;
        let there = there.run(|| UdpSocket::bind(address))?;
        let here = lab.ground().host(from.id).ok_or_else(needs)?;
        let here = here.run(|| -> io::Result<UdpSocket> {
            let socket = UdpSocket::bind((client, 0))?;
            socket.connect(address)?;
            Ok(socket)
        })?;
        let opening = || "open sockets for a flood".to_owned();
        let (here, there) = (here.doing(opening)?, there.doing(opening)?);
        there.set_read_timeout(Some(LOOK)).doing(opening)?;
        Ok(Self { here, there })
    }

    /// Sends all of it; nanoseconds for a datagram.
    ///
    /// # Errors
    /// The kernel refuses to send, or more was lost than is no matter.
    pub(super) fn run(self) -> io::Result<f64> {
        let Self { here, there } = self;
        let (over, count) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let receiver = {
            let (over, count) = (Arc::clone(&over), Arc::clone(&count));
            thread::spawn(move || {
                let mut room = [0; 64];
                loop {
                    match there.recv(&mut room) {
                        Ok(_) => drop(count.fetch_add(1, Ordering::Relaxed)),
                        Err(_) if over.load(Ordering::Relaxed) => return,
                        Err(_) => {}
                    }
                }
            })
        };
        let sent = timed(&here);
        over.store(true, Ordering::Relaxed);
        if let Err(panic) = receiver.join() {
            std::panic::resume_unwind(panic);
        }
        let mut nanos = sent?;
        let all = BATCHES as u64 * u64::from(BATCH);
        let lost = all.saturating_sub(count.load(Ordering::Relaxed));
        if lost * 1_000 > all * LOST_MAX {
            return Err(io::Error::other(format!(
                "{lost} of {all} datagrams were lost"
            )));
        }
        nanos.sort_by(f64::total_cmp);
        Ok(nanos[BATCHES / 2])
    }
}

/// Nanoseconds for a datagram, batch by batch.
fn timed(here: &UdpSocket) -> io::Result<Vec<f64>> {
    let mut nanos = Vec::with_capacity(BATCHES);
    for _ in 0..BATCHES {
        let began = Instant::now();
        for _ in 0..BATCH {
            here.send(&PAYLOAD)?;
        }
        nanos.push(began.elapsed().as_nanos() as f64 / f64::from(BATCH));
        // The receiver empties its queue meanwhile.
        thread::sleep(Duration::from_millis(2));
    }
    Ok(nanos)
}
