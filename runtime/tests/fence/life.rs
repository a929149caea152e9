//! Stories of the fence's life: owners, keepers, damage, changes, and its end.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use steadfast::linux::fence::{self, Fence, FenceError, Health, TABLE};
use steadfast::linux::netlink::{Ack, Batch, Netlink};

use super::frames::advert;
use super::world::{self, CLIENT, L, LAN_VIRTUAL, World, kernel_guards, table_is_there};
use super::{HOLD_ARGUMENT, Story};

pub(super) const STORIES: &[Story] = &[
    ("life_foreign_flush_passes_an_owned_table_by", flush),
    ("life_killed_daemon_leaves_the_fence_to_its_keeper", killed),
    (
        "life_new_daemon_takes_over_and_ends_the_old_lease",
        takes_over,
    ),
    ("life_fence_outlives_daemon_and_keeper_where_it_may", orphan),
    (
        "life_port_that_went_and_came_back_is_fenced_again",
        port_returns,
    ),
    ("life_second_daemon_is_refused", second),
    ("life_check_repairs_table_and_keeper", check),
    ("life_update_changes_addresses_and_spares_the_lease", update),
    ("life_building_anew_opens_no_hole", no_hole),
    ("life_unfence_removes_everything", unfence),
    ("life_missing_port_is_named", missing_port),
];

const NETFILTER: i32 = 12;
const DELETE_TABLE: u16 = 10 << 8 | 2;
/// Every family, or that of our table.
const ANY: [u8; 4] = [0; 4];
const NETDEV: [u8; 4] = [5, 0, 0, 0];

/// The daemon of the stories: fences, arms, says so, and waits for its end.
pub(super) fn hold(folder: &str) -> ExitCode {
    let mut fence = Fence::install(&world::spec(folder.into())).unwrap();
    fence.arm().unwrap();
    print!("{}", fence.keeper_id());
    println!();
    io::stdout().flush().unwrap();
    let _ = io::stdin().read(&mut [0]);
    ExitCode::SUCCESS
}

/// A daemon in this namespace, once it is armed, and its keeper's number.
fn daemon(folder: &Path) -> (Child, u32) {
    let mut child = Command::new("/proc/self/exe")
        .arg(HOLD_ARGUMENT)
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut said = io::BufReader::new(child.stdout.take().unwrap());
    io::BufRead::read_line(&mut said, &mut line).unwrap();
    (child, line.trim().parse().expect("the keeper's number"))
}

/// Deletes tables as `nft` would: all of them, or ours by name.
fn delete(family: [u8; 4], name: Option<&str>) -> Option<i32> {
    let mut netlink = Netlink::open(NETFILTER).unwrap();
    let mut batch = Batch::new();
    batch.control("begin", 0x10, &[0, 0, 0, 10]);
    {
        let mut message = batch.message("delete", DELETE_TABLE, 0, &family);
        if let Some(name) = name {
            message.put_text(1, name);
        }
    }
    batch.control("end", 0x11, &[0, 0, 0, 10]);
    let refused = netlink.exchange(batch, Ack::Last).unwrap();
    refused
        .first()
        .and_then(|refused| refused.error.raw_os_error())
}

/// Another program's `flush ruleset` and `delete table` change nothing: neither table nor lease.
fn flush() {
    let world = World::new();
    let mut fence = world.fenced();
    if !fence.support().owner {
        println!("this kernel has no owned tables (Linux 5.13)");
    }
    assert_eq!(
        delete(ANY, None),
        None,
        "a flush is not refused, it passes by"
    );
    assert_eq!(delete(NETDEV, Some(TABLE)), Some(libc::EPERM));
    assert!(matches!(fence.check(), Health::Whole));
    assert!(!world.answers(LAN_VIRTUAL));
    fence.arm().unwrap();
    delete(ANY, None);
    assert!(world.answers(LAN_VIRTUAL));
    fence.unfence().unwrap();
}

/// The daemon dies by SIGKILL: the address answers until the lease ends, then the fence stands.
fn killed() {
    let world = World::new();
    let (mut daemon, _) = daemon(&world.folder);
    assert!(world.answers(LAN_VIRTUAL));
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert!(table_is_there(TABLE));
    let died = std::time::Instant::now();
    while world.answers(LAN_VIRTUAL) {
        assert!(
            died.elapsed() < L,
            "the lease outlives the daemon by L at most"
        );
    }
    assert_eq!(
        delete(NETDEV, Some(TABLE)),
        Some(libc::EPERM),
        "the keeper's socket owns it"
    );
    if kernel_guards() {
        assert!(world.ha.send(&advert(2)).is_err(), "the guard stands");
    }
    assert!(fence::remove(&world.folder).unwrap());
    assert!(!table_is_there(TABLE));
}

