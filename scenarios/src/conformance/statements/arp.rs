//! Who answers ARP, for what, and to whom.

use core::net::Ipv4Addr;

use steadfast_core::MacAddr;

use super::super::frames::{question, question_as};
use super::super::ground::{
    CABLE, CABLE_UNIT, CLIENT, LAN, LAN_UNIT, LAN_VIRTUAL, PEER, SERVER, THIEF, WAN_UNIT,
    WAN_VIRTUAL, mac, v4,
};
use super::super::statement::Act;
use super::super::{EntryState, Seen, Statement};

const NOBODY: core::net::IpAddr = core::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED);

pub(super) fn statements() -> Vec<Statement> {
    [answered(), unanswered(), carriers()].concat()
}

fn answered() -> Vec<Statement> {
    let weak = Statement::new(
        "arp_weak_host_answers_on_every_port",
        "an address belongs to the machine: ARP for it is answered on every port, with that \
         port's own MAC, so a fence must stand on every served port",
        "net/ipv4/arp.c arp_process, arp_ignore 0; RFC 1122 3.3.4.2",
    )
    .active();
    let targets = [LAN_UNIT, WAN_UNIT, CABLE_UNIT, LAN_VIRTUAL, WAN_VIRTUAL];
    let every = [CLIENT, SERVER, PEER]
        .into_iter()
        .flat_map(|station| targets.map(|target| (station, target)));
    let weak = every.fold(weak, |weak, (station, target)| {
        weak.answers(station, target)
    });
    let broadcast = question_as(CLIENT, CLIENT.v4, LAN_VIRTUAL, MacAddr::BROADCAST);
    vec![
        weak,
        Statement::new(
            "arp_question_to_all_or_to_one_is_answered_to_the_asker",
            "a question to everybody and one to this station alone get the same answer, which \
             goes to the asker alone",
            "net/ipv4/arp.c arp_process; RFC 1122 2.3.2.1",
        )
        .active()
        .hears(CLIENT, broadcast, [Seen::answer(CLIENT, LAN_VIRTUAL)])
        .answers(CLIENT, LAN_VIRTUAL),
        Statement::new(
            "arp_question_from_nobody_is_answered_and_forgotten",
            "a question from 0.0.0.0 is answered and makes no entry: a standby may ask a thousand \
             times a second (D8)",
            "net/ipv4/arp.c arp_process (sip 0); RFC 5227 2.1.1; facts: 500 of 500, no entry",
        )
        .hears(
            CLIENT,
            question_as(CLIENT, NOBODY, LAN_UNIT, mac(LAN)),
            [Seen::answer_to(CLIENT, NOBODY, LAN_UNIT)],
        )
        .told(Act::Look(LAN, NOBODY), super::super::Told::Entry(None)),
        Statement::new(
            "arp_question_makes_a_stale_entry_for_its_sender",
            "who asks is known from then on, unconfirmed; a later question from another station \
             replaces it at once",
            "net/ipv4/arp.c neigh_event_ns",
        )
        .entry(CLIENT, LAN_UNIT, None)
        .answers(CLIENT, LAN_UNIT)
        .entry(CLIENT, LAN_UNIT, Some((EntryState::Stale, CLIENT.mac)))
        .answers(CLIENT, LAN_UNIT)
        .entry(CLIENT, LAN_UNIT, Some((EntryState::Stale, CLIENT.mac)))
        .answers(THIEF, LAN_UNIT)
        .entry(CLIENT, LAN_UNIT, Some((EntryState::Stale, THIEF.mac))),
        Statement::new(
            "arp_answer_follows_the_address_at_once",
            "a virtual address answers as soon as it is there, and no more once it is gone",
            "net/ipv4/devinet.c inet_insert_ifa, inet_del_ifa",
        )
        .quietly(Act::Arm)
        .ignores(CLIENT, LAN_VIRTUAL)
        .quietly(Act::Add(LAN, LAN_VIRTUAL))
        .answers(CLIENT, LAN_VIRTUAL)
        .quietly(Act::Remove(LAN, LAN_VIRTUAL))
        .ignores(CLIENT, LAN_VIRTUAL)
        .answers(CLIENT, LAN_UNIT),
    ]
}

