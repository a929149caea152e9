//! The audit finds what it is for: a planted defect of each kind, where it shows first.
//!
//! Both processes of the audit run a copy of this program, which is a player with a planted defect
//! when it is told to play. A sound copy must pass, or the others would prove nothing.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod player;

use std::panic::catch_unwind;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Output};
use std::{env, fs, process};

/// A scenario with a step, that has several events in one instant.
const STORY: &str = "active-loses-power";

/// The stories, by name.
const TESTS: [(&str, fn()); 3] = [
    (
        "audit_planted_clock_read_is_located",
        audit_planted_clock_read_is_located,
    ),
    (
        "audit_planted_hash_order_is_located",
        audit_planted_hash_order_is_located,
    ),
    ("audit_sound_player_passes", audit_sound_player_passes),
];

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    if args.first().is_some_and(|first| first == "run") {
        player::main();
        return ExitCode::SUCCESS;
    }
    let filters: Vec<_> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let chosen = |name: &str| filters.is_empty() || filters.iter().any(|it| name.contains(*it));
    let mut failed = 0;
    for (name, test) in TESTS.into_iter().filter(|(name, _)| chosen(name)) {
        if args.iter().any(|arg| arg == "--list") {
            println!("{name}: test");
            continue;
        }
        let passed = catch_unwind(test).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += u8::from(!passed);
    }
    ExitCode::from(u8::from(failed > 0))
}

/// A copy of the planted player with this name, in a folder that is gone afterwards.
struct Planted(PathBuf);

impl Planted {
    fn new(defect: &str) -> Self {
        let folder = env::temp_dir().join(format!("steadfast-planted-{}-{defect}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        let built = env::current_exe().unwrap();
        let copy = folder.join(format!("planted-{defect}"));
        fs::copy(built, &copy).unwrap();
        Self(copy)
    }

    fn audit(&self) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
        command.args(["audit", STORY, "--world", "fast", "--seed", "7"]);
        for _ in 0..2 {
            command.arg("--build").arg(&self.0);
        }
        command.output().unwrap()
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0.parent().unwrap());
    }
}

fn text(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout);
    format!("{out}{}", String::from_utf8_lossy(&output.stderr))
}

/// Events of one instant in the order of a `HashMap`: another in each process. The audit shows the
/// first event that changed its place, and both orders.
fn audit_planted_hash_order_is_located() {
    let output = Planted::new("hashing").audit();
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains(&format!("DIFFERS  {STORY}, fast, at line ")),
        "{text}"
    );
    let at = |side: &str| {
        let line = text
            .lines()
            .find(|line| line.trim_start().starts_with(side));
        let event = line.and_then(|line| line.split_once("{\"at\":")).unwrap().1;
        event.split(',').next().unwrap().to_owned()
    };
    assert_eq!(
        at("bare"),
        at("rich"),
        "the same instant, in another order: {text}"
    );
    assert!(
        text.contains(&format!("repeat: steadfast audit {STORY} --world fast")),
        "{text}"
    );
}

/// Statuses that are dated by the wall clock: the audit shows the first status of all, twice, with
/// two dates, and what both had before it.
fn audit_planted_clock_read_is_located() {
    let output = Planted::new("clock").audit();
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let first = |side: &str| {
        let line = text
            .lines()
            .find(|line| line.trim_start().starts_with(side));
        line.unwrap().split_once('{').unwrap().1.to_owned()
    };
    let (bare, rich) = (first("bare"), first("rich"));
    for side in [&bare, &rich] {
        assert!(side.contains("\"event\":\"status\""), "{text}");
    }
    let undated = |event: &str| event.split_once("\"since\"").unwrap().0.to_owned();
    assert_eq!(undated(&bare), undated(&rich), "{text}");
    assert!(first("both").contains("\"event\""), "{text}");
}

/// The same player without a defect is equal in both processes.
fn audit_sound_player_passes() {
    let output = Planted::new("nothing").audit();
    let text = text(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(
        text.contains("1 run, 1 byte-equal in both processes"),
        "{text}"
    );
}
