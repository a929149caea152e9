//! What a stream must do when its cable, its peer's box or its peer's process goes; told once, and
//! played in whichever world this is built for.

use std::collections::BTreeMap;
use std::time::Duration;

use steadfast_core::Rules;
use steadfast_scenarios::Scenario;
use steadfast_scenarios::format::Plan;
use steadfast_shell::env::Clock as _;
use steadfast_shell::habits::Habits;
use steadfast_shell::streams::{DEADLINE, DEADLINE_GRAIN};

use super::*;
use crate::shelled::hosts::{Guest, Guests};

/// Between two words of the caller.
const PAUSE: Duration = Duration::from_millis(50);
/// A world's own lateness: bounds here are on what the stream does.
const SLACK: Duration = Duration::from_millis(10);
/// When the fault comes.
const FAULT: Instant = Instant::from_nanos(4_000_000_000);

/// What the programs at both ends saw.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    /// The caller has a stream.
    Connected,
    /// The caller got none.
    Refused(io::ErrorKind),
    /// The caller heard its own word again.
    Echoed(u32),
    /// A stream ended at the caller's end.
    CallerEnded(io::ErrorKind),
    /// A stream ended at the other end.
    EchoEnded(io::ErrorKind),
}

type Log = Rc<RefCell<Vec<(Instant, Seen)>>>;

/// Opens a stream to the second gateway, again and again, and says a number each [`PAUSE`].
fn caller<G: Ground>(log: &Log, to: IpAddr) -> Guest<G> {
    let log = Rc::clone(log);
    Rc::new(move |seated: Seated<G>| {
        let log = Rc::clone(&log);
        Box::pin(async move {
            let note = |seen| log.borrow_mut().push((seated.now(), seen));
            let mut word = 0_u32;
            loop {
                match seated.connect(PortId(0), to).await {
                    Ok(mut stream) => {
                        note(Seen::Connected);
                        let ended = loop {
                            word += 1;
                            match exchange(&mut stream, word).await {
                                Ok(()) => note(Seen::Echoed(word)),
                                Err(why) => break why.kind(),
                            }
                            seated.sleep_until(seated.now().after(PAUSE)).await;
                        };
                        note(Seen::CallerEnded(ended));
                    }
                    Err(why) => note(Seen::Refused(why.kind())),
                }
                seated.sleep_until(seated.now().after(PAUSE)).await;
            }
        })
    })
}

async fn exchange(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), word: u32) -> io::Result<()> {
    stream.write_all(&word.to_be_bytes()).await?;
    stream.flush().await?;
    let echo = stream.read_u32().await?;
    assert_eq!(echo, word, "a stream loses, doubles and swaps nothing");
    Ok(())
}

async fn say_again(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    let word = stream.read_u32().await?;
    stream.write_all(&word.to_be_bytes()).await?;
    stream.flush().await
}

/// Says again whatever it hears, on one stream after the other.
fn echo<G: Ground>(log: &Log) -> Guest<G> {
    let log = Rc::clone(log);
    Rc::new(move |seated: Seated<G>| {
        let log = Rc::clone(&log);
        Box::pin(async move {
            while let Ok(Accepted {
                mut stream,
                port,
                from,
            }) = seated.accept().await
            {
                assert_eq!((port, from.is_ipv4()), (PortId(0), true));
                let ended = loop {
                    if let Err(why) = say_again(&mut stream).await {
                        break why.kind();
                    }
                };
                log.borrow_mut()
                    .push((seated.now(), Seen::EchoEnded(ended)));
            }
        })
    })
}

/// A pair without traffic, to which this is done.
fn plan(steps: &str) -> Plan {
    let text = format!(
        "format = 1\nname = \"streams\"\ntitle = \"streams\"\nclaims = [\"R6.2\"]\n\
         duration = \"14s\"\n\n{steps}"
    );
    let scenario = Scenario::parse("streams.toml", &text).expect("a valid scenario");
    scenario.resolve(7).expect("a plan")
}

fn step(at: &str, verb: &str, target: &str) -> String {
    format!("[[step]]\nat = \"{at}\"\ndo = \"{verb}\"\ntarget = \"{target}\"\n\n")
}

fn played(steps: &str) -> Vec<(Instant, Seen)> {
    let plan = plan(steps);
    let log = Log::default();
    let unit = plan.layout.gateways[1].ports[0].units[0];
    world::play(&plan, &log, unit);
    log.take()
}

/// The world that this is built for.
#[cfg(not(madsim))]
mod world {
    use super::*;
    use crate::turmoil::Theatre;

    pub(super) fn play(plan: &Plan, log: &Log, to: IpAddr) {
        let guests = Guests::of([(0, caller(log, to)), (1, echo(log))]);
        let theatre = Theatre::hosting(plan, Rules::complete(), Habits::complete(), guests);
        let mut theatre = theatre.expect("a playable plan");
        while theatre.step(&mut |_| {}).expect("a whole run") {}
    }
}

/// The same.
#[cfg(madsim)]
mod world {
    use super::*;

