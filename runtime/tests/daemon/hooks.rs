//! Role hooks as an operator sees them: what programs are told, in which order, and how they end.

use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use rustix::time::Timespec;

use crate::gateways::{Gateway, WAIT, pair, text_of};

/// A `[[hook]]` that runs a line of the shell.
fn hook(name: &str, timeout: &str, line: &str) -> String {
    format!(
        "[[hook]]\nname = \"{name}\"\ntimeout = \"{timeout}\"\n\
         command = [\"/bin/sh\", \"-c\", '''{line}''']\n"
    )
}

/// A line that notes what it was told.
fn noting(file: &Path) -> String {
    let told = "$STEADFAST_HOOK $STEADFAST_ROLE $STEADFAST_EPOCH $STEADFAST_AGAIN";
    format!("echo {told} >> {}", file.display())
}

/// The hooks' states in the status.
fn states(gateway: &Gateway) -> serde_json::Value {
    gateway.status()["daemon"]["hooks"].clone()
}

/// From first to last when the node serves, the other way round when it does not, once more when
/// nobody else's can be under way, and at the daemon's end.
#[test]
fn hooks_follow_the_role_in_order() {
    if !inside_own_namespace!("hooks_follow_the_role_in_order") {
        return;
    }
    let [gateway, _other] = pair();
    let notes = gateway.folder.join("notes");
    let line = noting(&notes);
    gateway.configure(|text| text + &hook("one", "2s", &line) + &hook("two", "2s", &line));
    let mut daemon = gateway.start();
    daemon.says("hook two, active, epoch 1: done");
    let (_, told) = gateway.ctl("status");
    assert!(
        told.contains("\n  two                  done for active, "),
        "{told}"
    );
    daemon.says("hook two, active again, epoch 1: done");
    let said = daemon.stop();
    assert!(said.contains("hook one, standby, epoch 1: done"), "{said}");
    let noted = text_of(&notes);
    let first = noted.find("one active").expect("it served");
    let expected = "one active 1 0\ntwo active 1 0\none active 1 1\ntwo active 1 1\n\
                    two standby 1 0\none standby 1 0\n";
    assert_eq!(&noted[first..], expected);
    // Before it served; how far that came depends on how soon it did.
    assert!(
        "two standby 0 0\none standby 0 0\n".starts_with(&noted[..first]),
        "{noted}"
    );
    gateway.is_clean();
}

/// A hook that takes too long is ended with all that it started, told, and run again; it keeps
/// neither the gateway from serving nor the next hook from running.
#[test]
fn hooks_that_are_late_are_ended_with_all_they_started() {
    if !inside_own_namespace!("hooks_that_are_late_are_ended_with_all_they_started") {
        return;
    }
    let [gateway, _other] = pair();
    let (pids, notes) = (gateway.folder.join("pids"), gateway.folder.join("notes"));
    let hangs = format!("sleep 1000 & echo $! >> {}; wait", pids.display());
    gateway.configure(|text| {
        text + &hook("hangs", "500ms", &hangs) + &hook("next", "1s", &noting(&notes))
    });
    let mut daemon = gateway.start();
    daemon.says("active:");
    daemon.says("hook hangs, active, epoch 1: no end within 500ms");
    daemon.says("hook next, active, epoch 1: done");
    let (_, told) = gateway.ctl("status");
    assert!(
        told.contains("hangs                FAILED for active, "),
        "{told}"
    );
    assert_eq!(states(&gateway)[0]["state"]["last"][2], "late");
    daemon.says("hook hangs, active, epoch 1: no end within 500ms");
    assert!(gateway.holds());
    let noted = text_of(&pids);
    let last = noted.lines().next_back().expect("it began");
    is_gone(last);
    daemon.stop();
    gateway.is_clean();
}

