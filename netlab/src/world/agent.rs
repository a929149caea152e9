//! The daemon under test, as the world knows it: what it runs, what it can be told and asked.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;
use steadfast_core::diagnosis::Trouble;
use steadfast_core::effect::Alert;
use steadfast_core::role::EffectiveRole;
use steadfast_core::{Epoch, Instant, MacAddr, NodeId, PortId};
use steadfast_scenarios::SegmentId;
use steadfast_scenarios::format::{Capability, CommandName, Gateway, Plan, Segment, When};
use steadfast_scenarios::trace::EventKind;

use super::frames::told_of;
use crate::error::LabError;
use crate::ground::Wiring;
use crate::instruments::{RunClock, VirtualMacs};
use crate::lab::Lab;
use crate::machine::Setup;
use crate::wires::refuses;

/// The daemon under test, as the world knows it.
pub trait Agent {
    /// What this gateway runs in this plan: program, environment, files.
    ///
    /// # Errors
    /// A plan whose configuration the daemon cannot express, in words.
    fn setup(&self, plan: &Plan, gateway: &Gateway) -> Result<Setup, String>;

    /// The run begins: its time is this clock's.
    fn begin(&mut self, _clock: RunClock) {}

    /// What can be asked of it besides what every lab offers: commands, boots on record.
    fn offers(&self) -> BTreeSet<Capability>;

    /// What else this plan demands and it cannot be told, in words.
    fn lacks(&self, _plan: &Plan) -> Option<String> {
        None
    }

    /// The MAC that a segment's virtual addresses answer with, if it is no gateway's own.
    fn virtual_mac(&self, _plan: &Plan, _segment: SegmentId) -> Option<MacAddr> {
        None
    }

    /// The next thing its status said, and when it was heard; never waits. `run` is the gateway's
    /// `/run/steadfast`.
    fn status(&mut self, gateway: NodeId, run: &Path) -> Option<(Instant, Said)>;

    /// Passes an operator's command on; `run` as above.
    ///
    /// # Errors
    /// What it answered, or that it did not.
    fn command(&mut self, gateway: NodeId, run: &Path, command: CommandName) -> Result<(), String>;

    /// Has it read its changed files again; `run` as above.
    ///
    /// # Errors
    /// It cannot be told, or takes no changes while it runs.
    fn reload(&mut self, _gateway: NodeId, _run: &Path) -> Result<(), String> {
        Err("a daemon that reads its files again".to_owned())
    }

    /// A command that was denied before any node heard of it, if there was one: then the story that
    /// was to be played was not. One that takes no commands has none.
    fn unheard(&mut self) -> Option<String> {
        None
    }
}

/// What a daemon says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its role.
    pub role: EffectiveRole,
    /// Since when, in the run's time.
    pub since: Instant,
    /// Its epoch.
    pub epoch: Epoch,
    /// Why.
    pub why: String,
    /// Its alerts whose cause lasts.
    pub alerts: Vec<Alert>,
    /// Those that it raised lately, lasting or not, if it tells.
    pub raised: Option<Vec<Raised>>,
    /// Its ports, and whether each has carrier.
    pub ports: Vec<(PortId, bool)>,
    /// What it finds wrong around it.
    pub troubles: Vec<Trouble>,
}

/// An alert that was raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Raised {
    /// Counts the alerts of a life.
    pub number: u64,
    /// What.
    pub alert: Alert,
}

impl Said {
    /// Alerts that were raised since it said something before. One that was over soon is seen as
    /// well, where the daemon tells of each.
    fn raised_since(&self, before: Option<&Self>) -> Vec<Alert> {
        let Some(raised) = &self.raised else {
            let was = before.map_or(&[][..], |it| &it.alerts);
            let new = self.alerts.iter().filter(|alert| !was.contains(alert));
            return new.copied().collect();
        };
        let known = before.and_then(|it| it.raised.as_ref()?.last());
        let known = known.map_or(0, |last| last.number);
        let new = raised.iter().filter(|one| one.number > known);
        new.map(|one| one.alert).collect()
    }

