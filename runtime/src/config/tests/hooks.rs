//! Hooks as written: their order, their defaults, and every mistake with its cure.

use std::time::Duration;

use super::mistakes::check;
use super::*;
use crate::hooks::HookSpec;

fn hooks(text: &str) -> Vec<HookSpec> {
    let loaded = load_text(&format!("{SOUND}\n{text}")).1;
    loaded.expect("a sound file").hooks
}

/// In the file's order, with half a minute each unless it says otherwise.
#[test]
fn config_hooks_in_order_with_defaults() {
    let read = hooks(
        "[[hook]]\nname = \"b\"\ncommand = [\"/bin/true\", \"-x\"]\n\
         [[hook]]\nname = \"a\"\nnotify = \"/bin/true\"\ntimeout = \"5s\"\n",
    );
    let hook = |name: &str, command: &[&str], seconds| HookSpec {
        name: name.to_owned(),
        timeout: Duration::from_secs(seconds),
        command: command.iter().map(|&word| word.to_owned()).collect(),
    };
    let expected = [
        hook("b", &["/bin/true", "-x"], 30),
        hook("a", &["/bin/true"], 5),
    ];
    assert_eq!(read, expected);
    assert_eq!(hooks(""), []);
}

/// Owners count on the longest time-out of the others: a different one is shown, another hook not.
#[test]
fn config_hooks_longest_timeout_is_shared() {
    let digest = |text: &str| {
        let loaded = load_text(&format!("{SOUND}\n{text}")).1;
        loaded.expect("a sound file").config.digests.config
    };
    let one = |name: &str, timeout: &str| {
        format!("[[hook]]\nname = \"{name}\"\ncommand = \"/bin/true\"\ntimeout = \"{timeout}\"\n")
    };
    let usual = digest(&one("a", "30s"));
    assert_eq!(usual, digest(&(one("b", "30s") + &one("c", "1s"))));
    assert_ne!(usual, digest(&one("a", "31s")));
    assert_ne!(usual, digest(""));
}

/// What cannot be run, or never ends.
#[test]
fn config_hooks_mistakes() {
    let sound = "name = \"a\"⏎command = \"/bin/true\"";
    let cases = [
        (
            "command = \"/bin/true\"".to_owned(),
            "[[hook]]",
            "missing key `name`",
        ),
        (
            "name = \"a\"".to_owned(),
            "[[hook]]",
            "missing key `command`",
        ),
        (
            "name = \"a\"⏎command = []".to_owned(),
            "[[hook]]",
            "`command` is empty",
        ),
        (
            format!("{sound}⏎timeout = \"11min\""),
            "\"11min\"",
            "must lie between",
        ),
        (
            format!("{sound}⏎timeout = \"50ms\""),
            "\"50ms\"",
            "must lie between",
        ),
        (
            format!("{sound}⏎every = \"1s\""),
            "every",
            "unknown key `every`",
        ),
        (
            format!("{sound}⏎[[hook]]⏎{sound}"),
            "[[hook]]",
            "two hooks are called `a`",
        ),
    ];
    let line = |(text, under, message): &(String, &str, &str)| {
        format!("[timing] | [[hook]]⏎{text}⏎[timing] | {under} | {message}")
    };
    let cases: Vec<String> = cases.iter().map(line).collect();
    let told = check(&cases.join("\n"));
    assert!(told.contains("write `command = "), "{told}");
}
