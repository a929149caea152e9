//! The catalogue holds: every story passes in the world `fast`, every impossible one fails.
//!
//! A story that fails prints its seed, what was wrong first, and the one command that shows it
//! again. Stories marked long run with seed 0 alone. The limit: three seeds find what is common;
//! what is rare is for sweeps.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use steadfast_scenarios::{Finding, Scenario, Verdict};
use steadfast_sim::campaign::{Outcome, World, play};

/// Seeds of each story. More of them are a sweep's.
const SEEDS: u64 = 3;
/// Seeds within which an impossible story must fail; one that does not is no theorem's example.
const IMPOSSIBLE_WITHIN: u64 = 200;
/// Most workers; more would not make a few hundred runs faster.
const WORKERS_MAX: usize = 8;

/// Every oracle there is, by the name a file calls it.
const ORACLES: [&str; 15] = [
    "alerts",
    "at_most_one_active",
    "bounded",
    "calls",
    "converges",
    "exactly_one_active",
    "hooks_follow",
    "kernel_matches_role",
    "no_flap",
    "outage",
    "pacified_stays_out",
    "standby_is_silent",
    "status_truthful",
    "troubles",
    "vip_owner_agrees",
];

/// Every story of the catalogue, with each of its seeds: a story is a promise, so whatever fails
/// here is a fault of the product, of a model, of an oracle, or of the story.
#[test]
fn catalogue_every_story_passes() {
    let scenarios = folder("catalogue");
    let failures = spread(&scenarios, |scenario| {
        let seeds = if scenario.plan().long { 1 } else { SEEDS };
        (0..seeds).find_map(|seed| complaint(scenario, &played(scenario, seed)))
    });
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// What is impossible must fail within a few seeds: if it passes, either the theorem or the model
/// is wrong.
#[test]
fn catalogue_impossible_stories_fail() {
    let scenarios = folder("impossible");
    assert!(!scenarios.is_empty(), "the folder holds stories");
    let passed = spread(&scenarios, |scenario| {
        let fails = |seed| played(scenario, seed).verdict == Verdict::Fail;
        let never = !(0..IMPOSSIBLE_WITHIN).any(fails);
        never.then(|| {
            let name = &scenario.plan().name;
            format!("{name} passes for every seed below {IMPOSSIBLE_WITHIN}")
        })
    });
    assert!(passed.is_empty(), "\n{}", passed.join("\n"));
}

/// Each oracle is armed by a story as told: one that never had anything to watch proves nothing.
#[test]
fn catalogue_arms_every_oracle() {
    let scenarios = folder("catalogue");
    let armed: BTreeSet<String> = spread(&scenarios, |scenario| {
        let outcome = (!scenario.plan().long).then(|| played(scenario, 0))?;
        let armed = |finding: &&Finding| finding.armed && finding.verdict == Verdict::Pass;
        let names = outcome.findings.iter().filter(armed);
        let names: Vec<&str> = names.map(|finding| finding.oracle.as_str()).collect();
        Some(names.join(" "))
    })
    .iter()
    .flat_map(|names| names.split_whitespace())
    .map(str::to_owned)
    .collect();
    let all: BTreeSet<String> = ORACLES.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(armed, all);
}

/// Claims are what reports count by, so each must be the id of a rule, a requirement or a failure.
#[test]
fn catalogue_claims_are_ids() {
    for scenario in folder("catalogue").iter().chain(&folder("impossible")) {
        let plan = scenario.plan();
        assert!(!plan.claims.is_empty(), "{} claims nothing", plan.name);
        let once: BTreeSet<&String> = plan.claims.iter().collect();
        assert_eq!(
            once.len(),
            plan.claims.len(),
            "{}: a claim twice",
            plan.name
        );
        for claim in &plan.claims {
            assert!(is_id(claim), "{}: `{claim}` is no id", plan.name);
        }
    }
    assert!(is_id("D8") && is_id("R2.3") && is_id("F05"));
    assert!(!is_id("D") && !is_id("R2") && !is_id("R2.x") && !is_id("F5") && !is_id("X1"));
}

/// A story's name is its file's, and no two stories share one: reports and commands go by it.
#[test]
fn catalogue_names_are_unique_and_the_files_own() {
    let mut seen = BTreeSet::new();
    for scenario in folder("catalogue").iter().chain(&folder("impossible")) {
        let name = scenario.plan().name.clone();
        let stem = Path::new(scenario.file()).file_stem();
        assert_eq!(stem.and_then(|stem| stem.to_str()), Some(name.as_str()));
        assert!(seen.insert(name.clone()), "{name} is there twice");
    }
}

/// A title reads `area: condition (variant)`, and a header says what must happen and why.
#[test]
fn catalogue_stories_are_told() {
    for scenario in folder("catalogue").iter().chain(&folder("impossible")) {
        let plan = scenario.plan();
        let told = plan.title.split_once(": ").is_some_and(|(area, story)| {
            !area.is_empty() && !area.contains(['(', ',']) && story.len() > 10
        });
        assert!(told, "{}: title `{}`", plan.name, plan.title);
        let header = scenario.to_toml().lines();
        let lines = header.take_while(|line| line.starts_with("# ")).count();
        assert!(lines >= 2, "{} has no header of two lines", plan.name);
    }
}

/// Every file has its row in the folder's table: a story nobody finds is not told.
#[test]
fn catalogue_tables_list_every_file() {
    for name in ["catalogue", "impossible"] {
        let table = fs::read_to_string(place(name).join("README.md")).expect("a readable table");
        for scenario in folder(name) {
            let row = format!("[{0}]({0}.toml)", scenario.plan().name);
            assert!(table.contains(&row), "{name}/README.md lacks {row}");
        }
    }
}

/// Runs `look` over all scenarios on several workers; what it says, in the scenarios' order.
fn spread(
    scenarios: &[Scenario],
    look: impl Fn(&Scenario) -> Option<String> + Sync,
) -> Vec<String> {
    let workers = thread::available_parallelism().map_or(1, |count| count.get().min(WORKERS_MAX));
    let look = &look;
    let share = |worker: usize| {
        let own = scenarios.iter().enumerate().skip(worker).step_by(workers);
        own.filter_map(|(place, scenario)| Some((place, look(scenario)?)))
            .collect::<Vec<_>>()
    };
    let mut said: Vec<(usize, String)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers)
            .map(|worker| scope.spawn(move || share(worker)))
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("no run panics"))
            .collect()
    });
    said.sort();
    said.into_iter().map(|(_, text)| text).collect()
}