/// A new daemon gets the socket from the old keeper, which leaves; the old lease ends there.
fn takes_over() {
    let world = World::new();
    let (mut daemon, keeper) = daemon(&world.folder);
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let mut fence = world.fenced();
    assert_eq!(
        fence.lease_left().unwrap(),
        None,
        "a lease of an earlier life is not kept"
    );
    assert!(!world.answers(LAN_VIRTUAL));
    assert_ne!(fence.keeper_id(), keeper);
    fence.arm().unwrap();
    assert!(world.answers(LAN_VIRTUAL));
    assert!(matches!(fence.check(), Health::Whole));
    fence.unfence().unwrap();
}

/// Where tables may persist, the fence stands even when the keeper dies too; a new daemon adopts
/// it.
fn orphan() {
    let world = World::new();
    let fence = world.fenced();
    let may = fence.support().persist;
    fence.unfence().unwrap();
    if !may {
        println!("not run: needs persistent tables (Linux 6.9)");
        return;
    }
    let (mut daemon, keeper) = daemon(&world.folder);
    let keeper = rustix::process::Pid::from_raw(i32::try_from(keeper).unwrap());
    rustix::process::kill_process(keeper.unwrap(), rustix::process::Signal::KILL).unwrap();
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    while world.answers(LAN_VIRTUAL) {}
    assert!(table_is_there(TABLE));
    if kernel_guards() {
        assert!(world.ha.send(&advert(2)).is_err(), "the guard stands");
    }
    let mut fence = world.fenced();
    assert!(!world.answers(LAN_VIRTUAL));
    assert_eq!(
        delete(NETDEV, Some(TABLE)),
        Some(libc::EPERM),
        "owned again"
    );
    assert!(matches!(fence.check(), Health::Whole));
    fence.unfence().unwrap();
}

/// A port that is deleted and made again is a new one: at the latest from the next check on it is
/// fenced like the old one.
fn port_returns() {
    let mut world = World::new();
    let mut fence = world.fenced();
    world.remake_lan();
    let found = fence.check();
    println!("found: {found:?}");
    assert!(!matches!(found, Health::Missing(_)), "{found:?}");
    assert!(!world.answers(LAN_VIRTUAL));
    assert!(matches!(fence.check(), Health::Whole));
    fence.unfence().unwrap();
}

/// A second daemon with another folder is told who owns the fence, and harms nothing.
fn second() {
    let world = World::new();
    let mut fence = world.fenced();
    fence.arm().unwrap();
    let other = world.folder.join("other");
    std::fs::create_dir(&other).unwrap();
    let refused = Fence::install(&world::spec(other.clone())).unwrap_err();
    assert!(matches!(refused, FenceError::Owned { .. }), "{refused}");
    assert!(matches!(
        fence::remove(&other),
        Err(FenceError::Owned { .. })
    ));
    assert!(world.answers(LAN_VIRTUAL));
    assert!(matches!(fence.check(), Health::Whole));
    fence.unfence().unwrap();
}

