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
