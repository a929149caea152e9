//! What sound files become: values, notes, digests, and what a change of them needs.

use std::time::Duration;

use steadfast_core::config::Preempt;
use steadfast_core::role::ConfiguredRole;
use steadfast_core::wire::carriage::{Carriage, Form};
use steadfast_core::{MacAddr, PortId};

use super::mistakes::told as mistakes_of;
use super::*;

/// Numbers follow the order, served ports are watched, units come from the interface.
#[test]
fn config_sound_file_becomes_parts() {
    let loaded = sound();
    let ports = &loaded.config.ports;
    assert_eq!(
        ports.iter().map(|port| port.id.0).collect::<Vec<_>>(),
        [0, 1, 2]
    );
    assert_eq!(
        ports.iter().map(|port| port.watched).collect::<Vec<_>>(),
        [true, true, false]
    );
    assert_eq!(ports[0].units.len(), 2);
    assert_eq!(loaded.config.peers[0].units[1].0, PortId(1));
    assert_eq!(
        loaded.config.timing,
        steadfast_core::config::Timing::default()
    );
    assert_eq!(loaded.names.peers[0].1, "gw2");
    assert_eq!(
        loaded.daemon.control_socket,
        PathBuf::from("/run/steadfast/control.sock")
    );
    assert_eq!(loaded.notes, []);
    assert_ne!(loaded.config.digests.config, 0);
    let shown = format!("{loaded:?}");
    assert!(
        !shown.contains("f0e1") && !shown.contains("240, 225"),
        "{shown}"
    );
}

/// An ignored port is served no more and keeps its list in the file; what a set one begins leaves
/// in the name of the first virtual address of each subnet; without addresses `action` is idle.
#[test]
fn config_action_of_a_port() {
    let port = |action: &str| {
        let with = format!("interface = \"lan0\"\naction = \"{action}\"");
        let text = changed("interface = \"lan0\"", &with);
        load_text(&text).1.expect("sound").config.ports[0].clone()
    };
    let added = sound().config.ports[0].clone();
    assert_eq!(port("add"), added);
    let set = port("set");
    assert_eq!((set.served(), set.watched), (true, true));
    let names = [("10.0.1.2", "10.0.1.1"), ("fd00:1::2", "fd00:1::1")];
    let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
    let names: Vec<_> = names.map(|(own, name)| (ip(own), ip(name))).to_vec();
    assert_eq!((set.names(), added.names()), (names, Vec::new()));
    let ignored = port("ignore");
    assert_eq!((ignored.served(), ignored.watched), (false, false));
    let idle = changed(
        "interface = \"ha0\"",
        "interface = \"ha0\"\naction = \"set\"",
    );
    let notes = load_text(&idle).1.expect("sound").notes;
    let told = |it: &Note| it.text.contains("`action` has no effect");
    assert!(notes.iter().any(told), "{notes:?}");
    let typo = changed(
        "interface = \"lan0\"",
        "interface = \"lan0\"\naction = \"sett\"",
    );
    let told = mistakes_of(&typo);
    assert!(told.contains("did you mean `set`"), "{told}");
}

/// The rank of a path is a word, or yes or no; a file whose paths are all secondary is sound and
/// told that a rank without another says nothing.
#[test]
fn config_ranks_of_heartbeat_paths() {
    let written = |rank: &str| {
        let with = format!("interface = \"ha0\"\nheartbeat = {rank}");
        load_text(&changed("interface = \"ha0\"", &with)).1
    };
    let uses = |rank: &str| {
        let cable = written(rank).expect("sound").config.ports[2].clone();
        (cable.heartbeat, cable.secondary)
    };
    let all = ["true", "\"primary\"", "\"secondary\"", "\"off\"", "false"].map(uses);
    let (primary, off) = ((true, false), (false, false));
    assert_eq!(all, [primary, primary, (true, true), off, off]);
    for wrong in ["\"third\"", "3"] {
        let report = written(wrong).expect_err("no rank").render(false);
        assert!(report.contains("heartbeat"), "{report}");
    }
    let noted = |text: &str| {
        let loaded = load_text(text).1.expect("sound");
        loaded
            .notes
            .iter()
            .any(|note| note.text.contains("every path is secondary"))
    };
    let all = SOUND.replace("interface = ", "heartbeat = \"secondary\"\ninterface = ");
    assert!(noted(&all) && !noted(SOUND));
}

