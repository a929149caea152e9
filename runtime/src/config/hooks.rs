//! `[[hook]]`: programs that follow the role, in the order of the file (R1.5).

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use steadfast_core::hooks::{HOOKS_MAX, TIMEOUT_MAX, TIMEOUT_MIN};
use toml::Spanned;

use super::mistake::{Findings, Place};
use super::section::{Key, Section};
use super::values::argument;
use crate::hooks::HookSpec;

/// When a hook is ended, unless the file says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Others than the owner may write.
const WRITABLE: u32 = 0o022;

/// A hook as written and as it is run.
pub(super) struct Hook {
    place: Place,
    spec: HookSpec,
}

impl Hook {
    /// What it is called.
    pub(super) fn name(&self) -> &str {
        &self.spec.name
    }

    /// For whoever runs it.
    pub(super) fn spec(&self) -> HookSpec {
        self.spec.clone()
    }
}

/// Every hook that is sound; what is wrong with the others is told.
pub(super) fn read(
    root: &mut Section<'_>,
    elsewhere: &[(&str, &str)],
    findings: &mut Findings,
) -> Vec<Hook> {
    let mut hooks: Vec<Hook> = Vec::new();
    for section in root.sections("hook", HOOKS_MAX, findings) {
        let Some(hook) = one(section, elsewhere, findings) else {
            continue;
        };
        match hooks.iter().find(|one| one.spec.name == hook.spec.name) {
            None => hooks.push(hook),
            Some(first) => findings.wrong_twice(
                &hook.place,
                Some((&first.place, "and here")),
                format!("two hooks are called `{}`", hook.spec.name),
                "give each hook a name of its own",
            ),
        }
    }
    hooks
}

fn one(
    mut section: Section<'_>,
    elsewhere: &[(&str, &str)],
    findings: &mut Findings,
) -> Option<Hook> {
    section.demand("name", "write `name = \"uplink\"`", findings);
    let name = section.text(Key::new("name", "\"uplink\""), findings);
    let command = command(&mut section, findings);
    let timeout = section.span(Key::new("timeout", "\"30s\""), findings);
    let timeout = within(timeout, findings);
    let place = section.finish(elsewhere, findings);
    Some(Hook {
        place,
        spec: HookSpec {
            name: name?.into_inner(),
            timeout: timeout?,
            command: command?,
        },
    })
}

/// The program and its arguments.
fn command(section: &mut Section<'_>, findings: &mut Findings) -> Option<Vec<String>> {
    let key = Key::new("command", "[\"/etc/steadfast/uplink\"]").or(&["script", "notify"]);
    // A missing one is told by `demand_any`.
    let written = [key.name]
        .iter()
        .chain(key.aliases)
        .any(|name| section.holds(name));
    section.demand_any(key, &key.cure(), findings);
    let before = findings.count();
    let words = section.each(key, findings, argument);
    if words.is_empty() && findings.count() == before && written {
        findings.wrong(&section.place, "`command` is empty", key.cure());
    }
    let words: Vec<String> = words.into_iter().map(Spanned::into_inner).collect();
    (!words.is_empty()).then_some(words)
}

fn within(written: Option<Spanned<Duration>>, findings: &mut Findings) -> Option<Duration> {
    let Some(written) = written else {
        return Some(TIMEOUT);
    };
    let timeout = *written.get_ref();
    if (TIMEOUT_MIN..=TIMEOUT_MAX).contains(&timeout) {
        return Some(timeout);
    }
    let message = format!(
        "`timeout` is {timeout:?}; it must lie between {TIMEOUT_MIN:?} and {TIMEOUT_MAX:?}"
    );
    findings.wrong(&written.span(), message, "write `timeout = \"30s\"`");
    None
}

/// What is worth knowing of the programs on this machine. A missing one keeps no gateway from
/// serving.
pub(super) fn advise(hooks: &[Hook], findings: &mut Findings) {
    for hook in hooks {
        let program = hook.spec.command.first().map_or("", String::as_str);
        if let Some(text) = advice(program) {
            findings.note(&hook.place, &format!("hook {}", hook.spec.name), text);
        }
    }
}

fn advice(program: &str) -> Option<String> {
    if !program.starts_with('/') {
        return program
            .contains('/')
            .then(|| format!("`{program}` is looked for from `/`; write its whole path"));
    }
    match Path::new(program).metadata() {
        Err(error) => Some(format!(
            "the hook's program cannot be seen: {program}: {error}"
        )),
        Ok(file) if !file.is_file() || file.mode() & 0o111 == 0 => Some(format!(
            "`{program}` is no program; `chmod +x` makes a file one"
        )),
        Ok(file) if file.mode() & WRITABLE != 0 || file.uid() != 0 => Some(format!(
            "others than root may change `{program}`, which root runs"
        )),
        Ok(_) => None,
    }
}