    pub(super) fn play(plan: &Plan, log: &Log, to: IpAddr) {
        let runtime = madsim::runtime::Runtime::with_seed_and_config(3, madsim::Config::default());
        let guests = Guests::of([(0, caller(log, to)), (1, echo(log))]);
        let (rules, habits) = (Rules::complete(), Habits::complete());
        let mut sink = |_: &_| {};
        let run = crate::madsim::hosting(plan, rules, habits, guests, None, &mut sink);
        let _cost = runtime.block_on(run).expect("a whole run");
    }
}

/// When somebody saw this for the first time after the fault.
fn first(seen: &[(Instant, Seen)], wanted: &Seen) -> Duration {
    let mut after = seen.iter().filter(|(at, _)| *at >= FAULT);
    let found = after.find(|(_, it)| it == wanted);
    let (at, _) = found.unwrap_or_else(|| panic!("no {wanted:?} in {seen:?}"));
    at.since(FAULT)
}

fn count(seen: &[(Instant, Seen)], is_wanted: impl Fn(&Seen) -> bool) -> usize {
    seen.iter().filter(|(_, it)| is_wanted(it)).count()
}

fn assert_dies_in_time(after: Duration) {
    let latest = DEADLINE + DEADLINE_GRAIN + SLACK;
    assert!(after >= DEADLINE && after <= latest, "after {after:?}");
}

/// A cut that heals before the deadline costs time: no byte is lost, no end is told.
#[test]
fn streams_short_cut_costs_time_and_no_byte() {
    let seen = played(&(step("4s", "link_down", "b.lan") + &step("6s", "link_up", "b.lan")));
    assert_eq!(count(&seen, |it| *it == Seen::Connected), 1, "{seen:?}");
    let ended = |it: &Seen| matches!(it, Seen::CallerEnded(_) | Seen::EchoEnded(_));
    assert_eq!(count(&seen, ended), 0);
    let echoes: BTreeMap<_, _> = seen.iter().filter_map(echoed).collect();
    let gap = echoes.values().zip(echoes.values().skip(1));
    let gap = gap.map(|(one, next)| next.since(*one)).max();
    let gap = gap.expect("echoes");
    assert!(
        gap >= Duration::from_millis(1_900) && gap <= Duration::from_millis(2_100),
        "{gap:?}"
    );
}

fn echoed((at, seen): &(Instant, Seen)) -> Option<(u32, Instant)> {
    match seen {
        Seen::Echoed(word) => Some((*word, *at)),
        _ => None,
    }
}

/// A cut cable kills both ends within the deadline, and nobody gets a new stream over it until it
/// is mended; then the caller gets one at once.
#[test]
fn streams_die_with_their_cable() {
    let seen = played(&(step("4s", "link_down", "b.lan") + &step("11s", "link_up", "b.lan")));
    let timed_out = io::ErrorKind::TimedOut;
    assert_dies_in_time(first(&seen, &Seen::CallerEnded(timed_out)));
    assert_dies_in_time(first(&seen, &Seen::EchoEnded(timed_out)));
    let again = first(&seen, &Seen::Connected);
    let mended = Duration::from_secs(7);
    assert!(
        again >= mended && again <= mended + DEADLINE_GRAIN,
        "{again:?}"
    );
}

/// A switch that dies takes the streams of its segment along, as does one that falls apart.
#[test]
fn streams_die_with_their_switch() {
    let dead = step("4s", "switch_off", "lan");
    let split =
        "[[step]]\nat = \"4s\"\ndo = \"segment_split\"\ntarget = \"lan\"\napart = [\"b\"]\n";
    for steps in [dead.as_str(), split] {
        let seen = played(steps);
        assert_dies_in_time(first(&seen, &Seen::CallerEnded(io::ErrorKind::TimedOut)));
        assert_dies_in_time(first(&seen, &Seen::EchoEnded(io::ErrorKind::TimedOut)));
    }
}

/// A box without power says no farewell: its peer finds out by the deadline, not before.
#[test]
fn streams_lost_power_is_found_out_by_the_deadline() {
    let seen = played(&step("4s", "power_off", "b"));
    assert_dies_in_time(first(&seen, &Seen::CallerEnded(io::ErrorKind::TimedOut)));
    assert_eq!(
        first(&seen, &Seen::Refused(io::ErrorKind::TimedOut)).as_secs(),
        6
    );
}

/// A process that is killed is buried by its kernel, which tells the peer at once; until another is
/// started nobody listens.
#[test]
fn streams_killed_peer_is_known_at_once() {
    let seen = played(&(step("4s", "kill", "b") + &step("8s", "start", "b")));
    let ended = seen.iter().find_map(|(at, it)| match it {
        Seen::CallerEnded(_) if *at >= FAULT => Some(at.since(FAULT)),
        _ => None,
    });
    assert!(
        ended.is_some_and(|after| after <= PAUSE + SLACK),
        "{ended:?}"
    );
    first(&seen, &Seen::Refused(io::ErrorKind::ConnectionRefused));
    let again = first(&seen, &Seen::Connected);
    assert!(again >= Duration::from_secs(4), "{again:?}");
}
