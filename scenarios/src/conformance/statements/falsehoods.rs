//! Statements that are false, of each kind that a suite must be able to refuse.
//!
//! They say the opposite of a statement that holds: a frame that does not leave, one that is not
//! expected, another sender, another state, another answer to a program, an end that does not come.

use super::super::ground::{CLIENT, LAN, LAN_UNIT, LAN_VIRTUAL, SERVER, THIEF, v4};
use super::super::statement::{Act, SHORT_LEASE, SURELY};
use super::super::{EntryState, Seen, Statement, Told};
use super::super::{frames, ground};

const WHERE: &str = "nowhere: it is false";

/// Statements that must fail on every machine that can be tried.
pub fn falsehoods() -> Vec<Statement> {
    vec![
        Statement::new("false_silence", "nobody answers for a unit address", WHERE)
            .ignores(CLIENT, LAN_UNIT),
        Statement::new("false_answer", "a stranger's address is answered", WHERE)
            .answers(CLIENT, v4([10, 0, 1, 77])),
        Statement::new("false_sender", "another station answers", WHERE).hears(
            CLIENT,
            frames::question(CLIENT, LAN_UNIT),
            [Seen {
                from: THIEF.mac,
                ..Seen::answer(CLIENT, LAN_UNIT)
            }],
        ),
        Statement::new("false_entry", "who asks is reachable", WHERE)
            .knows(CLIENT, LAN_UNIT)
            .entry(CLIENT, LAN_UNIT, Some((EntryState::Reachable, CLIENT.mac))),
        Statement::new("false_fence", "a fenced gateway answers for all", WHERE)
            .held()
            .answers(CLIENT, LAN_VIRTUAL),
        Statement::new("false_tail", "a tail answers questions", WHERE)
            .active()
            .quietly(Act::Release)
            .answers(CLIENT, LAN_VIRTUAL),
        Statement::new("false_lapse", "a lease ends at half its time", WHERE)
            .briefly()
            .active()
            .mark()
            .rests(SHORT_LEASE / 2)
            .ignores(CLIENT, LAN_VIRTUAL)
            .by(SHORT_LEASE - SURELY),
        Statement::new("false_life", "a lease does not end", WHERE)
            .briefly()
            .active()
            .mark()
            .rests(SHORT_LEASE + SURELY)
            .answers(CLIENT, LAN_VIRTUAL),
        Statement::new("false_guard", "an active frame needs no lease", WHERE).step(
            Act::Transmit(LAN, frames::advertisement(ground::mac(LAN), 2)),
            Vec::new(),
            Told::Nothing,
        ),
        Statement::new("false_hops", "a gateway takes no hop", WHERE)
            .knows(CLIENT, LAN_UNIT)
            .knows(SERVER, ground::WAN_UNIT)
            .active()
            .hears(
                CLIENT,
                frames::datagram(CLIENT, ground::mac(LAN), (CLIENT.v4, SERVER.v4), 9),
                [Seen::datagram(SERVER, (CLIENT.v4, SERVER.v4), 9)],
            ),
    ]
}
