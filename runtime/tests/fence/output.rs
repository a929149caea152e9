//! Stories of kernels without netdev egress: what ARP and IP may send, and a lease that the daemon
//! renews and guards itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use steadfast::linux::fence::{Fence, Health, Hooks, LeaseError};
use steadfast_core::MacAddr;
use steadfast_core::wire::announce;
use steadfast_shell::env::{Frames, Sent};

use super::Story;
use super::frames::{self, advert};
use super::guarded::{ACTIVE, Guarded, HA, OFFERING, with_runtime};
use super::world::{
    CLIENT, CLIENT6, L, LAN_UNIT, LAN_UNIT6, LAN_VIRTUAL, LAN_VIRTUAL6, LINK_VIRTUAL6, World,
    table_is_there,
};

pub(super) const STORIES: &[Story] = &[
    ("output_words_of_virtual_addresses_stay_inside", words),
    ("output_router_advertisements_follow_the_role", routers),
    ("output_renewal_lengthens_a_living_lease_alone", renews),
    ("output_fence_and_egress_fence_replace_each_other", replaced),
    ("output_daemon_guards_its_own_words", guarded),
    ("output_late_renewal_lasts_from_its_word", late),
    ("output_offer_is_not_undone_by_a_renewal", offered),
    ("flushable_lease_goes_on_where_its_table_was_taken", flushed),
    ("flushable_fence_is_mended_where_it_is_needed", mended),
    ("flushable_lease_that_ended_is_not_set_up_again", ended),
];

/// Until something surely has happened.
const PATIENCE: Duration = Duration::from_secs(5);
const BODY: &[u8] = b"a word of its own";
/// Nobody has it: the kernel must ask.
const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 77);

impl World {
    fn without_egress(&self) -> Fence {
        let fence = self.fence_of(Hooks::Output);
        assert!(!fence.support().egress);
        fence
    }

    /// Whether such a frame leaves the LAN port because of what was done before.
    fn said(&self, is_wanted: impl Fn(&[u8]) -> bool) -> bool {
        self.lan.inject(&frames::arp_request(CLIENT, LAN_UNIT));
        self.lan
            .hears(is_wanted, |frame| frames::is_arp_reply(frame, LAN_UNIT))
    }

    fn says(&self, from: IpAddr, to: IpAddr) -> bool {
        let socket = Socket::new(
            Domain::for_address(SocketAddr::new(to, 0)),
            Type::DGRAM,
            None,
        );
        let socket = socket.unwrap();
        socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
        // What the fence drops is refused, or not: what counts is the wire.
        let _ = socket.send_to(BODY, &SocketAddr::new(to, 4000).into());
        self.said(|frame| frames::holds(frame, BODY))
    }

    /// Whether the kernel asks for a stranger in the name of this address.
    fn asks_as(&self, from: Ipv4Addr) -> bool {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        socket
            .bind(&SocketAddr::new(from.into(), 0).into())
            .unwrap();
        let _ = socket.send_to(BODY, &SocketAddr::new(STRANGER.into(), 4000).into());
        let question = [&from.octets()[..], &[0; 6], &STRANGER.octets()].concat();
        self.said(|frame| frame[12..14] == [8, 6] && frame[28..42] == question)
    }

    /// Whether a message of neighbour discovery leaves that a program sends from this address.
    fn tells(&self, from: Ipv6Addr, message: &[u8]) -> bool {
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)).unwrap();
        socket.bind_device(Some(b"lan0")).unwrap();
        socket
            .bind(&SocketAddr::new(from.into(), 0).into())
            .unwrap();
        let _ = socket.send_to(message, &SocketAddr::new(CLIENT6.into(), 0).into());
        // The kernel fills in the checksum.
        self.said(|frame| frames::holds(frame, &message[4..]))
    }
}

