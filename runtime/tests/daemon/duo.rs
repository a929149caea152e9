//! Two daemons: who serves, how the role moves, and what each end leaves behind.

use std::time::Duration;

use rustix::process::Signal;

use crate::gateways::{Daemon, Gateway, count, pair};

const OLD_KEY: &str = "6b6e6f776e20746f206576657279207265616465722c206e6f7420726561";
const NEW_KEY: &str = "616e6f74686572206b657920746861742065766572796f6e65206b6e6f77";

/// Both, the first of them active.
fn running() -> ([Gateway; 2], Daemon, Daemon) {
    let gateways = pair();
    let mut first = gateways[0].start();
    first.says("active:");
    let mut second = gateways[1].start();
    second.says("standby:");
    // It may take a role when both have heard each other, which is later than it says so.
    for (gateway, role) in gateways.iter().zip(["standby", "active"]) {
        gateway.status_when("both hear each other", |told| {
            let peer = &told["status"]["peers"][0];
            peer["role"] == role && peer["paths_alive"] == 3
        });
    }
    (gateways, first, second)
}

/// One serves and one stands by; `release` moves the role and every address, and both say why.
#[test]
fn duo_release_moves_the_role() {
    if !inside_own_namespace!("duo_release_moves_the_role") {
        return;
    }
    let ([a, b], mut first, mut second) = running();
    assert!(a.holds() && !b.holds());
    let (code, said) = a.ctl("release");
    assert_eq!(
        (code, said.as_str()),
        (Some(0), "release: a peer has the role now\n")
    );
    second.says("active:");
    first.says("standby:");
    assert!(b.holds() && !a.holds());
    let (_, told) = b.ctl("status");
    assert!(told.starts_with("gw2 (node 2): ACTIVE since"), "{told}");
    b.status_when("frames were counted", |told| {
        count(told, "ha0_received") > 0
    });
    let (code, said) = a.ctl("release");
    assert_eq!(code, Some(1), "a standby has nothing to release: {said}");
    first.stop();
    second.stop();
    a.is_clean();
    b.is_clean();
}

/// The key is changed as the handbook says: each step on every node before the next one, by a
/// reload. Nothing moves, no word is lost for its tag, and in the end the old key opens nothing.
#[test]
fn duo_key_is_changed_in_three_steps() {
    if !inside_own_namespace!("duo_key_is_changed_in_three_steps") {
        return;
    }
    let ([a, b], mut first, mut second) = running();
    let (old, new) = (OLD_KEY, NEW_KEY);
    for text in [
        format!("1 enforce {old}\n2 receive-only {new}"),
        format!("1 enforce {old}\n2 permissive {new}"),
        format!("2 enforce {new}"),
    ] {
        for gateway in [&a, &b] {
            gateway.write_secret(&text);
            let (code, said) = gateway.ctl("reload");
            assert_eq!(code, Some(0), "{said}");
            let before = heard(gateway);
            gateway.status_when("words of the other are read", |told| {
                count(told, "lan0_received") > before + 3
            });
            assert!(a.holds() && !b.holds(), "{text}");
        }
    }
    for gateway in [&a, &b] {
        let told = gateway.status_when("both hear each other", |told| {
            told["status"]["peers"][0]["liveness"] == "alive"
        });
        assert_eq!(told["status"]["drops"]["undecodable"], 0, "{told:#}");
        assert_eq!(
            told["status"]["recent_alerts"].as_array().map(Vec::len),
            Some(0)
        );
    }
    let (code, said) = a.ctl("release");
    assert_eq!(code, Some(0), "{said}");
    second.says("active:");
    first.says("standby:");
    // Who speaks with the old one is not heard any more, as the handbook says.
    a.write_secret(&format!("1 enforce {old}"));
    let (code, said) = a.ctl("reload");
    assert_eq!(code, Some(0), "{said}");
    b.status_when("its tags do not fit", |told| {
        told["status"]["drops"]["unverified"].as_u64() > Some(3)
    });
    first.stop();
    second.stop();
    a.is_clean();
    b.is_clean();
}

/// Frames on the LAN so far.
fn heard(gateway: &Gateway) -> u64 {
    count(&gateway.status(), "lan0_received")
}

