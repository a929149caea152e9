//! Neighbour discovery, where it differs from ARP, and the groups that come with an address.

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use steadfast_core::wire::ndisc::{self, ALL_NODES, NeighbourSolicit};

use super::super::frames::{HOPS, group_solicit, question_as, reply, unsolicited};
use super::super::ground::{
    CLIENT, LAN, LAN_LOCAL6, LAN_UNIT6, LAN_VIRTUAL6, SERVER, Station, THIEF, WAN, WAN_LOCAL6,
    WAN_UNIT6, WAN_VIRTUAL6, mac,
};
use super::super::statement::Act;
use super::super::{Entry, EntryState, Seen, Statement, Told, What};

const NOBODY: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
const TO_CLIENT: Act = Act::Send(LAN_UNIT6, CLIENT.v6);
const NDISC: &str = "net/ipv6/ndisc.c ndisc_recv_ns; RFC 4861 7.2.4";

pub(super) fn statements() -> Vec<Statement> {
    [answered(), unanswered(), cache(), carried(), addresses()].concat()
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn six(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V6(address) => address,
        IpAddr::V4(address) => address.to_ipv6_mapped(),
    }
}

/// What the machine says of an address, itself included.
fn introduces(to: Seen, target: IpAddr, destination: Ipv6Addr, solicited: bool) -> Seen {
    let what = What::NdAnswer {
        target: six(target),
        destination,
        flags: [true, solicited, true],
        at: Some(mac(to.port)),
    };
    Seen { what, ..to }
}

/// The machine asks a station's group, in this name.
fn asks(of: Station, asker: IpAddr) -> Seen {
    let group = ndisc::solicited_node(six(of.v6));
    Seen {
        port: of.port,
        from: mac(of.port),
        to: ndisc::group_mac(group),
        what: What::NdQuestion {
            target: six(of.v6),
            asker: six(asker),
        },
    }
}

fn sent() -> Seen {
    Seen::datagram(CLIENT, (LAN_UNIT6, CLIENT.v6), HOPS)
}

fn confirmed(statement: Statement) -> Statement {
    statement
        .when(TO_CLIENT, [asks(CLIENT, LAN_UNIT6)])
        .hears(CLIENT, reply(CLIENT, LAN_UNIT6, true), [sent()])
        .entry(CLIENT, LAN_UNIT6, Some((EntryState::Reachable, CLIENT.mac)))
}

fn answered() -> Vec<Statement> {
    let to_group = |target| group_solicit(CLIENT, target).expect("the target is IPv6");
    let answer = |target| introduces(Seen::answer(CLIENT, target), target, six(CLIENT.v6), true);
    let detection = question_as(
        CLIENT,
        NOBODY,
        LAN_UNIT6,
        ndisc::group_mac(ndisc::solicited_node(six(LAN_UNIT6))),
    );
    let to_all = Seen {
        to: ndisc::group_mac(ALL_NODES),
        ..Seen::answer(CLIENT, LAN_UNIT6)
    };
    vec![
        Statement::new(
            "nd_question_to_one_is_answered_barely",
            "a solicitation sent to this station alone is answered to the asker, as a router, and \
             without the station's address: the asker knows it (D8)",
            NDISC,
        )
        .active()
        .answers(CLIENT, LAN_VIRTUAL6)
        .answers(CLIENT, LAN_UNIT6)
        .answers(SERVER, WAN_VIRTUAL6),
        Statement::new(
            "nd_question_to_the_group_is_answered_with_the_station",
            "a first question, to the solicited-node group, is answered with the port's address \
             and the override flag",
            NDISC,
        )
        .active()
        .hears(CLIENT, to_group(LAN_VIRTUAL6), [answer(LAN_VIRTUAL6)])
        .hears(CLIENT, to_group(LAN_UNIT6), [answer(LAN_UNIT6)]),
        Statement::new(
            "nd_question_of_duplicate_detection_is_answered_to_all",
            "who wants to take the address is answered in front of everybody, and leaves no entry",
            "net/ipv6/ndisc.c ndisc_recv_ns, dad; RFC 4861 7.2.4",
        )
        .hears(
            CLIENT,
            detection,
            [introduces(to_all, LAN_UNIT6, ALL_NODES, false)],
        )
        .entry(CLIENT, LAN_UNIT6, None),
        Statement::new(
            "nd_question_makes_an_entry_that_its_answer_uses",
            "as in ARP; a later question from another station replaces it at once. Unlike in ARP \
             the answer itself uses the entry, which then waits to be confirmed",
            "net/ipv6/ndisc.c ndisc_recv_ns, ndisc_send_skb; RFC 4861 7.2.3",
        )
        .answers(CLIENT, LAN_UNIT6)
        .mark()
        .entry(CLIENT, LAN_UNIT6, Some((EntryState::Delay, CLIENT.mac)))
        .by(ms(4000))
        .answers(THIEF, LAN_UNIT6)
        .mark()
        .entry(CLIENT, LAN_UNIT6, Some((EntryState::Delay, THIEF.mac)))
        .by(ms(4000)),
    ]
}