/// Packets from a virtual address leave with the lease and in the tail; questions in its name, and
/// word that it is here, with the lease alone. Words of the unit address always do.
fn words() {
    let world = World::new();
    let mut fence = world.without_egress();
    let here = |target: Ipv6Addr| [&[136, 0, 0, 0, 0x60, 0, 0, 0][..], &target.octets()].concat();
    let packets = |world: &World| {
        let v4 = world.says(LAN_VIRTUAL.into(), CLIENT.into());
        let v6 = world.says(LAN_VIRTUAL6.into(), CLIENT6.into());
        assert_eq!(v4, v6);
        v4
    };
    let told = |world: &World| {
        let asked = world.asks_as(LAN_VIRTUAL);
        assert_eq!(world.tells(LAN_UNIT6, &here(LAN_VIRTUAL6)), asked);
        assert!(world.tells(LAN_UNIT6, &here(LAN_UNIT6)), "of the unit");
        assert!(world.says(LAN_UNIT.into(), CLIENT.into()), "of the unit");
        asked
    };
    assert_eq!((packets(&world), told(&world)), (false, false), "fenced");
    fence.arm().unwrap();
    assert_eq!((packets(&world), told(&world)), (true, true), "leased");
    in_tail(&world, &mut fence, || {
        assert!(packets(&world), "in flight");
        assert!(!told(&world), "in the tail nothing is told");
    });
    fence.close().unwrap();
    assert_eq!(
        (packets(&world), told(&world)),
        (false, false),
        "fenced again"
    );
    fence.unfence().unwrap();
}

/// Plays a part while the tail lasts; a machine that was too slow tries it again.
fn in_tail(world: &World, fence: &mut Fence, part: impl Fn()) {
    const TRIES_MAX: usize = 5;
    let mut spec = world.spec();
    (spec.hooks, spec.tail) = (Hooks::Output, 10 * super::world::TAIL);
    fence.update(&spec).unwrap();
    for _ in 0..TRIES_MAX {
        fence.arm().unwrap();
        fence.release_to_tail().unwrap();
        part();
        if fence.tail_left().unwrap().is_some() {
            return;
        }
    }
    panic!("the tail was always over before the end");
}

/// As in egress: hosts hear of a router in the role's name alone, with the lease alone (F44).
fn routers() {
    let world = World::new();
    let mut fence = world.without_egress();
    let says = |from, lifetime: u8| {
        let advert = [134, 0, 0, 0, 64, 0, 0, lifetime, 0, 0, 0, 0, 0, 0, 0, 0];
        world.tells(from, &advert)
    };
    let all = || {
        let lasting = (says(LINK_VIRTUAL6, 30), says(LAN_UNIT6, 31));
        (lasting, (says(LINK_VIRTUAL6, 0), says(LAN_UNIT6, 0)))
    };
    assert_eq!(all().0, (false, false), "fenced");
    fence.arm().unwrap();
    assert_eq!(all(), ((true, false), (false, true)), "active");
    fence.close().unwrap();
    assert_eq!(all(), ((false, false), (false, true)), "fenced again");
    fence.unfence().unwrap();
}

/// Renewed in time a lease lives on; once it ended nothing but arming brings it back.
fn renews() {
    let world = World::new();
    let mut fence = world.without_egress();
    assert!(matches!(fence.renew(L), Err(LeaseError::Lapsed)));
    fence.arm().unwrap();
    let begun = Instant::now();
    while begun.elapsed() < 2 * L {
        fence.renew(L).unwrap();
        assert!(world.answers(LAN_VIRTUAL));
    }
    while world.answers(LAN_VIRTUAL) {}
    assert!(matches!(fence.renew(L), Err(LeaseError::Lapsed)));
    assert!(!world.answers(LAN_VIRTUAL));
    fence.unfence().unwrap();
}

/// A daemon that comes back on a newer kernel, or with another configuration, leaves nothing of
/// the older fence behind.
fn replaced() {
    let world = World::new();
    drop(world.without_egress());
    let tables = || ["arp", "ip"].map(|part| table_is_there(&format!("steadfast-{part}")));
    assert_eq!(tables(), [true; 2]);
    drop(world.fenced());
    assert_eq!(tables(), [false; 2]);
    let fence = world.without_egress();
    assert_eq!(tables(), [true; 2]);
    fence.unfence().unwrap();
    assert_eq!(tables(), [false; 2]);
}