/// A daemon that stands still ends nothing: its hook's guard does.
#[test]
fn hooks_are_ended_while_the_daemon_stands_still() {
    if !inside_own_namespace!("hooks_are_ended_while_the_daemon_stands_still") {
        return;
    }
    let [gateway, _other] = pair();
    let pids = gateway.folder.join("pids");
    let noted = "$STEADFAST_ROLE $$";
    let hangs = format!("echo {noted} >> {}; sleep 1000; true", pids.display());
    gateway.configure(|text| text + &hook("hangs", "2s", &hangs));
    let mut daemon = gateway.start();
    daemon.says("active:");
    gateway.status_when("the hook runs for its claim", |told| {
        told["daemon"]["hooks"][0]["state"]["running"][0]["level"] == "active"
    });
    let begun = || {
        let noted = std::fs::read_to_string(&pids).unwrap_or_default();
        let mut lines = noted.lines().rev();
        lines.find_map(|line| Some(line.strip_prefix("active ")?.to_owned()))
    };
    gateway.status_when("it has begun", |_| begun().is_some());
    daemon.signal(Signal::STOP);
    let pid = begun().expect("it began");
    assert!(Path::new("/proc").join(&pid).exists(), "it ended by itself");
    is_gone(&pid);
    daemon.signal(Signal::CONT);
    daemon.stop();
}

/// A program may end its whole group, the guard included: what is left of it is ended all the same,
/// before it is run again.
#[test]
fn hooks_that_end_their_guard_are_ended() {
    if !inside_own_namespace!("hooks_that_end_their_guard_are_ended") {
        return;
    }
    let [gateway, _other] = pair();
    let pids = gateway.folder.join("pids");
    let stays = format!(
        "trap '' TERM; echo $$ >> {}; kill 0; sleep 1000; true",
        pids.display()
    );
    gateway.configure(|text| text + &hook("stays", "1min", &stays));
    let mut daemon = gateway.start();
    daemon.says("active:");
    daemon.says("hook stays, active, epoch 1: /bin/sh ended by signal 15");
    is_gone(text_of(&pids).lines().next_back().expect("it began"));
    daemon.says("hook stays, active, epoch 1: /bin/sh ended by signal 15");
    daemon.stop();
    gateway.is_clean();
}

/// A reload takes changed hooks over, and an unchanged list runs none of them.
#[test]
fn hooks_are_taken_over_by_a_reload() {
    if !inside_own_namespace!("hooks_are_taken_over_by_a_reload") {
        return;
    }
    let [gateway, _other] = pair();
    let notes = gateway.folder.join("notes");
    let mut daemon = gateway.start();
    daemon.says("active:");
    gateway.configure(|text| text + &hook("late", "1min", "sleep 1000"));
    daemon.signal(Signal::HUP);
    gateway.status_when("the hook runs", |told| {
        told["daemon"]["hooks"][0]["state"]["running"][0]["level"] == "active"
    });
    // What still ran is of the old list, and its end says nothing of the new one.
    gateway.configure(|text| text + &hook("late", "1s", &noting(&notes)));
    daemon.signal(Signal::HUP);
    daemon.says("hook late, active, epoch 1: done");
    daemon.says("hook late, active again, epoch 1: done");
    daemon.signal(Signal::HUP);
    daemon.says("the changed configuration is in force");
    gateway.configure(|text| text + &hook("late", "1s", "exit 3"));
    daemon.signal(Signal::HUP);
    daemon.says("hook late, active, epoch 1: /bin/sh ended with 3");
    assert_eq!(text_of(&notes).lines().count(), 2);
    gateway.configure(|text| text + &hook("late", "1s", "exit 3").replace("/bin/sh", "/no/such"));
    daemon.signal(Signal::HUP);
    daemon.says("hook late, active, epoch 1: /no/such cannot be started");
    daemon.stop();
    gateway.is_clean();
}

/// The process of this number ends.
fn is_gone(pid: &str) {
    let pid = Pid::from_raw(pid.trim().parse().expect("a number")).expect("a process");
    let Ok(ends) = pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    let limit = Timespec {
        tv_sec: WAIT.as_secs().try_into().expect("seconds"),
        tv_nsec: Duration::ZERO.subsec_nanos().into(),
    };
    let ended = poll(&mut [PollFd::new(&ends, PollFlags::IN)], Some(&limit));
    assert_eq!(ended, Ok(1), "process {pid:?} lives on");
}
