//! Virtual addresses and neighbours in the kernel's tables.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use steadfast::linux::addresses::{AddressError, Addresses, Tags, VirtualAddress};
use steadfast::linux::interfaces::{interface, interfaces};
use steadfast::linux::neighbours::Neighbours;

use super::{DEADLINE, settled};
use crate::common::{ip, ip_says};

/// How long an address may take to become usable.
const LONGEST: Duration = Duration::from_secs(1);

/// A cable whose near end has unit addresses of both families.
fn served_port() -> u32 {
    ip("link add lan0 type veth peer name client");
    ip("addr add 10.0.1.2/24 dev lan0");
    ip("addr add fd00:1::2/64 dev lan0 nodad");
    for end in ["lan0", "client"] {
        // No link-local address comes by itself in the middle of a test.
        ip(&format!("link set {end} addrgenmode none up"));
    }
    settled("lan0");
    settled("client");
    index("lan0")
}

fn index(name: &str) -> u32 {
    interface(name)
        .expect("the kernel tells of the interface")
        .expect("the kernel tells of the interface")
        .index
}

fn virtuals(index: u32) -> Vec<VirtualAddress> {
    ["10.0.1.1", "fd00:1::1", "fe80::1"]
        .map(|address| VirtualAddress {
            index,
            address: address.parse().expect("an address"),
        })
        .to_vec()
}

fn open(virtuals: &[VirtualAddress]) -> Addresses {
    Addresses::open(virtuals.iter().map(|one| one.address)).expect("netlink")
}

fn sorted(mut places: Vec<VirtualAddress>) -> Vec<VirtualAddress> {
    places.sort();
    places
}

/// The kernel does not speak as a virtual IPv6 address by itself, though it may be the longest
/// match: who connects from here would lose that with the role, and a fenced one would find no
/// answer.
#[test]
fn addresses_are_no_source_that_the_kernel_chooses() {
    if !inside_own_namespace!("addresses_are_no_source_that_the_kernel_chooses") {
        return;
    }
    let index = served_port();
    let wanted = virtuals(index);
    let mut addresses = open(&wanted);
    addresses.add_all(&wanted).expect("they are added");
    assert_eq!(addresses.await_usable(&wanted, LONGEST).unwrap(), 0);
    let shown = ip_says("-6 addr show dev lan0");
    let of = |text: &str| {
        shown
            .lines()
            .find(|line| line.contains(text))
            .map(str::to_owned)
    };
    assert!(
        of("fd00:1::1/128").is_some_and(|it| it.contains("deprecated")),
        "{shown}"
    );
    // The virtual address has more bits in common with this one.
    let route = ip_says("-6 route get fd00:1::");
    assert!(route.contains("src fd00:1::2"), "{route}");
    let route = ip_says("-6 route get fd00:1::1:1");
    assert!(route.contains("src fd00:1::2"), "{route}");
}

/// Where they expire, who adds them again in time keeps them, and those of a dead daemon go by
/// themselves (F37): whatever became of its fence.
#[test]
fn addresses_of_a_dead_daemon_expire() {
    if !inside_own_namespace!("addresses_of_a_dead_daemon_expire") {
        return;
    }
    let wanted = virtuals(served_port());
    let mut addresses = open(&wanted);
    addresses.expire_after(Some(Duration::from_millis(1_500)));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        addresses.add_all(&wanted).unwrap();
        assert_eq!(sorted(addresses.observe().unwrap()), sorted(wanted.clone()));
        thread::sleep(Duration::from_millis(100));
    }
    let shown = ip_says("-6 addr show dev lan0");
    assert!(shown.contains("deprecated"), "never a source: {shown}");
    let died = Instant::now();
    while !addresses.observe().unwrap().is_empty() {
        assert!(died.elapsed() < DEADLINE, "they go");
    }
    let lasted = died.elapsed();
    assert!(lasted > Duration::from_secs(1), "not before: {lasted:?}");
    addresses.add_all(&wanted).unwrap();
    assert_eq!(addresses.observe().unwrap().len(), 3);
    addresses.expire_after(None);
    addresses.add_all(&wanted).unwrap();
    let shown = ip_says("addr show dev lan0");
    assert!(!shown.contains("dynamic"), "they stay: {shown}");
    assert_eq!(shown.matches("valid_lft forever").count(), 5, "{shown}");
}

