//! The fence without what older kernels lack, built on the loopback of a namespace of its own.
//!
//! Needs root: a thread of a test program can have a network namespace, but no user namespace.

use std::net::IpAddr;
use std::thread;

use rustix::thread::UnshareFlags;
use steadfast_core::MacAddr;

use super::*;

type Change = fn(&mut Batch);

fn spec(name: &str) -> FenceSpec {
    let folder = std::env::temp_dir().join(format!("fence-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    FenceSpec {
        heartbeat_ports: vec!["lo".to_owned()],
        served: vec![ServedPort {
            name: "lo".to_owned(),
            units: vec![
                IpAddr::from([10, 0, 1, 2]),
                IpAddr::from([0xfd00, 1, 0, 0, 0, 0, 0, 2]),
            ],
            virtuals: vec![
                IpAddr::from([10, 0, 1, 1]),
                IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 1]),
            ],
            virtual_macs: vec![MacAddr([0, 0, 0x5e, 0, 1, 0x33])],
        }],
        datagrams: None,
        hooks: Hooks::Auto,
        lease: Duration::from_secs(30),
        tail: Duration::from_secs(3),
        keeper_dir: folder,
        keeper_program: "true".into(),
    }
}

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

const PLAIN: [&str; 5] = ["vip4", "vip6", "vmac", "own4", "own6"];

fn build_without(netlink: &mut Netlink, spec: &FenceSpec, support: FenceSupport) -> Picture {
    let mut batch = build::removal(netlink).unwrap();
    let there = There::default();
    build::write(&mut batch, spec, (support, &there));
    build::commit(netlink, batch).unwrap();
    let mut pictures = build::confirm(netlink, spec, (support, &there)).unwrap();
    pictures.remove(0)
}

/// fence: without element refresh the same steps lead to the same times, by adding, deleting and
/// adding in one transaction.
#[test]
fn fence_without_element_refresh_keeps_the_same_times() {
    alone(|| {
        let mut fence = Fence::install(&spec("refresh")).unwrap();
        fence.support.refresh = false;
        let second = Duration::from_secs(1);
        fence.arm().unwrap();
        fence.offer(10 * second).unwrap();
        let left = fence.lease_left().unwrap().unwrap();
        assert!(left > 9 * second && left <= 10 * second, "{left:?}");
        fence.arm().unwrap();
        assert!(fence.lease_left().unwrap().unwrap() > 29 * second);
        fence.release_to_tail().unwrap();
        let tail = fence.tail_left().unwrap().unwrap();
        assert!(tail > 2 * second && tail <= 3 * second, "{tail:?}");
        assert!(matches!(fence.release_to_tail(), Err(LeaseError::Lapsed)));
        let folder = fence.spec.keeper_dir.clone();
        fence.unfence().unwrap();
        std::fs::remove_dir(folder).unwrap();
    });
}

/// fence: rules that ask for unit addresses instead of the routing table are accepted, and a
/// table without owner is one that others may flush; the check sees each kind of damage.
#[test]
fn fence_without_owner_and_fib_is_checked_part_by_part() {
    alone(|| {
        let spec = spec("parts");
        let mut netlink = Netlink::open(NETFILTER).unwrap();
        let support = FenceSupport {
            egress: true,
            fib: false,
            owner: false,
            persist: false,
            refresh: true,
            waits: true,
        };
        let damages: [(&str, Change); 4] = [
            ("chains changed", |batch| {
                nftables::delete_chain(batch, TABLE, "lo_out");
            }),
            ("rules changed", |batch| {
                let words = [nftables::Word::Accept];
                nftables::add_rule(batch, (TABLE, "lo_in"), "foreign", &words);
            }),
            ("addresses changed", |batch| {
                nftables::empty_set(batch, TABLE, "vip4");
            }),
            ("sets changed", |batch| {
                let set = nftables::Set {
                    name: "foreign",
                    ..rules::SETS[2]
                };
                nftables::add_set(batch, TABLE, &set, 1);
            }),
        ];
        for (expected, change) in damages {
            let built = build_without(&mut netlink, &spec, support);
            let again = Picture::take(&mut netlink, TABLE, &PLAIN).unwrap().unwrap();
            assert_eq!(again.damage(&built), None, "nothing changes by itself");
            let mut batch = nftables::begin();
            change(&mut batch);
            build::commit(&mut Netlink::open(NETFILTER).unwrap(), batch).unwrap();
            let found = Picture::take(&mut netlink, TABLE, &PLAIN).unwrap().unwrap();
            assert_eq!(found.damage(&built), Some(expected));
        }
        std::fs::remove_dir(&spec.keeper_dir).unwrap();
    });
}

