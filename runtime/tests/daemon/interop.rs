//! VRRP among others: our router and one of keepalived or FRR on a LAN, each in both roles.
//!
//! Who serves is what a station on the LAN finds out: which station answers for the address. Every
//! pair goes the same way: the better one serves, dies, and is back; ends in order; and nothing
//! that was heard was refused for its form. A machine without a peer's programs does not run its
//! stories, and says so; `LAB_REQUIRED=1` makes that a failure. FRR's stories run for root alone,
//! required or not.

use std::time::Instant;

use rustix::process::Signal;

use super::common::{ip, ip_says};
use super::gateways::{Daemon, WAIT};
use super::peers::{
    KEEPALIVED, Kind, Peer, V2, V3, V6, VRRPD, ZEBRA, frr, is_ordinary_user, keepalived, missing,
};
use super::routers::{Machine, machines, reached};

pub(crate) type Start = fn(&Machine, Kind, u8) -> Peer;

/// Which station every address is found at, if it is the same.
fn holder(kind: Kind) -> Option<String> {
    if kind.ipv6 {
        ip("-6 neigh flush dev lan");
    }
    let first = station_of(kind.address())?;
    let agrees = |second| station_of(second).as_ref() == Some(&first);
    kind.second.is_none_or(agrees).then_some(first)
}

fn station_of(address: &str) -> Option<String> {
    if !reached(address) {
        return None;
    }
    let shown = ip_says(&format!("neigh show {address} dev lan"));
    let mut words = shown.split_whitespace();
    words.find(|word| *word == "lladdr")?;
    words.next().map(str::to_owned)
}

/// Waits until the address is at a station of the first, and says so twice in a row.
fn serves(who: &str, kind: Kind, wanted: impl Fn(&str) -> bool, peer: &Machine) {
    let deadline = Instant::now() + WAIT;
    let mut found = None;
    let mut often = 0;
    while often < 2 {
        assert!(
            Instant::now() < deadline,
            "{who} does not serve: {found:?}; there:\n{}the peer's log:\n{}",
            peer.links(),
            peer.log()
        );
        found = holder(kind);
        often = if found.as_deref().is_some_and(&wanted) {
            often + 1
        } else {
            0
        };
    }
}

/// What our router counted of words that it did not understand: nothing.
fn understood(machine: &Machine) {
    let status = machine.status();
    let counters = status["routers"][0]["counters"].to_string();
    for word in ["refused", "other_", "own_words"] {
        assert!(!counters.contains(word), "{status:#}");
    }
}

/// V59, V60: ours is the better one, and theirs stands in for it when it dies and when it ends.
pub(crate) fn ours_better(start: Start, kind: Kind) {
    let [a, b] = machines();
    let mac = a.mac();
    let ours = |found: &str| found == mac;
    let theirs = |found: &str| found != mac;
    let mut one = a.start(&kind.ours(200));
    one.says(": active: ");
    let _peer = start(&b, kind, 100);
    serves("ours", kind, ours, &b);
    one.kill();
    serves("theirs, after ours died", kind, theirs, &b);
    let mut one = a.start(&kind.ours(200));
    one.says(": active: ");
    serves("ours, back again", kind, ours, &b);
    understood(&a);
    one.stop();
    serves("theirs, after ours ended", kind, theirs, &b);
}

/// V59, V60: theirs is the better one, and ours stands in for it when it dies and when it ends.
pub(crate) fn theirs_better(start: Start, kind: Kind) {
    let [a, b] = machines();
    let mac = a.mac();
    let ours = |found: &str| found == mac;
    let theirs = |found: &str| found != mac;
    let peer = start(&b, kind, 200);
    let mut one: Daemon = a.start(&kind.ours(100));
    one.says(": backup");
    serves("theirs", kind, theirs, &b);
    peer.kill(&b);
    one.says(": active: nobody better was heard in time");
    serves("ours, after theirs died", kind, ours, &b);
    let peer = start(&b, kind, 200);
    one.says(": backup: ");
    serves("theirs, back again", kind, theirs, &b);
    understood(&a);
    peer.signal(Signal::TERM);
    one.says(": active: ");
    if let Some(device) = peer.device {
        // FRR leaves it up when it ends, and its kernel answers on.
        b.home.ip(&format!("link del {device}"));
    }
    serves("ours, after theirs ended", kind, ours, &b);
    one.stop();
}

