//! Statements about switches, each true of the bridges a gateway meets.

use core::net::Ipv6Addr;

use steadfast_core::wire::ethernet::ethertype;

use super::*;

/// A frame that leaves by no port.
const NOWHERE: [usize; 0] = [];

const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xa]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xb]);
const GROUP: MacAddr = MacAddr([0x03, 0x53, 0x46, 0, 0, 1]);
/// 239.255.0.18: a group for members alone.
const ASKED_FOR: MacAddr = MacAddr([0x01, 0, 0x5e, 0x7f, 0, 0x12]);
/// 224.0.0.18, as all groups of the link.
const VRRP_GROUP: MacAddr = MacAddr([0x01, 0, 0x5e, 0, 0, 0x12]);

fn frame(destination: MacAddr, source: MacAddr, ethertype: u16) -> Vec<u8> {
    let mut out = Vec::new();
    ethernet::header(&mut out, destination, source, ethertype);
    out.extend_from_slice(&[0; 46]);
    out
}

fn ms(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn egress(switch: &mut Switch, now: Instant, port: usize, frame: &[u8]) -> Vec<usize> {
    let mut out = Vec::new();
    switch.receive(now, port, frame, &mut out);
    out
}

/// Sends from `source` on `port` to `destination` at `now`.
fn hop(
    switch: &mut Switch,
    now: Instant,
    port: usize,
    (source, destination): (MacAddr, MacAddr),
) -> Vec<usize> {
    egress(
        switch,
        now,
        port,
        &frame(destination, source, ethertype::IPV4),
    )
}

/// switch: an unknown station is flooded to, a known one is sent to alone, and a frame for a
/// station on its own port goes nowhere.
#[test]
fn switch_floods_the_unknown_and_learns_sources() {
    let mut switch = Switch::new(4);
    assert_eq!(hop(&mut switch, ms(0), 0, (A, B)), [1, 2, 3]);
    assert_eq!(hop(&mut switch, ms(1), 2, (B, A)), [0]);
    assert_eq!(hop(&mut switch, ms(2), 0, (A, B)), [2]);
    assert_eq!(
        hop(&mut switch, ms(3), 2, (A, B)),
        NOWHERE,
        "A moved to B's port"
    );
    assert_eq!(
        hop(&mut switch, ms(4), 1, (B, MacAddr::BROADCAST)),
        [0, 2, 3]
    );
}

/// switch: a station silent for the ageing time is forgotten; a frame just before keeps it.
#[test]
fn switch_forgets_a_silent_station_after_ageing() {
    let mut switch = Switch::new(3);
    hop(&mut switch, ms(0), 1, (B, A));
    let edge = ms(0).after(AGEING);
    assert_eq!(
        switch.port_of(edge.before(Duration::from_nanos(1)), 0, B),
        Some(1)
    );
    assert_eq!(switch.port_of(edge, 0, B), None);
    assert_eq!(hop(&mut switch, edge, 0, (A, B)), [1, 2]);
}

/// switch: what was learned on a port is flushed when the port goes down, so that frames to a
/// gateway whose cable was cut are flooded instead of lost.
#[test]
fn switch_fdb_flushed_on_port_down() {
    let mut switch = Switch::new(3);
    hop(&mut switch, ms(0), 1, (B, A));
    switch.set_port(ms(1), 1, false);
    assert_eq!(switch.port_of(ms(1), 0, B), None);
    assert_eq!(hop(&mut switch, ms(1), 0, (A, B)), [2]);
    assert_eq!(
        hop(&mut switch, ms(1), 1, (B, A)),
        NOWHERE,
        "a dead port is deaf"
    );
    assert_eq!(switch.counters().blocked_count, 1);
}

/// switch: the spanning tree's forward delay keeps a port that came up from learning and
/// forwarding, in both directions, until it is over.
#[test]
fn switch_forward_delay_blocks_a_port_that_came_up() {
    let mut switch = Switch::new(2);
    switch.set_forward_delay(Duration::from_secs(30));
    assert_eq!(hop(&mut switch, ms(0), 0, (A, B)), [1], "was up already");
    switch.set_port(ms(10), 1, false);
    switch.set_port(ms(20), 1, true);
    let open = ms(30_020);
    let shut = open.before(Duration::from_nanos(1));
    assert_eq!(hop(&mut switch, shut, 1, (B, A)), NOWHERE);
    assert_eq!(
        switch.port_of(shut, 0, B),
        None,
        "blocked ports learn nothing"
    );
    assert_eq!(hop(&mut switch, shut, 0, (A, B)), NOWHERE);
    assert_eq!(hop(&mut switch, open, 1, (B, A)), [0]);
    assert_eq!(hop(&mut switch, open, 0, (A, B)), [1]);
}

/// switch: with a MAC filter a port may send from its own address only; a virtual MAC is dropped.
#[test]
fn switch_mac_filter_drops_foreign_sources() {
    let mut switch = Switch::new(2);
    switch.restrict_source(0, Some(A));
    assert_eq!(hop(&mut switch, ms(0), 0, (A, B)), [1]);
    assert_eq!(hop(&mut switch, ms(0), 0, (B, A)), NOWHERE);
    assert_eq!(switch.port_of(ms(0), 1, B), None);
    assert_eq!(switch.counters().source_filtered_count, 1);
    switch.restrict_source(0, None);
    assert_eq!(
        hop(&mut switch, ms(0), 0, (B, A)),
        NOWHERE,
        "A sits there too"
    );
    assert_eq!(switch.port_of(ms(0), 1, B), Some(0));
}

/// switch: a moved station is believed at once; with moves ignored the first port wins until it
/// ages or goes down, although the frame itself is carried.
#[test]
fn switch_ignored_mac_move_first_port_wins() {
    let mut switch = Switch::new(3);
    switch.ignore_mac_moves(true);
    hop(&mut switch, ms(0), 0, (A, B));
    assert_eq!(hop(&mut switch, ms(1), 1, (A, MacAddr::BROADCAST)), [0, 2]);
    assert_eq!(switch.port_of(ms(1), 2, A), Some(0));
    assert_eq!(switch.counters().ignored_move_count, 1);
    let aged = ms(0).after(AGEING);
    hop(&mut switch, aged, 1, (A, B));
    assert_eq!(switch.port_of(aged, 2, A), Some(1), "the first one aged");
    switch.ignore_mac_moves(false);
    hop(&mut switch, aged, 0, (A, B));
    assert_eq!(switch.port_of(aged, 2, A), Some(0));
}

/// switch: snooping drops IP multicast nobody asked for, and never touches a link-layer group,
/// broadcast or the groups of the link.
#[test]
fn switch_snooping_drops_groups_without_members() {
    let mut switch = Switch::new(3);
    switch.set_snooping(ms(0), true);
    let asked = ms(0).after(QUERY_RESPONSE);
    assert_eq!(hop(&mut switch, ms(99), 0, (A, ASKED_FOR)), [1, 2]);
    switch.set_snooping(ms(99), true);
    assert_eq!(hop(&mut switch, asked, 0, (A, ASKED_FOR)), NOWHERE);
    assert_eq!(switch.counters().snooped_count, 1);
    switch.join(2, ASKED_FOR);
    assert_eq!(hop(&mut switch, asked, 0, (A, ASKED_FOR)), [2]);
    switch.set_port(ms(0), 2, false);
    switch.set_port(ms(0), 2, true);
    assert_eq!(
        hop(&mut switch, asked, 0, (A, ASKED_FOR)),
        NOWHERE,
        "forgotten"
    );
    for open in [
        GROUP,
        MacAddr::BROADCAST,
        MacAddr([0x33, 0x33, 0, 0, 0, 1]),
        MacAddr([0x01, 0, 0x5e, 0, 0, 1]),
        VRRP_GROUP,
    ] {
        assert_eq!(hop(&mut switch, asked, 0, (A, open)), [1, 2], "{open}");
    }
}

/// switch: snooping learns members of IPv6 groups from MLD version 1 and 2 reports, and survives
/// reports cut short anywhere.
#[test]
fn switch_snooping_reads_membership_reports() {
    let group: Ipv6Addr = "ff02::1:ff00:1".parse().unwrap();
    let solicited = MacAddr([0x33, 0x33, 0xff, 0, 0, 1]);
    let mut version1 = vec![131, 0, 0, 0, 0, 0, 0, 0];
    version1.extend_from_slice(&group.octets());
    let mut version2 = vec![143, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0];
    version2.extend_from_slice(&group.octets());
    for report in [version1, version2] {
        let mut out = Vec::new();
        ethernet::header(
            &mut out,
            MacAddr([0x33, 0x33, 0, 0, 0, 0x16]),
            B,
            ethertype::IPV6,
        );
        let mut packet = [0; 40];
        packet[0] = 0x60;
        out.extend_from_slice(&packet);
        out.extend_from_slice(&[58, 0, 5, 2, 0, 0, 1, 0]);
        out.extend_from_slice(&report);
        for len in 0..out.len() {
            let mut switch = Switch::new(3);
            switch.set_snooping(ms(0), true);
            egress(&mut switch, ms(0), 1, &out[..len]);
            assert_eq!(
                hop(&mut switch, ms(200), 0, (A, solicited)),
                NOWHERE,
                "{len}"
            );
        }
        let mut switch = Switch::new(3);
        switch.set_snooping(ms(0), true);
        egress(&mut switch, ms(0), 1, &out);
        assert_eq!(hop(&mut switch, ms(200), 0, (A, solicited)), [1]);
    }
}

/// switch: a dropped EtherType does not pass while all others do.
#[test]
fn switch_drops_an_ethertype() {
    let mut switch = Switch::new(2);
    let advert = frame(GROUP, A, ethertype::STEADFAST);
    assert!(switch.set_ethertype_dropped(ethertype::STEADFAST, true));
    assert_eq!(egress(&mut switch, ms(0), 0, &advert), NOWHERE);
    assert_eq!(hop(&mut switch, ms(0), 0, (A, B)), [1]);
    assert!(switch.set_ethertype_dropped(ethertype::STEADFAST, false));
    assert_eq!(egress(&mut switch, ms(0), 0, &advert), [1]);
}

/// switch: nothing passes between the parts of a split segment; each part learns for itself, and
/// healing it forgets both.
#[test]
fn switch_split_parts_learn_apart() {
    let mut switch = Switch::new(4);
    switch.split(&[0, 0, 1, 1]);
    assert_eq!(hop(&mut switch, ms(0), 0, (A, MacAddr::BROADCAST)), [1]);
    assert_eq!(hop(&mut switch, ms(0), 2, (A, MacAddr::BROADCAST)), [3]);
    assert_eq!(switch.port_of(ms(0), 1, A), Some(0));
    assert_eq!(switch.port_of(ms(0), 3, A), Some(2));
    assert!(!switch.connects(ms(0), 0, 2));
    switch.heal();
    assert_eq!(switch.port_of(ms(0), 1, A), None);
    assert_eq!(hop(&mut switch, ms(0), 0, (A, B)), [1, 2, 3]);
}

/// switch: one without power passes nothing, and has forgotten everything when it is back.
#[test]
fn switch_without_power_forgets() {
    let mut switch = Switch::new(2);
    switch.set_forward_delay(Duration::from_millis(5));
    hop(&mut switch, ms(0), 0, (A, B));
    switch.set_powered(ms(1), false);
    assert_eq!(hop(&mut switch, ms(2), 1, (B, A)), NOWHERE);
    switch.set_powered(ms(10), true);
    assert_eq!(
        hop(&mut switch, ms(14), 1, (B, A)),
        NOWHERE,
        "forward delay"
    );
    assert_eq!(switch.port_of(ms(15), 1, A), None);
    assert_eq!(hop(&mut switch, ms(15), 1, (B, A)), [0]);
}

/// switch: the forwarding database is bounded: the station too many is not learned, is counted,
/// and is reached by flooding; aged stations make room.
#[test]
fn switch_fdb_is_bounded() {
    let mut switch = Switch::new(2);
    let station = |n: usize| {
        let [a, b] = u16::try_from(n).unwrap().to_be_bytes();
        MacAddr([2, 1, 0, 0, a, b])
    };
    for n in 0..=FDB_MAX {
        hop(&mut switch, ms(0), 0, (station(n), B));
    }
    assert_eq!(switch.counters().fdb_full_count, 1);
    assert_eq!(switch.port_of(ms(0), 1, station(FDB_MAX)), None);
    assert_eq!(switch.port_of(ms(0), 1, station(0)), Some(0));
    let aged = ms(0).after(AGEING);
    hop(&mut switch, aged, 0, (station(FDB_MAX), B));
    assert_eq!(switch.port_of(aged, 1, station(FDB_MAX)), Some(0));
}

/// switch: a frame shorter than a header, or on a port that does not exist, goes nowhere.
#[test]
fn switch_ignores_what_it_cannot_read() {
    let mut switch = Switch::new(2);
    assert_eq!(egress(&mut switch, ms(0), 0, &[0xff; 13]), NOWHERE);
    assert_eq!(hop(&mut switch, ms(0), 9, (A, B)), NOWHERE);
    switch.set_port(ms(0), 9, true);
    switch.restrict_source(9, Some(A));
    assert_eq!(switch.counters().malformed_count, 1);
}
