//! The explorer proves what it claims: it is complete, it is not vacuous, it repeats itself, and a
//! rule taken out of the protocol is missed.
//!
//! Two faults of a pair and one of three nodes are explored here, more by `steadfast explore`,
//! which takes long for three faults of a pair, or two of three nodes.

use steadfast_core::{Rule, Rules};
use steadfast_scenarios::Scenario;
use steadfast_sim::explore::{Fault, Group, Report, Theorem, Way, explore, explore_order};

/// A rule, and how many faults it takes until it is missed.
type Missed = (Rule, u8);

/// What the explorer finds in a pair without a rule.
const MISSED: [Missed; 6] = [
    (Rule::D6, 2),
    (Rule::D7, 1),
    (Rule::D8, 1),
    (Rule::D9, 1),
    (Rule::D10, 1),
    (Rule::D15, 1),
];

/// Of these a fault showed nothing when that was last explored: a pair without a witness, say, has
/// nobody to ask (D14). Other worlds show them.
const UNMISSED: [Rule; 5] = [Rule::D5, Rule::D11, Rule::D12, Rule::D13, Rule::D14];

/// The same in a trio, with one fault; of D13 see `explore_three_nodes_need_each_others_word`.
const MISSED_BY_THREE: [Missed; 4] = [(Rule::D7, 1), (Rule::D9, 1), (Rule::D10, 1), (Rule::D15, 1)];

fn explored(faults: u8, rules: Rules) -> Report {
    explored_of(Group::Pair, faults, rules)
}

fn explored_of(group: Group, faults: u8, rules: Rules) -> Report {
    explore(group, faults, 1, rules, &mut |_| {}).expect("a group that settles")
}

fn first_violation(report: &Report) -> String {
    let first = report.violations.first();
    first.map_or_else(
        || "none".to_owned(),
        |first| {
            let steps = first.steps.join("\n  ");
            format!("{}: {}\n  {steps}", first.oracle, first.story)
        },
    )
}

/// One fault is survived, whatever it is and whenever it strikes: no violation at all, not even one
/// that theory would excuse.
#[test]
fn explore_one_fault_breaks_nothing() {
    let report = explored(1, Rules::complete());
    assert!(report.passed(), "{}", first_violation(&report));
    assert_eq!(report.residues, []);
    assert!(report.unique > 1_000, "{} states", report.unique);
}

/// The same with three nodes, where two are left to agree on who takes over.
#[test]
fn explore_three_nodes_and_one_fault_breaks_nothing() {
    let report = explored_of(Group::Trio, 1, Rules::complete());
    assert!(report.passed(), "{}", first_violation(&report));
    assert_eq!(report.residues, []);
    assert!(report.unique > 20_000, "{} states", report.unique);
}

/// With two faults only what theory forbids is violated, and that is met: an exploration that never
/// meets it has not looked.
#[test]
fn explore_two_faults_break_only_what_theory_forbids() {
    let report = explored(2, Rules::complete());
    assert!(report.passed(), "{}", first_violation(&report));
    let met: Vec<Theorem> = report.residues.iter().map(|it| it.theorem).collect();
    println!("{} states, depth {}, {met:?}", report.unique, report.depth);
    assert_eq!(met, [Theorem::StoppedClaim]);
}

/// The same with three faults.
#[test]
#[ignore = "takes many minutes; `steadfast explore --faults 3` is the same"]
fn explore_three_faults_break_only_what_theory_forbids() {
    let mut told = 0;
    let report = explore(Group::Pair, 3, 1, Rules::complete(), &mut |progress| {
        if progress.states > told {
            println!("{progress:?}");
            told = progress.states + 1_000_000;
        }
    });
    let report = report.unwrap();
    println!(
        "{} states, {} differ, depth {}",
        report.states, report.unique, report.depth
    );
    for residue in &report.residues {
        println!("{residue:?}");
    }
    for found in &report.violations {
        println!(
            "{} of {}: {}\n{}",
            found.count,
            found.oracle,
            found.story,
            found.steps.join("\n")
        );
    }
    assert!(
        report.passed(),
        "{} kinds: {}",
        report.violation_kinds,
        first_violation(&report)
    );
}

/// The same exploration gives the same numbers and the same stories, so what it prints can be
/// compared between two versions.
#[test]
fn explore_repeats_itself() {
    let told = |report: &Report| {
        let stories: Vec<String> = report
            .violations
            .iter()
            .map(|it| it.scenario.clone())
            .collect();
        (report.states, report.unique, report.depth, stories)
    };
    let rules = Rules::without(Rule::D7);
    assert_eq!(told(&explored(1, rules)), told(&explored(1, rules)));
}

/// Each rule that a few faults can miss is missed, and the first story says how: a rule that nobody
/// misses here is for other worlds to show.
#[test]
fn explore_misses_each_rule_taken_away() {
    let told = MISSED.iter().map(|(rule, _)| *rule).chain(UNMISSED);
    assert!(
        Rule::ALL.into_iter().eq(sorted(told)),
        "each rule is told of"
    );
    assert_eq!(missed(Group::Pair, &MISSED), MISSED);
}

/// The same with three nodes.
#[test]
fn explore_misses_each_rule_taken_away_from_three() {
    assert_eq!(missed(Group::Trio, &MISSED_BY_THREE), MISSED_BY_THREE);
}

