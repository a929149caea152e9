//! The lease: its time, its guard, and what it leaves (D9, D10).

use core::time::Duration;

use super::super::frames::advertisement;
use super::super::ground::{
    CABLE, CLIENT, LAN, LAN_UNIT, LAN_VIRTUAL, LAN_VIRTUAL6, PEER, SERVER, WAN, WAN_UNIT,
    WAN_VIRTUAL, mac,
};
use super::super::statement::{Act, SHORT_LEASE, SHORT_TAIL, SURELY};
use super::super::{Seen, Statement, Told};

const ACTIVE: u8 = 2;
const OFFERING: u8 = 3;
const FENCE: &str = "runtime/src/linux/fence/rules.rs; net/netfilter/nft_set_hash.c; D9";
/// The lease is there still, with time to spare.
const HALF: Duration = SHORT_LEASE.checked_div(2).expect("two is not zero");
/// What is asked for while the lease lives must be done by then.
const IN_TIME: Duration = SHORT_LEASE.saturating_sub(Duration::from_millis(100));
/// The lease is over, in any case.
const OVER: Duration = SHORT_LEASE.saturating_add(SURELY);

pub(super) fn statements() -> Vec<Statement> {
    [ends(), guard(), tail()].concat()
}

fn transmits(statement: Statement, port: steadfast_core::PortId, mark: u8) -> Statement {
    let frame = advertisement(mac(port), mark);
    let seen: Vec<_> = Seen::read(port, &frame).into_iter().collect();
    statement.when(Act::Transmit(port, frame), seen)
}

fn refuses(statement: Statement, port: steadfast_core::PortId, mark: u8) -> Statement {
    let frame = advertisement(mac(port), mark);
    statement.told(Act::Transmit(port, frame), Told::Refused)
}

/// Half the lease is gone, and the virtual address answers.
fn half_gone(statement: Statement) -> Statement {
    statement
        .rests(HALF)
        .answers(CLIENT, LAN_VIRTUAL)
        .by(IN_TIME)
}

fn over(statement: Statement) -> Statement {
    statement
        .rests(OVER)
        .ignores(CLIENT, LAN_VIRTUAL)
        .ignores(SERVER, WAN_VIRTUAL)
        .answers(CLIENT, LAN_UNIT)
}

fn ends() -> Vec<Statement> {
    let refreshed = half_gone(
        Statement::new(
            "lease_is_prolonged_by_each_active_frame",
            "an active frame that leaves gives the lease its whole length again",
            FENCE,
        )
        .briefly()
        .active()
        .mark(),
    );
    let refreshed = transmits(refreshed, CABLE, ACTIVE).by(IN_TIME).mark();
    let offered = Statement::new(
        "lease_is_shortened_by_an_offer_and_never_lengthened",
        "an offer leaves so much time and no more; a second one, for longer, gives nothing back",
        "D10",
    )
    .active()
    .quietly(Act::Offer(SHORT_LEASE))
    .mark()
    .quietly(Act::Offer(SHORT_LEASE.saturating_mul(10)))
    .by(HALF)
    .answers(CLIENT, LAN_VIRTUAL)
    .by(HALF);
    vec![
        over(half_gone(
            Statement::new(
                "lease_ends_while_the_daemon_is_stopped",
                "nobody refreshes the lease, and nobody has to be there for it to end: the virtual \
                 address falls silent by itself on every port",
                FENCE,
            )
            .briefly()
            .active()
            .mark(),
        ))
        .ignores(CLIENT, LAN_VIRTUAL6),
        over(half_gone(refreshed)),
        over(offered).told(Act::Offer(SHORT_LEASE), Told::Lapsed),
        Statement::new(
            "lease_that_was_never_there_is_neither_offered_nor_released",
            "only a claim begins a lease; nothing else makes one, nor a tail",
            "D9, D10",
        )
        .knows(CLIENT, LAN_UNIT)
        .knows(SERVER, WAN_UNIT)
        .held()
        .told(Act::Offer(SHORT_LEASE), Told::Lapsed)
        .told(Act::Release, Told::Lapsed)
        .ignores(CLIENT, LAN_VIRTUAL)
        .holds_back(CLIENT, SERVER, LAN_UNIT),
    ]
}

