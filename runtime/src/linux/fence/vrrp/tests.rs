//! The fence of virtual routers on the loopback of a namespace of its own.
//!
//! Needs root: a thread of a test program can have a network namespace, but no user namespace.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::thread;

use rustix::thread::UnshareFlags;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Plays on a thread that is alone in a network namespace.
fn alone(story: impl FnOnce() + Send + 'static) {
    let played = thread::spawn(|| {
        #[expect(
            deprecated,
            reason = "files are not unshared, which is what is unsafe about it"
        )]
        let entered = rustix::thread::unshare(UnshareFlags::NEWNET);
        match entered {
            Ok(()) => story(),
            Err(why) => println!("not run: needs root for a network namespace ({why})"),
        }
    });
    played.join().unwrap();
}

fn router(virtual_id: u8, addresses: Vec<IpAddr>) -> FencedRouter {
    FencedRouter {
        interface: "lo".to_owned(),
        virtual_id,
        ipv6: addresses.first().is_some_and(IpAddr::is_ipv6),
        virtual_mac: true,
        accept: false,
        addresses,
        lease: 30 * SECOND,
    }
}

fn address(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 1, number).into()
}

/// fence: a lease begins a third as long as it will be, is each router's own, and ends when it is
/// closed, however often; with element refresh and without.
#[test]
fn vrrp_fence_leases_are_each_routers_own() {
    alone(|| {
        let routers = [1, 2].map(|id| router(id, vec![address(id)]));
        let mut fence = RouterFence::install(routers.into()).unwrap();
        for refresh in [true, false] {
            fence.support.refresh &= refresh;
            fence.arm(1).unwrap();
            fence.arm(1).unwrap();
            let left = fence.lease_left(1).unwrap().unwrap();
            assert!(left > 9 * SECOND && left <= 10 * SECOND, "{left:?}");
            assert_eq!(fence.lease_left(0).unwrap(), None);
            fence.close(1).unwrap();
            fence.close(1).unwrap();
            assert_eq!(fence.lease_left(1).unwrap(), None);
        }
        fence.unfence().unwrap();
        assert!(!RouterFence::remove().unwrap(), "nothing is left");
    });
}

/// fence: what is damaged is seen and built again, and then no router has a lease; what is whole is
/// left as it is.
#[test]
fn vrrp_fence_that_was_damaged_is_built_again() {
    alone(|| {
        let routers = vec![router(1, vec![address(1)])];
        let mut fence = RouterFence::install(routers).unwrap();
        fence.arm(0).unwrap();
        assert!(matches!(fence.check(), Health::Whole));
        assert!(fence.lease_left(0).unwrap().is_some());
        let mut batch = nftables::begin();
        nftables::delete_chain(&mut batch, ROUTERS_TABLE, "lo_in");
        commit(&mut fence.netlink, batch).unwrap();
        assert!(matches!(fence.check(), Health::Repaired("chains changed")));
        assert_eq!(fence.lease_left(0).unwrap(), None);
        assert!(matches!(fence.check(), Health::Whole));
        fence.unfence().unwrap();
    });
}

/// fence: the largest files that are taken can be installed.
#[test]
fn vrrp_fence_of_the_largest_files_is_installed() {
    alone(|| {
        let many: Vec<IpAddr> = (1..=255).map(address).collect();
        let six: Vec<IpAddr> = (1..=90)
            .map(|it| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, it).into())
            .collect();
        let files = [
            vec![router(1, many.clone())],
            vec![router(1, six)],
            (1..=64).map(|id| router(id, vec![address(id)])).collect(),
            (1..=64).map(|id| router(id, many[..64].to_vec())).collect(),
        ];
        for routers in files {
            let (count, first) = (routers.len(), routers[0].addresses.len());
            let fence = RouterFence::install(routers);
            let fence = fence.unwrap_or_else(|why| panic!("{count} of {first}: {why}"));
            fence.unfence().unwrap();
        }
    });
}

/// fence: another daemon's table is not taken while that lives, and is when it is gone.
#[test]
fn vrrp_fence_of_a_living_daemon_is_not_taken() {
    alone(|| {
        let routers = || vec![router(1, vec![address(1)])];
        let fence = RouterFence::install(routers()).unwrap();
        if !fence.support.persist {
            println!("not run: needs tables that outlive their owner (Linux 6.9)");
            return;
        }
        let why = RouterFence::install(routers()).unwrap_err();
        assert!(why.to_string().contains("owns it"), "{why}");
        drop(fence);
        RouterFence::install(routers()).unwrap().unfence().unwrap();
    });
}