#[test]
fn interop_keepalived_v2_stands_in_for_ours() {
    if missing(&[KEEPALIVED]) || !inside_own_namespace!("interop_keepalived_v2_stands_in_for_ours")
    {
        return;
    }
    ours_better(keepalived, V2);
}

#[test]
fn interop_keepalived_v2_is_the_better_one() {
    if missing(&[KEEPALIVED]) || !inside_own_namespace!("interop_keepalived_v2_is_the_better_one") {
        return;
    }
    theirs_better(keepalived, V2);
}

#[test]
fn interop_keepalived_v3_stands_in_for_ours() {
    if missing(&[KEEPALIVED]) || !inside_own_namespace!("interop_keepalived_v3_stands_in_for_ours")
    {
        return;
    }
    ours_better(keepalived, V3);
}

#[test]
fn interop_keepalived_v3_is_the_better_one() {
    if missing(&[KEEPALIVED]) || !inside_own_namespace!("interop_keepalived_v3_is_the_better_one") {
        return;
    }
    theirs_better(keepalived, V3);
}

#[test]
fn interop_keepalived_ipv6_stands_in_for_ours() {
    if missing(&[KEEPALIVED])
        || !inside_own_namespace!("interop_keepalived_ipv6_stands_in_for_ours")
    {
        return;
    }
    ours_better(keepalived, V6);
}

#[test]
fn interop_keepalived_ipv6_is_the_better_one() {
    if missing(&[KEEPALIVED]) || !inside_own_namespace!("interop_keepalived_ipv6_is_the_better_one")
    {
        return;
    }
    theirs_better(keepalived, V6);
}

#[test]
fn interop_frr_v2_stands_in_for_ours() {
    if missing(&[ZEBRA, VRRPD])
        || is_ordinary_user()
        || !inside_own_namespace!("interop_frr_v2_stands_in_for_ours")
    {
        return;
    }
    ours_better(frr, V2);
}

#[test]
fn interop_frr_v2_is_the_better_one() {
    if missing(&[ZEBRA, VRRPD])
        || is_ordinary_user()
        || !inside_own_namespace!("interop_frr_v2_is_the_better_one")
    {
        return;
    }
    theirs_better(frr, V2);
}

#[test]
fn interop_frr_v3_stands_in_for_ours() {
    if missing(&[ZEBRA, VRRPD])
        || is_ordinary_user()
        || !inside_own_namespace!("interop_frr_v3_stands_in_for_ours")
    {
        return;
    }
    ours_better(frr, V3);
}

#[test]
fn interop_frr_v3_is_the_better_one() {
    if missing(&[ZEBRA, VRRPD])
        || is_ordinary_user()
        || !inside_own_namespace!("interop_frr_v3_is_the_better_one")
    {
        return;
    }
    theirs_better(frr, V3);
}

#[test]
fn interop_frr_ipv6_stands_in_for_ours() {
    if missing(&[ZEBRA, VRRPD])
        || is_ordinary_user()
        || !inside_own_namespace!("interop_frr_ipv6_stands_in_for_ours")
    {
        return;
    }
    ours_better(frr, V6);
}

#[test]
fn interop_frr_ipv6_is_the_better_one() {
    if missing(&[ZEBRA, VRRPD])
        || is_ordinary_user()
        || !inside_own_namespace!("interop_frr_ipv6_is_the_better_one")
    {
        return;
    }
    theirs_better(frr, V6);
}