/// "Active" and "offering" leave while the lease lives, and "active" renews it; without one both
/// are refused, at once and for good, and a standby may always speak.
fn guarded() {
    with_runtime(async || {
        let world = World::new();
        let Guarded {
            time,
            counters,
            lease,
            mut ports,
        } = world.guarded(Hooks::Output);
        let told = [
            announce::gratuitous_request(MacAddr(world.ha.mac), LAN_VIRTUAL),
            announce::unsolicited_na(MacAddr(world.ha.mac), LAN_VIRTUAL6),
            frames::ethernet(frames::STATION, frames::VIRTUAL_MAC, 0x1235, b"virtual MAC"),
        ];
        for mark in [ACTIVE, OFFERING] {
            assert_eq!(ports.send(HA, &advert(mark)).await, Sent::Refused);
        }
        assert_eq!(ports.send(HA, &advert(1)).await, Sent::Sent);
        for frame in &told {
            assert_eq!(ports.send(HA, frame).await, Sent::Dropped, "{frame:02x?}");
        }
        lease.arm().unwrap();
        for frame in &told {
            assert_eq!(ports.send(HA, frame).await, Sent::Sent, "{frame:02x?}");
        }
        let begun = Instant::now();
        while begun.elapsed() < 2 * L {
            for mark in [ACTIVE, OFFERING] {
                assert_eq!(ports.send(HA, &advert(mark)).await, Sent::Sent);
            }
            assert!(world.answers(LAN_VIRTUAL));
        }
        // Silence, as of a daemon that sleeps: the word has ended when the kernel's lease has.
        let guard = lease.guard();
        while world.answers(LAN_VIRTUAL) {}
        for mark in [ACTIVE, OFFERING] {
            assert_eq!(ports.send(HA, &advert(mark)).await, Sent::Refused);
        }
        for frame in &told {
            assert_eq!(ports.send(HA, frame).await, Sent::Dropped, "a burst ends");
        }
        let lost = || counters.lost_renewals.load(Ordering::Relaxed);
        assert_eq!(lost(), 0, "each came in time");
        guard.said_active(time.now());
        while lost() == 0 {
            std::thread::yield_now();
        }
        assert!(!world.answers(LAN_VIRTUAL), "what lapsed is not renewed");
        lease.arm().unwrap();
        assert_eq!(ports.send(HA, &advert(ACTIVE)).await, Sent::Sent);
        lease.close().unwrap();
        assert_eq!(ports.send(HA, &advert(ACTIVE)).await, Sent::Refused);
        lease.unfence().unwrap();
    });
}

/// Whenever a renewal is made, the lease ends L after the word it is made for: one for an old word
/// adds nothing to a lease that stands.
fn late() {
    with_runtime(async || {
        let world = World::new();
        let Guarded { time, lease, .. } = world.guarded(Hooks::Output);
        let guard = lease.guard();
        lease.arm().unwrap();
        let begun = Instant::now();
        let said = time.now().after(L / 4);
        while time.now() < said {}
        while world.answers(LAN_VIRTUAL) {
            guard.said_active(said);
            let lasted = begun.elapsed();
            assert!(lasted < L * 3 / 2, "L from the word, not from the renewal");
        }
        let lasted = begun.elapsed();
        assert!(lasted > L, "it was renewed once: {lasted:?}");
        lease.unfence().unwrap();
    });
}

/// A renewal that was asked for before the offer, or is asked for behind it, does not lengthen
/// what was promised to end.
fn offered() {
    with_runtime(async || {
        const V: Duration = Duration::from_millis(100);
        let world = World::new();
        let Guarded {
            time,
            lease,
            mut ports,
            ..
        } = world.guarded(Hooks::Output);
        for _ in 0..20 {
            lease.arm().unwrap();
            assert_eq!(ports.send(HA, &advert(ACTIVE)).await, Sent::Sent);
            let begun = Instant::now();
            lease.offer(V).unwrap();
            lease.guard().said_active(time.now());
            while world.answers(LAN_VIRTUAL) {
                assert!(begun.elapsed() < L / 2, "the offer holds");
            }
            assert_eq!(ports.send(HA, &advert(OFFERING)).await, Sent::Refused);
        }
        lease.unfence().unwrap();
    });
}

