//! What an import found, in words and as JSON.

use serde::Serialize;
use serde_json::Value;
use steadfast_shell::journal::{Outcome, Reading, Stored, StoredEffect};

use super::hearing::seconds;
use super::story::told;
use super::{Args, Examined, Imported, roles};
use crate::ending::Ending;
use crate::words;

/// Entries shown before one that differs.
const CONTEXT: usize = 4;
/// Bytes of one entry's text that are shown.
const LINE_MAX: usize = 160;

/// Everything that is told.
pub(super) struct Report<'a> {
    pub(super) args: &'a Args,
    pub(super) reading: &'a Reading,
    pub(super) examined: &'a [Examined<'a>],
    pub(super) imported: Option<&'a Result<Imported, String>>,
}

#[derive(Serialize)]
struct Told {
    ending: &'static str,
    lives: Vec<ToldLife>,
    unreadable: Vec<String>,
    scenario: Option<ToldScenario>,
    no_scenario: Option<String>,
}

#[derive(Serialize)]
struct ToldLife {
    node: u8,
    build: String,
    lasted_s: f64,
    ended_in_order: bool,
    entries: usize,
    inputs: usize,
    decisions: usize,
    recorded: String,
    replayed: Option<String>,
    outcome: &'static str,
    why: Vec<String>,
    holes: Vec<String>,
    roles: Vec<ToldTurn>,
}

#[derive(Serialize)]
struct ToldTurn {
    at_s: f64,
    role: &'static str,
}

#[derive(Serialize)]
struct ToldScenario {
    life: usize,
    name: String,
    file: Option<String>,
    node: &'static str,
    steps: usize,
    not_said: Vec<String>,
    roles_then: Vec<&'static str>,
    roles_in_scenario: Option<Vec<&'static str>>,
    same_roles: bool,
    verdict_in_fast: Option<&'static str>,
    failure: Option<String>,
}

impl Report<'_> {
    /// For people.
    pub(super) fn text(&self) -> String {
        let mut lines = Vec::new();
        let count = self.examined.len();
        for (place, examined) in self.examined.iter().enumerate() {
            lines.extend(life_text(place + 1, count, examined));
        }
        for path in &self.reading.unreadable {
            lines.push(format!("{} is not readable as a journal", path.display()));
        }
        match self.imported {
            None => lines.push("no scenario: nothing was replayed".to_owned()),
            Some(Err(why)) => lines.push(format!("no scenario: {why}")),
            Some(Ok(imported)) => lines.extend(self.scenario_text(imported)),
        }
        lines.join("\n") + "\n"
    }

    fn scenario_text(&self, imported: &Imported) -> Vec<String> {
        let draft = &imported.draft;
        let plan = draft.scenario.plan();
        let mut lines = vec![format!(
            "scenario {} of life {}: {}, lasts {}, the node is `{}`",
            plan.name,
            imported.life,
            words::counted(draft.steps as u64, "step"),
            seconds(plan.duration.0),
            draft.own
        )];
        let then = roles::words(&draft.roles);
        match &imported.played {
            Err(why) => lines.push(format!("  roles in the scenario: not played: {why}")),
            Ok(played) => {
                let now = roles::words(&played.roles);
                lines.push(if imported.same_roles() {
                    format!("  roles in the scenario: {now} — as in the journal")
                } else {
                    format!("  roles in the scenario: {now} — DIFFERENT, in the journal: {then}")
                });
                let failure = played.failure.as_ref();
                let failure = failure.map(|why| format!(": {why}")).unwrap_or_default();
                let verdict = words::verdict(played.verdict);
                lines.push(format!("  in the world fast: {verdict}{failure}"));
            }
        }
        if draft.unsaid.is_empty() {
            lines.push("  left out: nothing".to_owned());
        }
        lines.extend(
            draft
                .unsaid
                .iter()
                .map(|what| format!("  left out: {what}")),
        );
        lines.push(match &self.args.out {
            Some(out) => format!("  written to {}", out.display()),
            None => "  not written: name a file with --out FILE.toml".to_owned(),
        });
        lines
    }

    /// For tools.
    pub(super) fn json(&self, ending: Ending) -> String {
        let unreadable = self.reading.unreadable.iter();
        let told = Told {
            ending: match ending {
                Ending::Pass | Ending::NotRun => "pass",
                Ending::Unknown => "unknown",
                Ending::Fail => "fail",
            },
            lives: self.examined.iter().map(life_json).collect(),
            unreadable: unreadable.map(|path| path.display().to_string()).collect(),
            scenario: match self.imported {
                Some(Ok(imported)) => Some(self.scenario_json(imported)),
                Some(Err(_)) | None => None,
            },
            no_scenario: match self.imported {
                Some(Ok(_)) => None,
                Some(Err(why)) => Some(why.clone()),
                None => Some("nothing was replayed".to_owned()),
            },
        };
        // Numbers, texts and lists: nothing of it can fail.
        serde_json::to_string_pretty(&told).unwrap_or_default() + "\n"
    }

    fn scenario_json(&self, imported: &Imported) -> ToldScenario {
        let draft = &imported.draft;
        let words_of = |of: &[_]| of.iter().map(|role| roles::word(*role)).collect();
        let played = imported.played.as_ref();
        ToldScenario {
            life: imported.life,
            name: draft.scenario.plan().name.clone(),
            file: self.args.out.as_ref().map(|out| out.display().to_string()),
            node: draft.own,
            steps: draft.steps,
            not_said: draft.unsaid.clone(),
            roles_then: words_of(&draft.roles),
            roles_in_scenario: played.ok().map(|played| words_of(&played.roles)),
            same_roles: imported.same_roles(),
            verdict_in_fast: played.ok().map(|played| words::verdict(played.verdict)),
            failure: match played {
                Ok(played) => played.failure.clone(),
                Err(why) => Some(why.clone()),
            },
        }
    }
}

