//! How a gateway stands among the others, in words of VRRP: one priority, and whether a better one
//! takes the role back.
//!
//! The product knows preferred gateways, priorities and ids, and three ways of preemption (R3.2). A
//! router of VRRP has a single number, and preempts or not: what does not fit into that is said
//! ([`Standing::of`]), never rounded. No two gateways stand alike, or both would claim when a third
//! dies.

use std::cmp::Reverse;
use std::time::Duration;

use steadfast_scenarios::format::{Gateway, Layout, Plan, Preempt};

/// The priority of the first, and how far the next ones are from each other.
const PRIORITY_FIRST: u8 = 250;
const PRIORITY_STEP: u8 = 10;

/// How a gateway stands among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How many stand before it.
    pub(super) place: u8,
    /// After how long it takes the role back from one that stands behind it, if it does.
    pub(super) preempt: Option<Duration>,
}

impl Standing {
    /// Gateways that differ in their ids alone: the lowest first, and nobody preempts.
    pub fn by_id(layout: &Layout, gateway: &Gateway) -> Self {
        let before = layout.gateways.iter().filter(|it| it.id < gateway.id);
        Self {
            place: u8::try_from(before.count()).unwrap_or(u8::MAX),
            preempt: None,
        }
    }

    /// As a plan has it.
    ///
    /// # Errors
    /// A preemption that one number cannot say: of preferred gateways among more than two, or
    /// among gateways of one priority.
    pub fn of(plan: &Plan, gateway: &Gateway) -> Result<Self, String> {
        let mode = plan.cluster.preempt;
        let rank = |it: &Gateway| {
            let setup = plan.gateway(&it.name);
            (Reverse(setup.preferred), Reverse(setup.priority), it.id)
        };
        let gateways = &plan.layout.gateways;
        let before = gateways.iter().filter(|it| rank(it) < rank(gateway));
        let place = u8::try_from(before.count()).unwrap_or(u8::MAX);
        let setups = || gateways.iter().map(|it| plan.gateway(&it.name));
        let preferred = setups().filter(|it| it.preferred).count();
        let mut priorities: Vec<_> = setups().map(|it| (it.preferred, it.priority)).collect();
        priorities.sort_unstable();
        let alike = priorities.windows(2).any(|two| two[0] == two[1]);
        match mode {
            Preempt::Prefer if gateways.len() > 2 || preferred != 1 => {
                Err("preemption by anything but one preferred gateway of two".to_owned())
            }
            Preempt::Priority if alike => Err("preemption by priorities that are equal".to_owned()),
            Preempt::Never | Preempt::Prefer | Preempt::Priority => Ok(Self {
                place,
                preempt: (mode != Preempt::Never).then_some(plan.cluster.preempt_delay.0),
            }),
        }
    }

    /// Its priority in VRRP.
    pub(super) const fn priority(self) -> u8 {
        PRIORITY_FIRST.saturating_sub(self.place.saturating_mul(PRIORITY_STEP))
    }

    /// Whether it preempts, where `daemon` does so at once or not at all.
    ///
    /// # Errors
    /// It is to wait before it does.
    pub(super) fn preempts_at_once(self, daemon: &str) -> Result<bool, String> {
        match self.preempt {
            None => Ok(false),
            Some(Duration::ZERO) => Ok(true),
            Some(_) => Err(format!(
                "a delay before the role is taken back, which {daemon} has not"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use steadfast_scenarios::Scenario;

    fn plan(cluster: &str, gateways: &str) -> Plan {
        let text = format!(
            "format = 1\nname = \"x\"\ntitle = \"x\"\nclaims = [\"R1.1\"]\nduration = \"1s\"\n\
             [cluster]\n{cluster}\n{gateways}\n[[expect]]\noracle = \"no_flap\"\nmax_moves = 1\n"
        );
        Scenario::parse("x", &text).unwrap().resolve(0).unwrap()
    }

    fn standings(cluster: &str, gateways: &str) -> Result<Vec<Standing>, String> {
        let plan = plan(cluster, gateways);
        let gateways = plan.layout.gateways.iter();
        gateways.map(|it| Standing::of(&plan, it)).collect()
    }

    /// Preferred before priority before id, and a delay where the role is taken back.
    #[test]
    fn standing_follows_the_plan() {
        let places = |cluster: &str, gateways: &str| {
            let all = standings(cluster, gateways).unwrap();
            let preempt = all[0].preempt;
            (all.iter().map(|it| it.place).collect::<Vec<_>>(), preempt)
        };
        assert_eq!(places("", ""), (vec![0, 1], None));
        assert_eq!(
            places("", "[gateway.b]\npriority = 150"),
            (vec![1, 0], None)
        );
        assert_eq!(
            places("", "[gateway.b]\npreferred = true"),
            (vec![1, 0], None)
        );
        let delay = Some(Duration::from_secs(3));
        let prefer = "preempt = \"prefer\"\npreempt_delay = \"3s\"";
        assert_eq!(
            places(
                prefer,
                "[gateway.a]\npriority = 200\n[gateway.b]\npreferred = true"
            ),
            (vec![1, 0], delay)
        );
        let priority = "preempt = \"priority\"\npreempt_delay = \"3s\"";
        assert_eq!(
            places(
                priority,
                "[gateway.a]\npreferred = true\n[gateway.b]\npriority = 200"
            ),
            (vec![0, 1], delay)
        );
    }

    /// What one number cannot say is refused, and so is a delay where a daemon has none.
    #[test]
    fn standing_that_one_number_cannot_say_is_refused() {
        let told = standings("preempt = \"priority\"", "").unwrap_err();
        assert!(told.contains("equal"), "{told}");
        let told = standings("preempt = \"prefer\"", "").unwrap_err();
        assert!(told.contains("preferred"), "{told}");
        let waits = Standing {
            place: 0,
            preempt: Some(Duration::from_secs(1)),
        };
        assert!(
            waits
                .preempts_at_once("frr")
                .unwrap_err()
                .contains("frr has not")
        );
        let at_once = Standing {
            preempt: Some(Duration::ZERO),
            ..waits
        };
        assert_eq!(at_once.preempts_at_once("frr"), Ok(true));
    }
}