/// Times that are not written follow the interval, so that one line makes a slow or fast pair.
#[test]
fn config_times_follow_the_interval() {
    let timing = |interval: &str| {
        let loaded = load_text(&changed("\"100ms\"", interval)).1.expect("sound");
        (
            loaded.config.timing.dead_interval,
            loaded.config.timing.lease,
        )
    };
    let ms = Duration::from_millis;
    assert_eq!(timing("\"1s\""), (ms(3_000), ms(3_000)));
    assert_eq!(timing("\"10ms\""), (ms(30), ms(30)));
    assert_eq!(timing("\"3.3ms\""), (ms(30), ms(20)));
}

/// Without a number the lowest virtual address gives one, whatever the order of the ports; a low
/// one is told of. A node without any address must be told.
#[test]
fn config_virtual_router_follows_the_lowest_address() {
    let without = changed("virtual_router = 51\n", "");
    let loaded = load_text(&without).1.expect("sound");
    assert_eq!(loaded.config.virtual_router, 1);
    let note = loaded.notes.iter().find(|it| it.text.contains("virtual"));
    let note = note.expect("a note about a low number");
    assert!(
        note.text
            .starts_with("`virtual_router` is 1, by the last byte")
    );
    let high = without
        .replace("10.0.1.1\"", "10.0.1.200\"")
        .replace("10.0.2.1\"", "10.0.2.77\"");
    let loaded = load_text(&high).1.expect("sound");
    assert_eq!(loaded.config.virtual_router, 200);
    assert!(loaded.notes.iter().all(|it| !it.text.contains("up to 10")));
    let none = without
        .replace("virtual = [\"10.0.1.1\", \"fd00:1::1\"]\n", "")
        .replace("virtual = [\"10.0.2.1\"]\n", "");
    let text = mistakes_of(&none);
    assert!(
        text.contains("missing key `virtual_router` in `cluster`, and no virtual address"),
        "{text}"
    );
}

/// The vendors' words are understood, and each is noted once with ours.
#[test]
fn config_vendors_words_are_understood_and_noted_once() {
    let text = SOUND
        .replace("virtual_router", "vrid")
        .replace("\"any\"", "\"master\"")
        .replace("interval =", "advert_int =")
        .replace("preempt = \"never\"", "nopreempt = true")
        .replace("virtual = ", "virtual_ipaddress = ");
    let loaded = load_text(&text).1.expect("sound");
    assert_eq!(loaded.config.policy.configured, ConfiguredRole::Active);
    assert_eq!(loaded.config.policy.preempt, Preempt::Never);
    assert_eq!(loaded.config.virtual_router, 51);
    let notes: Vec<&str> = loaded.notes.iter().map(|note| note.text.as_str()).collect();
    insta::assert_snapshot!(notes.join("\n"));
    let other = text.replace("nopreempt = true", "nopreempt = false");
    let other = load_text(&other).1.expect("sound");
    assert_eq!(other.config.policy.preempt, Preempt::Priority);
}

/// Addresses left over from a killed daemon are no reason not to start again (F37).
#[test]
fn config_leftover_virtual_address_is_noted_and_ignored() {
    struct Left;
    impl Interfaces for Left {
        fn interface(&self, name: &str) -> Option<InterfaceFacts> {
            let mut facts = Gateway.interface(name)?;
            if name == "wan0" {
                facts
                    .units
                    .push(("10.0.2.1".parse().expect("an address"), 32));
            }
            Some(facts)
        }
    }
    let folder = Folder::new();
    folder.write("secret", SECRET.as_bytes(), 0o600);
    let path = folder.write("steadfast.toml", SOUND.as_bytes(), 0o644);
    let loaded = load(&path, &Left).expect("sound");
    assert_eq!(loaded.config.ports[1].units.len(), 1);
    assert!(
        loaded.notes[0].text.contains("left on `wan0`"),
        "{:?}",
        loaded.notes
    );
}

