//! Multicast snooping: which ports asked for which IP multicast group.
//!
//! A snooping switch sends IP multicast only where somebody reported membership. Links that rely
//! on a group nobody reported lose their frames; link-layer groups outside the IP ranges are not
//! its business, which is why advertisements use one (D4).
//!
//! Reports are read from MLD (RFC 2710, RFC 3810). Limit: IGMP is not read and members do not
//! expire; a world states IPv4 members with [`super::Switch::join`].

use core::time::Duration;

use steadfast_core::MacAddr;
use steadfast_core::wire::ethernet::{self, ethertype};

/// How long members may take to answer a switch's question, and how long it floods meanwhile: as
/// the lab's switches are set.
pub const QUERY_RESPONSE: Duration = Duration::from_millis(100);

/// Most memberships known; a further one is ignored (its group stays silent) and counted.
pub const MEMBERS_MAX: usize = 256;

/// Most records read from one report; further ones are ignored.
const RECORDS_MAX: usize = 16;

/// Every station takes part in ff02::1 without a report.
const ALL_STATIONS: MacAddr = MacAddr([0x33, 0x33, 0, 0, 0, 1]);

/// Whether a snooping switch would restrict frames to this address to its members.
pub(super) fn is_restricted(destination: MacAddr) -> bool {
    let MacAddr([a, b, c, d, e, _]) = destination;
    // Groups of the link, 224.0.0.0/24, are flooded (RFC 4541 section 2.1.2).
    let of_link = (d, e) == (0, 0);
    let ip_group = ((a, b, c) == (0x01, 0x00, 0x5e) && !of_link) || (a, b) == (0x33, 0x33);
    ip_group && destination != ALL_STATIONS
}

/// Calls `join` with each group that a membership report in this frame asks for.
pub(super) fn reported_groups(frame: &ethernet::Frame<'_>, mut join: impl FnMut(MacAddr)) {
    if frame.ethertype != ethertype::IPV6 {
        return;
    }
    let Some(report) = mld(frame.payload) else {
        return;
    };
    match report.first() {
        Some(131) => {
            if let Some(group) = group_at(report, 8) {
                join(group);
            }
        }
        Some(143) => read_records(report, join),
        _ => {}
    }
}

/// The ICMPv6 message behind an IPv6 header and a hop-by-hop header with a router alert.
fn mld(packet: &[u8]) -> Option<&[u8]> {
    const HEADER_LEN: usize = 40;
    if *packet.get(6)? != 0 || *packet.get(HEADER_LEN)? != 58 {
        return None;
    }
    let options_len = 8 * (usize::from(*packet.get(HEADER_LEN + 1)?) + 1);
    packet.get(HEADER_LEN + options_len..)
}

/// Version 2 records; "exclude nothing" (2 and 4) is how a listener joins.
fn read_records(report: &[u8], mut join: impl FnMut(MacAddr)) {
    let mut at = 8;
    for _ in 0..RECORDS_MAX {
        let Some([kind, aux, s0, s1]) = report.get(at..).and_then(<[u8]>::first_chunk) else {
            return;
        };
        if let (2 | 4, Some(group)) = (*kind, group_at(report, at + 4)) {
            join(group);
        }
        let sources = usize::from(u16::from_be_bytes([*s0, *s1]));
        at += 20 + 16 * sources + 4 * usize::from(*aux);
    }
}

fn group_at(report: &[u8], at: usize) -> Option<MacAddr> {
    let group = report.get(at..at + 16)?;
    Some(MacAddr([
        0x33, 0x33, group[12], group[13], group[14], group[15],
    ]))
}
