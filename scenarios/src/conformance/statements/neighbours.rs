//! The neighbour cache: what it believes, what it asks, and what waits for it.

use core::time::Duration;

use steadfast_core::MacAddr;
use steadfast_core::PortId;

use super::super::frames::{HOPS, gratuitous, reply};
use super::super::ground::{CLIENT, LAN_UNIT, LAN_VIRTUAL, Station, THIEF, WAN_UNIT, mac};
use super::super::statement::Act;
use super::super::{EntryState, Seen, Statement, What};

/// Sends a datagram to the client: what is asked is written down in its answer.
const TO_CLIENT: Act = Act::Send(LAN_UNIT, CLIENT.v4);

pub(super) fn statements() -> Vec<Statement> {
    [announcements(), questions(), silence()].concat()
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The machine asks everybody on a port for a station, in this name.
fn asks(of: Station, asker: core::net::IpAddr) -> Seen {
    let (core::net::IpAddr::V4(target), core::net::IpAddr::V4(asker)) = (of.v4, asker) else {
        unreachable!("these statements are about IPv4")
    };
    let what = What::ArpQuestion { target, asker };
    everybody(of.port, what)
}

const fn everybody(port: PortId, what: What) -> Seen {
    Seen {
        port,
        from: mac(port),
        to: MacAddr::BROADCAST,
        what,
    }
}

fn sent() -> Seen {
    Seen::datagram(CLIENT, (LAN_UNIT, CLIENT.v4), HOPS)
}

/// The client was asked for and answered: reachable.
fn confirmed(statement: Statement) -> Statement {
    statement
        .when(TO_CLIENT, [asks(CLIENT, LAN_UNIT)])
        .mark()
        .hears(CLIENT, reply(CLIENT, LAN_UNIT, true), [sent()])
        .entry(CLIENT, LAN_UNIT, Some((EntryState::Reachable, CLIENT.mac)))
}

fn announcements() -> Vec<Statement> {
    let [as_question, as_reply] = gratuitous(THIEF.mac, CLIENT.v4);
    let [same_question, same_reply] = gratuitous(CLIENT.mac, CLIENT.v4);
    let stale = |mac| Some((EntryState::Stale, mac));
    let reachable = Some((EntryState::Reachable, CLIENT.mac));
    vec![
        Statement::new(
            "gratuitous_arp_makes_no_entry",
            "an announcement of an unknown neighbour is not remembered, in either form",
            "net/ipv4/arp.c arp_process, arp_accept 0; RFC 5227 3",
        )
        .hears(CLIENT, as_question.clone(), [])
        .hears(CLIENT, as_reply.clone(), [])
        .entry(CLIENT, LAN_UNIT, None),
        Statement::new(
            "gratuitous_arp_changes_an_entry_at_once",
            "who knows the address follows a takeover with the first announcement, in either form",
            "net/ipv4/arp.c arp_process, arp_is_garp",
        )
        .knows(CLIENT, LAN_UNIT)
        .hears(THIEF, as_question, [])
        .entry(CLIENT, LAN_UNIT, stale(THIEF.mac))
        .hears(CLIENT, same_reply.clone(), [])
        .entry(CLIENT, LAN_UNIT, stale(CLIENT.mac))
        .hears(THIEF, as_reply, [])
        .entry(CLIENT, LAN_UNIT, stale(THIEF.mac)),
        confirmed(Statement::new(
            "gratuitous_arp_of_what_is_known_changes_nothing",
            "it neither confirms an entry nor makes a confirmed one stale",
            "net/core/neighbour.c __neigh_update",
        ))
        .hears(CLIENT, same_question, [])
        .entry(CLIENT, LAN_UNIT, reachable)
        .hears(CLIENT, same_reply, [])
        .entry(CLIENT, LAN_UNIT, reachable),
        Statement::new(
            "gratuitous_arp_of_an_own_address_is_not_answered",
            "a rival's announcement of the machine's own address is not answered, makes no entry, \
             and changes nothing about who answers",
            "net/ipv4/arp.c arp_process",
        )
        .active()
        .hears(THIEF, gratuitous(THIEF.mac, LAN_VIRTUAL)[0].clone(), [])
        .hears(THIEF, gratuitous(THIEF.mac, LAN_VIRTUAL)[1].clone(), [])
        .told(
            Act::Look(CLIENT.port, LAN_VIRTUAL),
            super::super::Told::Entry(None),
        )
        .answers(CLIENT, LAN_VIRTUAL),
    ]
}

fn questions() -> Vec<Statement> {
    vec![
        confirmed(Statement::new(
            "neighbour_is_asked_for_and_the_packet_waits",
            "an unknown neighbour is asked for by everybody's address; the packet leaves with the \
             answer, and the next one at once",
            "net/core/neighbour.c __neigh_event_send; RFC 1122 2.3.2.2",
        ))
        .when(TO_CLIENT, [sent()]),
        confirmed(Statement::new(
            "neighbour_that_answers_first_wins_for_the_lock_time",
            "within a second of its change an entry does not follow another station's reply: two \
             owners do not make a cache flap",
            "net/ipv4/arp.c arp_process, locktime",
        ))
        .hears(THIEF, reply(THIEF, LAN_UNIT, true), [])
        .by(ms(900))
        .entry(CLIENT, LAN_UNIT, Some((EntryState::Reachable, CLIENT.mac)))
        .rests(ms(1300))
        .hears(THIEF, reply(THIEF, LAN_UNIT, true), [])
        .entry(CLIENT, LAN_UNIT, Some((EntryState::Reachable, THIEF.mac))),
        Statement::new(
            "neighbour_stale_changes_on_use",
            "a stale neighbour is used as it is, and its entry waits to be confirmed",
            "net/core/neighbour.c __neigh_event_send, NUD_DELAY",
        )
        .knows(CLIENT, LAN_UNIT)
        .entry(CLIENT, LAN_UNIT, Some((EntryState::Stale, CLIENT.mac)))
        .when(TO_CLIENT, [sent()])
        .mark()
        .entry(CLIENT, LAN_UNIT, Some((EntryState::Delay, CLIENT.mac)))
        .by(ms(4000)),
        Statement::new(
            "neighbour_is_asked_for_in_the_name_of_the_packet",
            "the question names the waiting packet's sender if that is an own address, of any \
             port: without the fence a gateway's questions would teach its address",
            "net/ipv4/arp.c arp_solicit, arp_announce 0",
        )
        .when(Act::Send(WAN_UNIT, CLIENT.v4), [asks(CLIENT, WAN_UNIT)]),
    ]
}

fn silence() -> Vec<Statement> {
    let question = || [asks(CLIENT, LAN_UNIT)];
    vec![
        Statement::new(
            "neighbour_that_is_silent_is_given_up_after_three_questions",
            "a silent neighbour is asked three times, a second apart, while packets wait; the next \
             packet asks anew at once",
            "net/core/neighbour.c neigh_timer_handler, mcast_solicit 3, retrans_time 1 s",
        )
        .when(TO_CLIENT, question())
        .mark()
        .dark(CLIENT, LAN_UNIT, EntryState::Incomplete)
        .rests(ms(500))
        .by(ms(900))
        .when(Act::Rest(ms(1500)), question())
        .by(ms(1900))
        .when(Act::Rest(ms(2500)), question())
        .by(ms(2900))
        .rests(ms(3500))
        .dark(CLIENT, LAN_UNIT, EntryState::Failed)
        .when(TO_CLIENT, question()),
        Statement::new(
            "neighbour_in_question_makes_packets_wait_unless_forgotten",
            "a packet to a neighbour in question starts no other question: after a dark port that \
             costs up to a second, unless the entry is forgotten (D17)",
            "net/core/neighbour.c __neigh_event_send, NUD_INCOMPLETE",
        )
        .when(TO_CLIENT, question())
        .mark()
        .quietly(TO_CLIENT)
        .quietly(Act::ForgetDead)
        .entry(CLIENT, LAN_UNIT, None)
        .by(ms(900))
        .when(TO_CLIENT, question()),
        Statement::new(
            "neighbour_that_is_known_is_not_forgotten_as_dead",
            "forgetting the dead leaves those that have an address",
            "D17",
        )
        .knows(CLIENT, LAN_UNIT)
        .quietly(Act::ForgetDead)
        .entry(CLIENT, LAN_UNIT, Some((EntryState::Stale, CLIENT.mac))),
    ]
}
