//! What the wire has shown, event by event.

use proptest::prelude::*;
use steadfast_core::Epoch;
use steadfast_core::role::EffectiveRole;

use super::*;
use crate::trace::{GatewayName, HostName, SegmentName};

const GATEWAYS: u8 = 3;
const SEGMENTS: u8 = 2;
const ADDRESSES: u16 = 3;

fn names() -> Names {
    let gateway = |id| GatewayName {
        id: NodeId(id),
        name: format!("g{id}"),
    };
    let segment = |id| SegmentName {
        name: format!("s{id}"),
        addresses: ADDRESSES,
        virtual_mac: false,
    };
    Names {
        gateways: (1..=GATEWAYS).map(gateway).collect(),
        segments: (0..SEGMENTS).map(segment).collect(),
        hosts: vec![HostName {
            name: "h".to_owned(),
            segment: SegmentId(1),
        }],
        ..Names::default()
    }
}

fn event(at: u64, kind: EventKind) -> Event {
    Event::new(Instant::from_millis(at), kind)
}

fn owner(segment: u8, gateway: u8, address: u16, answered: bool) -> EventKind {
    let (segment, gateway) = (SegmentId(segment), NodeId(gateway));
    EventKind::Owner {
        segment,
        gateway,
        address,
        answered,
    }
}

proptest! {
    /// The counts kept on the way equal a fresh count of who answers, after any answers.
    #[test]
    fn picture_counts_equal_a_recount(
        answers in prop::collection::vec((0..SEGMENTS, 1..=GATEWAYS, 0..ADDRESSES, any::<bool>()),
                                         0..60)
    ) {
        let mut picture = Picture::new(&names());
        let mut held = BTreeSet::new();
        for (segment, gateway, address, answered) in answers {
            picture.observe(&event(0, owner(segment, gateway, address, answered)));
            if answered {
                held.insert((segment, address, gateway));
            } else {
                held.remove(&(segment, address, gateway));
            }
        }
        for segment in 0..SEGMENTS {
            let count = |address| held.range((segment, address, 0)..=(segment, address, 9)).count();
            let id = SegmentId(segment);
            prop_assert_eq!(picture.contested(id), (0..ADDRESSES).any(|at| count(at) > 1));
            prop_assert_eq!(picture.unowned(id), (0..ADDRESSES).any(|at| count(at) == 0));
            let full = |gateway: &u8| (0..ADDRESSES)
                .all(|at| count(at) == 1 && held.contains(&(segment, at, *gateway)));
            let sole = (1..=GATEWAYS).find(full).map(NodeId);
            prop_assert_eq!(picture.sole_owner(id), sole);
        }
    }
}

/// The active is who answers for most; the standby is who runs and is not it.
#[test]
fn picture_active_and_standby() {
    let mut picture = Picture::new(&names());
    assert_eq!((picture.active(), picture.standby()), (None, None));
    for gateway in [NodeId(2), NodeId(3)] {
        picture.observe(&event(
            0,
            EventKind::Power {
                gateway,
                state: PowerState::Running,
            },
        ));
        picture.observe(&event(
            0,
            EventKind::Process {
                gateway,
                state: ProcessState::Running,
            },
        ));
    }
    picture.observe(&event(1, owner(0, 2, 0, true)));
    picture.observe(&event(1, owner(0, 3, 1, true)));
    assert_eq!(picture.active(), Some(NodeId(2)), "the lower id of equals");
    picture.observe(&event(1, owner(1, 3, 1, true)));
    assert_eq!(
        (picture.active(), picture.standby()),
        (Some(NodeId(3)), Some(NodeId(2)))
    );
    picture.observe(&event(
        2,
        EventKind::Frozen {
            gateway: NodeId(2),
            frozen: true,
        },
    ));
    assert_eq!(picture.standby(), None);
}

/// A dead daemon says nothing any more; a stopped one has only fallen silent.
#[test]
fn picture_status_dies_with_its_daemon() {
    let gateway = NodeId(1);
    let mut picture = Picture::new(&names());
    let status = EventKind::Status {
        gateway,
        role: EffectiveRole::Active,
        since: Instant::ORIGIN,
        epoch: Epoch(1),
        why: "x".to_owned(),
    };
    let process = |state| EventKind::Process { gateway, state };
    picture.observe(&event(
        0,
        EventKind::Power {
            gateway,
            state: PowerState::Running,
        },
    ));
    picture.observe(&event(0, process(ProcessState::Running)));
    picture.observe(&event(1, status));
    picture.observe(&event(2, process(ProcessState::Stopped)));
    let view = picture.gateway(gateway).unwrap();
    assert!(view.status.is_some() && !view.runs());
    picture.observe(&event(3, process(ProcessState::Killed)));
    let view = picture.gateway(gateway).unwrap();
    assert_eq!(
        (view.status.as_ref(), view.down_since),
        (None, Some(Instant::from_millis(2)))
    );
}

/// What has no name and what comes out of order is counted and does no harm.
#[test]
fn picture_strange_events_are_counted() {
    let mut picture = Picture::new(&names());
    picture.observe(&event(5, owner(0, 9, 0, true)));
    picture.observe(&event(5, owner(7, 1, 0, true)));
    picture.observe(&event(5, owner(0, 1, 99, true)));
    let nobody = EventKind::Neighbour {
        host: HostId(4),
        address: 0,
        holder: Holder::Other,
    };
    picture.observe(&event(5, nobody));
    assert_eq!(picture.strange_count(), 4);
    picture.observe(&event(4, EventKind::End));
    assert_eq!(
        (picture.strange_count(), picture.now()),
        (5, Instant::from_millis(5))
    );
}
