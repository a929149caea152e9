//! The lease in a gateway's kernel, as far as frames show it.
//!
//! A frame marked active passes the kernel's guard only while the lease lives, and refreshes it for
//! the time that the frame itself tells. So the lease lives from such a frame until that time after
//! the last of them, at most: a frame that speaks as a standby, or the loss of power, ends it
//! before. The limit: an offer makes it shorter, by a time that no frame tells.

use steadfast_scenarios::trace::{EventKind, GatewayName, PowerState};

use super::{Bar, lasting};
use crate::report::evidence::Evidence;

/// Marks that the guard reads.
const STANDBY: u8 = 1;
const ACTIVE: u8 = 2;

/// What ends, begins or refreshes a lease, and when.
enum Sign {
    Ends,
    /// This frame, for so many nanoseconds.
    Refreshes(u32, u64),
}

/// The times in which a gateway may have had a lease; none without frames.
pub(super) fn bars(evidence: &Evidence, place: usize) -> Vec<Bar> {
    let gateway = &evidence.names.gateways[place];
    let mut bars: Vec<Bar> = Vec::new();
    let mut live = false;
    for (at, sign) in signs(evidence, gateway) {
        match (sign, bars.last_mut()) {
            (Sign::Ends, Some(bar)) if live => {
                bar.until = bar.until.min(at);
                live = false;
            }
            (Sign::Ends, _) => {}
            (Sign::Refreshes(_, lease), Some(bar)) if live && at <= bar.until => {
                bar.until = at.saturating_add(lease);
            }
            (Sign::Refreshes(frame, lease), _) => {
                bars.push(begun(at, frame, lease, place));
                live = true;
            }
        }
    }
    let end = evidence.end().as_nanos();
    bars.iter_mut()
        .for_each(|bar| bar.until = bar.until.min(end));
    bars
}

fn begun(at: u64, frame: u32, lease: u64, place: usize) -> Bar {
    Bar {
        from: at,
        until: at.saturating_add(lease),
        kind: "serves",
        text: format!("lease of {}", lasting(lease)),
        why: "ends at most so long after the last frame that refreshed it".to_owned(),
        frame: Some(frame),
        node: Some(place),
        ..Bar::default()
    }
}

/// In order of time.
fn signs(evidence: &Evidence, gateway: &GatewayName) -> Vec<(u64, Sign)> {
    let capture = &evidence.capture;
    let suffix = format!(".{}", gateway.name);
    let own = |at: usize| {
        capture
            .interfaces
            .get(at)
            .is_some_and(|name| name.ends_with(&suffix))
    };
    let sent = capture
        .frames
        .iter()
        .filter(|frame| frame.outbound && own(frame.interface));
    let mut signs: Vec<_> = sent
        .filter_map(|frame| {
            let ours = frame.decoded.ours.filter(|it| it.sender == gateway.id.0)?;
            let sign = match ours.mark {
                STANDBY => Sign::Ends,
                ACTIVE => Sign::Refreshes(frame.number, ours.lease),
                _ => return None,
            };
            Some((frame.at.as_nanos(), sign))
        })
        .collect();
    if signs.is_empty() {
        return signs;
    }
    signs.extend(evidence.events.iter().filter_map(|event| match event.kind {
        EventKind::Power {
            gateway: id,
            state: PowerState::Off,
        } if id == gateway.id => Some((event.at.as_nanos(), Sign::Ends)),
        _ => None,
    }));
    signs.sort_by_key(|(at, _)| *at);
    signs
}