/// Hundreds of other interfaces on both boxes, which all come up, change and go while the pair
/// serves (F47): nothing moves meanwhile, and afterwards the role moves as ever.
#[test]
fn duo_hundreds_of_interfaces_disturb_nothing() {
    if !inside_own_namespace!("duo_hundreds_of_interfaces_disturb_nothing") {
        return;
    }
    let ([a, b], mut first, mut second) = running();
    let before = b.status();
    for words in [
        "link add other$n type bridge",
        "link set other$n up",
        "addr add 10.9.0.$((n % 250 + 1))/32 dev other$n",
        "link set other$n down",
    ] {
        for gateway in [&a, &b] {
            for_each_other(gateway, words);
        }
        assert!(a.holds() && !b.holds(), "{words}");
    }
    let (told, before) = (b.status(), &before["status"]);
    assert_eq!(told["status"]["peers"][0]["liveness"], "alive", "{told:#}");
    assert_eq!(told["status"]["since"], before["since"], "{told:#}");
    let (code, said) = a.ctl("release");
    assert_eq!(code, Some(0), "{said}");
    second.says("active:");
    first.says("standby:");
    assert!(b.holds() && !a.holds());
    for gateway in [&a, &b] {
        for_each_other(gateway, "link del other$n");
        assert!(b.holds() && !a.holds());
    }
    first.stop();
    second.stop();
    a.is_clean();
    b.is_clean();
}

/// Has `ip` do this two hundred times, in one go.
fn for_each_other(gateway: &Gateway, words: &str) {
    let script = format!("for n in $(seq 200); do echo \"{words}\"; done | ip -batch -");
    let done = gateway.home.command("sh").args(["-c", &script]).status();
    assert!(done.expect("a shell").success(), "{words}");
}

/// The active is killed: the other one has the addresses; the dead one's keeper holds the fence,
/// and `unfence` removes everything. A living daemon is not unfenced.
#[test]
fn duo_killed_active_is_replaced_and_unfenced() {
    if !inside_own_namespace!("duo_killed_active_is_replaced_and_unfenced") {
        return;
    }
    let ([a, b], first, mut second) = running();
    first.kill();
    second.says("active:");
    assert!(b.holds());
    assert!(
        a.holds(),
        "nobody was there to remove them, and they are fenced"
    );
    let (code, said) = b.unfence();
    assert_eq!(code, Some(1));
    assert!(
        said.contains("steadfastd runs already, as process"),
        "{said}"
    );
    let (code, said) = a.unfence();
    assert_eq!(code, Some(0), "{said}");
    for expected in [
        "removed 10.0.1.1 from lan0",
        "removed the fence: table netdev steadfast",
    ] {
        assert!(said.contains(expected), "{said}");
    }
    assert!(!a.holds());
    let (code, said) = a.unfence();
    assert_eq!(
        (code, said.as_str()),
        (Some(0), "nothing was there to remove\n")
    );
    second.has_said("alert: gw1 is dead");
    let alerts = b.status()["daemon"]["alerts"].to_string();
    assert!(alerts.contains("ago: gw1 is dead"), "{alerts}");
    second.stop();
    b.is_clean();
}

/// SIGTERM hands the role over before the daemon ends, and nothing of it is left; what it recorded
/// replays bit for bit, without and with the standby's whole life.
#[test]
fn duo_terminated_active_hands_over_and_leaves_nothing() {
    if !inside_own_namespace!("duo_terminated_active_hands_over_and_leaves_nothing") {
        return;
    }
    let ([a, b], first, mut second) = running();
    first.stop();
    let why = second.says("active:");
    assert!(
        !why.contains("answered"),
        "by consent and not by suspicion: {why}"
    );
    assert!(b.holds());
    a.is_clean();
    second.stop();
    b.is_clean();
    for gateway in [&a, &b] {
        let journal = gateway.folder.join("state/journal");
        let (code, said) = gateway.ctl(&format!(
            "journal replay {} --config {}",
            journal.display(),
            gateway.file().display()
        ));
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("equal: "), "{said}");
        let (_, said) = gateway.ctl(&format!("journal verify {}", journal.display()));
        assert!(
            said.contains("0 lost, from its start, ended in order"),
            "{said}"
        );
    }
}

/// The active is stopped for half its lease, as a hypervisor does: nobody's role changes.
#[test]
fn duo_short_stall_changes_no_role() {
    if !inside_own_namespace!("duo_short_stall_changes_no_role") {
        return;
    }
    let ([a, b], first, second) = running();
    let since = || [&a, &b].map(|gateway| gateway.status()["status"]["since"].clone());
    let before = since();
    first.signal(Signal::STOP);
    // The fault itself: so long is the stall.
    std::thread::sleep(Duration::from_millis(150));
    first.signal(Signal::CONT);
    // Counters are told each half second by the driver itself: what is told twice, it has judged.
    for gateway in [&a, &b, &a, &b] {
        let told = count(&gateway.status(), "lan0_sent");
        gateway.status_when("the driver runs", |now| count(now, "lan0_sent") > told);
    }
    assert_eq!(since(), before);
    assert!(a.holds() && !b.holds());
    first.stop();
    second.stop();
}