/// Where addresses expire, one that an operator put there stays what it is: it does not begin to
/// expire, and does not become ours.
#[test]
fn addresses_of_an_operator_do_not_expire() {
    if !inside_own_namespace!("addresses_of_an_operator_do_not_expire") {
        return;
    }
    let wanted = virtuals(served_port());
    let mut addresses = open(&wanted);
    ip("addr add 10.0.1.1/32 dev lan0");
    ip("addr add fd00:1::1/128 dev lan0 nodad");
    ip("addr add fe80::1/64 dev lan0 nodad");
    let before = ip_says("addr show dev lan0");
    addresses.expire_after(Some(Duration::from_secs(1)));
    for _ in 0..2 {
        addresses.add_all(&wanted).unwrap();
        assert_eq!(ip_says("addr show dev lan0"), before);
    }
    assert_eq!(addresses.sweep().unwrap(), []);
    assert_eq!(ip_says("addr show dev lan0"), before);
}

/// Added twice they are there once, usable at once and without a route; removed twice they are
/// gone, and the unit addresses are as they were.
#[test]
fn addresses_come_and_go_any_number_of_times() {
    if !inside_own_namespace!("addresses_come_and_go_any_number_of_times") {
        return;
    }
    let wanted = virtuals(served_port());
    let mut addresses = open(&wanted);
    let routes = || [ip_says("-4 route"), ip_says("-6 route show table main")];
    let (before, units) = (routes(), interface("lan0").unwrap().unwrap().own);
    for _ in 0..2 {
        addresses.add_all(&wanted).unwrap();
        assert_eq!(sorted(addresses.observe().unwrap()), sorted(wanted.clone()));
    }
    assert_eq!(addresses.await_usable(&wanted, LONGEST).unwrap(), 0);
    let way = ip_says("-6 route get fd00:1::1");
    assert!(way.starts_with("local "), "{way}");
    UdpSocket::bind("10.0.1.1:0").expect("the IPv4 address is usable");
    UdpSocket::bind("[fd00:1::1]:0").expect("the IPv6 address is usable at once");
    assert_eq!(routes(), before, "no route came");
    let lan = interface("lan0").unwrap().unwrap();
    assert_eq!(lan.own, units, "virtual addresses are told apart");
    assert_eq!(lan.virtuals.len(), 3);
    for _ in 0..2 {
        addresses.remove_all(&wanted).unwrap();
        assert_eq!(addresses.observe().unwrap(), []);
    }
    let late = addresses.await_usable(&wanted, LONGEST).unwrap();
    assert_eq!(late, 2, "packets to the IPv6 addresses are not taken in");
    assert_eq!(routes(), before, "no route went");
    assert_eq!(interface("lan0").unwrap().unwrap().own, units);
}

/// A daemon was killed and its configuration has changed since: the next one sweeps what carries
/// the tag, wherever it is, and nothing else.
#[test]
fn addresses_sweep_takes_what_an_earlier_life_left() {
    if !inside_own_namespace!("addresses_sweep_takes_what_an_earlier_life_left") {
        return;
    }
    let left = virtuals(served_port());
    open(&left).add_all(&left).unwrap();
    ip("addr add 10.0.1.77/32 dev lan0");
    let mut next_life = open(&[]);
    if next_life.tags() == Tags::ByAddress {
        println!("not run: needs a kernel that knows tags of addresses (5.18)");
        return;
    }
    assert_eq!(sorted(next_life.sweep().unwrap()), sorted(left));
    assert_eq!(next_life.sweep().unwrap(), []);
    let own = interface("lan0").unwrap().unwrap().own;
    assert!(own.contains(&("10.0.1.77".parse().unwrap(), 32)), "{own:?}");
}