    /// What is new beside what it said before, if it said anything in this life.
    pub(super) fn news(self, gateway: NodeId, before: Option<&Self>) -> Vec<EventKind> {
        let was = before.map_or(&[][..], |it| &it.alerts);
        let raised = self.raised_since(before);
        let told = |alert: &Alert, raised: bool| EventKind::Alert {
            gateway,
            alert: format!("{alert:?}"),
            raised,
        };
        let mut news: Vec<EventKind> = Vec::new();
        let same = |it: &Self| {
            let role = |it: &Self| (it.role, it.since, it.epoch, it.why.clone());
            role(it) == role(&self)
        };
        if !before.is_some_and(same) {
            news.push(EventKind::Status {
                gateway,
                role: self.role,
                since: self.since,
                epoch: self.epoch,
                why: self.why,
            });
        }
        news.extend(raised.iter().map(|alert| told(alert, true)));
        let over = was.iter().filter(|alert| !self.alerts.contains(alert));
        news.extend(over.map(|alert| told(alert, false)));
        let troubles = before.map_or(&[][..], |it| &it.troubles);
        news.extend(troubles_told(gateway, troubles, &self.troubles));
        let known = before.map_or(&[][..], |it| &it.ports);
        let ports = self.ports.iter().filter(|port| !known.contains(port));
        news.extend(ports.map(|&(port, up)| EventKind::PortStatus { gateway, port, up }));
        news
    }
}

/// What is found now and was not before, and what is over. What words say of a trouble, a count
/// perhaps, is no news.
fn troubles_told(gateway: NodeId, was: &[Trouble], is: &[Trouble]) -> Vec<EventKind> {
    let lacks = |list: &[Trouble], it: &Trouble| list.iter().all(|other| other.kind != it.kind);
    let told = |trouble: &Trouble, found: bool| EventKind::Trouble {
        gateway,
        kind: trouble.kind,
        problem: trouble.problem.clone(),
        found,
    };
    let over = was.iter().filter(|it| lacks(is, it));
    let begun = is.iter().filter(|it| lacks(was, it));
    let over = over.map(|it| told(it, false));
    over.chain(begun.map(|it| told(it, true))).collect()
}

/// Why this plan cannot be run in a lab that offers this, with this daemon: `not run: needs ...`.
pub fn missing(
    plan: &Plan,
    offers: &BTreeSet<Capability>,
    agent: &(impl Agent + ?Sized),
) -> Option<LabError> {
    let given = agent.offers();
    let known = |need: &Capability| offers.contains(need) || given.contains(need);
    if let Some(need) = plan.needs().into_iter().find(|need| !known(need)) {
        let word = serde_json::to_value(need).unwrap_or_default();
        return Some(LabError::Needs(
            word.as_str().unwrap_or("more").replace('_', " "),
        ));
    }
    let refused = plan.steps.iter().find_map(|step| refuses(&step.verb));
    if let Some(what) = refused {
        return Some(LabError::Needs(what.to_owned()));
    }
    let unseen = plan.steps.iter().find_map(|step| match &step.when {
        When::On(on) if !told_of(on.frame) => Some(on.frame),
        When::On(_) | When::At(_) => None,
    });
    let unseen = unseen.map(|kind| format!("instruments that tell of every {kind:?} frame"));
    unseen.or_else(|| agent.lacks(plan)).map(LabError::Needs)
}

/// What each segment's virtual addresses answer with, where that is no gateway's own.
pub fn virtual_macs(plan: &Plan, agent: &(impl Agent + ?Sized)) -> VirtualMacs {
    let of = |segment: &Segment| Some((segment.id, agent.virtual_mac(plan, segment.id)?));
    plan.layout.segments.iter().filter_map(of).collect()
}

/// A lab for this plan in which every gateway runs the agent's daemon.
///
/// # Errors
/// [`LabError::Needs`] for the first gateway that cannot be configured; else what the kernel
/// refuses.
pub fn build(plan: &Plan, agent: &(impl Agent + ?Sized), wiring: Wiring) -> Result<Lab, LabError> {
    let setups = setups(plan, agent).map_err(LabError::Needs)?;
    let mut lab = Lab::build(&plan.layout, wiring, |name| {
        let found = setups.iter().find(|(known, _)| known == name);
        found.map(|(_, setup)| setup.clone()).unwrap_or_default()
    })?;
    lab.invite(plan)?;
    Ok(lab)
}

/// What the agent's daemons run, by gateway.
///
/// # Errors
/// The first gateway that cannot be configured, in words.
fn setups(plan: &Plan, agent: &(impl Agent + ?Sized)) -> Result<Vec<(String, Setup)>, String> {
    let gateways = plan.layout.gateways.iter();
    let setup = |gateway: &Gateway| Ok((gateway.name.clone(), agent.setup(plan, gateway)?));
    gateways.map(setup).collect()
}

