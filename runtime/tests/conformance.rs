//! Statements about Linux, tried on the kernel itself, with the fence and the addresses of the
//! daemon: what the simulated worlds take for Linux must be it.
//!
//! Each statement is tried by a child of this program, which first moves into a network namespace
//! of its own: as root by itself, as an ordinary user behind a user namespace. It holds or it
//! differs; one that was late, because this machine stood still, is unknown and tried again, three
//! times in all, and then fails: it never passes untried. False statements must differ here too.
//!
//! The same statements are tried on the kernel model by `sim/tests/conformance.rs`.
//!
//! Try one: `cargo test -p steadfast --test conformance -- NAME`. Limit: where the kernel refuses
//! namespaces or nf_tables the statements are "not run", and say so.

#![expect(
    clippy::unwrap_used,
    reason = "a test program without harness: a panic is a verdict"
)]

#[path = "conformance/bench.rs"]
mod bench;
#[path = "conformance/linux.rs"]
mod linux;
#[path = "fence/sys.rs"]
mod namespace;
#[path = "conformance/sys.rs"]
mod sys;

use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use steadfast::linux::fence::{KEEPER_ARGUMENT, keeper_main};
use steadfast_scenarios::conformance::{Side, Statement, Verdict};
use steadfast_scenarios::conformance::{falsehoods, judge, play, statements};

/// The exit code of a child that found a difference.
const DIFFERS: u8 = 1;
/// The exit code of a child that was late.
const UNKNOWN: u8 = 2;
/// The exit code of a child that could not try here.
const NOT_RUN: u8 = 77;
const TRY_ARGUMENT: &str = "try";
/// How often a statement is tried until it is not late.
const TRIES_MAX: usize = 3;
/// Statements tried at once. Nearly all of their time they wait for the kernel's.
const WORKERS: usize = 4;

/// What came of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Broken,
    Differs,
    Holds,
    NotRun,
    Unknown,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [KEEPER_ARGUMENT] => keeper_main(),
        [TRY_ARGUMENT, name] => try_here(name),
        _ => run(&words),
    }
}

/// Tries every statement whose name holds the first plain argument.
fn run(words: &[&str]) -> ExitCode {
    let wanted = words.iter().find(|word| !word.starts_with('-'));
    let is_chosen =
        |statement: &Statement| wanted.is_none_or(|wanted| called(statement).contains(wanted));
    let truths = both(statements()).map(|one| (one, Outcome::Holds));
    let false_ones = both(falsehoods()).map(|one| (one, Outcome::Differs));
    let chosen = truths.chain(false_ones).filter(|(one, _)| is_chosen(one));
    if words.contains(&"--list") {
        if !words.contains(&"--ignored") {
            chosen.for_each(|(one, _)| println!("{}: test", called(&one)));
        }
        return ExitCode::SUCCESS;
    }
    let (waiting, failed) = (Mutex::new(chosen), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                // Taken before it is tried, or the lock would last as long.
                while let Some((statement, due)) = {
                    let mut waiting = waiting.lock().unwrap();
                    waiting.next()
                } {
                    let fails = usize::from(!is_as_due(&statement, due));
                    failed.fetch_add(fails, Ordering::Relaxed);
                }
            });
        }
    });
    let failed = failed.into_inner();
    println!("{failed} failed");
    ExitCode::from(u8::from(failed > 0))
}

/// Tries a statement and tells what came of it. One that cannot be tried here is as due.
fn is_as_due(statement: &Statement, due: Outcome) -> bool {
    let name = called(statement);
    match outcome(&name) {
        (Outcome::NotRun, said) => println!("test {name} ... NOT RUN: needs {said}"),
        (outcome, _) if outcome == due => println!("test {name} ... ok"),
        (outcome, said) => {
            println!(
                "test {name} ... FAILED: {outcome:?}, must be {due:?}: {said}\n  it says: {} ({})",
                statement.says, statement.source
            );
            return false;
        }
    }
    true
}

/// Each as it is, and where it can be tried so, with the fence of kernels without netdev egress.
fn both(statements: Vec<Statement>) -> impl Iterator<Item = Statement> {
    let without: Vec<_> = statements
        .iter()
        .filter_map(Statement::without_egress)
        .collect();
    statements.into_iter().chain(without)
}

fn called(statement: &Statement) -> String {
    let form = if statement.egress {
        ""
    } else {
        "_without_egress"
    };
    format!("{}{form}", statement.name)
}

/// Tries a statement, again if it was late; what came of it, and what was said last.
fn outcome(name: &str) -> (Outcome, String) {
    let mut last = String::new();
    for _ in 0..TRIES_MAX {
        let child = Command::new("/proc/self/exe")
            .args([TRY_ARGUMENT, name])
            .stdin(Stdio::null())
            .output()
            .expect("this program runs");
        let said = [child.stdout, child.stderr].concat();
        last = String::from_utf8_lossy(&said).into_owned();
        let outcome = match child.status.code().and_then(|code| u8::try_from(code).ok()) {
            Some(0) => Outcome::Holds,
            Some(DIFFERS) => Outcome::Differs,
            Some(NOT_RUN) => Outcome::NotRun,
            Some(UNKNOWN) => {
                println!("{name}: {}", last.trim_end());
                continue;
            }
            Some(_) | None => Outcome::Broken,
        };
        return (outcome, last);
    }
    (Outcome::Unknown, last)
}

/// Tries a statement in this process, which has nothing else to do.
fn try_here(name: &str) -> ExitCode {
    if let Err(why) = namespace::enter_namespace() {
        println!("network namespaces ({why})");
        return ExitCode::from(NOT_RUN);
    }
    let mut all = both([statements(), falsehoods()].concat());
    let statement = &all.find(|one| called(one) == name).unwrap();
    let mut linux = match linux::Linux::new(statement) {
        Ok(linux) => linux,
        Err(why) => {
            println!("{why}");
            return ExitCode::from(NOT_RUN);
        }
    };
    let played = play(&mut linux, statement).unwrap();
    drop(linux);
    let verdict = judge(statement, &played, Side::Kernel, &[]);
    println!("{verdict}");
    ExitCode::from(match verdict {
        Verdict::Differs(_) => DIFFERS,
        Verdict::Holds => 0,
        Verdict::Unknown(..) => UNKNOWN,
    })
}
