//! Programs that a lab's gateway runs for the product: checks of its health, hooks of its role.
//!
//! Each is steered by files in [`FOLDER`], which the lab makes and removes from outside. A hook
//! says what it does on a pipe there, one short line each, so that what it points is seen in its
//! order; it writes to nothing else that a cloud would have.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use steadfast_scenarios::format::{CheckSetup, Cluster, Plan, Verb};

use super::{FOLDER, clocks};
use crate::enter::NODE_SERVICE;

/// The port of the first check's service; the others' follow.
const SERVICES_FROM: u16 = 8_000;

/// The pipe in [`FOLDER`] on which hooks say what they do: `began NAME ROLE EPOCH AGAIN`, and in
/// the end `done` or `failed` likewise.
pub const HOOK_PIPE: &str = "hooks";

/// The file in [`FOLDER`] whose being there makes a check pass.
pub fn check_file(name: &str) -> String {
    format!("check-{name}")
}

/// The file in [`FOLDER`] whose being there keeps a check from ending.
pub fn hang_file(name: &str) -> String {
    format!("check-{name}-hangs")
}

/// The file's tables of checks.
pub(super) fn checks(text: &mut String, plan: &Plan) -> std::fmt::Result {
    for (place, check) in (0..).zip(&plan.cluster.checks) {
        let probe = match check.service {
            true => format!("connect = \"127.0.0.1:{}\"\nspeaks = \"http\"", port(place)),
            false => probe(plan, check),
        };
        write!(
            text,
            "\n[[check]]\nname = \"{}\"\n{probe}\nevery = \"{}\"\n\
             rise = {}\nfall = {}\n",
            check.name, check.every, check.rise, check.fall
        )?;
        if let Some(weight) = check.weight {
            writeln!(text, "weight = {weight}")?;
        }
    }
    Ok(())
}

/// Where the service of a check listens, by the check's place.
const fn port(place: u16) -> u16 {
    SERVICES_FROM + place
}

/// What runs beside the daemon for checks that look at a service.
///
/// # Errors
/// When the program that hosts the lab cannot be found, in words.
pub(super) fn services(plan: &Plan) -> Result<Vec<Vec<String>>, String> {
    let all = (0..).zip(&plan.cluster.checks);
    let mut services = all.filter(|(_, check)| check.service).peekable();
    if services.peek().is_none() {
        return Ok(Vec::new());
    }
    let host = std::env::current_exe().map_err(|error| format!("its own program: {error}"))?;
    let service = |(place, check): (u16, &CheckSetup)| {
        let (ready, silent) = (check_file(&check.name), hang_file(&check.name));
        vec![
            host.to_string_lossy().into_owned(),
            NODE_SERVICE.to_owned(),
            port(place).to_string(),
            format!("{FOLDER}/{ready}"),
            format!("{FOLDER}/{silent}"),
        ]
    };
    Ok(services.map(service).collect())
}

/// What runs beside the daemon for checks of files that must be young.
pub(super) fn touched(plan: &Plan) -> Vec<Vec<String>> {
    let checks = plan.cluster.checks.iter();
    let dated = checks.filter(|check| check.max_age.is_some());
    let file = |check: &CheckSetup| format!("{FOLDER}/{}", check_file(&check.name));
    dated.map(|check| clocks::touching(&file(check))).collect()
}

/// A file to look at; where the story lets the check hang, a program that looks at it.
fn probe(plan: &Plan, check: &CheckSetup) -> String {
    let name = check.name.as_str();
    let file = format!("{FOLDER}/{}", check_file(name));
    let hangs =
        |verb: &Verb| matches!(verb, Verb::Check { check, hangs: true, .. } if check == name);
    if !plan.steps.iter().any(|step| hangs(&step.verb)) {
        let age = check.max_age.map(|age| format!("\nmax_age = \"{age}\""));
        return format!("file = \"{file}\"{}", age.unwrap_or_default());
    }
    let hangs = format!("{FOLDER}/{}", hang_file(name));
    format!(
        "script = [\"/bin/sh\", \"-c\", \"while [ -e {hangs} ]; do sleep 60; done; [ -e {file} ]\"]"
    )
}

/// The file in [`FOLDER`] whose being there makes a hook fail.
pub fn fails_file(name: &str) -> String {
    format!("hook-{name}-fails")
}

/// The file in [`FOLDER`] that says for how many seconds a hook works.
pub fn takes_file(name: &str) -> String {
    format!("hook-{name}-takes")
}

fn hook_file(name: &str) -> String {
    format!("hook-{name}")
}

/// What stands in [`FOLDER`] at first: every check passes, and every hook is a program.
pub(super) fn files(cluster: &Cluster) -> BTreeMap<String, Vec<u8>> {
    let checks = cluster.checks.iter();
    let checks = checks.map(|check| (check_file(&check.name), Vec::new()));
    let hooks = cluster.hooks.iter();
    let hooks = hooks.map(|hook| (hook_file(&hook.name), program(&hook.name).into_bytes()));
    checks.chain(hooks).collect()
}

/// The file's tables of hooks.
pub(super) fn hooks(text: &mut String, cluster: &Cluster) -> std::fmt::Result {
    for hook in &cluster.hooks {
        let file = format!("{FOLDER}/{}", hook_file(&hook.name));
        write!(
            text,
            "\n[[hook]]\nname = \"{}\"\ncommand = [\"{file}\"]\ntimeout = \"{}\"\n",
            hook.name, hook.timeout
        )?;
    }
    Ok(())
}

/// A line of less than a pipe's buffer is written whole or not at all.
fn program(name: &str) -> String {
    let (takes, fails) = (takes_file(name), fails_file(name));
    let what = format!("{name} $STEADFAST_ROLE $STEADFAST_EPOCH $STEADFAST_AGAIN");
    format!(
        "#!/bin/sh\n\
         say() {{\n\
         \x20 echo \"$1 {what}\" >{FOLDER}/{HOOK_PIPE}\n\
         }}\n\
         say began\n\
         if [ -e {FOLDER}/{takes} ]; then sleep \"$(cat {FOLDER}/{takes})\"; fi\n\
         if [ -e {FOLDER}/{fails} ]; then say failed; exit 1; fi\n\
         say done\n"
    )
}