#[cfg(test)]
mod tests {
    use steadfast_core::diagnosis::TroubleKind;

    use super::*;

    const NODE: NodeId = NodeId(1);
    const PEER: Alert = Alert::PeerDown { peer: NodeId(2) };

    fn said(
        raised: Option<&[(u64, Alert)]>,
        open: &[Alert],
        found: &[(TroubleKind, &str)],
    ) -> Said {
        let raised = raised.map(|all| {
            let each = all.iter().copied();
            each.map(|(number, alert)| Raised { number, alert })
                .collect()
        });
        let trouble = |(kind, problem): &(TroubleKind, &str)| Trouble {
            kind: *kind,
            problem: (*problem).to_owned(),
            cure: "mend it".to_owned(),
        };
        Said {
            role: EffectiveRole::Standby,
            since: Instant::ORIGIN,
            epoch: Epoch(1),
            why: String::new(),
            alerts: open.to_vec(),
            raised,
            ports: Vec::new(),
            troubles: found.iter().map(trouble).collect(),
        }
    }

    fn alerts(events: Vec<EventKind>) -> Vec<(String, bool)> {
        let alert = |kind| match kind {
            EventKind::Alert { alert, raised, .. } => Some((alert, raised)),
            _ => None,
        };
        events.into_iter().filter_map(alert).collect()
    }

    /// An alert that came and went between two looks is seen, and the same one again is another.
    #[test]
    fn said_alerts_between_two_looks_are_seen() {
        let before = said(Some(&[(1, PEER)]), &[], &[]);
        let after = said(
            Some(&[(1, PEER), (2, Alert::ApplyFailed), (3, PEER)]),
            &[PEER],
            &[],
        );
        let told = |alert: Alert, raised| (format!("{alert:?}"), raised);
        let new = alerts(after.clone().news(NODE, Some(&before)));
        assert_eq!(new, [told(Alert::ApplyFailed, true), told(PEER, true)]);
        assert!(alerts(after.clone().news(NODE, Some(&after))).is_empty());
        let ended = said(
            after.raised.as_ref().map(|_| [(3, PEER)].as_slice()),
            &[],
            &[],
        );
        assert_eq!(alerts(ended.news(NODE, Some(&after))), [told(PEER, false)]);
        // A daemon that does not tell of each is known by what lasts.
        let old = said(None, &[PEER], &[]);
        assert_eq!(alerts(old.clone().news(NODE, None)), [told(PEER, true)]);
        assert!(alerts(old.clone().news(NODE, Some(&old))).is_empty());
    }

    /// A port's carrier is news when it changes, and when a daemon says it for the first time.
    #[test]
    fn said_carriers_are_told_when_they_change() {
        let of = |ports: &[(u8, bool)]| {
            let port = |&(port, up): &(u8, bool)| (PortId(port), up);
            Said {
                ports: ports.iter().map(port).collect(),
                ..said(None, &[], &[])
            }
        };
        let told = |events: Vec<EventKind>| -> Vec<(u8, bool)> {
            let carrier = |kind| match kind {
                EventKind::PortStatus { port, up, .. } => Some((port.0, up)),
                _ => None,
            };
            events.into_iter().filter_map(carrier).collect()
        };
        let (whole, cut) = (of(&[(0, true), (1, true)]), of(&[(0, true), (1, false)]));
        assert_eq!(told(whole.clone().news(NODE, None)), [(0, true), (1, true)]);
        assert_eq!(told(cut.news(NODE, Some(&whole))), [(1, false)]);
        assert!(told(whole.clone().news(NODE, Some(&whole))).is_empty());
    }

    /// What words say of a trouble may change; that it begins and ends is news.
    #[test]
    fn said_troubles_begin_and_end() {
        let found = |words| said(None, &[], &[(TroubleKind::SecretDiffers, words)]);
        let told = |events: Vec<EventKind>| -> Vec<bool> {
            let trouble = |kind| match kind {
                EventKind::Trouble { found, .. } => Some(found),
                _ => None,
            };
            events.into_iter().filter_map(trouble).collect()
        };
        let (none, few, more) = (said(None, &[], &[]), found("7 frames"), found("9 frames"));
        assert_eq!(told(few.clone().news(NODE, Some(&none))), [true]);
        assert_eq!(told(more.clone().news(NODE, Some(&few))), [false; 0]);
        assert_eq!(told(none.news(NODE, Some(&more))), [false]);
    }
}