/// A virtual address that an operator configured by hand answers whatever the role is: it is found,
/// and neither swept nor removed.
#[test]
fn addresses_of_an_operator_are_named_and_left_alone() {
    if !inside_own_namespace!("addresses_of_an_operator_are_named_and_left_alone") {
        return;
    }
    let lan = served_port();
    let wanted = virtuals(lan);
    let mut addresses = open(&wanted);
    ip("addr add 10.0.1.1/32 dev lan0");
    let address = wanted[0].address;
    assert_eq!(addresses.foreign_holder(address).unwrap(), Some(lan));
    addresses.add_all(&wanted).expect("there already is fine");
    assert_eq!(addresses.foreign_holder(wanted[1].address).unwrap(), None);
    addresses.remove_all(&wanted).unwrap();
    addresses.sweep().unwrap();
    assert_eq!(addresses.foreign_holder(address).unwrap(), Some(lan));
}

/// One address that cannot be added is named with its interface, and does not hold the others up.
#[test]
fn addresses_refused_one_is_named_and_the_others_are_added() {
    if !inside_own_namespace!("addresses_refused_one_is_named_and_the_others_are_added") {
        return;
    }
    let mut wanted = virtuals(served_port());
    wanted[0].index = 4711;
    let mut addresses = open(&wanted);
    let refused = addresses.add_all(&wanted);
    let Err(error @ AddressError::Refused { others: 0, .. }) = refused else {
        panic!("{refused:?}");
    };
    let text = error.to_string();
    assert!(text.contains("10.0.1.1") && text.contains("4711"), "{text}");
    assert!(text.contains("missing"), "{text}");
    assert_eq!(
        sorted(addresses.observe().unwrap()),
        sorted(wanted[1..].to_vec())
    );
}

fn four(n: u16) -> IpAddr {
    Ipv4Addr::from(0x0a63_0000 + u32::from(n)).into()
}

fn six(n: u16) -> IpAddr {
    Ipv6Addr::new(0xfd00, 99, 0, 0, 0, 0, 0, n).into()
}

fn thousand(index: u32, address: impl Fn(u16) -> IpAddr) -> Vec<VirtualAddress> {
    let place = |n| VirtualAddress {
        index,
        address: address(n),
    };
    (1..=1000).map(place).collect()
}

/// A list that addresses come to and go from while it is read is read until it is whole: the
/// kernel itself changes each new IPv6 address once more, and that takes it a while.
#[test]
fn addresses_are_observed_while_others_change() {
    if !inside_own_namespace!("addresses_are_observed_while_others_change") {
        return;
    }
    let index = served_port();
    let wanted = thousand(index, six);
    let mut addresses = open(&wanted);
    addresses.add_all(&wanted).unwrap();
    let restless = [VirtualAddress {
        index,
        address: six(2000),
    }];
    let allowed: BTreeSet<_> = wanted.iter().chain(&restless).copied().collect();
    let mut others = open(&restless);
    let start = Instant::now();
    thread::scope(|scope| {
        let storm = scope.spawn(move || {
            while start.elapsed() < Duration::from_millis(50) {
                others.add_all(&restless).unwrap();
                others.remove_all(&restless).unwrap();
            }
        });
        while !storm.is_finished() {
            let seen = addresses.observe().unwrap();
            let known = seen.iter().copied().collect::<BTreeSet<_>>();
            assert_eq!(known.len(), seen.len(), "an address is listed twice");
            assert!(seen.iter().all(|one| allowed.contains(one)));
        }
    });
    assert_eq!(sorted(addresses.observe().unwrap()), wanted);
}

