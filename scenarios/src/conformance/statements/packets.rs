//! Packets: carried, answered, and dropped.

use super::super::frames::{HOPS, datagram, echo};
use super::super::ground::{
    CABLE_UNIT, CLIENT, LAN, LAN_UNIT, LAN_UNIT6, PEER, SERVER, THIEF, WAN, WAN_UNIT, WAN_UNIT6,
    mac, v4,
};
use super::super::statement::Act;
use super::super::{EntryState, Seen, Statement};

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

pub(super) fn statements() -> Vec<Statement> {
    [carried(), dropped(), answered()].concat()
}

fn met(statement: Statement) -> Statement {
    statement
        .knows(CLIENT, LAN_UNIT)
        .knows(SERVER, WAN_UNIT)
        .active()
}

fn carried() -> Vec<Statement> {
    let ends = (CLIENT.v4, SERVER.v4);
    vec![
        met(Statement::new(
            "packet_with_two_hops_left_is_carried",
            "a hop is taken off; a packet that has one left is still one",
            "net/ipv4/ip_forward.c; RFC 1812 5.3.1",
        ))
        .hears(
            CLIENT,
            datagram(CLIENT, mac(LAN), ends, 2),
            [Seen::datagram(SERVER, ends, 1)],
        ),
        met(Statement::new(
            "packet_through_uses_and_delays_its_neighbour",
            "a carried packet uses a stale neighbour as one of the machine's own does",
            "net/core/neighbour.c __neigh_event_send",
        ))
        .entry(SERVER, WAN_UNIT, Some((EntryState::Stale, SERVER.mac)))
        .forwards(CLIENT, SERVER, LAN_UNIT)
        .entry(SERVER, WAN_UNIT, Some((EntryState::Delay, SERVER.mac)))
        .entry(CLIENT, LAN_UNIT, Some((EntryState::Stale, CLIENT.mac))),
        met(Statement::new(
            "packet_to_a_port_without_carrier_leaves_no_entry",
            "nothing waits for a dark port, so nothing holds later packets back (D17)",
            "net/ipv4/fib_trie.c, ignore_routes_with_linkdown 1",
        ))
        .quietly(Act::Carrier(WAN, false))
        .quietly(Act::Send(CABLE_UNIT, SERVER.v4))
        .entry(SERVER, WAN_UNIT, None),
    ]
}

fn dropped() -> Vec<Statement> {
    let ends = (CLIENT.v4, SERVER.v4);
    let ends6 = (CLIENT.v6, SERVER.v6);
    let nowhere = (CLIENT.v4, v4([192, 0, 2, 77]));
    vec![
        met(Statement::new(
            "packet_with_its_last_hop_is_dropped",
            "a packet that would have no hop left is not carried; its sender is told",
            "net/ipv4/ip_forward.c ICMP_TIME_EXCEEDED; RFC 1812 4.3.2.7",
        ))
        .hears(
            CLIENT,
            datagram(CLIENT, mac(LAN), ends, 1),
            [Seen::message(CLIENT, LAN_UNIT, ICMP, 11)],
        ),
        Statement::new(
            "packet_with_its_last_hop_is_dropped_v6",
            "the same for IPv6: an active gateway speaks as itself, for its virtual address is \
             preferred for no time, though its prefix is the longer one",
            "net/ipv6/ip6_output.c ip6_forward; RFC 4443 3.3, RFC 6724 5 rules 3 and 8",
        )
        .knows(CLIENT, LAN_UNIT6)
        .knows(SERVER, WAN_UNIT6)
        .active()
        .hears(
            CLIENT,
            datagram(CLIENT, mac(LAN), ends6, 1),
            [Seen::message(CLIENT, LAN_UNIT6, ICMPV6, 3)],
        ),
        met(Statement::new(
            "packet_without_a_route_is_dropped",
            "a packet to a network nobody knows is not carried; its sender is told",
            "net/ipv4/route.c ip_error; RFC 1812 5.2.7.1",
        ))
        .hears(
            CLIENT,
            datagram(CLIENT, mac(LAN), nowhere, HOPS),
            [Seen::message(CLIENT, LAN_UNIT, ICMP, 3)],
        ),
        met(Statement::new(
            "packet_in_a_frame_to_somebody_else_is_not_carried",
            "a packet that a switch flooded here for another station stays where it is",
            "net/ipv4/ip_input.c, PACKET_OTHERHOST",
        ))
        .hears(CLIENT, datagram(CLIENT, THIEF.mac, ends, HOPS), [])
        .hears(CLIENT, datagram(CLIENT, THIEF.mac, ends6, HOPS), []),
        met(Statement::new(
            "packet_in_a_broadcast_frame_is_not_carried",
            "a packet that everybody on the segment got is carried by nobody",
            "net/ipv4/ip_forward.c pkt_type; RFC 1812 4.2.3.1",
        ))
        .hears(
            CLIENT,
            datagram(CLIENT, steadfast_core::MacAddr::BROADCAST, ends, HOPS),
            [],
        ),
    ]
}

fn answered() -> Vec<Statement> {
    vec![
        Statement::new(
            "echo_is_answered_from_the_address_asked",
            "a ping is answered in the name of the address asked, on whichever port that is",
            "net/ipv4/icmp.c icmp_reply; RFC 1122 3.2.2.6",
        )
        .knows(CLIENT, LAN_UNIT)
        .knows(CLIENT, LAN_UNIT6)
        .hears(
            CLIENT,
            echo(CLIENT, LAN_UNIT),
            [Seen::echo(CLIENT, LAN_UNIT)],
        )
        .hears(
            CLIENT,
            echo(CLIENT, WAN_UNIT),
            [Seen::echo(CLIENT, WAN_UNIT)],
        )
        .hears(
            CLIENT,
            echo(CLIENT, LAN_UNIT6),
            [Seen::echo(CLIENT, LAN_UNIT6)],
        )
        .hears(
            CLIENT,
            echo(CLIENT, WAN_UNIT6),
            [Seen::echo(CLIENT, WAN_UNIT6)],
        ),
        Statement::new(
            "echo_through_a_dark_neighbour_waits_for_its_answer",
            "the answer to a ping from an unknown neighbour waits until that is found",
            "net/core/neighbour.c __neigh_event_send",
        )
        .hears(PEER, echo(PEER, CABLE_UNIT), [asks_peer()])
        .hears(
            PEER,
            super::super::frames::reply(PEER, CABLE_UNIT, true),
            [Seen::echo(PEER, CABLE_UNIT)],
        ),
    ]
}

/// The machine asks everybody on the cable for the peer.
fn asks_peer() -> Seen {
    let asked = super::super::frames::question_as(
        super::super::ground::Station {
            mac: mac(PEER.port),
            ..PEER
        },
        CABLE_UNIT,
        PEER.v4,
        steadfast_core::MacAddr::BROADCAST,
    );
    Seen::read(PEER.port, &asked).expect("a frame of ours is one")
}