/// fence: an ability the kernel refuses is left out, one at a time; a refusal that is about
/// nothing optional is told with its cure.
#[test]
fn fence_refused_abilities_are_left_out_one_by_one() {
    let refused = |what: &'static str, errno: rustix::io::Errno| Refused {
        index: 1,
        what: what.into(),
        error: errno.into(),
        text: None,
    };
    let unknown = rustix::io::Errno::OPNOTSUPP;
    let all = FenceSupport {
        egress: true,
        fib: true,
        owner: true,
        persist: true,
        refresh: true,
        waits: true,
    };
    let table = "create table steadfast";
    let second = build::without(all, refused(table, unknown)).unwrap();
    assert_eq!((second.owner, second.persist), (true, false));
    let third = build::without(second, refused(table, unknown)).unwrap();
    assert_eq!(
        (third.owner, third.persist, third.fib),
        (false, false, true)
    );
    let rule = "add rule \"lan0 in: IPv4 transit\" to chain lan0_in";
    assert!(!build::without(third, refused(rule, unknown)).unwrap().fib);
    let hook = "hook into egress of port lan0";
    let older = build::without(all, refused(hook, unknown)).unwrap();
    assert!(!older.egress && older.fib && older.owner, "{older:?}");
    assert!(older.to_string().contains("no netdev egress"), "{older}");
    let why = build::without(older, refused(hook, unknown)).unwrap_err();
    assert!(why.to_string().contains("nf_tables"), "{why}");
    let why = FenceError::no_egress(hook.into()).to_string();
    assert!(
        why.contains("5.16") && why.contains("fence = \"auto\""),
        "{why}"
    );
    let denied = rustix::io::Errno::PERM;
    let why = build::without(all, refused(table, denied))
        .unwrap_err()
        .to_string();
    assert!(
        why.contains("create table") && why.contains("CAP_NET_ADMIN"),
        "{why}"
    );
}

/// fence: where chains cannot wait for a device, a port that is missing costs its own chains alone;
/// they come with it, beside a lease that lasts.
#[test]
fn fence_port_that_comes_later_is_fenced_beside_the_lease() {
    alone(|| {
        let mut spec = spec("later");
        let port = "later0";
        let served = spec.served[0].clone();
        spec.served.push(ServedPort {
            name: port.to_owned(),
            ..served
        });
        let mut fence = Fence::install(&spec).unwrap();
        fence.support.waits = false;
        fence.reinstall().unwrap();
        let is_fenced = |fence: &mut Fence, port: &str| {
            let counters = fence.counters().unwrap();
            counters.iter().any(|it| it.rule.starts_with(port))
        };
        assert!(is_fenced(&mut fence, "lo ") && !is_fenced(&mut fence, "later0 "));
        fence.arm().unwrap();
        fence.follow_devices().unwrap();
        assert_eq!(fence.damage(), None);
        let ip = |words: &str| {
            let mut ip = std::process::Command::new("ip");
            assert!(ip.args(words.split(' ')).status().unwrap().success());
        };
        ip("link add later0 type bridge");
        fence.follow_devices().unwrap();
        assert_eq!(fence.damage(), None);
        assert!(is_fenced(&mut fence, "lo ") && is_fenced(&mut fence, "later0 "));
        // Made anew between two looks, then renamed: one loses its chains, the other keeps them.
        ip("link del later0");
        ip("link add later0 type bridge");
        fence.follow_devices().unwrap();
        assert_eq!(fence.damage(), None);
        assert!(is_fenced(&mut fence, "lo ") && is_fenced(&mut fence, "later0 "));
        ip("link set later0 name other0");
        fence.follow_devices().unwrap();
        assert_eq!(fence.damage(), None);
        assert!(is_fenced(&mut fence, "lo ") && !is_fenced(&mut fence, "later0 "));
        ip("link set other0 name later0");
        fence.update(&spec).unwrap();
        assert!(is_fenced(&mut fence, "lo ") && is_fenced(&mut fence, "later0 "));
        assert!(fence.lease_left().unwrap().is_some(), "the lease lasts");
        let folder = fence.spec.keeper_dir.clone();
        fence.unfence().unwrap();
        std::fs::remove_dir(folder).unwrap();
    });
}
