//! Sessions from both ends: who is believed, when, and what a replay is worth (D3).

use core::time::Duration;

use super::{Admission, Peer, RoundTrip};
use crate::config::{PortAction, PortConfig};
use crate::role::{ConfiguredRole, EffectiveRole};
use crate::wire::advert::{Advert, Echo, Flags, HealthClass, Heard, Kind, RoleMark};
use crate::{BootId, ClusterId, Epoch, Instant, MacAddr, NodeId, PortId};

const OWN: NodeId = NodeId(2);
const OTHER: NodeId = NodeId(1);
const SECRET: [u8; 32] = [2; 32];
const CABLE: usize = 0;
const LAN: usize = 1;

fn ports() -> Vec<PortConfig> {
    let port = |id: u8| PortConfig {
        id: PortId(id),
        name: format!("port{id}"),
        mac: MacAddr([2, 0, 0, 0, 0, id]),
        direct: false,
        heartbeat: true,
        secondary: false,
        watched: false,
        units: Vec::new(),
        virtuals: Vec::new(),
        virtual_mac: None,
        action: PortAction::Add,
        neighbour: None,
        via: None,
    };
    vec![port(0), port(1)]
}

/// One daemon's life at one end of the wire: what it knows of the other, and its counter.
struct End {
    own: NodeId,
    boot: BootId,
    secret: [u8; 32],
    counter: u64,
    peer: Peer,
}

impl End {
    fn new(own: NodeId, other: NodeId, life: u8) -> Self {
        let secret = [life; 32];
        let peer = Peer::new(other, Vec::new(), 2, &secret);
        Self {
            own,
            boot: BootId(u64::from(life)),
            secret,
            counter: 0,
            peer,
        }
    }

    /// The next message; `candidate` answers a frame that was not proven.
    fn says(&mut self, mark: RoleMark, candidate: bool) -> Advert {
        self.counter += 1;
        advert(
            self.own,
            self.boot,
            self.counter,
            mark,
            self.peer.echo(&ports(), candidate),
        )
    }

    fn hears(&mut self, advert: &Advert, port: usize, millis: u64) -> Admission {
        let at = Instant::from_millis(millis);
        self.peer.admit(advert, self.own, port, at, &self.secret)
    }
}

fn advert(sender: NodeId, boot: BootId, counter: u64, mark: RoleMark, echo: Echo) -> Advert {
    Advert {
        kind: Kind::Advert,
        mark,
        active_groups: 0,
        cluster: ClusterId([0; 16]),
        virtual_router: 1,
        sender,
        path: PortId(0),
        boot,
        counter,
        configured: ConfiguredRole::Any,
        effective: EffectiveRole::Standby,
        health: HealthClass(0),
        priority: 100,
        flags: Flags::default(),
        epoch: Epoch(0),
        handover: 0,
        ports_down: 0,
        interval: Duration::from_millis(100),
        lease: Duration::from_millis(300),
        config_digest: 0,
        facts_digest: 0,
        interfaces_digest: 0,
        version: 0,
        macs: Vec::new(),
        echoes: vec![echo],
        grant: None,
        waits: Vec::new(),
        certificate: None,
    }
}

/// Two ends that have proven each other: the first frame, its answer, and the answer to that.
fn proven() -> (End, End) {
    let (mut one, mut two) = (End::new(OTHER, OWN, 1), End::new(OWN, OTHER, 2));
    introduce(&mut one, &mut two);
    (one, two)
}

/// One round trip that starts with a frame of `newcomer`.
fn introduce(newcomer: &mut End, resident: &mut End) {
    let hello = newcomer.says(RoleMark::Standby, false);
    assert_eq!(resident.hears(&hello, CABLE, 1), Admission::Unproven);
    let answer = resident.says(RoleMark::Standby, true);
    assert_eq!(newcomer.hears(&answer, CABLE, 2), Admission::NewLife);
    let back = newcomer.says(RoleMark::Standby, false);
    assert_eq!(resident.hears(&back, CABLE, 3), Admission::NewLife);
}