/// Elsewhere, written addresses take the interfaces' place, and their rules still hold.
#[test]
fn config_offline_checks_what_is_written() {
    let folder = Folder::new();
    let text = changed(
        "virtual = [\"10.0.2.1\"]",
        "virtual = [\"10.0.2.1\"]\naddress = \"10.0.2.2/24\"",
    );
    let path = folder.write("steadfast.toml", text.as_bytes(), 0o644);
    let loaded = load(&path, &Offline).expect("sound");
    assert!(loaded.offline);
    assert_eq!(loaded.config.ports[1].units.len(), 1);
    let path = folder.write(
        "steadfast.toml",
        text.replace("2.1\"]", "3.1\"]").as_bytes(),
        0o644,
    );
    let report = load(&path, &Offline).expect_err("outside");
    assert!(
        report.mistakes[0].message.contains("lies in none"),
        "{report:?}"
    );
}

/// Two nodes of one cluster agree on what is shared, whatever is their own; a change is seen.
#[test]
fn config_digests_agree_on_what_is_shared() {
    let own = sound().config.digests;
    let mine = SOUND
        .replace("id = 1\nname = \"gw1\"", "id = 9\nname = \"gw1\"")
        .replace("id = 2\nname = \"gw2\"", "id = 1\nname = \"gw2\"")
        .replace("id = 9", "id = 2")
        .replace("priority = 100", "priority = 7");
    assert_eq!(load_text(&mine).1.expect("sound").config.digests, own);
    let timing = load_text(&changed("\"100ms\"", "\"90ms\""))
        .1
        .expect("sound");
    assert_ne!(timing.config.digests.config, own.config);
    assert_eq!(timing.config.digests.interfaces, own.interfaces);
    let port = load_text(&changed("direct = true", "number = 5"))
        .1
        .expect("sound");
    assert_ne!(port.config.digests.interfaces, own.interfaces);
}

/// The virtual MAC is that of the virtual router's number, and part of what all nodes share (R5.5);
/// a cable has no address to be at it.
#[test]
fn config_virtual_mac_is_the_routers() {
    let virtuals = "virtual = [\"10.0.2.1\"]";
    let with = format!("{virtuals}\nvirtual_mac = true");
    let loaded = load_text(&changed(virtuals, &with)).1.expect("sound");
    let stations: Vec<_> = loaded
        .config
        .ports
        .iter()
        .map(|it| it.virtual_mac)
        .collect();
    let station = MacAddr([0, 0, 0x5e, 0, 1, 51]);
    assert_eq!(stations, [None, Some(station), None]);
    assert_ne!(loaded.config.digests.config, sound().config.digests.config);
    let cable = changed("direct = true", "direct = true\nvirtual_mac = true");
    let told = load_text(&cable).1.expect_err("a mistake").render(false);
    assert!(told.contains("leave `virtual_mac` out"), "{told}");
}

