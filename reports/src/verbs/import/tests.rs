//! Journals of a pair in a hand-made world: replayed, changed, cut, and made into scenarios.

use std::fs;
use std::path::PathBuf;

use steadfast_shell::journal::file_name;

use super::*;
use pair::Pair;

mod pair;

/// A folder of its own, gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("steadfast-import-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Imports what stands in it.
    fn import(&self, change: impl FnOnce(&mut Args)) -> (Result<Ending, Problem>, String) {
        let mut args = Args {
            journal: self.0.clone(),
            secret: None,
            life: None,
            out: Some(self.0.join("imported.toml")),
            json: false,
        };
        change(&mut args);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut streams = Streams {
            out: &mut out,
            err: &mut err,
        };
        let ending = run(&args, &mut streams);
        let text = String::from_utf8(out).unwrap();
        (
            ending,
            text.replace(&self.0.display().to_string(), "FOLDER"),
        )
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A standby's life: its peer loses power after three seconds, and it takes over.
fn power_loss(name: &str) -> Folder {
    let folder = Folder::new(name);
    let mut pair = Pair::new();
    pair.run_until(3_000);
    pair.lose_power();
    pair.run_until(5_000);
    fs::write(folder.0.join(file_name(0)), pair.journal()).unwrap();
    fs::write(folder.0.join(SECRET), pair::SECRET_FILE).unwrap();
    folder
}

/// Hashes follow every change of the core, so a snapshot must not hold them.
fn masked(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        let bare = word.trim_end();
        let hash = bare.len() == 64 && bare.chars().all(|c| c.is_ascii_hexdigit());
        let name = bare.starts_with("imported-b-");
        match (hash, name) {
            (true, _) => word.replace(bare, "HASH"),
            (_, true) => word.replace(bare, "imported-b-HASH"),
            (false, false) => word.to_owned(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The recorded decisions come out again, with one hash; the story becomes a file that gives the
/// same roles.
#[test]
fn import_power_loss_gives_same_hash_and_same_roles() {
    let folder = power_loss("whole");
    let (ending, text) = folder.import(|_| {});
    assert_eq!(ending.unwrap(), Ending::Pass, "{text}");
    let hashes: Vec<&str> = text
        .split_whitespace()
        .filter(|word| word.len() == 64)
        .collect();
    assert!(
        matches!(hashes.as_slice(), [then, now] if then == now),
        "{text}"
    );
    insta::assert_snapshot!(masked(&text));
    let file = fs::read_to_string(folder.0.join("imported.toml")).unwrap();
    let scenario = steadfast_scenarios::Scenario::parse("imported.toml", &file).unwrap();
    let steps: Vec<String> = scenario
        .plan()
        .steps
        .iter()
        .map(|it| it.verb.word())
        .collect();
    assert_eq!(steps, ["power_off"], "{file}");
    let (_, json) = folder.import(|args| args.json = true);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["ending"], "pass");
    assert_eq!(json["lives"][0]["recorded"], json["lives"][0]["replayed"]);
    assert_eq!(json["scenario"]["same_roles"], true);
}

/// Without keys nothing is replayed, and with others nothing is blamed on the node: unknown.
#[test]
fn import_without_or_with_wrong_keys_is_unknown() {
    let folder = power_loss("keys");
    fs::write(
        folder.0.join(SECRET),
        "1 enforce text:another horse battery staple\n",
    )
    .unwrap();
    let (ending, text) = folder.import(|_| {});
    assert_eq!(ending.unwrap(), Ending::Unknown, "{text}");
    assert!(text.contains("the keys do not fit"), "{text}");
    fs::remove_file(folder.0.join(SECRET)).unwrap();
    let (ending, text) = folder.import(|_| {});
    assert_eq!(ending.unwrap(), Ending::Unknown, "{text}");
    assert!(text.contains("give the secret file of then"), "{text}");
}

/// A byte that changed is a hole: what lies before it is replayed, and the whole is unknown.
#[test]
fn import_damaged_journal_names_the_hole() {
    let folder = power_loss("damaged");
    let path = folder.0.join(file_name(0));
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let (ending, text) = folder.import(|_| {});
    assert_eq!(ending.unwrap(), Ending::Unknown, "{text}");
    assert!(text.contains("as recorded up to a hole"), "{text}");
    assert!(text.contains("is damaged at byte"), "{text}");
}

/// A decision that was recorded otherwise is a failure, told with both sides and what came before.
#[test]
fn import_other_decision_fails_and_is_shown() {
    let folder = Folder::new("other");
    let mut pair = Pair::new();
    pair.run_until(1_000);
    pair.falsify();
    pair.run_until(2_000);
    fs::write(folder.0.join(file_name(0)), pair.journal()).unwrap();
    fs::write(folder.0.join(SECRET), pair::SECRET_FILE).unwrap();
    let (ending, text) = folder.import(|_| {});
    assert_eq!(ending.unwrap(), Ending::Fail, "{text}");
    assert!(text.contains("NOT AS RECORDED"), "{text}");
    assert!(text.contains("first difference at"), "{text}");
}

/// The steps that a life of six seconds becomes in which something was done after three of them and
/// undone 700 ms later: verb and target.
fn steps_of(name: &str, act: impl Fn(&mut Pair, bool)) -> Vec<(String, String)> {
    let folder = Folder::new(name);
    let mut pair = Pair::new();
    pair.run_until(3_000);
    act(&mut pair, true);
    pair.run_until(3_700);
    act(&mut pair, false);
    pair.run_until(6_000);
    fs::write(folder.0.join(file_name(0)), pair.journal()).unwrap();
    fs::write(folder.0.join(SECRET), pair::SECRET_FILE).unwrap();
    let (ending, text) = folder.import(|_| {});
    let file = fs::read_to_string(folder.0.join("imported.toml")).unwrap();
    // Whatever the story, the decisions are replayed; only a simulated world may go another way.
    assert!(
        ending.is_ok_and(|ending| ending != Ending::Fail),
        "{name}: {text}"
    );
    assert!(text.contains("as recorded"), "{name}: {text}");
    let scenario = steadfast_scenarios::Scenario::parse("imported.toml", &file).unwrap();
    let steps = scenario.plan().steps.iter();
    steps
        .map(|it| (it.verb.word(), it.target.to_string()))
        .collect()
}

/// What was done to a cluster shows in what one of its nodes heard: each has its verb.
#[test]
fn import_each_fault_has_its_verb() {
    let story = |name: &str, act: fn(&mut Pair, bool), expected: [(&str, &str); 2]| {
        let steps = steps_of(name, act);
        let told: Vec<_> = steps
            .iter()
            .map(|(a, b)| (a.as_str(), b.as_str()))
            .collect();
        assert_eq!(told, expected, "{name}");
    };
    story(
        "cable",
        |pair, done| pair.cable(!done),
        [("cable_pull", "ha"), ("cable_plug", "ha")],
    );
    story(
        "own-port",
        |pair, done| pair.port(1, !done),
        [("link_down", "b.lan"), ("link_up", "b.lan")],
    );
    story(
        "peers-port",
        |pair, done| pair.port(0, !done),
        [("link_down", "a.lan"), ("link_up", "a.lan")],
    );
    story(
        "silence",
        |pair, done| pair.silence(0, pair::CABLE, done),
        [("silence", "a.ha"), ("unsilence", "a.ha")],
    );
    story("freeze", Pair::freeze, [("freeze", "a"), ("thaw", "a")]);
}

/// A folder without a journal, and a life that is not there, are mistakes of the caller.
#[test]
fn import_without_a_life_is_a_problem() {
    let folder = Folder::new("none");
    let (ending, _) = folder.import(|_| {});
    assert!(matches!(ending, Err(Problem::NoLife { .. })));
    let folder = power_loss("one");
    let (ending, _) = folder.import(|args| args.life = Some(2));
    assert!(matches!(ending, Err(Problem::NoSuchLife { count: 1, .. })));
}