/// Strangers prove each other in one round trip, and stay proven without a further question.
#[test]
fn session_two_strangers_prove_each_other_in_one_round_trip() {
    let (mut one, mut two) = proven();
    for millis in 4..10 {
        let word = one.says(RoleMark::Active, false);
        assert_eq!(two.hears(&word, CABLE, millis), Admission::Fresh);
        let word = two.says(RoleMark::Standby, false);
        assert_eq!(one.hears(&word, CABLE, millis), Admission::Fresh);
    }
}

/// A recorded life of the sender, played again after its successor was proven, answers a challenge
/// that is no longer asked: it is not believed, and nothing known of the new life changes.
#[test]
fn session_replayed_past_life_is_unproven() {
    let (mut first, mut two) = proven();
    let recorded: Vec<Advert> = (0..5)
        .map(|_| first.says(RoleMark::Active, false))
        .collect();
    for (word, millis) in recorded.iter().zip(4..) {
        assert_eq!(two.hears(word, CABLE, millis), Admission::Fresh);
    }
    let mut second = End::new(OTHER, OWN, 11);
    introduce(&mut second, &mut two);
    let heard_at = two.peer.heard_at;
    for word in &recorded {
        assert_eq!(two.hears(word, LAN, 50), Admission::Unproven);
    }
    assert_eq!(two.peer.heard_at, heard_at, "a replay is no sign of life");
    assert_eq!(
        two.peer.paths[LAN].heard_at, None,
        "nor does it open a path"
    );
    let word = second.says(RoleMark::Standby, false);
    assert_eq!(two.hears(&word, CABLE, 51), Admission::Fresh);
}

/// Also before the new life has spoken: the replay of the life before the last is unproven.
#[test]
fn session_replay_of_the_life_before_the_last_is_unproven() {
    let (mut first, mut two) = proven();
    let recorded = first.says(RoleMark::Active, false);
    two.hears(&recorded, CABLE, 4);
    for life in [11, 12] {
        introduce(&mut End::new(OTHER, OWN, life), &mut two);
    }
    assert_eq!(two.hears(&recorded, CABLE, 60), Admission::Unproven);
}

/// A woken daemon reads path by path: what was sent before the newest frame heard on *any* path is
/// ignored (facts-lapse, trap 2: claim ping-pong without it). On a path that has not brought it yet
/// it shows that this one is alive and slow, once.
#[test]
fn session_older_counter_is_ignored_on_every_path() {
    let (mut one, mut two) = proven();
    let before = one.says(RoleMark::Standby, false);
    let claim = one.says(RoleMark::Active, false);
    assert_eq!(two.hears(&claim, CABLE, 10), Admission::Fresh);
    assert_eq!(two.hears(&before, CABLE, 11), Admission::Stale);
    assert_eq!(two.hears(&before, LAN, 11), Admission::Late);
    assert_eq!(two.hears(&before, LAN, 12), Admission::Stale);
    assert_eq!(two.peer.heard_at, Some(Instant::from_millis(10)));
    let path = &two.peer.paths[LAN];
    assert_eq!(path.heard_at, Some(Instant::from_millis(11)), "the path");
}

/// The second copy of the newest message shows that its path is alive, and nothing else; the third,
/// on a path that had it, is stale.
#[test]
fn session_same_counter_marks_another_path_once() {
    let (mut one, mut two) = proven();
    let word = one.says(RoleMark::Active, false);
    assert_eq!(two.hears(&word, CABLE, 10), Admission::Fresh);
    assert_eq!(two.hears(&word, LAN, 12), Admission::PathOnly);
    assert_eq!(
        two.peer.paths[LAN].heard_at,
        Some(Instant::from_millis(12)),
        "the path"
    );
    assert_eq!(
        two.peer.heard_at,
        Some(Instant::from_millis(10)),
        "the peer"
    );
    assert_eq!(two.hears(&word, CABLE, 13), Admission::Copy);
    assert_eq!(two.hears(&word, LAN, 13), Admission::Copy);
}