fn sorted(rules: impl Iterator<Item = Rule>) -> Vec<Rule> {
    let mut rules: Vec<Rule> = rules.collect();
    rules.sort_by_key(|rule| *rule as u8);
    rules
}

/// Of the table's rules those that are missed, with so many faults at most.
fn missed(group: Group, table: &[Missed]) -> Vec<Missed> {
    let missed = |(rule, at_most): &Missed| {
        let rules = Rules::without(*rule);
        let mut reports = (0..=*at_most).map(|faults| explored_of(group, faults, rules));
        let report = reports.find(|it| it.violation_kinds > 0)?;
        let first = &report.violations[0];
        println!("{rule:?}: {}: {}", first.oracle, first.story);
        Some((*rule, report.faults))
    };
    table.iter().filter_map(missed).collect()
}

/// A counterexample is a scenario file: it is read, checked and drawn like any other.
#[test]
fn explore_counterexamples_are_scenarios() {
    let report = explored(1, Rules::without(Rule::D7));
    assert!(!report.violations.is_empty());
    for found in &report.violations {
        let scenario = Scenario::parse("explored.toml", &found.scenario).unwrap();
        assert!(scenario.resolve(1).is_ok());
        assert!(!found.steps.is_empty(), "{} is retraced", found.story);
    }
}

/// Hand-overs that end badly, and stalls one behind the other: what three nodes broke before each
/// knew what the others had heard.
#[test]
fn explore_three_nodes_know_what_others_heard() {
    let (a, b) = (0, 1);
    hold(&[
        vec![Fault::PortDown(a, 1), Fault::Part(0, Way::From(b))],
        vec![Fault::PortDown(a, 1), Fault::Part(0, Way::Between(a, b))],
        vec![Fault::PortDown(a, 1), Fault::Part(0, Way::Apart(b))],
    ]);
}

/// The same where a second gateway goes.
#[test]
fn explore_three_nodes_know_what_others_heard_before_they_went() {
    let (a, b) = (0, 1);
    hold(&[
        vec![Fault::PortDown(a, 1), Fault::PortDown(b, 1)],
        vec![Fault::PortDown(a, 1), Fault::PowerOff(b)],
        vec![Fault::Stop(b), Fault::Cont(b), Fault::PortDown(a, 1)],
        vec![Fault::Part(1, Way::To(b)), Fault::PortDown(a, 0)],
    ]);
}

/// Two of three lose a port each, on unlike segments: as above, and three million states.
#[test]
#[ignore = "takes a minute; `steadfast explore --nodes 3 --faults 2` is more"]
fn explore_three_nodes_lose_a_port_each() {
    let (a, b) = (0, 1);
    hold(&[vec![Fault::PortDown(a, 1), Fault::PortDown(b, 0)]]);
}

/// Where third parties are not asked, a cut between two of three makes two owners, and so does a
/// hand-over that only a third one hears the end of.
#[test]
fn explore_three_nodes_need_each_others_word() {
    let (a, b) = (0, 1);
    let cut = |path: usize| Fault::Part(path, Way::Between(a, b));
    for order in [[cut(1), cut(0)], [Fault::PortDown(a, 1), cut(0)]] {
        let told = explore_order(&order, Group::Trio, Rules::complete()).unwrap();
        assert_eq!(told.violation_kinds, 0, "{}", first_violation(&told));
        assert!(told.complete && told.spent > 0, "{order:?}");
        let alone = explore_order(&order, Group::Trio, Rules::without(Rule::D13)).unwrap();
        assert!(alone.violation_kinds > 0, "{order:?}");
    }
}

/// Two daemons stand still one behind the other and go on together, in either order.
#[test]
#[ignore = "takes minutes; `steadfast explore --nodes 3 --faults 2` is more"]
fn explore_three_nodes_survive_two_stalls() {
    let (a, b) = (0, 1);
    let stopped = [Fault::Stop(a), Fault::Stop(b)];
    let goes_on = |first: usize, then: usize| [Fault::Cont(first), Fault::Cont(then)];
    hold(&[
        [stopped, goes_on(a, b)].concat(),
        [stopped, goes_on(b, a)].concat(),
    ]);
}

/// A taker whose claim nobody heard stands still beyond its lease, and goes on in the instant in
/// which its giver has listened long enough: what waits in its sockets begins with the giver's
/// good-bye, and a role that is vacant by that word was taken up since.
#[test]
fn explore_who_wakes_reads_everything_before_it_claims() {
    let (a, b) = (0, 1);
    let order = vec![
        Fault::PortDown(a, 1),
        Fault::LoseNext(b),
        Fault::Stop(b),
        Fault::Cont(b),
    ];
    hold_in(Group::Pair, &[order]);
}

fn hold(orders: &[Vec<Fault>]) {
    hold_in(Group::Trio, orders);
}

fn hold_in(group: Group, orders: &[Vec<Fault>]) {
    for order in orders {
        let report = explore_order(order, group, Rules::complete()).expect("it settles");
        println!(
            "{order:?}: {} states, {} kinds, all struck {} times",
            report.unique, report.violation_kinds, report.spent
        );
        assert_eq!(report.violation_kinds, 0, "{}", first_violation(&report));
        assert!(report.complete, "{order:?} is explored to its end");
        assert_eq!(report.residues, [], "{order:?} blinds nobody");
        assert!(report.spent > 0, "all of {order:?} strike");
    }
}
