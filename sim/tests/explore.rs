//! The explorer proves what it claims: it is complete, it is not vacuous, it repeats itself, and a
//! rule taken out of the protocol is missed.
//!
//! Two faults are explored here, three by `steadfast explore --faults 3`, which takes minutes.

use steadfast_core::{Rule, Rules};
use steadfast_scenarios::Scenario;
use steadfast_sim::explore::{Report, Theorem, explore};

/// What the explorer finds without each rule, and how many faults that takes.
const MISSED: [(Rule, Option<u8>); 11] = [
    (Rule::D5, None),
    (Rule::D6, Some(2)),
    (Rule::D7, Some(1)),
    (Rule::D8, Some(1)),
    (Rule::D9, Some(1)),
    (Rule::D10, Some(1)),
    (Rule::D11, None),
    (Rule::D12, None),
    (Rule::D13, None),
    // A pair without a witness has nobody to ask.
    (Rule::D14, None),
    (Rule::D15, Some(1)),
];

fn explored(faults: u8, rules: Rules) -> Report {
    explore(faults, 1, rules, &mut |_| {}).expect("a pair that settles")
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
    let report = explore(3, 1, Rules::complete(), &mut |progress| {
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
    let mut table = Vec::new();
    for (rule, expected) in MISSED {
        let rules = Rules::without(rule);
        let reports = (0..=expected.unwrap_or(1)).map(|faults| explored(faults, rules));
        let missed = reports.into_iter().find(|it| it.violation_kinds > 0);
        if let Some(report) = &missed {
            let first = &report.violations[0];
            println!("{rule:?}: {}: {}", first.oracle, first.story);
        } else {
            println!("{rule:?}: not missed");
        }
        table.push((rule, missed.map(|report| report.faults)));
    }
    assert_eq!(table, MISSED);
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