fn guard() -> Vec<Statement> {
    let mut refused = Statement::new(
        "guard_refuses_active_frames_without_a_lease",
        "an active or offering frame without a lease does not leave, on any heartbeat port, makes \
         no lease, and its sender is told: so a woken daemon learns that it lost the role",
        FENCE,
    )
    .held();
    for port in [LAN, WAN, CABLE] {
        refused = refuses(refuses(refused, port, ACTIVE), port, OFFERING);
    }
    let mut spoken = Statement::new(
        "guard_lets_a_standby_speak",
        "frames with any other mark leave in every state",
        FENCE,
    );
    for mark in [0, 1, 4, 255] {
        spoken = transmits(transmits(spoken, LAN, mark), CABLE, mark);
    }
    let dark = half_gone(
        Statement::new(
            "guard_renews_without_carrier",
            "a frame sent into a port without carrier renews the lease all the same, and its \
             sender is not told: a lease proves a running daemon, not a heard one",
            "net/core/dev.c: egress hooks stand before the device",
        )
        .briefly()
        .active()
        .mark()
        .quietly(Act::Carrier(CABLE, false)),
    )
    .quietly(Act::Transmit(CABLE, advertisement(mac(CABLE), ACTIVE)))
    .by(IN_TIME)
    .mark();
    let offering = transmits(
        half_gone(
            Statement::new(
                "guard_lets_an_offering_frame_out_and_renews_nothing",
                "an offer ends when it said it would, however often it is repeated",
                FENCE,
            )
            .briefly()
            .active()
            .mark(),
        ),
        CABLE,
        OFFERING,
    )
    .by(IN_TIME);
    vec![
        refused.ignores(CLIENT, LAN_VIRTUAL),
        spoken,
        over(half_gone(dark)),
        refuses(over(offering), CABLE, OFFERING),
    ]
}

fn tail() -> Vec<Statement> {
    let known = Statement::new(
        "lease_is_outlived_by_its_tail",
        "a killed daemon's kernel carries on what clients send for the tail's time after the \
         lease, answers nothing, and then carries no more",
        FENCE,
    )
    .briefly()
    .knows(CLIENT, LAN_UNIT)
    .knows(SERVER, WAN_UNIT)
    .active()
    .mark();
    let in_tail = SHORT_LEASE.saturating_add(SHORT_TAIL.saturating_sub(Duration::from_millis(100)));
    let released = Statement::new(
        "lease_released_is_silent_at_once_and_leaves_one_tail",
        "the swap for the tail is one step; a second one finds no lease, and leaves no fresh tail \
         by which a woken daemon would open the fence again",
        "D10",
    )
    .briefly()
    .knows(CLIENT, LAN_UNIT)
    .knows(SERVER, WAN_UNIT)
    .active()
    .quietly(Act::Release)
    .mark()
    .ignores(CLIENT, LAN_VIRTUAL)
    .told(Act::Release, Told::Lapsed)
    .rests(SHORT_TAIL / 3)
    .told(Act::Release, Told::Lapsed)
    .forwards(CLIENT, SERVER, LAN_UNIT)
    .by(SHORT_TAIL.saturating_sub(Duration::from_millis(100)))
    .rests(SHORT_TAIL.saturating_add(SURELY))
    .holds_back(CLIENT, SERVER, LAN_UNIT);
    vec![
        over(known)
            .forwards(CLIENT, SERVER, LAN_UNIT)
            .by(in_tail)
            .rests(SHORT_LEASE + SHORT_TAIL + SURELY)
            .holds_back(CLIENT, SERVER, LAN_UNIT)
            .answers(PEER, super::super::ground::CABLE_UNIT),
        released,
    ]
}