fn life_text(number: usize, count: usize, examined: &Examined<'_>) -> Vec<String> {
    let (life, found) = (examined.life, &examined.examination);
    let end = life.entries.last().map_or(life.facts.now, |last| last.at);
    let ended = if life.ended() {
        "ended in order"
    } else {
        "not ended in order"
    };
    let mut lines = vec![
        format!("life {number} of {count}: {}", life.facts),
        format!(
            "  {} entries in {}: {}, {}; {ended}",
            life.entries.len(),
            told(end, &life.facts),
            words::counted(examined.inputs() as u64, "input"),
            words::counted(found.decisions as u64, "decision"),
        ),
        format!("  recorded  {}", found.recorded),
    ];
    let replayed = found.replayed.map(|hash| hash.to_string());
    let verdict = match &found.outcome {
        Outcome::Equal { .. } => "as recorded",
        Outcome::Differs { .. } => "NOT AS RECORDED",
        Outcome::Gap { .. } => "as recorded up to a hole",
        Outcome::NoStart | Outcome::WrongKeys(_) => "",
    };
    match replayed {
        Some(replayed) => lines.push(format!("  replayed  {replayed}  {verdict}")),
        None => lines.push("  replayed  nothing".to_owned()),
    }
    lines.extend(why(examined).into_iter().map(|line| format!("  {line}")));
    lines.extend(life.holes().map(|hole| format!("  hole: {hole}")));
    if !found.roles.is_empty() {
        let turns = found.roles.iter().map(|turn| {
            let (role, at) = (roles::word(turn.role), told(turn.at, &life.facts));
            format!("{role} at {at}")
        });
        lines.push(format!("  roles: {}", turns.collect::<Vec<_>>().join(", ")));
    }
    lines
}

