//! `[[check]]`: what a node looks at beside its ports, and what a failure costs (R4.2).
//!
//! Each table names one thing to look at, by the key that says what kind it is. The vendors' words
//! for times are taken; a check that can never answer in its time, or says two things, is refused.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use steadfast_core::CheckId;
use steadfast_core::config::check::{CHECKS_MAX, CheckConfig, Cost, STREAK_MAX, WEIGHT_MAX};
use toml::Spanned;

use super::mistake::{Findings, Place};
use super::section::{Key, Section, Word};
use super::values::{Refusal, argument, plain_address};
use crate::checks::{CheckSpec, Probe, Speech};

/// Between two runs, unless the file says otherwise.
const EVERY: Duration = Duration::from_secs(1);
/// The shortest time between two runs: a check is a program's start, and not a heartbeat.
const EVERY_MIN: Duration = Duration::from_millis(100);
/// Results in a row that count, unless the file says otherwise.
const STREAK: u8 = 2;
/// What the kernel keeps of a process's name, bytes.
const PROCESS_NAME_MAX: usize = 15;

const EVERY_KEY: Key = Key::new("every", "\"1s\"").or(&["interval"]);
const KINDS: [&str; 7] = [
    "connect", "file", "pid_file", "ping", "process", "route", "script",
];

const SPEECHES: [Word<Speech>; 5] = [
    ("http", Speech::Http, None),
    ("imap", Speech::Imap, None),
    ("pop3", Speech::Pop, None),
    ("smtp", Speech::Smtp, None),
    ("pop", Speech::Pop, Some("pop3")),
];

/// A check as written and as it is run.
pub(super) struct Check {
    place: Place,
    spec: CheckSpec,
    cost: Cost,
    rise: u8,
    fall: u8,
}

impl Check {
    /// What it is called.
    pub(super) fn name(&self) -> &str {
        &self.spec.name
    }

    /// For the core.
    pub(super) fn configured(&self, place: usize) -> CheckConfig {
        CheckConfig {
            id: CheckId(u8::try_from(place).unwrap_or(u8::MAX)),
            name: self.spec.name.clone(),
            cost: self.cost,
            rise: self.rise,
            fall: self.fall,
        }
    }

    /// For whoever runs it.
    pub(super) fn spec(&self) -> CheckSpec {
        self.spec.clone()
    }
}

/// Every check that is sound; what is wrong with the others is told.
pub(super) fn read(
    root: &mut Section<'_>,
    elsewhere: &[(&str, &str)],
    findings: &mut Findings,
) -> Vec<Check> {
    let mut checks: Vec<Check> = Vec::new();
    for section in root.sections("check", CHECKS_MAX, findings) {
        let Some(check) = one(section, elsewhere, findings) else {
            continue;
        };
        match checks.iter().find(|one| one.spec.name == check.spec.name) {
            None => checks.push(check),
            Some(first) => findings.wrong_twice(
                &check.place,
                Some((&first.place, "and here")),
                format!("two checks are called `{}`", check.spec.name),
                "give each check a name of its own",
            ),
        }
    }
    checks
}

fn one(
    mut section: Section<'_>,
    elsewhere: &[(&str, &str)],
    findings: &mut Findings,
) -> Option<Check> {
    let before = findings.count();
    section.demand("name", "write `name = \"uplink\"`", findings);
    let name = section.text(Key::new("name", "\"uplink\""), findings);
    let probe = probe(&mut section, findings);
    let every = section.span(EVERY_KEY, findings);
    let timeout = section.span(Key::new("timeout", "\"500ms\""), findings);
    let weight = (1, u64::from(WEIGHT_MAX));
    let weight = section.number(Key::new("weight", "5"), weight, findings);
    let streak = (1, u64::from(STREAK_MAX));
    let rise = section.number(Key::new("rise", "2"), streak, findings);
    let fall = section.number(Key::new("fall", "2"), streak, findings);
    let (every, timeout) = times(every.as_ref(), timeout.as_ref(), findings);
    let place = section.finish(elsewhere, findings);
    let byte = |number: Option<Spanned<u64>>| u8::try_from(*number?.get_ref()).ok();
    let (name, probe) = (name?.into_inner(), probe?);
    (findings.count() == before).then(|| Check {
        place,
        spec: CheckSpec {
            name,
            every,
            timeout,
            probe,
        },
        cost: byte(weight).map_or(Cost::Fault, Cost::Weight),
        rise: byte(rise).unwrap_or(STREAK),
        fall: byte(fall).unwrap_or(STREAK),
    })
}

/// How often, and how long an answer may take: half of that, unless the file says otherwise.
fn times(
    every: Option<&Spanned<Duration>>,
    timeout: Option<&Spanned<Duration>>,
    findings: &mut Findings,
) -> (Duration, Duration) {
    let chosen = every.map_or(EVERY, |every| *every.get_ref());
    if let Some(every) = every.filter(|every| *every.get_ref() < EVERY_MIN) {
        let message = format!(
            "`every` is {:?}; at least {EVERY_MIN:?} are allowed",
            every.get_ref()
        );
        findings.wrong(
            &every.span(),
            message,
            "write `every = \"100ms\"` or longer",
        );
    }
    let half = chosen / 2;
    let Some(timeout) = timeout else {
        return (chosen, half);
    };
    let wait = *timeout.get_ref();
    if wait.is_zero() || wait > chosen {
        let message = format!("`timeout` is {wait:?}; a check is run each {chosen:?}");
        let cure = "write a shorter `timeout`, or a longer `every`";
        findings.wrong(&timeout.span(), message, cure);
    }
    (chosen, wait)
}

