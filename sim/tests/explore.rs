//! The explorer is complete, is not vacuous, repeats itself, and misses a rule that is taken away.
//!
//! One fault is explored here; more are for `steadfast explore --faults N`.

use steadfast_core::{Rule, Rules};
use steadfast_sim::explore::{Report, explore};

fn explored(faults: u8, rules: Rules) -> Report {
    explore(faults, 1, rules, &mut |_| {}).expect("a pair that settles")
}

/// No single fault, struck at any place, makes two owners or leaves the pair without one.
#[test]
fn explore_one_fault_violates_nothing() {
    let report = explored(1, Rules::complete());
    assert!(report.complete, "every state was looked at");
    assert!(
        report.sometimes.iter().all(|(_, seen)| *seen),
        "{:?}",
        report.sometimes
    );
    let stories: Vec<&str> = report.violations.iter().map(|it| &*it.story).collect();
    assert!(report.passed(), "{stories:?}");
}

/// With one thread, two explorations are equal in what they count.
#[test]
fn explore_repeats_itself() {
    let count = || {
        let report = explored(1, Rules::complete());
        (report.states, report.unique, report.depth)
    };
    assert_eq!(count(), count());
}

/// The confirm burst is what keeps a pulled cable from making two owners: without it one fault
/// suffices, and the explorer finds it.
#[test]
fn explore_misses_the_confirm_burst() {
    let report = explored(1, Rules::without(Rule::D7));
    assert!(
        report.violation_kinds > 0,
        "nothing was found in {} states",
        report.states
    );
}
