//! A virtual MAC: a device above the port answers for virtual addresses, and nothing else does.
//!
//! The limit: what is sent to everybody reaches such a device by a worker of the kernel, whose time
//! is its own, so no statement is about its answer to that.

use core::net::{IpAddr, Ipv4Addr};

use steadfast_core::MacAddr;

use super::super::frames::{HOPS, datagram, group_solicit, question_as};
use super::super::ground::{
    CLIENT, LAN, LAN_UNIT, LAN_UNIT6, LAN_VIRTUAL, LAN_VIRTUAL6, SERVER, STATION, WAN_UNIT, mac,
};
use super::super::statement::Act;
use super::super::{Seen, Statement, What};

const DEVICE: &str = "drivers/net/macvlan.c; net/ipv4/arp.c arp_ignore 1, arp_announce 2; R5.5";
/// The LAN's addresses of both versions that move.
const BOTH: [IpAddr; 2] = [LAN_VIRTUAL, LAN_VIRTUAL6];

pub(super) fn statements() -> Vec<Statement> {
    [answers(), others()].concat()
}

fn stationed(name: &'static str, says: &'static str) -> Statement {
    Statement::new(name, says, DEVICE).with_station()
}

/// The client asks this station for an address.
fn asks(target: IpAddr, to: MacAddr) -> Vec<u8> {
    question_as(CLIENT, CLIENT.like(target), target, to)
}

/// What the virtual MAC answers.
fn answer(target: IpAddr) -> Seen {
    let seen = Seen::answer(CLIENT, target);
    let what = match seen.what {
        What::ArpAnswer { address, asker, .. } => What::ArpAnswer {
            address,
            at: STATION,
            asker,
        },
        other => other,
    };
    Seen {
        from: STATION,
        what,
        ..seen
    }
}

fn answers() -> Vec<Statement> {
    let asked = stationed(
        "station_answers_for_virtual_addresses_alone",
        "asked at the virtual MAC the device answers for a virtual address and from there; asked \
         at the port's own, the port answers for its unit address alone (F40)",
    )
    .active();
    let asked = BOTH.into_iter().fold(asked, |asked, target| {
        asked
            .hears(CLIENT, asks(target, STATION), [answer(target)])
            .hears(CLIENT, asks(target, mac(LAN)), [])
    });
    let everybody = stationed(
        "station_is_none_of_the_ports",
        "a question to everybody for a unit address is answered once, from the port's own MAC",
    )
    .active()
    .hears(
        CLIENT,
        asks(LAN_UNIT, MacAddr::BROADCAST),
        [Seen::answer(CLIENT, LAN_UNIT)],
    );
    vec![
        [LAN_UNIT, LAN_UNIT6]
            .into_iter()
            .fold(asked, |asked, target| {
                asked
                    .answers(CLIENT, target)
                    .hears(CLIENT, asks(target, STATION), [])
            }),
        everybody,
    ]
}

fn others() -> Vec<Statement> {
    let silent = stationed(
        "station_without_lease_is_silent",
        "without a lease nothing is answered for a virtual address, at whichever MAC it is asked, \
         and nothing that is sent to the virtual MAC is carried (F38, D9)",
    )
    .held()
    .knows(CLIENT, LAN_UNIT)
    .knows(SERVER, WAN_UNIT);
    let everywhere = [STATION, mac(LAN), MacAddr::BROADCAST];
    let silent = everywhere.into_iter().fold(silent, |silent, to| {
        silent.hears(CLIENT, asks(LAN_VIRTUAL, to), [])
    });
    let group = group_solicit(CLIENT, LAN_VIRTUAL6);
    let silent = group
        .into_iter()
        .fold(silent, |silent, asked| silent.hears(CLIENT, asked, []));
    let ends = (CLIENT.v4, SERVER.v4);
    let sent = || datagram(CLIENT, STATION, ends, HOPS);
    let unknown = Ipv4Addr::new(10, 0, 1, 77);
    let IpAddr::V4(own) = LAN_UNIT else {
        return Vec::new();
    };
    let question = Seen {
        port: LAN,
        from: mac(LAN),
        to: MacAddr::BROADCAST,
        what: What::ArpQuestion {
            target: unknown,
            asker: own,
        },
    };
    vec![
        silent.hears(CLIENT, sent(), []),
        stationed(
            "station_takes_in_what_is_carried_on",
            "with the lease a packet that comes to the virtual MAC is carried on",
        )
        .active()
        .knows(CLIENT, LAN_UNIT)
        .knows(SERVER, WAN_UNIT)
        .hears(CLIENT, sent(), [Seen::datagram(SERVER, ends, HOPS - 1)]),
        stationed(
            "station_asks_in_nobodys_name_but_the_ports",
            "what the machine sends from a virtual address makes it ask for the receiver in the \
             name of its unit address: a question in the virtual one's would teach the port's own \
             MAC (F40)",
        )
        .active()
        .when(Act::Send(LAN_VIRTUAL, IpAddr::V4(unknown)), [question]),
    ]
}
