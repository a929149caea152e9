//! Who should serve: one total order over candidates (D5).
//!
//! Health comes before everything (F16), then the incumbent unless the policy lets a preferred
//! node retake, then preference, effective priority and, last, the lower node id. Two nodes that
//! compare the same two candidates always agree, so ties cannot leave two actives (F12, F28).

use core::cmp::Ordering;

use crate::NodeId;
use crate::config::Preempt;
use crate::wire::advert::HealthClass;

/// What the order looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Lower is healthier.
    pub health: HealthClass,
    /// Serves now.
    pub incumbent: bool,
    /// The preferred node.
    pub preferred: bool,
    /// Effective priority; higher is better.
    pub priority: u8,
    /// The last resort.
    pub node: NodeId,
}

/// Orders two candidates: `Less` means `a` should serve rather than `b`. Total: never `Equal` for
/// two different nodes.
pub fn order(a: &Candidate, b: &Candidate, preempt: Preempt) -> Ordering {
    let incumbent = |c: &Candidate| match preempt {
        Preempt::Never => c.incumbent,
        Preempt::Prefer => c.preferred || (c.incumbent && !a.preferred && !b.preferred),
        Preempt::Priority => false,
    };
    a.health
        .cmp(&b.health)
        .then_with(|| incumbent(b).cmp(&incumbent(a)))
        .then_with(|| b.preferred.cmp(&a.preferred))
        .then_with(|| b.priority.cmp(&a.priority))
        .then_with(|| b.incumbent.cmp(&a.incumbent))
        .then_with(|| a.node.cmp(&b.node))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidate() -> impl Strategy<Value = Candidate> {
        (0_u8..4, any::<bool>(), any::<bool>(), 1_u8..4, 1_u8..6).prop_map(
            |(health, incumbent, preferred, priority, node)| Candidate {
                health: HealthClass(health),
                incumbent,
                preferred,
                priority,
                node: NodeId(node),
            },
        )
    }

    fn preempt() -> impl Strategy<Value = Preempt> {
        prop_oneof![
            Just(Preempt::Never),
            Just(Preempt::Prefer),
            Just(Preempt::Priority)
        ]
    }

    proptest! {
        #[test]
        fn rank_is_antisymmetric_and_never_ties_two_nodes(
            a in candidate(), b in candidate(), preempt in preempt()
        ) {
            prop_assert_eq!(order(&a, &b, preempt), order(&b, &a, preempt).reverse());
            if a.node != b.node {
                prop_assert_ne!(order(&a, &b, preempt), Ordering::Equal);
            }
        }

        #[test]
        fn rank_is_transitive(
            a in candidate(), b in candidate(), c in candidate(), preempt in preempt()
        ) {
            if order(&a, &b, preempt) != Ordering::Greater
                && order(&b, &c, preempt) != Ordering::Greater
            {
                prop_assert_ne!(order(&a, &c, preempt), Ordering::Greater);
            }
        }
    }

    #[test]
    fn rank_health_before_incumbent_before_preference() {
        let base = Candidate {
            health: HealthClass(0),
            incumbent: false,
            preferred: false,
            priority: 100,
            node: NodeId(2),
        };
        let sick = Candidate {
            health: HealthClass(1),
            incumbent: true,
            node: NodeId(1),
            ..base
        };
        assert_eq!(
            order(&base, &sick, Preempt::Never),
            Ordering::Less,
            "the healthy one serves"
        );
        let serving = Candidate {
            incumbent: true,
            ..base
        };
        let preferred = Candidate {
            preferred: true,
            node: NodeId(1),
            ..base
        };
        assert_eq!(order(&serving, &preferred, Preempt::Never), Ordering::Less);
        assert_eq!(
            order(&serving, &preferred, Preempt::Prefer),
            Ordering::Greater
        );
    }
}