fn unanswered() -> Vec<Statement> {
    let nameless = NeighbourSolicit {
        source: Ipv6Addr::UNSPECIFIED,
        destination: six(LAN_UNIT6),
        target: six(LAN_UNIT6),
        link_layer: None,
    };
    let used = Entry {
        state: EntryState::Delay,
        mac: Some(CLIENT.mac),
    };
    vec![
        Statement::new(
            "nd_is_no_weak_host",
            "unlike ARP, a question is answered only on the port that has the address",
            "net/ipv6/ndisc.c ndisc_recv_ns, ipv6_get_ifaddr",
        )
        .active()
        .ignores(SERVER, LAN_VIRTUAL6)
        .ignores(SERVER, LAN_UNIT6)
        .ignores(CLIENT, WAN_VIRTUAL6)
        .answers(CLIENT, LAN_VIRTUAL6),
        Statement::new(
            "nd_question_without_a_name_to_one_station_is_not_answered",
            "a solicitation from :: must go to the group: so a standby needs an address of its own \
             to ask with (D8)",
            "net/ipv6/ndisc.c ndisc_recv_ns, dad; RFC 4861 7.1.1",
        )
        .hears(CLIENT, nameless.frame(mac(LAN), CLIENT.mac), [])
        .answers(CLIENT, LAN_UNIT6),
        Statement::new(
            "nd_question_for_a_stranger_is_carried_to_its_network",
            "a question sent to this station alone, for an address that is not the machine's, is a \
             packet like others: it is carried, and the machine asks for its target itself",
            "net/ipv6/ip6_output.c ip6_forward; RFC 4861 7.1.1 (it is then ignored)",
        )
        .active()
        .hears(
            CLIENT,
            question_as(CLIENT, CLIENT.v6, SERVER.v6, mac(LAN)),
            [asks(SERVER, WAN_LOCAL6)],
        ),
        Statement::new(
            "nd_question_in_an_own_name_is_answered",
            "unlike ARP, neighbour discovery does not mind a question whose sender is an address \
             of the machine: it is answered to the station that asked, and believed",
            "net/ipv6/ndisc.c ndisc_recv_ns: the source is not looked at; seen on 6.18",
        )
        .active()
        .hears(
            CLIENT,
            question_as(CLIENT, LAN_VIRTUAL6, LAN_UNIT6, mac(LAN)),
            [Seen::answer_to(CLIENT, LAN_VIRTUAL6, LAN_UNIT6)],
        )
        .mark()
        .told(Act::Look(LAN, LAN_VIRTUAL6), Told::Entry(Some(used)))
        .by(ms(4000))
        .answers(CLIENT, LAN_UNIT6),
    ]
}