/// What `nft flush ruleset` does on a kernel where nobody can own a table.
fn flush() {
    let flushed = Command::new("nft").args(["flush", "ruleset"]).status();
    assert!(flushed.is_ok_and(|it| it.success()), "Debian's nftables");
    assert!(!table_is_there("steadfast-arp"));
}

/// An active whose fence is flushed puts it back at its next word with what is left of its lease,
/// and the next look tells of it, once. So does a look, an offer, as short as it was promised, and
/// a release.
fn flushed() {
    with_runtime(async || {
        let world = World::new();
        let Guarded { time, lease, .. } = world.guarded(Hooks::Flushable);
        let support = lease.support();
        assert!(!support.owner && !support.persist && !support.egress);
        let guard = lease.guard();
        lease.arm().unwrap();
        flush();
        guard.said_active(time.now());
        let begun = Instant::now();
        while !table_is_there("steadfast-arp") {
            assert!(begun.elapsed() < PATIENCE, "the word puts the fence back");
        }
        assert!(world.answers(LAN_VIRTUAL), "and its lease with it");
        let told = matches!(lease.check(), Health::Repaired("table gone"));
        assert!(told && matches!(lease.check(), Health::Whole));
        while world.answers(LAN_VIRTUAL) {
            assert!(begun.elapsed() < L * 3 / 2, "no more than the word gave it");
        }
        lease.arm().unwrap();
        flush();
        assert!(matches!(lease.check(), Health::Repaired("table gone")));
        assert!(world.answers(LAN_VIRTUAL), "a look puts it back as well");
        flush();
        let begun = Instant::now();
        lease.offer(L / 2).unwrap();
        assert!(
            world.answers(LAN_VIRTUAL),
            "an offer is served until it is taken"
        );
        flush();
        lease.release_to_tail().unwrap();
        assert!(
            !world.answers(LAN_VIRTUAL),
            "a lease that was given away is closed"
        );
        assert!(
            begun.elapsed() < L / 2,
            "by the release, and not by its end"
        );
        lease.unfence().unwrap();
    });
}

/// A claim and the end of a role find no table, and do not wait for the next look.
fn mended() {
    with_runtime(async || {
        let world = World::new();
        let Guarded { lease, .. } = world.guarded(Hooks::Flushable);
        flush();
        lease.arm().unwrap();
        assert!(world.answers(LAN_VIRTUAL));
        flush();
        assert!(lease.close().is_err(), "nothing is left to be closed");
        lease.close_anew().unwrap();
        assert!(!world.answers(LAN_VIRTUAL));
        assert!(
            matches!(lease.check(), Health::Whole),
            "nobody served by it"
        );
        lease.unfence().unwrap();
    });
}

/// A lease that ended before its table was taken, or that was given back, is no lease any more.
fn ended() {
    with_runtime(async || {
        let world = World::new();
        let Guarded { time, lease, .. } = world.guarded(Hooks::Flushable);
        lease.arm().unwrap();
        lease.release_to_tail().unwrap();
        flush();
        assert!(matches!(lease.offer(L), Err(LeaseError::Lapsed)));
        assert!(matches!(lease.check(), Health::Repaired(_)));
        assert!(!world.answers(LAN_VIRTUAL));
        lease.arm().unwrap();
        let said = time.now();
        while world.answers(LAN_VIRTUAL) {}
        flush();
        lease.guard().said_active(said);
        assert!(matches!(lease.offer(L), Err(LeaseError::Lapsed)));
        assert!(matches!(lease.check(), Health::Repaired(_)));
        assert!(!world.answers(LAN_VIRTUAL));
        lease.unfence().unwrap();
    });
}
