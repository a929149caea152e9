//! The catalogue in the world `madsim`: seed n plays scenario n modulo their number.
//!
//! Built with `--cfg madsim` only. Seeds come by the environment, as madsim's users expect:
//! `MADSIM_TEST_SEED` (the first, 0 unless told otherwise), `MADSIM_TEST_NUM`, `MADSIM_TEST_JOBS`,
//! `MADSIM_TEST_CHECK_DETERMINISM`. `.ci/run madsim` shows the command. Each run's frames are
//! stored in the folder `STEADFAST_CAPTURES`, if it names one.

#![cfg(madsim)]

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use madsim::Config;
use madsim::runtime::{Builder, Handle, Runtime};
use steadfast_scenarios::{Scenario, Verdict};
use steadfast_shell::habits::{Habit, Habits};
use steadfast_sim::campaign::{Outcome, Setting, play_in_madsim};

/// Seeds tried of two reloads at once.
const RELOADS: u64 = 16;
/// How madsim's seeds are told.
const SEED: &str = "MADSIM_TEST_SEED";
/// A folder for captures, one for each seed, if they are wanted.
const CAPTURES: &str = "STEADFAST_CAPTURES";

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/catalogue");
    let entries = fs::read_dir(folder).expect("the catalogue");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|it| it == "toml"))
        .collect();
    files.sort();
    files
}

fn scenario(seed: u64) -> Scenario {
    let files = files();
    let place = usize::try_from(seed).expect("a small seed") % files.len();
    read(&files[place])
}

fn named(name: &str) -> Scenario {
    let is_it = |path: &PathBuf| path.file_stem().is_some_and(|stem| stem == name);
    read(&files().into_iter().find(is_it).expect("in the catalogue"))
}

fn read(path: &Path) -> Scenario {
    let text = fs::read_to_string(path).expect("a scenario");
    Scenario::parse(&path.display().to_string(), &text).expect("a valid scenario")
}

async fn play(setting: Setting) -> Outcome {
    let seed = Handle::current().seed();
    let scenario = scenario(seed);
    let capture = env::var_os(CAPTURES).map(|folder| -> Box<dyn Write> {
        let name = format!("{}-{seed}.pcapng", scenario.plan().name);
        Box::new(fs::File::create(Path::new(&folder).join(name)).expect("a place for captures"))
    });
    let outcome = play_in_madsim(&scenario, seed, setting, capture).await;
    outcome.expect("a playable scenario")
}

fn builder() -> Builder {
    let told = env::var_os(SEED).is_some();
    let mut builder = Builder::from_env();
    if !told {
        builder.seed = 0;
    }
    builder
}

/// The same seed twice draws the same numbers at the same times: madsim's own check.
#[test]
fn madsim_run_is_a_function_of_its_seed() {
    for seed in [3, 100] {
        Runtime::check_determinism(seed, Config::default(), || async {
            play(Setting::default()).await.trace
        });
    }
}

/// Every seed of the environment passes; the one that does not is named, with its scenario.
#[test]
fn madsim_catalogue_holds() {
    builder().run(|| async {
        let outcome = play(Setting::default()).await;
        let (name, seed) = (&outcome.scenario, outcome.seed);
        println!(
            "{name} seed {seed}: {:?} {}",
            outcome.verdict, outcome.trace
        );
        let complaints: Vec<_> = outcome
            .findings
            .iter()
            .filter(|finding| finding.verdict != Verdict::Pass)
            .map(|it| (&it.oracle, &it.scope, &it.first_violation, &it.evidence))
            .collect();
        assert_eq!(
            outcome.verdict,
            Verdict::Pass,
            "{name}: {SEED}={seed}: {complaints:?} {:?}",
            outcome.cost
        );
    });
}

/// Seeded defect: reloads do not wait for each other. Of two that are ordered at once either may be
/// the one that stays; ready tasks in another order are what only this world has.
#[test]
fn madsim_reloads_out_of_turn_are_found_out() {
    let play = |seed: u64, habits: Habits| {
        // Every run has a thread of its own.
        let run = std::thread::spawn(move || {
            Runtime::with_seed_and_config(seed, Config::default()).block_on(async move {
                let setting = Setting {
                    habits,
                    ..Setting::default()
                };
                let scenario = named("reload-twice-last-counts");
                let outcome = play_in_madsim(&scenario, seed, setting, None).await;
                outcome.expect("a playable scenario")
            })
        });
        run.join().expect("a whole run")
    };
    let failures = |habits: Habits| {
        let outcomes = (0..RELOADS).map(|seed| play(seed, habits));
        let mut failed = 0;
        for outcome in outcomes {
            let oracles: Vec<_> = outcome.failed_oracles().collect();
            let expected = oracles.is_empty() || oracles.contains(&"outage");
            assert!(expected, "seed {}: {oracles:?}", outcome.seed);
            failed += usize::from(!oracles.is_empty());
        }
        failed
    };
    assert_eq!(failures(Habits::complete()), 0, "with its habits");
    let found = failures(Habits::without(Habit::ReloadsInTurn));
    assert!(found > 0, "none of {RELOADS} seeds shows it");
    println!("{found} of {RELOADS} seeds");
}
