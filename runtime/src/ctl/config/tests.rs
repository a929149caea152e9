//! The command line of `init` and `check-config`, run as the command runs it.

use std::fs;
use std::path::Path;

use super::super::{Verdict, run};
use crate::store::tests::Scratch;

fn steadfastctl(line: &str) -> (Verdict, String) {
    let words = ["steadfastctl"].into_iter().chain(line.split_whitespace());
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let verdict = run(words.map(Into::into).collect(), &mut out, &mut err);
    out.extend(err);
    (verdict, String::from_utf8(out).expect("text"))
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).expect("a file")
}

/// The pair of the manual: the first node's command, the second's join, and both files are sound
/// and tell what a fault costs.
#[test]
fn ctl_init_writes_the_pair_of_the_manual() {
    let scratch = Scratch::new("init");
    let (a, b) = (
        scratch.0.join("a/steadfast.toml"),
        scratch.0.join("b/steadfast.toml"),
    );
    let (verdict, said) = steadfastctl(&format!(
        "init --config {} --node 1 --node-name gw1 --peer 2=gw2 --port lan0=10.0.1.1 \
         --port wan0=10.0.2.1,fd00:2::1 --neighbour wan0=10.0.2.9 --direct ha0 \
         --peer-address lan0=10.0.1.3 --peer-address 2:wan0=10.0.2.3",
        a.display()
    ));
    assert_eq!(verdict, Verdict::Done, "{said}");
    assert!(
        said.contains("1. check it: steadfastctl check-config"),
        "{said}"
    );
    let written = text(&a);
    let expected = [
        "virtual = [\"10.0.2.1\", \"fd00:2::1\"]",
        "neighbour = \"10.0.2.9\"",
        "lan0 = [\"10.0.1.3\"]",
        "wan0 = [\"10.0.2.3\"]",
    ];
    for expected in expected {
        assert!(written.contains(expected), "{expected} in {written}");
    }
    let (verdict, said) = steadfastctl(&format!(
        "init --config {} --join {} --node 2 --node-name gw2 --peer-address 1:lan0=10.0.1.2 \
         --peer-address 1:wan0=10.0.2.2",
        b.display(),
        a.display()
    ));
    assert_eq!(verdict, Verdict::Done, "{said}");
    assert!(text(&b).contains("lan0 = [\"10.0.1.2\"]"), "{}", text(&b));
    for file in [&a, &b] {
        let (verdict, said) = steadfastctl(&format!("check-config --offline {}", file.display()));
        assert_eq!(verdict, Verdict::Done, "{said}");
        assert!(said.contains("nobody serves  two owners"), "{said}");
    }
    let (_, said) = steadfastctl(&format!("check-config --offline --json {}", a.display()));
    let told: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert!(
        told["outlook"]["rows"]
            .as_array()
            .is_some_and(|rows| rows.len() > 3),
        "{told}"
    );
}

/// Without any word about ports it is an example to edit, and a second call overwrites nothing.
#[test]
fn ctl_init_alone_writes_an_example_once() {
    let scratch = Scratch::new("init");
    let file = scratch.0.join("steadfast.toml");
    let line = format!("init --config {}", file.display());
    assert_eq!(steadfastctl(&line).0, Verdict::Done);
    let written = text(&file);
    assert!(written.contains("lan0 = [\"10.0.1.3\"]"), "{written}");
    let (verdict, said) = steadfastctl(&line);
    assert_eq!(verdict, Verdict::Refused);
    assert!(said.contains("--force"), "{said}");
    assert_eq!(text(&file), written);
}

/// Words that are wrong are told, with what they should be, and nothing is written.
#[test]
fn ctl_init_wrong_words_are_told() {
    let scratch = Scratch::new("init");
    let file = scratch.0.join("steadfast.toml");
    let cases = [
        ("--peer 0", "one is 1 to 254"),
        ("--port lan0", "no INTERFACE=ADDRESS"),
        ("--port lan0=10.0.1", "no IP address"),
        ("--peer 1", "this node and no peer"),
        (
            "--peer 2 --peer 3 --peer-address lan0=10.0.1.3",
            "write it as ID:lan0=10.0.1.3",
        ),
        (
            "--port lan0=10.0.1.1 --neighbour wan0=10.0.2.9",
            "no --port wan0",
        ),
        (
            "--direct ha0 --neighbour ha0=10.0.9.9",
            "ha0 has no virtual addresses",
        ),
        ("--virtual-router 3", "3 is not in 11..=255"),
    ];
    for (words, told) in cases {
        let (verdict, said) = steadfastctl(&format!("init --config {} {words}", file.display()));
        assert_eq!(verdict, Verdict::Usage, "{words}: {said}");
        assert!(said.contains(told), "{words}: {said}");
    }
    assert!(!file.exists());
}

/// A file with mistakes is refused: with line and cure for people, as a list for programs.
#[test]
fn ctl_check_config_tells_mistakes() {
    let scratch = Scratch::new("check");
    let file = scratch.0.join("steadfast.toml");
    fs::write(&file, "format = 1\n[node]\nid = 0\n").expect("a file");
    let (verdict, said) = steadfastctl(&format!("check-config {}", file.display()));
    assert_eq!(verdict, Verdict::Refused);
    assert!(said.contains("steadfast.toml:3:"), "{said}");
    let (verdict, said) = steadfastctl(&format!("check-config --json {}", file.display()));
    assert_eq!(verdict, Verdict::Refused);
    let told: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert!(
        !told["mistakes"].as_array().expect("a list").is_empty(),
        "{told}"
    );
}
