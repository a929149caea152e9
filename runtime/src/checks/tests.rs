//! Checks as they are run: what passes, what fails and in which words, and that none is left.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use steadfast_shell::orders::orders;

use super::probe::Memory;
use super::*;
use crate::linux::clock::timespec;
use crate::store::tests::Scratch;

const TIMEOUT: Duration = Duration::from_secs(5);
const MS: Duration = Duration::from_millis(1);

fn run(probe: &Probe) -> Result<(), String> {
    probe.run(TIMEOUT, &Stop::default(), &mut Memory::default())
}

fn script(text: &str) -> Probe {
    let command = ["/bin/sh", "-c", text].map(str::to_owned).to_vec();
    Probe::Script { command }
}

#[track_caller]
fn fails(probe: &Probe, words: &str) {
    let why = run(probe).expect_err("it fails");
    assert!(why.contains(words), "{why}");
}

/// A program's end is its word; one that is not there, or is killed, fails.
#[test]
fn check_script_passes_by_its_end() {
    assert_eq!(run(&script("exit 0")), Ok(()));
    fails(&script("exit 3"), "ended with 3");
    fails(&script("kill -9 $$"), "signal 9");
    let command = vec!["/no/such/program".to_owned()];
    fails(&Probe::Script { command }, "/no/such/program");
}

/// Neither a program that never ends nor what it started outlives its time.
#[test]
fn check_script_that_does_not_end_is_killed_with_all_it_started() {
    let scratch = Scratch::new("check");
    let file = scratch.0.join("pid");
    let text = format!("sleep 1000 & echo $! > {}; wait", file.display());
    let why = script(&text).run(MS * 2_000, &Stop::default(), &mut Memory::default());
    assert!(why.is_err_and(|why| why.contains("no end within")));
    ends(&file);
}

/// The process whose number stands in the file ends.
fn ends(file: &std::path::Path) {
    let child = fs::read_to_string(file).expect("it began");
    let child: i32 = child.trim().parse().expect("a number");
    // It may still be dying; a process that nobody killed would take much longer.
    let child = Pid::from_raw(child).expect("a process");
    if let Ok(ends) = pidfd_open(child, PidfdFlags::empty()) {
        let limit = timespec(TIMEOUT);
        let ended = poll(&mut [PollFd::new(&ends, PollFlags::IN)], Some(&limit));
        assert_eq!(ended, Ok(1), "process {child} lives on");
    }
}

/// What a script leaves behind when it ends in time ends with it.
#[test]
fn check_script_takes_along_what_it_started() {
    let scratch = Scratch::new("check");
    let file = scratch.0.join("pid");
    let text = format!("sleep 1000 & echo $! > {}", file.display());
    assert_eq!(run(&script(&text)), Ok(()));
    ends(&file);
}

/// A look that the kernel does not let go, here of a pipe that nobody writes to, fails in its time,
/// again and again, with one thread; and passes when it comes back.
#[test]
fn check_look_that_hangs_fails_in_its_time() {
    let scratch = Scratch::new("check");
    let path = scratch.0.join("pipe");
    let made = Command::new("mkfifo").arg(&path).status();
    assert!(made.is_ok_and(|made| made.success()));
    let probe = Probe::PidFile { path: path.clone() };
    let mut memory = Memory::default();
    for _ in 0..3 {
        let why = probe.run(MS * 20, &Stop::default(), &mut memory);
        assert!(why.is_err_and(|why| why.contains("no answer within")));
    }
    fs::write(&path, std::process::id().to_string()).expect("somebody reads");
    let outcome = probe.run(TIMEOUT, &Stop::default(), &mut memory);
    assert_eq!(outcome, Ok(()), "one thread waited, and read it");
}

/// Files, by being there and by their age.
#[test]
fn check_file_passes_while_it_is_there_and_young() {
    let scratch = Scratch::new("check");
    let path = scratch.0.join("alive");
    let mut probe = Probe::File {
        path: path.clone(),
        max_age: None,
    };
    fails(&probe, "alive");
    fs::write(&path, "").expect("a file");
    assert_eq!(run(&probe), Ok(()));
    let old = fs::File::options()
        .append(true)
        .open(&path)
        .expect("a file");
    let hour = Duration::from_secs(3600);
    old.set_modified(std::time::SystemTime::now() - hour)
        .expect("an old file");
    assert_eq!(run(&probe), Ok(()), "without an age any will do");
    let max_age = Some(Duration::from_secs(60));
    probe = Probe::File { path, max_age };
    fails(&probe, "unchanged for 3600 s");
}

/// Processes, by number and by name.
#[test]
fn check_process_is_known_by_number_and_by_name() {
    let scratch = Scratch::new("check");
    let path = scratch.0.join("pid");
    fs::write(&path, format!("{}\n", std::process::id())).expect("a file");
    assert_eq!(run(&Probe::PidFile { path: path.clone() }), Ok(()));
    fs::write(&path, "none").expect("a file");
    fails(&Probe::PidFile { path: path.clone() }, "no process number");
    fs::write(&path, "4194305").expect("a file");
    fails(&Probe::PidFile { path }, "does not run");
    let own = fs::read_to_string("/proc/self/comm").expect("a name");
    let name = own.trim_end().to_owned();
    assert_eq!(run(&Probe::Process { name }), Ok(()));
    let name = "no such name".to_owned();
    fails(&Probe::Process { name }, "no process");
}

