//! What a file of virtual routers becomes, and what is wrong with one.

use steadfast_core::vrrp::Lists;

use super::*;
use crate::config::{InterfaceFacts, Offline, open};

struct Lan;

impl Interfaces for Lan {
    fn interface(&self, name: &str) -> Option<InterfaceFacts> {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        ["lan0", "wan0"].contains(&name).then(|| InterfaceFacts {
            mac: MacAddr([2, 0, 0, 0, 0, 7]),
            units: vec![
                (address("10.0.1.2"), 24),
                (address("2001:db8::2"), 64),
                (address("fe80::2"), 64),
            ],
        })
    }

    fn names(&self) -> Vec<String> {
        vec!["lan0".to_owned(), "wan0".to_owned()]
    }
}

fn loaded(text: &str) -> Result<Routers, Report> {
    read(Path::new("vrrp.toml"), text, &Lan)
}

/// Every mistake: its line, and a part of what it says and of its cure.
fn refused(text: &str, wanted: &[(usize, &str, &str)]) {
    let report = loaded(text).expect_err("mistakes");
    let told: Vec<_> = report
        .mistakes
        .iter()
        .map(|it| (it.line, it.message.as_str(), it.cure.as_str()))
        .collect();
    assert_eq!(told.len(), wanted.len(), "{told:#?}");
    for ((line, message, cure), (wanted, says, advises)) in told.iter().zip(wanted) {
        assert_eq!(line, wanted, "{told:#?}");
        assert!(message.contains(says), "`{says}` in {told:#?}");
        assert!(cure.contains(advises), "`{advises}` in {told:#?}");
    }
}

/// What is not written is as the RFC has it, and the machine says the rest.
#[test]
fn routers_short_file_is_enough() {
    let text = "format = 1\n[[vrrp]]\ninterface = \"lan0\"\nvirtual_router = 51\n\
                virtual = [\"10.0.1.1\"]\n";
    let loaded = loaded(text).expect("sound");
    let [router] = loaded.routers.as_slice() else {
        panic!("{loaded:?}");
    };
    assert_eq!(router.mac, MacAddr([2, 0, 0, 0, 0, 7]));
    let settings = &router.settings;
    assert_eq!(settings.primary, IpAddr::from([10, 0, 1, 2]));
    assert_eq!((settings.version, settings.priority), (Version::V3, 100));
    assert_eq!(settings.interval, Interval::SECOND);
    assert!(settings.preempt && settings.answers_lower);
    assert_eq!(router.lease, Duration::from_secs(3));
    assert!(router.own.is_empty());
    assert_eq!(
        loaded.control_socket,
        Path::new("/run/steadfast-vrrp/control.sock")
    );
}

/// The words of keepalived are understood and noted; version 2 checks what its RFC checks.
#[test]
fn routers_vendors_words_are_noted() {
    let text = "format = 1\n[[vrrp]]\ninterface = \"lan0\"\nvrid = 51\nvrrp_version = 2\n\
                advert_int = \"2s\"\nvirtual_ipaddress = [\"10.0.1.1\"]\n";
    let loaded = loaded(text).expect("sound");
    let settings = &loaded.routers[0].settings;
    assert_eq!(
        (settings.version, settings.lists),
        (Version::V2, Lists::Equal)
    );
    assert_eq!(settings.interval.centis(), 200);
    assert!(!settings.answers_lower);
    let noted: Vec<usize> = loaded.notes.iter().map(|it| it.line).collect();
    assert_eq!(noted, [4, 5, 6, 7], "{:?}", loaded.notes);
}

/// Over IPv6 messages come from the link-local address, and the first address is one (RFC 9568
/// §5.2.9).
#[test]
fn routers_ipv6_speak_from_the_link_local_address() {
    let router = |addresses: &str| {
        format!(
            "format = 1\n[[vrrp]]\ninterface = \"lan0\"\nvirtual_router = 51\n\
             virtual = [{addresses}]\n"
        )
    };
    let sound = loaded(&router("\"fe80::1\", \"2001:db8::1\"")).expect("sound");
    assert_eq!(
        sound.routers[0].settings.primary,
        "fe80::2".parse::<IpAddr>().unwrap()
    );
    refused(
        &router("\"2001:db8::1\", \"fe80::1\""),
        &[(5, "begin with a link-local one", "write `virtual")],
    );
}

