//! One daemon: its end by a kill and its next life, and disks that refuse.

use std::time::{Duration, Instant};

use crate::gateways::{Gateway, VIRTUALS, count, pair};
use crate::routers::reached;
use crate::stations::waits_for;

/// After a kill the next life sweeps what the last one left, serves again, and both lives can be
/// told apart in the journal.
#[test]
fn alone_killed_daemon_starts_again_and_sweeps() {
    if !inside_own_namespace!("alone_killed_daemon_starts_again_and_sweeps") {
        return;
    }
    let [gateway, _other] = pair();
    let mut first = gateway.start();
    first.says("active:");
    assert!(gateway.holds());
    first.kill();
    assert!(gateway.holds(), "left behind");
    let mut second = gateway.start();
    second.says("removed 10.0.1.1, left behind by an earlier life");
    second.says("active:");
    assert!(gateway.holds());
    second.stop();
    gateway.is_clean();
    let journal = gateway.folder.join("state/journal");
    let (code, said) = gateway.ctl(&format!("journal verify {}", journal.display()));
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("not ended in order"),
        "the first life: {said}"
    );
    assert!(said.contains("start, ended in order"), "the second: {said}");
}

/// On a kernel without netdev egress the status says how it is fenced, and the addresses of a dead
/// daemon go by themselves, whatever becomes of its tables (F37).
#[test]
fn alone_dead_daemons_addresses_expire_without_egress() {
    if !inside_own_namespace!("alone_dead_daemons_addresses_expire_without_egress") {
        return;
    }
    let [gateway, _other] = pair();
    gateway.configure(|text| text + "fence = \"output\"\n");
    let mut first = gateway.start();
    first.says("active:");
    let (_, said) = gateway.ctl("status");
    assert!(said.contains("no netdev egress"), "{said}");
    // Three looks at the fence, each of which lets them last anew; longer than they would.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(7) {
        assert!(gateway.holds(), "a living daemon's stay");
    }
    let status = gateway.status();
    assert_eq!(count(&status, "lease_renewals_lost"), 0, "{status}");
    first.kill();
    assert!(gateway.holds(), "left behind");
    waits_for("both addresses to expire", || {
        let shown = gateway.addresses();
        !VIRTUALS.iter().any(|address| shown.contains(address))
    });
    let mut second = gateway.start();
    second.says("active:");
    assert!(gateway.holds());
    second.stop();
    gateway.is_clean();
}

/// Forwarding that the daemon rules is on behind its fence and off without it, however the fence
/// goes: by the daemon's end in order, or by an operator after a kill (R1.6).
#[test]
fn alone_forwards_only_while_it_is_fenced() {
    if !inside_own_namespace!("alone_forwards_only_while_it_is_fenced") {
        return;
    }
    let [gateway, _other] = pair();
    gateway.configure(|text| text + "forward = true\n");
    let forwards = || {
        let mut command = gateway.home.command("cat");
        let output = command.arg("/proc/sys/net/ipv4/ip_forward").output();
        String::from_utf8_lossy(&output.expect("a setting").stdout).trim() == "1"
    };
    assert!(!forwards(), "a box that has just booted");
    let mut first = gateway.start();
    first.says("active:");
    assert!(forwards());
    first.stop();
    gateway.is_clean();
    assert!(!forwards(), "after an end in order");
    let mut second = gateway.start();
    second.says("active:");
    second.kill();
    assert!(forwards(), "behind the fence that a kill leaves");
    let (code, said) = gateway.unfence();
    assert_eq!(code, Some(0), "{said}");
    assert!(!forwards(), "without the fence");
}

/// The first address of another version comes by a reload: its packets are forwarded too from then
/// on, and no longer once the daemon has ended.
#[test]
fn alone_forwards_what_a_reload_brings() {
    if !inside_own_namespace!("alone_forwards_what_a_reload_brings") {
        return;
    }
    let [gateway, _other] = pair();
    let home = &gateway.home;
    home.ip("addr add fd00:1::2/64 dev lan0 nodad");
    gateway.configure(|text| text + "forward = true\n");
    let forwards = || {
        let mut command = home.command("cat");
        let output = command
            .arg("/proc/sys/net/ipv6/conf/all/forwarding")
            .output();
        String::from_utf8_lossy(&output.expect("a setting").stdout).trim() == "1"
    };
    let mut daemon = gateway.start();
    daemon.says("active:");
    assert!(!forwards(), "no address of IPv6 is served");
    gateway.configure(|text| {
        let text = text.replace("[\"10.0.1.1\"]", "[\"10.0.1.1\", \"fd00:1::1\"]");
        text + "forward = true\n"
    });
    let (code, said) = gateway.ctl("reload");
    assert_eq!(code, Some(0), "{said}");
    assert!(forwards());
    daemon.stop();
    assert!(!forwards(), "after an end in order");
}

/// Somebody takes a virtual address away: within a second or so it is there again, the first and
/// one of many that are installed ahead of a claim (D17).
#[test]
fn alone_address_that_somebody_removed_is_there_again() {
    if !inside_own_namespace!("alone_address_that_somebody_removed_is_there_again") {
        return;
    }
    let many: Vec<String> = (100..180)
        .map(|last| format!("\"10.0.1.{last}\""))
        .collect();
    let lists = [
        ("\"10.0.1.1\"".to_owned(), "10.0.1.1"),
        (many.join(", "), "10.0.1.179"),
    ];
    // The first one's end of the cable must outlive the second one's daemon.
    let gateways = pair();
    for (gateway, (virtuals, removed)) in gateways.iter().zip(lists) {
        gateway.configure(|text| text.replace("\"10.0.1.1\"", &virtuals));
        let mut daemon = gateway.start();
        daemon.says("active:");
        let number = || {
            gateway
                .addresses()
                .matches(&format!("{removed}/32"))
                .count()
        };
        assert_eq!(number(), 1);
        let home = &gateway.home;
        home.ip(&format!("addr del {removed}/32 dev lan0"));
        assert_eq!(number(), 0);
        waits_for("the address is there again", || number() == 1);
        assert!(reached(removed));
        daemon.stop();
        gateway.is_clean();
    }
}

/// A state directory without room, or read-only: the daemon serves all the same, and says so in log
/// and status.
#[test]
fn alone_refusing_disk_is_told_and_costs_no_service() {
    if !inside_own_namespace!("alone_refusing_disk_is_told_and_costs_no_service") {
        return;
    }
    let [full, read_only] = pair();
    refusing(&full, "size=4k");
    refusing(&read_only, "ro");
}

fn refusing(gateway: &Gateway, option: &str) {
    let state = gateway.folder.join("state");
    std::fs::create_dir_all(&state).expect("a folder");
    let state = state.display();
    let script = format!("mount -t tmpfs -o {option} none {state} && exec \"$@\"");
    let mut daemon = gateway.start_by(&["unshare", "-m", "sh", "-c", &script, "sh"]);
    daemon.says("active:");
    daemon.has_said("alert: the node's record could not be stored");
    assert!(gateway.holds());
    let told = gateway.status();
    let daemon_says = &told["daemon"];
    let alerts = daemon_says["alerts"].to_string();
    assert!(alerts.contains("could not be stored"), "{alerts}");
    let failed = &daemon_says["counters"]["journal_failed"];
    assert!(
        failed.as_u64().is_some_and(|count| count > 0),
        "{daemon_says}"
    );
    daemon.stop();
    gateway.is_clean();
}