fn cache() -> Vec<Statement> {
    let claims = |mac, overrides| unsolicited(mac, CLIENT.v6, overrides);
    let reachable = Some((EntryState::Reachable, CLIENT.mac));
    let stale = |mac| Some((EntryState::Stale, mac));
    vec![
        Statement::new(
            "nd_announcement_makes_no_entry",
            "an unsolicited advertisement of an unknown neighbour is not remembered",
            "net/ipv6/ndisc.c ndisc_recv_na, accept_untracked_na 0; RFC 4861 7.2.5",
        )
        .hears(THIEF, claims(THIEF.mac, true), [])
        .entry(CLIENT, LAN_UNIT6, None),
        confirmed(Statement::new(
            "nd_announcement_that_overrides_changes_an_entry_at_once",
            "who knows the address follows a takeover with the first advertisement",
            "net/ipv6/ndisc.c ndisc_recv_na; RFC 4861 7.2.5",
        ))
        .hears(THIEF, claims(THIEF.mac, true), [])
        .entry(CLIENT, LAN_UNIT6, stale(THIEF.mac)),
        confirmed(Statement::new(
            "nd_announcement_that_must_not_override_casts_doubt",
            "without the override flag another station's advertisement does not move a confirmed \
             entry, and makes it one to be confirmed again",
            "net/core/neighbour.c NEIGH_UPDATE_F_WEAK_OVERRIDE; RFC 4861 7.2.5",
        ))
        .hears(THIEF, claims(THIEF.mac, false), [])
        .entry(CLIENT, LAN_UNIT6, stale(CLIENT.mac))
        .hears(THIEF, claims(THIEF.mac, false), [])
        .entry(CLIENT, LAN_UNIT6, stale(CLIENT.mac)),
        confirmed(Statement::new(
            "nd_announcement_of_what_is_known_changes_nothing",
            "it neither confirms an entry nor makes a confirmed one stale",
            "net/core/neighbour.c __neigh_update",
        ))
        .hears(CLIENT, claims(CLIENT.mac, true), [])
        .entry(CLIENT, LAN_UNIT6, reachable),
        Statement::new(
            "nd_neighbour_stale_changes_on_use",
            "a stale neighbour is used as it is, and its entry waits to be confirmed",
            "net/core/neighbour.c __neigh_event_send, NUD_DELAY",
        )
        .knows(CLIENT, LAN_UNIT6)
        .hears(THIEF, claims(THIEF.mac, true), [])
        .entry(CLIENT, LAN_UNIT6, stale(THIEF.mac))
        .when(
            TO_CLIENT,
            [Seen {
                to: THIEF.mac,
                ..sent()
            }],
        )
        .mark()
        .entry(CLIENT, LAN_UNIT6, Some((EntryState::Delay, THIEF.mac)))
        .by(ms(4000)),
    ]
}

fn carried() -> Vec<Statement> {
    vec![
        Statement::new(
            "nd_carried_packet_asks_in_the_link_local_name",
            "for a packet it carries a router asks with its link-local address: a fence on \
             virtual addresses does not touch that question",
            "net/ipv6/ndisc.c ndisc_solicit, ipv6_get_lladdr; RFC 4861 7.2.2",
        )
        .active()
        .hears(
            SERVER,
            super::super::frames::datagram(SERVER, mac(WAN), (SERVER.v6, CLIENT.v6), HOPS),
            [asks(CLIENT, LAN_LOCAL6)],
        )
        .hears(
            CLIENT,
            reply(CLIENT, LAN_LOCAL6, true),
            [Seen::datagram(CLIENT, (SERVER.v6, CLIENT.v6), HOPS - 1)],
        ),
    ]
}

fn addresses() -> Vec<Statement> {
    let group = ndisc::solicited_node(six(LAN_VIRTUAL6));
    let first = || group_solicit(CLIENT, LAN_VIRTUAL6).expect("the target is IPv6");
    let plain = Seen::answer(CLIENT, LAN_VIRTUAL6);
    let introduction = introduces(plain, LAN_VIRTUAL6, six(CLIENT.v6), true);
    vec![
        Statement::new(
            "nd_address_without_detection_answers_at_once",
            "an address added without duplicate detection answers as soon as the kernel's worker \
             has put it to use, and no more once it is gone (D17)",
            "net/ipv6/addrconf.c, IFA_F_NODAD; facts: detection takes 1.4 to 2 s",
        )
        .quietly(Act::Arm)
        .hears(CLIENT, first(), [])
        .quietly(Act::Add(LAN, LAN_VIRTUAL6))
        .mark()
        .hears(CLIENT, first(), [introduction])
        .by(ms(1000))
        .answers(CLIENT, LAN_VIRTUAL6)
        .by(ms(1000))
        .quietly(Act::Remove(LAN, LAN_VIRTUAL6))
        .hears(CLIENT, first(), [])
        .answers(CLIENT, LAN_UNIT6),
        Statement::new(
            "nd_address_joins_its_group",
            "with an address the machine reports that it listens to its solicited-node group, so \
             that a snooping switch passes questions for it",
            "net/ipv6/mcast.c mld_ifc_event; RFC 4861 7.2.1, RFC 3810 6.1",
        )
        .quietly(Act::Arm)
        .quietly(Act::Add(LAN, LAN_VIRTUAL6))
        .told(Act::AwaitReport(LAN, group), Told::Reported(true)),
        Statement::new(
            "nd_fence_leaves_the_address_usable_for_itself",
            "a fenced gateway still asks its own neighbours: the question of a unit address leaves",
            "runtime/src/linux/fence/rules.rs; D9",
        )
        .held()
        .when(TO_CLIENT, [asks(CLIENT, LAN_UNIT6)])
        .hears(CLIENT, reply(CLIENT, LAN_UNIT6, true), [sent()])
        .quietly(Act::Send(LAN_VIRTUAL6, CLIENT.v6))
        .answers(SERVER, WAN_UNIT6),
    ]
}
