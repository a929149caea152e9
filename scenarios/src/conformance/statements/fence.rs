//! The fence: what passes with a lease, with its tail, and with neither (D9).

use core::net::{IpAddr, Ipv6Addr};

use steadfast_core::MacAddr;
use steadfast_core::wire::ndisc::ALL_NODES;

use super::super::frames::{datagram, echo, gratuitous, question, router_advert, unsolicited};
use super::super::ground::{
    CABLE, CLIENT, LAN, LAN_UNIT, LAN_UNIT6, LAN_VIRTUAL, LAN_VIRTUAL6, PEER, SERVER, WAN,
    WAN_UNIT, WAN_UNIT6, WAN_VIRTUAL, WAN_VIRTUAL6, mac, v4,
};
use super::super::statement::Act;
use super::super::{Seen, Statement, Told, What};

const FENCE: &str = "runtime/src/linux/fence/rules.rs; D9";

pub(super) fn statements() -> Vec<Statement> {
    [closed(), open(), vec![routers()], multicast(), tail()].concat()
}

/// The stations that packets go between are known.
fn met(statement: Statement) -> Statement {
    statement
        .knows(CLIENT, LAN_UNIT)
        .knows(SERVER, WAN_UNIT)
        .knows(CLIENT, LAN_UNIT6)
        .knows(SERVER, WAN_UNIT6)
}

fn pings(statement: Statement, target: IpAddr) -> Statement {
    statement.hears(CLIENT, echo(CLIENT, target), [Seen::echo(CLIENT, target)])
}

/// What the machine says of its own virtual address on the LAN, as the core does.
fn announces(statement: Statement, told: Told) -> Statement {
    let IpAddr::V4(address) = LAN_VIRTUAL else {
        return statement;
    };
    let IpAddr::V6(target) = LAN_VIRTUAL6 else {
        return statement;
    };
    let own = mac(LAN);
    let [as_question, as_reply] = gratuitous(own, LAN_VIRTUAL);
    let said = [
        What::ArpQuestion {
            target: address,
            asker: address,
        },
        What::ArpAnswer {
            address,
            at: own,
            asker: address,
        },
        What::NdAnswer {
            target,
            destination: ALL_NODES,
            flags: [true, false, true],
            at: Some(own),
        },
    ];
    let frames = [as_question, as_reply, unsolicited(own, LAN_VIRTUAL6, true)];
    frames
        .into_iter()
        .zip(said)
        .fold(statement, |statement, (frame, what)| {
            let seen = Seen::read(LAN, &frame).filter(|_| told == Told::Nothing);
            debug_assert!(seen.is_none_or(|seen| seen.what == what));
            let seen = seen.into_iter().collect();
            statement.step(Act::Transmit(LAN, frame), seen, told)
        })
}

fn closed() -> Vec<Statement> {
    let own = gratuitous(mac(LAN), LAN_UNIT)[0].clone();
    let unit_said = Seen::read(LAN, &own).into_iter().collect::<Vec<_>>();
    let bare = Statement::new(
        "fence_closed_answers_unit_addresses_alone",
        "without a lease a question for a virtual address is dropped before the stack sees it, in \
         both versions; unit addresses answer in every state, which a judge relies on (D8)",
        FENCE,
    )
    .held()
    .ignores(CLIENT, LAN_VIRTUAL)
    .ignores(CLIENT, WAN_VIRTUAL)
    .ignores(SERVER, WAN_VIRTUAL)
    .ignores(CLIENT, LAN_VIRTUAL6)
    .answers(CLIENT, LAN_UNIT)
    .answers(SERVER, WAN_UNIT)
    .answers(CLIENT, LAN_UNIT6);
    vec![
        bare,
        announces(
            Statement::new(
                "fence_closed_lets_no_announcement_out",
                "without a lease no program's announcement of a virtual address leaves, and its \
                 sender is told; one of the unit address leaves",
                FENCE,
            )
            .held(),
            Told::Refused,
        )
        .when(Act::Transmit(LAN, own), unit_said),
        pings(
            pings(
                met(Statement::new(
                    "fence_closed_drops_packets_of_virtual_addresses",
                    "without lease or tail a packet to a virtual address is not taken in; one to \
                     the unit address is, and answered",
                    FENCE,
                ))
                .held()
                .hears(CLIENT, echo(CLIENT, LAN_VIRTUAL), [])
                .hears(CLIENT, echo(CLIENT, LAN_VIRTUAL6), []),
                LAN_UNIT,
            ),
            LAN_UNIT6,
        )
        .quietly(Act::Close)
        .quietly(Act::Send(LAN_VIRTUAL, CLIENT.v4)),
        met(Statement::new(
            "fence_closed_forwards_nothing",
            "a fenced gateway carries no packets between served ports, in either direction",
            FENCE,
        ))
        .held()
        .holds_back(CLIENT, SERVER, LAN_UNIT)
        .holds_back(SERVER, CLIENT, LAN_UNIT)
        .holds_back(CLIENT, SERVER, LAN_UNIT6)
        .holds_back(SERVER, CLIENT, LAN_UNIT6),
        Statement::new(
            "fence_does_not_stand_on_an_unserved_port",
            "a dedicated cable is not fenced: a weak host answers there for a staged address, and \
             packets from there are carried",
            FENCE,
        )
        .held()
        .knows(CLIENT, LAN_UNIT)
        .answers(PEER, LAN_VIRTUAL)
        .forwards(PEER, CLIENT, LAN_UNIT),
    ]
}