fn unanswered() -> Vec<Statement> {
    let own = [LAN_VIRTUAL, WAN_VIRTUAL, LAN_UNIT, CABLE_UNIT];
    let in_own_name = own.into_iter().fold(
        Statement::new(
            "arp_question_in_an_own_name_is_not_answered",
            "a question whose sender is one of the machine's addresses is not answered and makes \
             no entry: a standby that asked as the virtual address would find a living box dead",
            "net/ipv4/arp.c: no route from a local source; facts: 0 of 200",
        )
        .active(),
        |statement, asker| {
            let asked = question_as(CLIENT, asker, LAN_UNIT, mac(LAN));
            statement
                .hears(CLIENT, asked, [])
                .told(Act::Look(LAN, asker), super::super::Told::Entry(None))
        },
    );
    let foreign = question_as(CLIENT, LAN_VIRTUAL, LAN_UNIT, mac(LAN));
    vec![
        in_own_name.quietly(Act::Remove(LAN, LAN_VIRTUAL)).hears(
            CLIENT,
            foreign,
            [Seen::answer_to(CLIENT, LAN_VIRTUAL, LAN_UNIT)],
        ),
        Statement::new(
            "arp_question_for_a_stranger_is_not_answered",
            "a gateway answers for its own addresses alone: there is no proxy ARP",
            "net/ipv4/arp.c arp_process, proxy_arp 0",
        )
        .active()
        .ignores(CLIENT, v4([10, 0, 1, 77]))
        .ignores(CLIENT, SERVER.v4)
        .answers(CLIENT, LAN_UNIT),
        Statement::new(
            "station_hears_its_own_frames_and_groups_alone",
            "a frame to another station is not heard, whatever it asks; one to everybody is",
            "net/ethernet/eth.c eth_type_trans, PACKET_OTHERHOST",
        )
        .hears(
            CLIENT,
            question_as(CLIENT, CLIENT.v4, LAN_UNIT, THIEF.mac),
            [],
        )
        .hears(
            CLIENT,
            question_as(
                CLIENT,
                CLIENT.v6,
                super::super::ground::LAN_UNIT6,
                THIEF.mac,
            ),
            [],
        )
        .entry(CLIENT, LAN_UNIT, None)
        .hears(
            CLIENT,
            question_as(CLIENT, CLIENT.v4, LAN_UNIT, MacAddr::BROADCAST),
            [Seen::answer(CLIENT, LAN_UNIT)],
        ),
    ]
}

fn carriers() -> Vec<Statement> {
    vec![
        Statement::new(
            "port_without_carrier_neither_hears_nor_answers",
            "a port whose cable is out answers nothing; it does again as soon as that is back",
            "net/sched/sch_generic.c, net/core/link_watch.c",
        )
        .active()
        .quietly(Act::Carrier(LAN, false))
        .ignores(CLIENT, LAN_UNIT)
        .ignores(CLIENT, LAN_VIRTUAL)
        .quietly(Act::Carrier(LAN, true))
        .answers(CLIENT, LAN_UNIT)
        .answers(CLIENT, LAN_VIRTUAL),
        Statement::new(
            "port_without_carrier_keeps_its_addresses",
            "the addresses of a port without carrier are the machine's still: they are answered \
             on other ports",
            "net/ipv4/fib_semantics.c fib_sync_down_dev: local routes stay",
        )
        .active()
        .quietly(Act::Carrier(LAN, false))
        .answers(SERVER, LAN_UNIT)
        .answers(SERVER, LAN_VIRTUAL)
        .answers(PEER, LAN_VIRTUAL),
        Statement::new(
            "port_that_loses_carrier_loses_its_neighbours",
            "the neighbours of a port go with its carrier; those of other ports stay",
            "net/core/neighbour.c neigh_carrier_down",
        )
        .knows(CLIENT, LAN_UNIT)
        .knows(SERVER, WAN_UNIT)
        .quietly(Act::Carrier(LAN, false))
        .entry(CLIENT, LAN_UNIT, None)
        .entry(SERVER, WAN_UNIT, Some((EntryState::Stale, SERVER.mac)))
        .quietly(Act::Carrier(LAN, true))
        .entry(CLIENT, LAN_UNIT, None),
        Statement::new(
            "carrier_of_one_port_does_not_touch_another",
            "a cable that is out leaves questions on another port answered",
            "net/core/link_watch.c",
        )
        .quietly(Act::Carrier(CABLE, false))
        .hears(
            CLIENT,
            question(CLIENT, LAN_UNIT),
            [Seen::answer(CLIENT, LAN_UNIT)],
        )
        .answers(SERVER, WAN_UNIT),
    ]
}
