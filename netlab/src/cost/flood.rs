//! What forwarding a packet costs: datagrams from the client to the server, one after the other.
//!
//! A wire of the lab is no wire: what the gateway does to a packet is done within the call that
//! sends it, or right after it on the same processor. So the time from call to call is the whole
//! way's, and the difference between two daemons is what they do to forwarded packets. Batches are
//! timed, and the last of the quickest tenth counts: whatever else ran spoils many, not all.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use steadfast_scenarios::format::Plan;

use crate::error::{Doing, LabError};
use crate::instruments::CONNECTION_PORT;
use crate::lab::Lab;

/// Datagrams that are timed together.
const BATCH: u32 = 500;
/// How many such.
const BATCHES: usize = 501;
/// One in so many is taken for one that nothing disturbed.
const QUIET: usize = 10;
/// What a datagram carries: with its headers the least that Ethernet knows.
const PAYLOAD: [u8; 18] = [0x5f; 18];
/// Room at the receiver for a whole batch: a datagram of this size takes 768 bytes of it, and the
/// usual room holds half a batch.
const ROOM_BYTES: usize = 4 << 20;
/// What may be lost to a full queue, in a thousand.
const LOST_MAX: u64 = 10;
/// How long one is waited for before it counts as lost.
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
        let room = set_socket_recv_buffer_size_force(&there, ROOM_BYTES);
        room.map_err(io::Error::from).doing(opening)?;
        Ok(Self { here, there })
    }

    /// Sends all of it; nanoseconds for a datagram.
    ///
    /// # Errors
    /// The kernel refuses to send, or more was lost than is no matter.
    pub(super) fn run(self) -> io::Result<f64> {
        let (mut nanos, mut arrived) = (Vec::with_capacity(BATCHES), 0);
        for _ in 0..BATCHES {
            let began = Instant::now();
            for _ in 0..BATCH {
                self.here.send(&PAYLOAD)?;
            }
            nanos.push(began.elapsed().as_nanos() as f64 / f64::from(BATCH));
            arrived += self.emptied()?;
        }
        let all = BATCHES as u64 * u64::from(BATCH);
        let lost = all.saturating_sub(arrived);
        if lost * 1_000 > all * LOST_MAX {
            return Err(io::Error::other(format!(
                "{lost} of {all} datagrams were lost"
            )));
        }
        nanos.sort_by(f64::total_cmp);
        Ok(nanos[BATCHES / QUIET])
    }

    /// How many of a batch have arrived. Nobody waits for them while they are sent: to wake a
    /// reader costs more than what is measured.
    fn emptied(&self) -> io::Result<u64> {
        let mut room = [0; 64];
        for count in 0..u64::from(BATCH) {
            match self.there.recv(&mut room) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(count),
                Err(error) => return Err(error),
            }
        }
        Ok(u64::from(BATCH))
    }
}
