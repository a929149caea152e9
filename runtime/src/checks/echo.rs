//! A host that answers an echo request: the gateway beyond, or a host of the provider (R4.2).
//!
//! One request a run, with a number of its own; what answers another is passed over. Where raw
//! sockets are refused there is no answer either, and the check says why.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, ipproto, recv, send,
    socket_with,
};

use crate::linux::clock::timespec;
use crate::program::Stop;

const ECHO_V4: [u8; 2] = [8, 0];
const ECHO_V6: [u8; 2] = [128, 129];
/// Longest answer that is looked at.
const ANSWER_LEN: usize = 512;

/// Numbers requests of all checks of this process.
static NUMBER: AtomicU16 = AtomicU16::new(0);

pub(super) fn run(to: IpAddr, timeout: Duration, stop: &Stop) -> Result<(), String> {
    answered(to, timeout, stop).map_err(|error| match error.kind() {
        ErrorKind::TimedOut => format!("{to} does not answer within {timeout:?}"),
        _ => format!("{to}: {error}"),
    })
}

fn answered(to: IpAddr, timeout: Duration, stop: &Stop) -> io::Result<()> {
    let end = Instant::now() + timeout;
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mark = [std::process::id().to_be_bytes(), [0; 4]].concat();
    let mark = [mark[2], mark[3], (number >> 8) as u8, number as u8];
    let socket = socket_to(to)?;
    let [question, _] = kinds(to);
    let mut request = vec![question, 0, 0, 0];
    request.extend(mark);
    if to.is_ipv4() {
        let sum = checksum(&request);
        request[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    send(&socket, &request, SendFlags::empty())?;
    while !stop.is_over() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let left = timespec(left);
        match poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&left)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut answer = [0; ANSWER_LEN];
        match recv(&socket, &mut answer, RecvFlags::DONTWAIT) {
            Ok((length, _)) if is_answer(to, &answer[..length.min(ANSWER_LEN)], mark) => {
                return Ok(());
            }
            Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(ErrorKind::TimedOut.into())
}

/// A raw socket that hears this host alone.
fn socket_to(to: IpAddr) -> io::Result<OwnedFd> {
    let (family, protocol) = match to {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
    };
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::RAW, flags, Some(protocol))?;
    connect(&socket, &SocketAddr::new(to, 0))?;
    Ok(socket)
}

/// How a request and its answer are numbered.
fn kinds(to: IpAddr) -> [u8; 2] {
    if to.is_ipv4() {
        [ECHO_V4[0], ECHO_V4[1]]
    } else {
        ECHO_V6
    }
}

/// Whether this answers the request with that mark. A raw IPv4 socket shows the IP header.
fn is_answer(to: IpAddr, packet: &[u8], mark: [u8; 4]) -> bool {
    let message = if to.is_ipv4() {
        let header = packet
            .first()
            .map_or(0, |first| usize::from(first & 0x0f) * 4);
        packet.get(header..).unwrap_or_default()
    } else {
        packet
    };
    let [_, answer] = kinds(to);
    message.first() == Some(&answer) && message.get(4..8) == Some(&mark[..])
}

/// The checksum of the Internet (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request whose checksum is taken in sums to nothing.
    #[test]
    fn check_echo_checksum_verifies() {
        let mut request = vec![8, 0, 0, 0, 0x12, 0x34, 0xff, 0xff];
        let sum = checksum(&request);
        request[2..4].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(checksum(&request), 0);
    }

    /// Only the answer to this very request counts; cut packets are none.
    #[test]
    fn check_echo_knows_its_answer() {
        let to = IpAddr::from([192, 0, 2, 1]);
        let mark = [1, 2, 3, 4];
        let mut packet = vec![0x45; 20];
        packet.extend([0, 0, 0, 0, 1, 2, 3, 4]);
        assert!(is_answer(to, &packet, mark));
        assert!(!is_answer(to, &packet, [1, 2, 3, 5]), "another request's");
        for cut in 0..packet.len() {
            assert!(!is_answer(to, &packet[..cut], mark), "cut at {cut}");
        }
        packet[20] = 8;
        assert!(!is_answer(to, &packet, mark), "a request");
    }
}
