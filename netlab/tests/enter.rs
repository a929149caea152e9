//! Entering a lab and leaving it: what a worker finds inside, and that nothing outlives the
//! outermost process, however it ends.

#![expect(
    clippy::unwrap_used,
    reason = "a test without a harness is still a test"
)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use steadfast_netlab::Namespace;
use steadfast_netlab::enter::Entrance;

/// Most time that anything in these tests may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["outermost"] => return outermost(),
        ["outermost", "thread"] => return std::thread::spawn(outermost).join().expect("an end"),
        _ => {}
    }
    common::main(
        &[("enter_nothing_outlives_the_outermost", outlive)],
        &[
            ("enter_worker_is_second_and_alone", alone),
            ("enter_namespaces_keep_their_sockets", sockets),
        ],
    )
}

/// The worker is process 2 of a world in which only the lab's own things are to be seen: else a
/// test could meet the host's interfaces, names or processes.
fn alone() {
    assert_eq!(std::process::id(), 2, "the worker follows lab-init");
    let processes = fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        let name = entry.file_name();
        name.to_string_lossy()
            .bytes()
            .all(|byte| byte.is_ascii_digit())
    });
    assert_eq!(processes.count(), 2, "lab-init and the worker");
    assert_eq!(fs::read_dir("/run").unwrap().count(), 0, "an empty /run");
    let links = fs::read_to_string("/proc/self/net/dev").unwrap();
    let links = links.lines().filter(|line| line.contains(':')).count();
    assert_eq!(links, 1, "a loopback and nothing else");
    let name = rustix::system::uname();
    assert_eq!(name.nodename().to_str(), Ok("steadfast-lab"));
}

/// A socket opened in a namespace stays in it while the thread that asked for it has never left its
/// own: instruments are built on this.
fn sockets() {
    let here = fs::read_link("/proc/self/ns/net").unwrap();
    let one = Namespace::create("one").unwrap();
    let two = Namespace::create("two").unwrap();
    let there = one.run(|| fs::read_link("/proc/thread-self/ns/net").unwrap());
    let there = there.unwrap();
    let other = two.run(|| fs::read_link("/proc/thread-self/ns/net").unwrap());
    assert_ne!(there, here);
    assert_ne!(there, other.unwrap());
    let again = fs::read_link("/proc/thread-self/ns/net").unwrap();
    assert_eq!(again, here, "the caller never moved");
    drop(one);
    assert!(!fs::exists("/run/netns/one").unwrap());
    assert!(fs::exists("/run/netns/two").unwrap());
}

/// The program that is killed below: it enters a lab whose worker starts a stray in a session of
/// its own, and tells the number of the lab's first process.
fn outermost() -> ExitCode {
    let entrance = Entrance::new("/bin/sh").arg("-c");
    let lab = entrance.arg("setsid sleep 1000 & echo ready; exec sleep 1000");
    match lab.enter() {
        Ok(lab) => {
            println!("lab {}", lab.pid().as_raw_nonzero());
            lab.wait().expect("an end");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("refused {error}");
            ExitCode::FAILURE
        }
    }
}

/// SIGKILL of the outermost process ends the worker and a stray that left its session: a crashed
/// campaign must not leave gateways running. From the first thread the kernel sees to it, from
/// others the leash does.
fn outlive() {
    for (user, thread) in [
        ("0", None),
        ("1", None),
        ("0", Some("thread")),
        ("1", Some("thread")),
    ] {
        let mut child = Command::new("/proc/self/exe")
            .arg("outermost")
            .args(thread)
            .env("LAB_USERNS", user)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut line = || lines.next().map(Result::unwrap).unwrap_or_default();
        let said = [line(), line()];
        if let Some(refused) = said.iter().find(|line| line.starts_with("refused")) {
            println!("not run: {refused}");
            child.wait().unwrap();
            continue;
        }
        let number = said.iter().find_map(|line| line.strip_prefix("lab "));
        let number = number.unwrap_or_else(|| panic!("no number in {said:?}"));
        let namespace = fs::read_link(format!("/proc/{number}/ns/pid")).unwrap();
        assert!(members(&namespace) >= 3, "lab-init, worker and stray");
        child.kill().unwrap();
        child.wait().unwrap();
        let killed = Instant::now();
        while members(&namespace) > 0 {
            assert!(
                killed.elapsed() < PATIENCE,
                "somebody outlived the outermost"
            );
            std::thread::yield_now();
        }
    }
}

/// How many living processes stand in this process namespace.
fn members(namespace: &std::path::Path) -> usize {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let there = entries.filter(|entry| {
        fs::read_link(entry.path().join("ns/pid")).is_ok_and(|found| found == *namespace)
    });
    there.count()
}