/// A receiver that lost its memory asks a new challenge and believes again after one round trip:
/// no clock, no stored counter.
#[test]
fn session_restarted_receiver_proves_its_peer_again_in_one_round_trip() {
    let (mut one, _) = proven();
    let mut two = End::new(OWN, OTHER, 22);
    let running = one.says(RoleMark::Active, false);
    assert_eq!(two.hears(&running, CABLE, 10), Admission::Unproven);
    assert!(
        two.peer.latest.is_none() && two.peer.heard_at.is_none(),
        "not believed yet"
    );
    let question = two.says(RoleMark::Standby, true);
    assert_eq!(
        one.hears(&question, CABLE, 11),
        Admission::NewLife,
        "it repeats our challenge"
    );
    let word = one.says(RoleMark::Active, false);
    assert_eq!(two.hears(&word, CABLE, 12), Admission::NewLife);
}

/// An unproven frame that says "active" is remembered as such, to delay a claim; one that does not
/// leaves no trace.
#[test]
fn session_unproven_active_is_noted_and_nothing_more() {
    let mut two = End::new(OWN, OTHER, 2);
    let mut stranger = End::new(OTHER, OWN, 1);
    let quiet = stranger.says(RoleMark::Standby, false);
    two.hears(&quiet, CABLE, 1);
    assert_eq!(two.peer.unproven_active_at, None);
    let loud = stranger.says(RoleMark::Active, false);
    two.hears(&loud, CABLE, 2);
    assert_eq!(two.peer.unproven_active_at, Some(Instant::from_millis(2)));
    assert!(!two.peer.says_active(), "it is not believed");
}

/// Paths heard in a past life are not told as heard in the new one: the echo is evidence (D12).
#[test]
fn session_new_life_forgets_the_paths_of_the_old_one() {
    let (mut first, mut two) = proven();
    let word = first.says(RoleMark::Active, false);
    two.hears(&word, CABLE, 10);
    two.hears(&word, LAN, 10);
    introduce(&mut End::new(OTHER, OWN, 11), &mut two);
    let echo = two.peer.echo(&ports(), false);
    assert_eq!(echo.boot, BootId(11));
    let heard: Vec<PortId> = echo.heard.iter().map(|heard| heard.path).collect();
    assert_eq!(heard, [PortId(0)], "the new life came in on the cable only");
}

/// An echo speaks of one life: "heard counter 7" of a past life is not "heard" of this one.
#[test]
fn session_echo_of_a_past_life_is_no_proof_of_hearing() {
    let (mut one, mut two) = proven();
    let word = two.says(RoleMark::Standby, false);
    one.hears(&word, CABLE, 10);
    let reply = one.says(RoleMark::Active, false);
    two.hears(&reply, CABLE, 11);
    two.peer.latest = Some(reply);
    assert!(two.peer.has_heard(OWN, BootId(2), word.counter));
    assert!(
        !two.peer.has_heard(OWN, BootId(2), word.counter + 1),
        "not what came later"
    );
    assert!(
        !two.peer.has_heard(OWN, BootId(22), 1),
        "not another life of ours"
    );
}

/// Challenges differ between peers, lives and generations, and are never 0, which means "none".
#[test]
fn session_challenges_never_repeat() {
    let mut seen = Vec::new();
    for life in 1..5 {
        for node in 1..5 {
            for generation in 0..5 {
                seen.push(super::derive(&[life; 32], &[node], generation));
            }
        }
    }
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), count);
    assert!(!seen.contains(&0));
    assert_ne!(
        super::derive(&SECRET, b"boot", 0),
        super::derive(&SECRET, &[1], 0),
        "a life's name tells nothing of its challenges"
    );
}