/// An owner has 255, and its own address is neither added nor removed; nobody else may list one.
#[test]
fn routers_own_addresses_are_for_owners() {
    let router = |priority: u8| {
        format!(
            "format = 1\n[[vrrp]]\ninterface = \"lan0\"\nvirtual_router = 51\n\
             priority = {priority}\nvirtual = [\"10.0.1.2\"]\n"
        )
    };
    let sound = loaded(&router(255)).expect("sound");
    assert_eq!(sound.routers[0].own, [IpAddr::from([10, 0, 1, 2])]);
    refused(
        &router(200),
        &[(
            6,
            "10.0.1.2 is this machine's own",
            "write `priority = 255`",
        )],
    );
}

/// The address of an owner stays on its link: what would have it answer elsewhere, or no more, it
/// cannot have.
#[test]
fn routers_owners_neither_track_nor_have_a_station() {
    let router = |more: &str| {
        format!(
            "format = 1\n[[vrrp]]\ninterface = \"lan0\"\nvirtual_router = 51\npriority = 255\n\
             virtual = [\"10.0.1.2\"]\n{more}"
        )
    };
    loaded(&router("virtual_mac = false\n")).expect("sound");
    let refusals = [
        ("track = [\"wan0\"]\n", "whatever it tracks"),
        ("virtual_mac = true\n", "its link's own MAC"),
    ];
    for (more, why) in refusals {
        refused(&router(more), &[(7, why, "below 255")]);
    }
}

/// A station of its own, what it needs beside its link, and what it takes in are its own matter.
#[test]
fn routers_stations_and_tracked_links() {
    let router = |more: &str| {
        format!(
            "format = 1\n[[vrrp]]\ninterface = \"lan0\"\nvirtual_router = 51\n\
             virtual = [\"10.0.1.1\"]\n{more}"
        )
    };
    let loaded = loaded(&router(
        "virtual_mac = true\naccept = false\ntrack = [\"wan0\"]\ntrack_weight = 30\n",
    ));
    let router_read = &loaded.expect("sound").routers[0];
    assert_eq!(router_read.mac, MacAddr([0, 0, 0x5e, 0, 1, 51]));
    assert_eq!(router_read.link_mac, MacAddr([2, 0, 0, 0, 0, 7]));
    assert!(router_read.virtual_mac && !router_read.accept);
    assert_eq!(router_read.track, ["wan0"]);
    assert_eq!(router_read.track_weight, Some(30));
    refused(
        &router("track = [\"lan0\", \"wan9\"]\nsource = [\"10.0.1.2\", \"10.0.1.2\"]\n"),
        &[
            (6, "`lan0` is the router's own link", "leave it out"),
            (6, "there is no interface `wan9`", "did you mean `wan0`?"),
            (7, "`source` is one address", "keep the first"),
        ],
    );
}

/// Everything that is wrong is told at once, each with its line and cure.
#[test]
fn routers_mistakes_are_told_all_at_once() {
    refused(
        "format = 1\n[[vrrp]]\ninterface = \"lan1\"\nvirtual_router = 0\n\
         virtual = [\"10.0.1.1/24\"]\n\
         [[vrrp]]\ninterface = \"lan0\"\nvirtual_router = 7\ninterval = \"15ms\"\n\
         virtual = [\"10.0.1.7\"]\nsource = \"10.9.9.9\"\npriorty = 1\n",
        &[
            (4, "`virtual_router` is 0", "virtual_router = 51"),
            (5, "has a prefix length", "10.0.1.1"),
            (9, "hundredths of a second", "interval = \"1s\""),
            (11, "10.9.9.9 is no address of `lan0`", "leave it out"),
            (12, "unknown key `priorty`", "did you mean `priority`?"),
        ],
    );
    refused(
        "format = 1\n[[vrrp]]\ninterface = \"lan1\"\nvirtual_router = 5\n\
         virtual = [\"10.0.1.1\"]\n",
        &[(3, "there is no interface `lan1`", "did you mean `lan0`?")],
    );
}

