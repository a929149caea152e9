//! Checks as written: each kind, its defaults, and every mistake with its cure.

use std::time::Duration;

use steadfast_core::config::check::Cost;

use super::mistakes::check;
use super::*;
use crate::checks::{CheckSpec, Probe};

fn checked(text: &str) -> Loaded {
    load_text(&format!("{SOUND}\n{text}"))
        .1
        .expect("a sound file")
}

fn spec(text: &str) -> CheckSpec {
    let loaded = checked(&format!("[[check]]\nname = \"one\"\n{text}\n"));
    assert_eq!(loaded.checks.len(), 1);
    loaded.checks[0].clone()
}

/// One table of each kind.
#[test]
fn config_check_of_each_kind() {
    let kinds = [
        ("connect = \"192.0.2.1:443\"", "Connect"),
        ("connect = \"[2001:db8::1]:443\"", "Connect"),
        ("connect = \"192.0.2.1:25\"\nspeaks = \"smtp\"", "Connect"),
        ("file = \"/run/ok\"\nmax_age = \"10s\"", "File"),
        ("pid_file = \"/run/named.pid\"", "PidFile"),
        ("ping = \"192.0.2.1\"", "Echo"),
        ("process = \"named\"", "Process"),
        ("route = \"192.0.2.1\"\ninterface = \"wan0\"", "Route"),
        ("script = [\"/bin/check\", \"-v\"]", "Script"),
    ];
    for (text, kind) in kinds {
        let probe = format!("{:?}", spec(text).probe);
        assert!(probe.starts_with(kind), "{text}: {probe}");
    }
    let command = vec!["/bin/check".to_owned(), "-v".to_owned()];
    let probe = spec("script = [\"/bin/check\", \"-v\"]").probe;
    assert_eq!(probe, Probe::Script { command });
}

/// Without a word it is a fault, run each second, with half of that to answer and two in a row.
#[test]
fn config_check_defaults_and_what_is_written() {
    let second = Duration::from_secs(1);
    let usual = spec("ping = \"192.0.2.1\"");
    assert_eq!((usual.every, usual.timeout), (second, second / 2));
    let text = "[[check]]\nname = \"a\"\nping = \"192.0.2.1\"\n[[check]]\nname = \"b\"\n\
                process = \"named\"\nweight = 5\nrise = 3\nfall = 1\ninterval = \"2s\"\n\
                timeout = \"2s\"\n";
    let loaded = checked(text);
    let [one, two] = loaded.config.checks.as_slice() else {
        panic!("{:?}", loaded.config.checks);
    };
    assert_eq!((one.cost, one.rise, one.fall), (Cost::Fault, 2, 2));
    assert_eq!((two.cost, two.rise, two.fall), (Cost::Weight(5), 3, 1));
    assert_eq!((&*one.name, &*two.name), ("a", "b"));
    assert_ne!(one.id, two.id);
    assert_eq!(loaded.checks[1].every, second * 2);
    assert_eq!(loaded.checks[1].timeout, second * 2);
}

/// A changed check is taken over by a running daemon, and names itself.
#[test]
fn config_check_changes_live() {
    let one = checked("[[check]]\nname = \"a\"\nping = \"192.0.2.1\"\n");
    let two = checked("[[check]]\nname = \"a\"\nping = \"192.0.2.2\"\n");
    let Change::Live(what) = compare(&one, &two) else {
        panic!("a restart");
    };
    assert!(what.contains(&"checks"), "{what:?}");
}

/// What is wrong with a check, where, and how to mend it.
fn told(cases: &[(String, &str, &str)]) -> String {
    let line = |(text, under, message): &(String, &str, &str)| {
        format!("[timing] | [[check]]⏎{text}⏎[timing] | {under} | {message}")
    };
    let cases: Vec<String> = cases.iter().map(line).collect();
    check(&cases.join("\n"))
}

fn named(kind: &str) -> String {
    format!("name = \"a\"⏎{kind}")
}

/// What it looks at: one thing, and something that can be.
#[test]
fn config_check_looks_at_one_thing() {
    let cases = [
        (named(""), "[[check]]", "a check looks at something"),
        (
            named("ping = \"gateway\""),
            "\"gateway\"",
            "is not an IP address",
        ),
        (
            named("connect = \"192.0.2.1\""),
            "\"192.0.2.1\"",
            "no address with a port",
        ),
        (
            named("connect = \"192.0.2.1:25\"⏎speaks = \"esmtp\""),
            "\"esmtp\"",
            "no word for `speaks`",
        ),
        (
            named("ping = \"192.0.2.1\"⏎speaks = \"http\""),
            "\"http\"",
            "says nothing without `connect`",
        ),
        (
            named("process = \"a-name-that-is-long\""),
            "\"a-name",
            "keeps 15 bytes",
        ),
        (
            named("ping = []"),
            "[[check]]",
            "`ping` is one value, and has 0",
        ),
        (
            named("script = []"),
            "[[check]]",
            "`script` is a program, and has 0",
        ),
        (
            named("ping = [\"192.0.2.1\", \"192.0.2.2\"]"),
            "[[check]]",
            "`ping` is one value, and has 2",
        ),
        (
            named("ping = \"192.0.2.1\"⏎file = \"/x\""),
            "[[check]]",
            "not at `file` and `ping`",
        ),
    ];
    insta::assert_snapshot!(told(&cases));
}

/// Its name, its times and its numbers.
#[test]
fn config_check_mistakes() {
    let with = |more: &str| named(&format!("ping = \"192.0.2.1\"⏎{more}"));
    let nameless = "ping = \"192.0.2.1\"".to_owned();
    let short = "every = \"10ms\"⏎timeout = \"5ms\"";
    let twice = "[[check]]⏎name = \"a\"⏎ping = \"192.0.2.2\"";
    let cases = [
        (nameless, "[[check]]", "missing key `name`"),
        (with(short), "\"10ms\"", "`every` is 10ms"),
        (with("timeout = \"3s\""), "\"3s\"", "a check is run each 1s"),
        (with("weight = 16"), "16", "must lie between 1 and 15"),
        (with("fall = 0"), "0", "must lie between 1 and 100"),
        (with("max_age = \"1s\""), "\"1s\"", "without `file`"),
        (with("wieght = 3"), "wieght", "unknown key `wieght`"),
        (with(twice), "[[check]]", "two checks are called `a`"),
    ];
    insta::assert_snapshot!(told(&cases));
}
