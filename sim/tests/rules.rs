//! What each protocol rule is for: take one away, and some oracle must notice.
//!
//! A rule whose removal no scenario catches is either no rule or not tested. The table that this
//! test prints names, for every rule, the oracles that caught its removal and the seeds that show
//! it. A catch counts only if the same scenario and seed pass with all rules.

use std::fs;
use std::path::{Path, PathBuf};

use steadfast_core::{Rule, Rules};
use steadfast_scenarios::{Scenario, Verdict};
use steadfast_sim::campaign::{Outcome, Setting, play};

/// Seeds tried for each scenario and rule.
const SEEDS: u64 = 12;
/// Catches after which a rule counts as shown, and the search moves on.
const ENOUGH: usize = 2;

fn catalogue() -> Vec<Scenario> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/catalogue");
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the catalogue is part of the repository")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).expect("a readable file");
        Scenario::parse(&path.display().to_string(), &text).expect("a valid scenario")
    };
    files
        .iter()
        .map(read)
        .filter(|scenario| !scenario.plan().long)
        .collect()
}

struct Catch {
    scenario: String,
    seed: u64,
    oracles: Vec<String>,
}

fn failed(outcome: &Outcome) -> Vec<String> {
    let mut oracles: Vec<String> = outcome.failed_oracles().map(str::to_owned).collect();
    oracles.dedup();
    oracles
}

fn catches(rule: Rule, scenarios: &[Scenario]) -> Vec<Catch> {
    let mut found = Vec::new();
    // The stories that claim the rule first: they are the likeliest to miss it.
    let claims = |scenario: &&Scenario| scenario.plan().claims.contains(&format!("{rule:?}"));
    let (first, then): (Vec<_>, Vec<_>) = scenarios.iter().partition(claims);
    for seed in 0..SEEDS {
        for scenario in first.iter().chain(&then) {
            let without = play(scenario, seed, without(rule)).expect("a playable scenario");
            if without.verdict != Verdict::Fail {
                continue;
            }
            let with = play(scenario, seed, Setting::default()).expect("a playable scenario");
            if with.verdict == Verdict::Pass {
                let oracles = failed(&without);
                found.push(Catch {
                    scenario: without.scenario,
                    seed,
                    oracles,
                });
            }
            if found.len() >= ENOUGH {
                return found;
            }
        }
    }
    found
}

/// Every rule's removal is caught by an oracle.
#[test]
fn rules_each_removal_is_caught() {
    let scenarios = catalogue();
    let mut silent = Vec::new();
    println!("{:<5} {:<40} caught by", "rule", "scenario, seed");
    for rule in Rule::ALL {
        let found = catches(rule, &scenarios);
        for catch in &found {
            let place = format!("{} {}", catch.scenario, catch.seed);
            println!(
                "{:<5} {place:<40} {}",
                format!("{rule:?}"),
                catch.oracles.join(", ")
            );
        }
        if found.is_empty() {
            silent.push(rule);
        }
    }
    assert!(
        silent.is_empty(),
        "no oracle noticed the removal of {silent:?}"
    );
}

/// Virtual routers without their leases: a daemon that stands still or is killed leaves an owner.
#[test]
fn rules_leases_of_virtual_routers_are_missed() {
    let named = |it: &&Scenario| {
        ["vrrp-daemon-killed", "vrrp-daemon-stopped"].contains(&it.plan().name.as_str())
    };
    let scenarios = catalogue();
    let stories: Vec<&Scenario> = scenarios.iter().filter(named).collect();
    assert_eq!(stories.len(), 2);
    for scenario in stories {
        let outcome = play(scenario, 0, without(Rule::D9)).expect("a playable scenario");
        let failed = failed(&outcome);
        assert!(
            failed.contains(&"at_most_one_active".to_owned()),
            "{}: {failed:?}",
            outcome.scenario
        );
    }
}

fn without(rule: Rule) -> Setting {
    Setting {
        rules: Rules::without(rule),
        ..Setting::default()
    }
}