/// A host that listens accepts; one that does not refuses.
#[test]
fn check_connect_passes_where_somebody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = listener.local_addr().expect("an address");
    let speaks = None;
    assert_eq!(run(&Probe::Connect { to, speaks }), Ok(()));
    drop(listener);
    // A program that another test starts has a copy of it until it is that program.
    let until = Instant::now() + TIMEOUT;
    while run(&Probe::Connect { to, speaks }).is_ok() && Instant::now() < until {
        thread::yield_now();
    }
    fails(&Probe::Connect { to, speaks }, "refused");
}

/// A service that greets as its protocol says passes; one that accepts and says something else,
/// trickles or is silent fails in its time, and in words.
#[test]
fn check_service_passes_when_it_says_it_is_ready() {
    let service = |greeting: &'static [&'static str]| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let to = listener.local_addr().expect("an address");
        let serve = move || {
            let (mut stream, _) = listener.accept().expect("a client");
            for part in greeting {
                let _ = stream.write_all(part.as_bytes());
            }
            // It stays until the client has gone.
            let _ = stream
                .read(&mut [0; 1_024])
                .and_then(|_| stream.read(&mut [0; 1]));
        };
        (to, thread::spawn(serve))
    };
    let asked = |greeting, speaks, timeout| {
        let (to, serving) = service(greeting);
        let speaks = Some(speaks);
        let probe = Probe::Connect { to, speaks };
        let outcome = probe.run(timeout, &Stop::default(), &mut Memory::default());
        serving.join().expect("the service ends");
        outcome
    };
    let ready = asked(&["22", "0 mail ESMTP\r\n"], Speech::Smtp, TIMEOUT);
    assert_eq!(ready, Ok(()));
    let ready = asked(&["HTTP/1.1 302 Found\r\n\r\n"], Speech::Http, TIMEOUT);
    assert_eq!(ready, Ok(()));
    let busy = asked(&["421 too many\r\n"], Speech::Smtp, TIMEOUT);
    assert!(busy.is_err_and(|why| why.contains("no smtp service that is ready, but \"421")));
    let silent = asked(&[], Speech::Imap, MS * 100);
    assert!(silent.is_err_and(|why| why.contains("no imap greeting within 100ms")));
    let trickling = asked(&["+OK without an end"], Speech::Pop, MS * 100);
    assert!(trickling.is_err_and(|why| why.contains("no pop3 greeting within")));
}

/// The loopback has a route out of itself, and of nothing else.
#[test]
fn check_route_knows_where_it_leads() {
    let to = IpAddr::from([127, 0, 0, 1]);
    let route = |interface: Option<&str>| Probe::Route {
        to,
        interface: interface.map(str::to_owned),
    };
    assert_eq!(run(&route(None)), Ok(()));
    assert_eq!(run(&route(Some("lo"))), Ok(()));
    fails(&route(Some("no-such-if")), "no-such-if");
}

/// Results come again and again; a changed list ends what is left out and begins what is new, and
/// what stays goes on.
#[test]
fn checks_results_come_until_the_check_is_left_out() {
    let (orders, mut received) = orders();
    let spec = |name: &str, probe: Probe| CheckSpec {
        name: name.to_owned(),
        every: MS * 5,
        timeout: TIMEOUT,
        probe,
    };
    let one = spec("one", script("exit 0"));
    let checks = Checks::start(std::slice::from_ref(&one), &orders).expect("threads");
    let mut next = || match received.blocking_recv() {
        Some(Order::Checked { name, passed }) => (name, passed),
        other => panic!("{other:?}"),
    };
    for _ in 0..3 {
        assert_eq!(next(), ("one".to_owned(), true));
    }
    let two = spec("two", script("exit 1"));
    checks.replace(&[two]).expect("threads");
    // What was said before waits in the channel.
    while next().0 == "one" {}
    for _ in 0..20 {
        assert_eq!(next(), ("two".to_owned(), false));
    }
    assert!(checks.said()["two"].contains("ended with 1"));
    assert_eq!(checks.said().len(), 1);
}

/// The daemon's orderly end ends what its checks run, however long that would have taken.
#[test]
fn check_ends_with_all_that_it_runs() {
    let scratch = Scratch::new("check");
    let file = scratch.0.join("pid");
    let (orders, _received) = orders();
    let text = format!(
        "echo $$ > {0}.new; mv {0}.new {0}; sleep 1000",
        file.display()
    );
    let hangs = CheckSpec {
        name: "hangs".to_owned(),
        every: MS * 5,
        timeout: Duration::from_secs(1_000),
        probe: script(&text),
    };
    let checks = Checks::start(&[hangs], &orders).expect("threads");
    let until = Instant::now() + TIMEOUT;
    while !file.exists() {
        assert!(Instant::now() < until, "it never began");
        thread::yield_now();
    }
    checks.end();
    ends(&file);
    assert!(lock(&checks.running).is_empty());
}