fn life_json(examined: &Examined<'_>) -> ToldLife {
    let (life, found) = (examined.life, &examined.examination);
    let end = life.entries.last().map_or(life.facts.now, |last| last.at);
    ToldLife {
        node: life.facts.config.node.0,
        build: life.facts.build.clone(),
        lasted_s: words::seconds(end.since(life.facts.now)),
        ended_in_order: life.ended(),
        entries: life.entries.len(),
        inputs: examined.inputs(),
        decisions: found.decisions,
        recorded: found.recorded.to_string(),
        replayed: found.replayed.map(|hash| hash.to_string()),
        outcome: match &found.outcome {
            Outcome::Equal { .. } => "as_recorded",
            Outcome::Differs { .. } => "differs",
            Outcome::Gap { .. } => "hole",
            Outcome::NoStart => "no_start",
            Outcome::WrongKeys(_) if examined.keys.is_none() => "no_keys",
            Outcome::WrongKeys(_) => "wrong_keys",
        },
        why: why(examined),
        holes: life.holes().map(ToString::to_string).collect(),
        roles: found
            .roles
            .iter()
            .map(|turn| ToldTurn {
                at_s: words::seconds(turn.at.since(life.facts.now)),
                role: roles::word(turn.role),
            })
            .collect(),
    }
}

/// Why a life is not as recorded, with what came before.
fn why(examined: &Examined<'_>) -> Vec<String> {
    let life = examined.life;
    match &examined.examination.outcome {
        Outcome::Equal { .. } => Vec::new(),
        Outcome::Gap { entry, hole } => {
            let at = life.entries.get(*entry).map_or(life.facts.now, |it| it.at);
            let what = hole.as_ref().map(|hole| format!(": {hole}"));
            let (at, what) = (told(at, &life.facts), what.unwrap_or_default());
            vec![format!("entries are missing at {at}, entry {entry}{what}")]
        }
        Outcome::NoStart => vec!["not replayed: the life's first file is gone".to_owned()],
        Outcome::WrongKeys(_) if examined.keys.is_none() => vec![
            "not replayed: no keys; give the secret file of then with --secret FILE".to_owned(),
        ],
        Outcome::WrongKeys(why) => vec![
            format!("not replayed: the keys do not fit: {why}"),
            "give the secret file of then with --secret FILE".to_owned(),
        ],
        Outcome::Differs {
            entry,
            recorded,
            replayed,
        } => {
            let at = life.entries.get(*entry).map_or(life.facts.now, |it| it.at);
            let at = told(at, &life.facts);
            let mut lines = vec![format!("first difference at {at}, entry {entry}:")];
            let before = life.entries.iter().take(*entry);
            let before = before.skip(entry.saturating_sub(CONTEXT));
            lines.extend(before.map(|it| format!("             {}", side(&it.what))));
            let (recorded, replayed) = sides(recorded.as_deref(), replayed.as_deref());
            lines.push(format!("  recorded   {recorded}"));
            lines.push(format!("  replayed   {replayed}"));
            lines
        }
    }
}

/// Both sides of a difference; of two statuses, what differs alone.
fn sides(recorded: Option<&Stored>, replayed: Option<&Stored>) -> (String, String) {
    if let (Some(Stored::Status(a)), Some(Stored::Status(b))) = (recorded, replayed) {
        let fields = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
        let (a, b) = (fields(a), fields(b));
        let names = a.as_object().into_iter().flat_map(|fields| fields.keys());
        let other: Vec<&String> = names.filter(|name| a.get(name) != b.get(name)).collect();
        let of = |value: &Value| {
            let field = |name: &&String| format!("{name} {}", value[name.as_str()]);
            let fields: Vec<String> = other.iter().map(field).collect();
            cut(&format!("== status: {}", fields.join(", ")))
        };
        return (of(&a), of(&b));
    }
    let told = |it: Option<&Stored>| it.map_or_else(|| "nothing".to_owned(), side);
    (told(recorded), told(replayed))
}

/// An entry in a line; frames with their digest, since it may be all that differs.
fn side(stored: &Stored) -> String {
    match stored {
        Stored::Effect(StoredEffect::Transmit { digest, .. }) => {
            let digest = steadfast_shell::hex::encode(digest);
            format!("{stored}, digest {digest}")
        }
        Stored::Config(_)
        | Stored::Effect(_)
        | Stored::End
        | Stored::Gap(_)
        | Stored::Hole(_)
        | Stored::Input(_)
        | Stored::Status(_) => cut(&stored.to_string()),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LINE_MAX) {
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}
