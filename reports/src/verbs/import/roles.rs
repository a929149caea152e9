//! Roles of the recorded node, then and in the scenario: the same order, or where it differs.
//!
//! What counts is where a node stays: starting, promoting and demoting are on the way, and how long
//! they last is the kernel's matter.

use steadfast_core::role::EffectiveRole;
use steadfast_core::{Instant, NodeId, Rules};
use steadfast_scenarios::trace::{Event, EventKind};
use steadfast_scenarios::{Judge, Plan, Verdict};
use steadfast_shell::journal::Turn;
use steadfast_sim::fast;

use super::draft::Draft;
use super::hearing::{Hearing, Word};

/// What the world fast made of a draft.
#[derive(Clone, Debug)]
pub(super) struct Played {
    /// The recorded node's roles in it, up to where the journal ends.
    pub(super) roles: Vec<EffectiveRole>,
    /// Over all oracles.
    pub(super) verdict: Verdict,
    /// The first thing that was not as expected.
    pub(super) failure: Option<String>,
}

/// Plays a draft in the world fast.
///
/// # Errors
/// What the product's configuration check says against it.
pub(super) fn play(draft: &Draft) -> Result<Played, String> {
    let plan: &Plan = draft.scenario.plan();
    let mut judge = Judge::new(plan);
    let mut turns = Vec::new();
    let mut sink = |event: &Event| {
        judge.observe(event);
        match &event.kind {
            EventKind::Status { gateway, role, .. } if is_own(*gateway, event.at, draft) => {
                turns.push(Turn {
                    at: event.at,
                    role: *role,
                });
            }
            _ => {}
        }
    };
    let cost = fast::run(plan, Rules::complete(), None, &mut sink)?;
    let findings = judge.finish(plan.end());
    let failed = |finding: &&steadfast_scenarios::Finding| finding.verdict == Verdict::Fail;
    let failure = findings.iter().find(failed).map(|finding| {
        let text = finding.first_violation.as_ref().map(|first| &first.text);
        format!("{}: {}", finding.oracle, text.unwrap_or(&finding.evidence))
    });
    let verdict = if cost.overflowed {
        Verdict::Unknown
    } else {
        Verdict::of(&findings)
    };
    Ok(Played {
        roles: stays(&turns),
        verdict,
        failure,
    })
}

fn is_own(gateway: NodeId, at: Instant, draft: &Draft) -> bool {
    gateway == draft.id && at <= draft.end
}

/// Where a node stayed, in order.
pub(super) fn stays(turns: &[Turn]) -> Vec<EffectiveRole> {
    let mut stays: Vec<EffectiveRole> = turns.iter().map(|turn| turn.role).collect();
    stays.retain(|role| match role {
        EffectiveRole::Demoting | EffectiveRole::Promoting | EffectiveRole::Starting => false,
        EffectiveRole::Active
        | EffectiveRole::Failed
        | EffectiveRole::Off
        | EffectiveRole::Pacified
        | EffectiveRole::Standby => true,
    });
    stays.dedup();
    stays
}

/// How often the role went from one node to another, as the recorded node saw it.
pub(super) fn moves(turns: &[Turn], hearing: &Hearing) -> u32 {
    let own = turns.iter().map(|turn| (turn.at, None, turn.role));
    let words = hearing.words.iter();
    let words = words.flat_map(|(peer, words)| {
        let word = |word: &Word| (word.at, Some(*peer), word.effective);
        words.iter().map(word)
    });
    let mut actives: Vec<(Instant, Option<NodeId>)> = own
        .chain(words)
        .filter(|(.., role)| *role == EffectiveRole::Active)
        .map(|(at, who, _)| (at, who))
        .collect();
    actives.sort();
    actives.dedup_by_key(|(_, who)| *who);
    u32::try_from(actives.len().saturating_sub(1)).unwrap_or(u32::MAX)
}

/// A role in a word.
pub(super) const fn word(role: EffectiveRole) -> &'static str {
    match role {
        EffectiveRole::Active => "active",
        EffectiveRole::Demoting => "demoting",
        EffectiveRole::Failed => "failed",
        EffectiveRole::Off => "off",
        EffectiveRole::Pacified => "pacified",
        EffectiveRole::Promoting => "promoting",
        EffectiveRole::Standby => "standby",
        EffectiveRole::Starting => "starting",
    }
}

/// Roles in words.
pub(super) fn words(roles: &[EffectiveRole]) -> String {
    let words: Vec<&str> = roles.iter().map(|role| word(*role)).collect();
    words.join(", ")
}