/// What can be taken over by a running node, and what cannot (F18, F46).
#[test]
fn config_compare_tells_live_from_restart() {
    let after =
        |from: &str, to: &str| compare(&sound(), &load_text(&changed(from, to)).1.expect("sound"));
    let mut same = load_text(&changed("log =", "# a comment\nlog ="))
        .1
        .expect("sound");
    same.daemon.secret_file = PathBuf::new();
    let mut old = sound();
    old.daemon.secret_file = PathBuf::new();
    assert_eq!(compare(&old, &same), Change::Same);
    let live = |from, to, what| match after(from, to) {
        Change::Live(changes) => assert!(changes.contains(&what), "{changes:?}"),
        other @ (Change::Same | Change::Restart(_)) => panic!("{to}: {other:?}"),
    };
    live("\"100ms\"", "\"90ms\"", "times");
    let secondary = "direct = true\nheartbeat = \"secondary\"";
    live("direct = true", secondary, "ranks of heartbeat paths");
    live("priority = 100", "priority = 7", "policy");
    live("\"10.0.2.1\"", "\"10.0.2.9\"", "virtual addresses");
    live("\"10.0.1.50\"", "\"10.0.1.51\"", "neighbours");
    live("\"10.0.1.3\"", "\"10.0.1.4\"", "the nodes' own addresses");
    live("log = \"info\"", "log = \"warn\"", "the log level");
    live(
        "log = ",
        "certificate = \"/etc/ssl/vip.pem\"\nlog = ",
        "the certificate",
    );
    let restart = |from, to, what| assert_eq!(after(from, to), Change::Restart(vec![what]));
    let station = "virtual = [\"10.0.2.1\"]\nvirtual_mac = true";
    restart("virtual = [\"10.0.2.1\"]", station, "virtual MACs");
    restart("id = 1\n", "id = 3\n", "this node's id");
    restart("id = 2\n", "id = 3\n", "the peers' ids");
    restart(
        "virtual_router",
        "transports = [\"ethernet\", \"multicast\"]\nvirtual_router",
        "the transports or the UDP port",
    );
    restart("= 51", "= 52", "the virtual router's number");
    restart("id = \"0001", "id = \"ff01", "the cluster's id");
    restart(
        "direct = true",
        "number = 7",
        "the ports, their numbers or uses",
    );
    restart(
        "log = ",
        "state_dir = \"/x\"\nlog = ",
        "the daemon's folders, sockets or bounds",
    );
}

/// Transports are read in any order and kept in that of preference; without a word for them there
/// is one, and the digest is what it was before there were any (R2.5).
#[test]
fn config_transports() {
    let usual = sound();
    assert_eq!(usual.config.carriage, Carriage::default());
    let said = changed(
        "virtual_router",
        "transports = [\"unicast\", \"ethernet\"]\nudp_port = 7000\nvirtual_router",
    );
    let loaded = load_text(&said).1.expect("sound");
    let forms: Vec<Form> = loaded.config.carriage.forms.iter().collect();
    assert_eq!(forms, [Form::Ethernet, Form::Unicast]);
    assert_eq!(loaded.config.carriage.port, 7000);
    assert_ne!(loaded.config.digests.config, usual.config.digests.config);
}

/// A changed key is seen on a reload, without the keys being shown.
#[test]
fn config_compare_sees_changed_keys() {
    let folder = Folder::new();
    let path = folder.write("steadfast.toml", SOUND.as_bytes(), 0o644);
    folder.write("secret", SECRET.as_bytes(), 0o600);
    let old = load(&path, &Gateway).expect("sound");
    let more = format!("{SECRET}2 receive-only text:a second secret, long enough\n");
    folder.write("secret", more.as_bytes(), 0o600);
    let new = load(&path, &Gateway).expect("sound");
    assert_eq!(compare(&old, &new), Change::Live(vec!["keys"]));
    assert!(new.config.keys.accepts(2));
}

/// What the product says of itself is compared by digest; a file that is not there is a mistake.
#[test]
fn config_facts_file_is_digested() {
    let folder = Folder::new();
    folder.write("secret", SECRET.as_bytes(), 0o600);
    let text = changed("priority = 100", "facts_file = \"facts\"");
    let path = folder.write("steadfast.toml", text.as_bytes(), 0o644);
    let report = load(&path, &Gateway).expect_err("no facts");
    assert!(
        report.mistakes[0]
            .message
            .contains("failed to read facts file"),
        "{report:?}"
    );
    folder.write("facts", b"model R2\n", 0o644);
    let one = load(&path, &Gateway).expect("sound").config.digests.facts;
    folder.write("facts", b"model R3\n", 0o644);
    assert_ne!(
        load(&path, &Gateway).expect("sound").config.digests.facts,
        one
    );
}