/// One late answer may be a box that stood still, and several at once what a router kept: that
/// widens nothing. A second one is the path, and counts at once; then it takes 22 half seconds to
/// forget half of it, however often is asked (D7).
#[test]
fn peer_round_trip_counts_what_was_seen_twice_and_forgets_slowly() {
    let ms = Duration::from_millis;
    let at = |millis| Instant::ORIGIN.after(ms(millis));
    let mut measured = RoundTrip::default();
    measured.note(ms(200), at(0));
    measured.note(ms(190), at(1));
    for turn in 1..4 {
        measured.note(Duration::from_micros(100), at(500 * turn));
    }
    assert!(measured.usual_longest() <= Duration::from_micros(100));
    for every in [1, 5] {
        let mut measured = RoundTrip::default();
        measured.note(ms(20), at(0));
        measured.note(ms(20), at(20));
        let widened = measured.usual_longest();
        assert!(widened >= ms(19), "{widened:?}");
        for turn in 1..=22 * every {
            let more = 500 * turn / every;
            measured.note(Duration::from_micros(100), at(20 + more));
        }
        let after = measured.usual_longest();
        let forgot = after <= widened * 51 / 100 && after >= widened * 45 / 100;
        assert!(forgot, "{after:?}");
    }
}

/// What a third party heard of the peer.
fn told(boot: BootId, counter: u64) -> Echo {
    let heard = Heard {
        path: PortId(0),
        counter,
    };
    Echo {
        node: OTHER,
        boot,
        heard: vec![heard],
        ..Echo::default()
    }
}

/// Only what is newer than everything known of this very life is a sign of life, and only once.
#[test]
fn third_party_tells_news_once_and_of_this_life_alone() {
    let (mut one, mut two) = proven();
    let word = one.says(RoleMark::Active, false);
    two.hears(&word, CABLE, 4);
    let life = one.boot;
    assert!(!two.peer.vouched_for(&told(life, one.counter)), "known");
    assert!(two.peer.vouched_for(&told(life, one.counter + 1)), "news");
    assert!(!two.peer.vouched_for(&told(life, one.counter + 1)), "told");
    assert!(
        !two.peer.vouched_for(&told(BootId(77), 1_000)),
        "another life"
    );
    let mut again = End::new(OTHER, OWN, 5);
    introduce(&mut again, &mut two);
    assert!(!two.peer.vouched_for(&told(life, 1_000)), "the life before");
    assert!(two.peer.vouched_for(&told(again.boot, again.counter + 1)));
}

/// Who was never heard cannot be vouched for: nothing is known that could be newer.
#[test]
fn third_party_vouches_for_nobody_unheard() {
    let mut two = End::new(OWN, OTHER, 2);
    assert!(!two.peer.vouched_for(&told(BootId(1), 5)));
}

/// Words that come on time are missed soon, those of a slow path later, and never later than was
/// configured: what is lost teaches no more than what is as late as that (D7).
#[test]
fn peer_lateness_is_learnt_within_what_is_allowed() {
    let micros = Duration::from_micros;
    let allowed = micros(5_000);
    let lateness = |late: [u64; 4]| {
        let mut two = End::new(OWN, OTHER, 2);
        for (turn, late) in (1..).zip(late) {
            let due = Instant::ORIGIN.after(micros(100_000 * turn));
            two.peer
                .note_lateness(due, due.after(micros(late)), allowed);
        }
        two.peer.lateness(allowed)
    };
    assert_eq!(lateness([0, 50, 20, 0]), micros(1_000));
    assert_eq!(lateness([0, 9_000, 20, 0]), micros(1_000), "one event");
    assert_eq!(lateness([700, 900, 20, 0]), micros(1_400));
    assert_eq!(lateness([90_000, 90_000, 0, 0]), allowed);
    for (allowed, least) in [(2, 0.4), (5, 1.0), (20, 16.0), (150, 146.0)] {
        let allowed = Duration::from_millis(allowed);
        let ms = super::least_lateness(allowed).as_secs_f64() * 1e3;
        assert!((ms - least).abs() < 1e-6, "{allowed:?}: {ms}");
    }
}