/// The kind of thing it looks at, if it is one.
fn kind(section: &Section<'_>, findings: &mut Findings) -> Option<&'static str> {
    let kinds: Vec<&str> = KINDS
        .into_iter()
        .filter(|kind| section.holds(kind))
        .collect();
    let message = match kinds.as_slice() {
        [one] => return Some(one),
        [] => "a check looks at something".to_owned(),
        kinds => format!(
            "a check looks at one thing, not at `{}`",
            kinds.join("` and `")
        ),
    };
    let cure = format!("write one of `{}`", KINDS.join("`, `"));
    findings.wrong(&section.place, message, cure);
    None
}

/// The one thing it looks at.
fn probe(section: &mut Section<'_>, findings: &mut Findings) -> Option<Probe> {
    let kind = kind(section, findings);
    let before = findings.count();
    // Every key is taken, so that none of them is told to be unknown.
    let file = section.text(Key::new("file", "\"/run/ok\""), findings);
    let max_age = section.span(Key::new("max_age", "\"10s\""), findings);
    let pid_file = section.text(Key::new("pid_file", "\"/run/named.pid\""), findings);
    let process = section.text(Key::new("process", "\"named\""), findings);
    let script = section.each(
        Key::new("script", "[\"/usr/local/bin/check\"]"),
        findings,
        argument,
    );
    let route = section.each(Key::new("route", "\"192.0.2.1\""), findings, plain_address);
    let interface = section.text(Key::new("interface", "\"wan0\""), findings);
    let ping = section.each(Key::new("ping", "\"192.0.2.1\""), findings, plain_address);
    let (connect, speaks) = connection(section, findings);
    belongs(
        max_age.as_ref(),
        "max_age",
        file.is_some(),
        "file",
        findings,
    );
    belongs(
        interface.as_ref(),
        "interface",
        !route.is_empty(),
        "route",
        findings,
    );
    if let Some(kind) = kind.filter(|_| findings.count() == before) {
        let counts = [
            ("connect", connect.len()),
            ("ping", ping.len()),
            ("route", route.len()),
            ("script", script.len()),
        ];
        count(kind, &counts, &section.place, findings);
    }
    let only = |list: Vec<Spanned<IpAddr>>| Some(*list.first()?.get_ref());
    let path = |text: Spanned<String>| PathBuf::from(text.into_inner());
    match kind? {
        "connect" => Some(Probe::Connect {
            to: *connect.first()?.get_ref(),
            speaks,
        }),
        "file" => Some(Probe::File {
            path: path(file?),
            max_age: max_age.map(Spanned::into_inner),
        }),
        "pid_file" => Some(Probe::PidFile {
            path: path(pid_file?),
        }),
        "ping" => Some(Probe::Echo { to: only(ping)? }),
        "process" => Some(Probe::Process {
            name: process_name(&process?, findings)?,
        }),
        "route" => Some(Probe::Route {
            to: only(route)?,
            interface: interface.map(Spanned::into_inner),
        }),
        "script" => {
            let command: Vec<String> = script.into_iter().map(Spanned::into_inner).collect();
            (!command.is_empty()).then_some(Probe::Script { command })
        }
        _ => None,
    }
}

/// A service, and how it greets.
fn connection(
    section: &mut Section<'_>,
    findings: &mut Findings,
) -> (Vec<Spanned<SocketAddr>>, Option<Speech>) {
    let connect = section.each(Key::new("connect", "\"192.0.2.1:443\""), findings, service);
    let speaks = section.word(Key::new("speaks", "\"smtp\""), &SPEECHES, findings);
    let is_there = !connect.is_empty();
    belongs(speaks.as_ref(), "speaks", is_there, "connect", findings);
    (connect, speaks.map(Spanned::into_inner))
}

/// A list of values is one value, but for a program and its arguments.
fn count(kind: &str, counts: &[(&str, usize)], place: &Place, findings: &mut Findings) {
    let found = counts.iter().find(|(listed, _)| *listed == kind);
    let (what, cure) = match found {
        Some(("script", 0)) => ("a program", "write `script = [\"/usr/local/bin/check\"]`"),
        Some(("script", _) | (_, 1)) | None => return,
        Some(_) => ("one value", "write a check for each"),
    };
    let count = found.map_or(0, |(_, count)| *count);
    let message = format!("`{kind}` is {what}, and has {count}");
    findings.wrong(place, message, cure);
}

/// A key that says something only beside another.
fn belongs<T>(
    written: Option<&Spanned<T>>,
    key: &str,
    is_there: bool,
    with: &str,
    findings: &mut Findings,
) {
    if let Some(written) = written.filter(|_| !is_there) {
        let message = format!("`{key}` says nothing without `{with}`");
        findings.wrong(
            &written.span(),
            message,
            format!("remove it, or add `{with}`"),
        );
    }
}

fn process_name(name: &Spanned<String>, findings: &mut Findings) -> Option<String> {
    let text = name.get_ref();
    if text.len() <= PROCESS_NAME_MAX {
        return Some(text.clone());
    }
    let cut: String = text.chars().take(PROCESS_NAME_MAX).collect();
    let message = format!("the kernel keeps {PROCESS_NAME_MAX} bytes of a process's name");
    findings.wrong(
        &name.span(),
        message,
        format!("write `process = \"{cut}\"`"),
    );
    None
}

fn service(text: &str) -> Result<SocketAddr, Refusal> {
    text.trim().parse().map_err(|_| {
        let cure = "write one like `\"192.0.2.1:443\"` or `\"[2001:db8::1]:443\"`";
        (
            format!("`{text}` is no address with a port"),
            cure.to_owned(),
        )
    })
}
