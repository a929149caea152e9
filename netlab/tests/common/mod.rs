//! The harness of tests that need a lab: each test runs in a lab of its own, as this program
//! started again inside. Run by root, each runs twice: without a user namespace, and through one as
//! an ordinary user must.
//!
//! A test that did not say its token did not run: an empty run never counts as success. A machine
//! that refuses labs makes the whole program say `not run: needs ...` and end well, unless
//! `LAB_REQUIRED=1`, which the project's own automation sets.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use steadfast_netlab::enter::{Entrance, USERNS_VARIABLE};
use steadfast_netlab::{LabError, entry};

/// A test: its story's name, and the story. It runs inside a lab and panics when it fails.
pub(crate) type Test = (&'static str, fn());

const WORKER: &str = "lab-worker";
const TOKEN: &str = "the story ended well";

/// What `main` of such a test program is.
pub(crate) fn main(outside: &[Test], inside: &[Test]) -> ExitCode {
    if let Some(code) = entry(std::env::args_os().skip(1)) {
        return code;
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [first, name] = args.as_slice()
        && first == WORKER
    {
        let found = inside.iter().find(|(known, _)| known == name);
        found.expect("a test of this name").1();
        println!("{TOKEN}");
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let chosen = |name: &str| filters.is_empty() || filters.iter().any(|it| name.contains(*it));
    let list = args.iter().any(|arg| arg == "--list");
    let mut failed = 0;
    let mut passed = 0;
    for (name, test) in outside.iter().filter(|(name, _)| chosen(name)) {
        if list {
            println!("{name}: test");
            continue;
        }
        let outcome = std::panic::catch_unwind(test);
        say(name, outcome.is_ok(), &mut passed, &mut failed);
    }
    for (name, _) in inside.iter().filter(|(name, _)| chosen(name)) {
        if list {
            println!("{name}: test");
            continue;
        }
        for user in ways() {
            match run(name, user) {
                Ok((well, output)) => {
                    if !well {
                        println!("{output}");
                    }
                    let title = format!("{name} ({})", if user { "user" } else { "root" });
                    say(&title, well, &mut passed, &mut failed);
                }
                Err(refused) => {
                    println!("test {name} ... not run: {refused}");
                    failed += usize::from(std::env::var_os("LAB_REQUIRED").is_some());
                }
            }
        }
    }
    if !list {
        println!("\ntest result: {passed} passed; {failed} failed");
    }
    ExitCode::from(u8::from(failed > 0))
}

fn say(title: &str, well: bool, passed: &mut usize, failed: &mut usize) {
    println!("test {title} ... {}", if well { "ok" } else { "FAILED" });
    *passed += usize::from(well);
    *failed += usize::from(!well);
}

/// Root tries both ways, unless told; others have one.
fn ways() -> Vec<bool> {
    let root = rustix::process::geteuid().is_root();
    if root && std::env::var_os(USERNS_VARIABLE).is_none() {
        return vec![false, true];
    }
    vec![true]
}

fn run(name: &str, user: bool) -> Result<(bool, String), LabError> {
    let (read, write) = std::io::pipe().expect("a pipe");
    let error = write.try_clone().expect("a descriptor");
    let entrance = Entrance::new("/proc/self/exe").arg(WORKER).arg(name);
    let entrance = entrance.env(USERNS_VARIABLE, if user { "1" } else { "0" });
    let stdio = [None, Some(OwnedFd::from(write)), Some(OwnedFd::from(error))];
    let lab = entrance.user_namespace(user).stdio(stdio).enter()?;
    let mut output = String::new();
    let mut read = read;
    read.read_to_string(&mut output).expect("text");
    let code = lab.wait().expect("an end");
    Ok((code == 0 && output.contains(TOKEN), output))
}