/// A table that is gone is built again, fenced; a keeper that is gone is replaced, and the lease
/// stays.
fn check() {
    let world = World::new();
    let mut fence = world.fenced();
    fence.arm().unwrap();
    let keeper = rustix::process::Pid::from_raw(i32::try_from(fence.keeper_id()).unwrap());
    rustix::process::kill_process(keeper.unwrap(), rustix::process::Signal::KILL).unwrap();
    let begun = std::time::Instant::now();
    loop {
        match fence.check() {
            Health::Repaired("keeper gone") => break,
            Health::Whole => assert!(begun.elapsed() < 10 * L, "a signal arrives"),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(fence.check(), Health::Whole));
    fence.arm().unwrap();
    assert!(
        fence::remove(&world.folder).unwrap(),
        "by the keeper's own socket"
    );
    assert!(world.answers(LAN_VIRTUAL), "no fence, no lease needed");
    assert!(matches!(fence.check(), Health::Repaired("table gone")));
    assert!(!world.answers(LAN_VIRTUAL));
    assert_eq!(fence.lease_left().unwrap(), None);
    // The dismissed keeper is a process a moment longer than its socket is a file.
    let begun = std::time::Instant::now();
    while !matches!(fence.check(), Health::Repaired("keeper gone")) {
        assert!(begun.elapsed() < 10 * L, "who is dismissed leaves");
    }
    assert!(matches!(fence.check(), Health::Whole));
    std::fs::remove_file(world.folder.join("keeper.sock")).unwrap();
    fence.unfence().unwrap();
}

/// Addresses come and go, times and ports change, in one step; the lease lives on.
fn update() {
    let world = World::new();
    let mut fence = world.fenced();
    fence.arm().unwrap();
    let mut spec = world.spec();
    spec.served[0].virtuals = vec![CLIENT.into()];
    fence.update(&spec).unwrap();
    assert!(fence.lease_left().unwrap().is_some());
    assert!(matches!(fence.check(), Health::Whole));
    fence.close().unwrap();
    assert!(world.answers(LAN_VIRTUAL), "not virtual any more");

    spec = world.spec();
    spec.lease = 2 * L;
    fence.arm().unwrap();
    fence.update(&spec).unwrap();
    assert!(
        fence.lease_left().unwrap().is_some_and(|left| left <= L),
        "not before a refresh"
    );
    if kernel_guards() {
        assert!(world.ha.lets_out(&advert(2)));
    } else {
        fence.renew(spec.lease).unwrap();
    }
    assert!(
        fence.lease_left().unwrap().is_some_and(|left| left > L),
        "the new L"
    );
    fence.close().unwrap();
    assert!(!world.answers(LAN_VIRTUAL));
    assert!(matches!(fence.check(), Health::Whole));

    spec.served.remove(0);
    spec.heartbeat_ports.retain(|port| port != "ha0");
    fence.update(&spec).unwrap();
    assert!(
        world.answers(LAN_VIRTUAL),
        "a port that is not served is not fenced"
    );
    assert!(world.ha.lets_out(&advert(2)), "nor guarded");
    fence.unfence().unwrap();
}

/// While the fence is built again and again the virtual address never answers: packets see the
/// old rules or the new ones.
fn no_hole() {
    const TIMES: usize = 50;
    let world = World::new();
    let mut fence = world.fenced();
    let builder = std::thread::spawn(move || {
        for _ in 0..TIMES {
            fence.reinstall().unwrap();
        }
        fence
    });
    let mut asked_count = 0;
    while !builder.is_finished() {
        assert!(!world.answers(LAN_VIRTUAL));
        asked_count += 1;
    }
    assert!(asked_count > TIMES, "only {asked_count} questions");
    builder.join().unwrap().unfence().unwrap();
}

/// Nothing is left: no table, no keeper, no socket in the folder.
fn unfence() {
    let world = World::new();
    let fence = world.fenced();
    let keeper = format!("/proc/{}", fence.keeper_id());
    let held = Path::new(&keeper);
    assert_eq!(
        keeper_descriptors(held),
        5,
        "two sockets, twice, and no error output"
    );
    let memory = std::fs::read_to_string(held.join("status")).unwrap();
    println!(
        "keeper: {}",
        memory
            .lines()
            .find(|line| line.starts_with("VmRSS"))
            .unwrap()
    );
    fence.unfence().unwrap();
    assert!(!table_is_there(TABLE) && !held.exists());
    assert_eq!(std::fs::read_dir(&world.folder).unwrap().count(), 0);
    assert!(!fence::remove(&world.folder).unwrap(), "twice is once");
}

/// How many descriptors the keeper holds once it waits for clients.
fn keeper_descriptors(keeper: &Path) -> usize {
    let begun = std::time::Instant::now();
    loop {
        let call = std::fs::read_to_string(keeper.join("syscall")).unwrap();
        if call.starts_with(&format!("{} ", libc::SYS_accept4)) {
            return std::fs::read_dir(keeper.join("fd")).unwrap().count();
        }
        assert!(
            begun.elapsed() < 10 * L,
            "the keeper waits for clients: {call}"
        );
    }
}

/// A port that is not there is named, with a cure, and nothing is left behind.
fn missing_port() {
    let world = World::new();
    let mut spec = world.spec();
    spec.heartbeat_ports.push("eth77".to_owned());
    match Fence::install(&spec) {
        Err(why) => {
            let text = why.to_string();
            assert!(text.contains("egress of port eth77"), "{text}");
            assert!(!table_is_there(TABLE));
        }
        // Newer kernels wait for the port of this name.
        Ok(fence) => fence.unfence().unwrap(),
    }
}