/// What a message cannot hold or no host can be sent to, and half an owner, are told.
#[test]
fn routers_addresses_are_hosts_and_fit_into_a_message() {
    let router = |more: &str, addresses: &str| {
        format!(
            "format = 1\n[[vrrp]]\ninterface = \"lan0\"\nvirtual_router = 51\n{more}\
             virtual = [{addresses}]\n"
        )
    };
    refused(
        &router("", "\"224.0.0.18\", \"0.0.0.0\""),
        &[
            (5, "224.0.0.18 is no address of a host", "subnet"),
            (5, "0.0.0.0 is no address of a host", "subnet"),
        ],
    );
    let many: Vec<String> = (1..=91).map(|it| format!("\"fe80::{it:x}\"")).collect();
    let many = many.join(", ").replace("\"fe80::2\", ", "");
    assert!(loaded(&router("", &many)).is_ok(), "90 fit");
    refused(
        &router("", &format!("{many}, \"fe80::ffff\"")),
        &[(5, "more than 90 IPv6 addresses", "another router")],
    );
    refused(
        &router("priority = 255\n", "\"10.0.1.2\", \"10.0.1.1\""),
        &[(6, "10.0.1.1 is not this machine's own", "at most 254")],
    );
    refused(
        &router("track_weight = 9\n", "\"10.0.1.1\""),
        &[(5, "`track_weight` weighs nothing", "track = ")],
    );
    refused(
        &router("source = \"2001:db8::2\"\n", "\"fe80::1\""),
        &[(
            5,
            "2001:db8::2 is no link-local IPv6 address",
            "leave it out",
        )],
    );
}

/// One number on a link and family is one router, and one address is of one router.
#[test]
fn routers_nothing_is_there_twice() {
    let router = |id: u8, address: &str| {
        format!(
            "[[vrrp]]\ninterface = \"lan0\"\nvirtual_router = {id}\nvirtual = [\"{address}\"]\n"
        )
    };
    let text = |one: (u8, &str), other: (u8, &str)| {
        format!(
            "format = 1\n{}{}",
            router(one.0, one.1),
            router(other.0, other.1)
        )
    };
    refused(
        &text((5, "10.0.1.1"), (5, "10.0.1.3")),
        &[(8, "virtual router 5 is twice on `lan0`", "its own number")],
    );
    refused(
        &text((5, "10.0.1.1"), (6, "10.0.1.1")),
        &[(9, "10.0.1.1 is listed twice", "one virtual router")],
    );
    let both = loaded(&text((5, "10.0.1.1"), (5, "fe80::1"))).expect("a family each");
    assert_eq!(both.routers.len(), 2);
    let links = text((5, "fe80::1"), (5, "fe80::1")).replacen("lan0", "wan0", 1);
    assert_eq!(loaded(&links).expect("a link each").routers.len(), 2);
}

/// A node's file stays one, and the two kinds are not mixed.
#[test]
fn routers_and_nodes_have_files_of_their_own() {
    assert!(!are_in("format = 1\n[cluster]\n"));
    let mixed = "format = 1\n[cluster]\nid = \"00\"\n[[vrrp]]\ninterface = \"lan0\"\n\
                 virtual_router = 5\nvirtual = [\"10.0.1.1\"]\n";
    refused(
        mixed,
        &[(2, "`cluster` and `[[vrrp]]`", "a second steadfastd")],
    );
}

/// A file can be checked on another machine.
#[test]
fn routers_offline_needs_no_interface() {
    let folder = std::env::temp_dir().join(format!("steadfast-routers-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("vrrp.toml");
    let text = "format = 1\n[[vrrp]]\ninterface = \"lan9\"\nvirtual_router = 51\n\
                virtual = [\"10.0.1.1\"]\n";
    std::fs::write(&path, text).expect("a file");
    let opened = open(&path, &Offline).expect("sound");
    assert!(matches!(opened, crate::config::File::Routers(it) if it.routers.len() == 1));
    std::fs::write(&path, format!("{text}priority = 255\n")).expect("a file");
    assert!(open(&path, &Offline).is_ok(), "an owner elsewhere");
    std::fs::remove_dir_all(&folder).expect("ours");
}