fn played(scenario: &Scenario, seed: u64) -> Outcome {
    play(scenario, seed, World::Fast.into()).expect("a playable scenario")
}

/// What was wrong with a run, and how to see it again.
fn complaint(scenario: &Scenario, outcome: &Outcome) -> Option<String> {
    if outcome.verdict == Verdict::Pass {
        return None;
    }
    let (name, seed) = (&scenario.plan().name, outcome.seed);
    let wrong = |finding: &&Finding| finding.verdict != Verdict::Pass;
    let first = outcome.findings.iter().find(wrong).map(|finding| {
        let violation = finding.first_violation.as_ref();
        let text = violation.map_or_else(
            || finding.evidence.clone(),
            |first| format!("{} until {}: {}", first.from, first.until, first.text),
        );
        format!(
            "{:?} {} {}: {text}",
            finding.verdict, finding.oracle, finding.scope
        )
    });
    let first = first.unwrap_or_else(|| "the event heap overflowed".to_owned());
    let again = format!("cargo run --release -- run {name} --world fast --seed {seed}");
    Some(format!("{name}, seed {seed}: {first}\n    {again}"))
}

/// `D8`, `R2.3`, `F05`.
fn is_id(claim: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    match claim.split_at_checked(1) {
        Some(("D", rest)) => digits(rest),
        Some(("F", rest)) => digits(rest) && rest.len() == 2,
        Some(("R", rest)) => rest
            .split_once('.')
            .is_some_and(|(chapter, point)| digits(chapter) && digits(point)),
        Some(_) | None => false,
    }
}

/// Where a folder of scenarios is.
fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../scenarios")
        .join(name)
}

/// Every scenario of a folder, by name.
fn folder(name: &str) -> Vec<Scenario> {
    let mut files: Vec<PathBuf> = fs::read_dir(place(name))
        .expect("the folder is part of the repository")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|it| it == "toml"))
        .collect();
    files.sort();
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).expect("a readable file");
        match Scenario::parse(&path.display().to_string(), &text) {
            Ok(scenario) => scenario,
            Err(error) => panic!("{}: {error}", path.display()),
        }
    };
    files.iter().map(read).collect()
}
