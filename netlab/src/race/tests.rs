//! The race's statistics on small runs made by hand.

use steadfast_core::NodeId;
use steadfast_scenarios::SegmentId;
use steadfast_scenarios::trace::{GatewayName, SegmentName};

use super::*;

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const OUT: StreamId = StreamId(0);

fn names() -> Names {
    let gateway = |id, name: &str| GatewayName {
        id,
        name: name.to_owned(),
    };
    Names {
        gateways: vec![gateway(A, "a"), gateway(B, "b")],
        segments: vec![SegmentName {
            name: "lan".to_owned(),
            addresses: 1,
            virtual_mac: false,
        }],
        ..Names::default()
    }
}

fn owner(millis: u64, gateway: NodeId, answered: bool) -> Event {
    let kind = EventKind::Owner {
        segment: SegmentId(0),
        gateway,
        address: 0,
        answered,
    };
    Event::new(Instant::from_millis(millis), kind)
}

/// Probes each millisecond from 1 to 100 ms; those in `lost` never arrive.
fn probes(lost: core::ops::Range<u64>) -> Vec<Event> {
    let mut events = Vec::new();
    for millis in 1..=100_u64 {
        let (at, seq) = (Instant::from_millis(millis), u32::try_from(millis).unwrap());
        events.push(Event::new(at, EventKind::ProbeSent { stream: OUT, seq }));
        if !lost.contains(&millis) {
            let kind = EventKind::ProbeReceived {
                stream: OUT,
                seq,
                sent_at: at,
                via: None,
            };
            events.push(Event::new(at, kind));
        }
    }
    events
}

fn cost(mut events: Vec<Event>) -> Cost {
    events.sort_by_key(|event| event.at);
    let window = Window {
        from: Instant::from_millis(20),
        to: Instant::from_millis(80),
    };
    Cost::of(&names(), &events, window)
}

/// The gap is from the last arrival before to the first after; only the window counts.
#[test]
fn race_cost_counts_gap_and_losses_in_the_window() {
    let seen = cost(probes(50..57));
    assert_eq!(seen.gap(), Duration::from_millis(8));
    assert_eq!(seen.lost.values().sum::<u32>(), 7);
    let outside = cost(probes(85..95));
    assert_eq!(
        (
            outside.gap().as_millis(),
            outside.lost.values().sum::<u32>()
        ),
        (1, 0)
    );
    let never_back = cost(probes(50..101));
    assert_eq!(never_back.gap(), Duration::from_millis(31));
    assert!(!seen.blind);
}

/// Two owners and none are summed up; before the first owner, none is no outage.
#[test]
fn race_cost_sums_up_owners() {
    let events = vec![
        owner(25, A, true),
        owner(40, B, true),
        owner(43, A, false),
        owner(50, B, false),
        owner(54, A, true),
    ];
    let seen = cost(events);
    assert_eq!(seen.two_owners, Duration::from_millis(3));
    assert_eq!(seen.no_owner, Duration::from_millis(4));
}

/// A hole in the evidence inside the window spoils the run, one outside does not.
#[test]
fn race_cost_knows_blind_runs() {
    let blind = |since, at| {
        let (since, why) = (Instant::from_millis(since), String::new());
        let kind = EventKind::Blind { since, why };
        cost(vec![Event::new(Instant::from_millis(at), kind)]).blind
    };
    assert!(blind(10, 25));
    assert!(!blind(1, 9));
    assert!(!blind(81, 90));
}

/// Quantiles lie between neighbours in proportion; the interval is the same each time and holds the
/// ratio of the medians.
#[test]
fn race_interval_holds_the_ratio() {
    assert!((quantile(&[1.0, 2.0, 4.0], 0.5) - 2.0).abs() < 1e-9);
    assert!((quantile(&[1.0, 2.0], 0.25) - 1.25).abs() < 1e-9);
    assert!(quantile(&[], 0.5).abs() < 1e-9);
    let (ours, theirs) = (
        [5.0, 6.0, 7.0, 8.0, 9.0],
        [340.0, 345.0, 350.0, 355.0, 360.0],
    );
    let [low, high] = interval(&ours, &theirs);
    assert!(low <= 7.0 / 350.0 && 7.0 / 350.0 <= high && low < high);
    assert_eq!(interval(&ours, &theirs), [low, high]);
}