/// A thousand of each family, in batches; how long it takes is printed.
#[test]
fn addresses_a_thousand_of_each_family() {
    if !inside_own_namespace!("addresses_a_thousand_of_each_family") {
        return;
    }
    let index = served_port();
    for (name, wanted) in [
        ("IPv4", thousand(index, four)),
        ("IPv6", thousand(index, six)),
    ] {
        let mut addresses = open(&wanted);
        let start = Instant::now();
        addresses.add_all(&wanted).unwrap();
        let added = start.elapsed();
        assert_eq!(addresses.observe().unwrap().len(), 1000);
        let start = Instant::now();
        addresses.remove_all(&wanted).unwrap();
        println!(
            "1000 {name}: added in {added:?}, removed in {:?}",
            start.elapsed()
        );
        assert_eq!(addresses.observe().unwrap(), []);
    }
}

/// Stations that did not answer while the segment was dark are forgotten, on the ports that are
/// named; what is known, or stands on other ports, is not.
#[test]
fn neighbours_asked_in_vain_are_forgotten() {
    if !inside_own_namespace!("neighbours_asked_in_vain_are_forgotten") {
        return;
    }
    let lan = served_port();
    ip("addr add 10.0.2.2/24 dev client");
    ip("neigh add 10.0.1.9 lladdr 02:00:00:00:00:09 dev lan0 nud permanent");
    ip("neigh add 10.0.1.8 dev lan0 nud failed");
    for silent in ["10.0.1.50:9", "10.0.2.50:9", "[fd00:1::50]:9"] {
        let any = if silent.starts_with('[') {
            "[::]:0"
        } else {
            "0.0.0.0:0"
        };
        let socket = UdpSocket::bind(any).unwrap();
        socket.send_to(b"anybody there?", silent).unwrap();
    }
    let known = |what: &str| ip_says("neigh show nud all").contains(what);
    assert!(known("10.0.1.50 dev lan0") && known("fd00:1::50 dev lan0"));
    let mut neighbours = Neighbours::open().unwrap();
    assert_eq!(neighbours.forget_unresolved(&[lan]).unwrap(), 3);
    let gone = ["10.0.1.50 ", "10.0.1.8 ", "fd00:1::50 "];
    for one in gone {
        let left = ip_says("neigh show nud all");
        let left = left.lines().any(|line| {
            line.starts_with(one) && (line.contains("INCOMPLETE") || line.contains("FAILED"))
        });
        assert!(!left, "{one} is still asked for");
    }
    assert!(known("10.0.1.9 dev lan0") && known("10.0.2.50 dev client"));
    // A timer of the kernel that is just running can hold a failed entry for a moment longer.
    let start = Instant::now();
    while neighbours.forget_unresolved(&[lan]).unwrap() > 0 {
        assert!(start.elapsed() < DEADLINE, "an entry stays");
    }
}

/// What an interface is: names, hardware, carrier, what is below it.
#[test]
fn interfaces_are_what_the_kernel_says() {
    if !inside_own_namespace!("interfaces_are_what_the_kernel_says") {
        return;
    }
    served_port();
    ip("link set client down");
    let all = interfaces().unwrap();
    let find = |name: &str| all.iter().find(|one| one.name == name).unwrap();
    let (lan, client, lo) = (find("lan0"), find("client"), find("lo"));
    assert!(lan.up && !lan.carrier, "up, and the other end is down");
    assert!(!client.up && !client.carrier);
    assert_eq!((lan.iflink, client.iflink), (client.index, lan.index));
    assert!(lan.ethernet && lan.mac.is_some() && !lo.ethernet && lo.carrier);
    assert!(lan.own.contains(&("10.0.1.2".parse().unwrap(), 24)));
    assert!(lan.own.contains(&("fd00:1::2".parse().unwrap(), 64)));
    assert_eq!(interface("nothing").unwrap(), None);
}