fn open() -> Vec<Statement> {
    let staged = Statement::new(
        "fence_keeps_staged_addresses_silent_until_the_lease",
        "addresses may be installed ahead of a claim: the lease alone makes them answer, all at \
         once, on every served port (D17)",
        FENCE,
    )
    .held()
    .ignores(CLIENT, LAN_VIRTUAL)
    .ignores(SERVER, WAN_VIRTUAL6)
    .quietly(Act::Arm)
    .answers(CLIENT, LAN_VIRTUAL)
    .answers(CLIENT, LAN_VIRTUAL6)
    .answers(SERVER, WAN_VIRTUAL)
    .answers(SERVER, WAN_VIRTUAL6);
    vec![
        staged,
        announces(
            Statement::new(
                "fence_open_lets_announcements_out",
                "with a lease the announcements of a takeover leave",
                FENCE,
            )
            .active(),
            Told::Nothing,
        ),
        met(Statement::new(
            "fence_open_forwards",
            "with a lease packets are carried both ways, a hop shorter, in both versions",
            FENCE,
        ))
        .active()
        .forwards(CLIENT, SERVER, LAN_UNIT)
        .forwards(SERVER, CLIENT, LAN_UNIT)
        .forwards(CLIENT, SERVER, LAN_UNIT6)
        .forwards(SERVER, CLIENT, LAN_UNIT6),
        pings(
            pings(
                met(Statement::new(
                    "fence_open_answers_packets_from_the_address_asked",
                    "with a lease a virtual address answers a ping in its own name",
                    FENCE,
                ))
                .active(),
                LAN_VIRTUAL,
            ),
            LAN_VIRTUAL6,
        ),
        met(Statement::new(
            "fence_closes_and_opens_in_an_instant",
            "one element opens and closes everything: answers and forwarding follow at once",
            FENCE,
        ))
        .held()
        .quietly(Act::Arm)
        .answers(CLIENT, LAN_VIRTUAL)
        .forwards(CLIENT, SERVER, LAN_UNIT)
        .quietly(Act::Close)
        .ignores(CLIENT, LAN_VIRTUAL)
        .ignores(SERVER, WAN_VIRTUAL)
        .holds_back(CLIENT, SERVER, LAN_UNIT)
        .quietly(Act::Arm)
        .answers(SERVER, WAN_VIRTUAL)
        .forwards(CLIENT, SERVER, LAN_UNIT),
    ]
}

fn routers() -> Statement {
    let own = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    let frame = || router_advert(mac(LAN), own);
    let heard = || Seen::read(LAN, &frame()).into_iter().collect::<Vec<_>>();
    Statement::new(
        "fence_lets_router_advertisements_out_with_a_lease_alone",
        "hosts choose their gateway by router advertisements: without a lease none leaves, whoever \
         sends them, and not in the tail either (F44)",
        FENCE,
    )
    .held()
    .step(Act::Transmit(LAN, frame()), Vec::new(), Told::Refused)
    .quietly(Act::Arm)
    .step(Act::Transmit(LAN, frame()), heard(), Told::Nothing)
    .quietly(Act::Release)
    .step(Act::Transmit(LAN, frame()), Vec::new(), Told::Refused)
}

fn multicast() -> Vec<Statement> {
    let group = datagram(
        CLIENT,
        MacAddr([1, 0, 0x5e, 1, 1, 1]),
        (CLIENT.v4, v4([239, 1, 1, 1])),
        2,
    );
    vec![
        met(Statement::new(
            "fence_open_forwards_no_multicast",
            "packets to a group are not carried, lease or not: nobody routes multicast here",
            "net/ipv4/route.c ip_route_input_mc, mc_forwarding 0",
        ))
        .active()
        .hears(CLIENT, group, []),
    ]
}

fn tail() -> Vec<Statement> {
    let tailed = pings(
        met(Statement::new(
            "fence_tail_carries_but_answers_no_question",
            "a released lease is silent at once, and leaves a tail: what is in flight is carried, \
             and nobody is taught the old owner (D10)",
            FENCE,
        ))
        .active()
        .answers(CLIENT, LAN_VIRTUAL)
        .quietly(Act::Release)
        .ignores(CLIENT, LAN_VIRTUAL)
        .ignores(CLIENT, LAN_VIRTUAL6)
        .forwards(CLIENT, SERVER, LAN_UNIT)
        .forwards(SERVER, CLIENT, LAN_UNIT6),
        LAN_VIRTUAL,
    );
    vec![
        announces(tailed, Told::Refused)
            .quietly(Act::Close)
            .hears(CLIENT, echo(CLIENT, LAN_VIRTUAL), [])
            .holds_back(CLIENT, SERVER, LAN_UNIT),
        Statement::new(
            "fence_is_one_for_all_ports",
            "an active frame on any heartbeat port keeps the lease for every served port: there \
             is one lease, whatever the number of ports",
            FENCE,
        )
        .active()
        .quietly(Act::Carrier(CABLE, false))
        .answers(CLIENT, LAN_VIRTUAL)
        .answers(SERVER, WAN_VIRTUAL)
        .quietly(Act::Carrier(WAN, false))
        .hears(
            CLIENT,
            question(CLIENT, WAN_VIRTUAL),
            [Seen::answer(CLIENT, WAN_VIRTUAL)],
        ),
    ]
}
