//! Status and explanation for people: short lines, the most important first.
//!
//! The answer is read field by field and leniently, so that a newer daemon's status still shows.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::Value;
use steadfast_core::hooks::Outcome;
use steadfast_core::{Instant, NodeId};

use crate::control::{DaemonFacts, Explanation, in_words, node_name};
use crate::hooks::level_word;

/// Prints a status.
pub(super) fn status(answer: &Value, out: &mut dyn Write) -> io::Result<()> {
    let daemon: DaemonFacts = serde_json::from_value(answer["daemon"].clone()).unwrap_or_default();
    let status = &answer["status"];
    let node = node_name(&daemon, id(&status["node"]));
    let since = ago(&daemon, &status["since"]);
    let configured = word(&status["configured"]);
    writeln!(
        out,
        "{node}: {} since {since}",
        word(&status["role"]).to_uppercase()
    )?;
    writeln!(out, "  why         {}", word(&status["why_text"]))?;
    writeln!(out, "  configured  {configured}")?;
    writeln!(out, "  epoch       {}", word(&status["epoch"]))?;
    let health = status["health"].as_u64().unwrap_or_default();
    let health = if health == 0 {
        "whole".to_owned()
    } else {
        format!("class {health}")
    };
    writeln!(out, "  health      {health}")?;
    let fence = if status["fence_whole"] == true {
        "whole"
    } else {
        "NOT WHOLE"
    };
    writeln!(out, "  fence       {fence} {}", in_brackets(&daemon.fence))?;
    if status["maintenance"] == true {
        writeln!(out, "  maintenance on")?;
    }
    if let Some(certificate) = &daemon.certificate {
        let read = certificate
            .sha256
            .as_ref()
            .map(|it| format!("SHA-256 {it}"));
        let problem = certificate.problem.as_deref().unwrap_or_default();
        let shown =
            read.unwrap_or_else(|| format!("{} CANNOT BE READ: {problem}", certificate.path));
        writeln!(out, "  certificate {shown}")?;
    }
    peers(&daemon, status, out)?;
    ports(&daemon, status, out)?;
    checks(&daemon, status, out)?;
    hooks(&daemon, out)?;
    witness(&daemon, status, out)?;
    for alert in &daemon.alerts {
        writeln!(out, "ALERT {alert}")?;
    }
    for trouble in answer["troubles"].as_array().into_iter().flatten() {
        let (problem, cure) = (word(&trouble["problem"]), word(&trouble["cure"]));
        writeln!(out, "TROUBLE {problem}\n   cure {cure}")?;
    }
    if status["same_role"] == true {
        writeln!(out, "ALERT a peer is configured with the same role")?;
    }
    for note in &daemon.notes {
        writeln!(out, "note  {note}")?;
    }
    let up = in_words(Duration::from_secs(daemon.uptime_s));
    let scheduling = in_brackets(&daemon.scheduling);
    writeln!(
        out,
        "steadfastd {}, process {}, up {up} {scheduling}",
        daemon.build, daemon.pid
    )
}

/// Prints an explanation.
pub(super) fn explanation(answer: &Value, out: &mut dyn Write) -> io::Result<()> {
    let read = serde_json::from_value::<Explanation>(answer.clone());
    let Ok(told) = read else {
        return writeln!(out, "{answer:#}");
    };
    writeln!(out, "{}", told.summary)?;
    let peers = told.peers.into_iter().map(|peer| peer.text).collect();
    let troubles = told.troubles.into_iter();
    let troubles = troubles.map(|it| format!("{}; {}", it.problem, it.cure));
    let parts = [
        ("What led here", told.chain),
        ("What is wrong", troubles.collect()),
        ("What else is true", told.facts),
        ("Peers", peers),
        ("What would change it", told.changes),
    ];
    for (title, lines) in parts.into_iter().filter(|(_, lines)| !lines.is_empty()) {
        writeln!(out, "{title}")?;
        lines
            .iter()
            .try_for_each(|line| writeln!(out, "  - {line}"))?;
    }
    Ok(())
}

fn peers(daemon: &DaemonFacts, status: &Value, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "peers                  liveness  role       heard          paths  kernel asked on"
    )?;
    for peer in status["peers"].as_array().into_iter().flatten() {
        let age = serde_json::from_value(peer["age"].clone()).ok().flatten();
        let age = age.map_or_else(
            || "never".to_owned(),
            |age| format!("{} ago", in_words(age)),
        );
        writeln!(
            out,
            "  {:<20} {:<9} {:<10} {age:<14} {:<6} {} segments",
            node_name(daemon, id(&peer["node"])),
            word(&peer["liveness"]),
            word(&peer["role"]),
            word(&peer["paths_alive"]),
            word(&peer["segments_armed"]),
        )?;
    }
    Ok(())
}

fn ports(daemon: &DaemonFacts, status: &Value, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "ports")?;
    for port in status["ports"].as_array().into_iter().flatten() {
        let number = port["port"]
            .as_u64()
            .and_then(|number| u8::try_from(number).ok());
        let name = number.and_then(|number| daemon.port_names.get(&number));
        let name = name.cloned().unwrap_or_else(|| word(&port["port"]));
        let carrier = if port["up"] == true { "up" } else { "DOWN" };
        let hears = if port["receives"] == true {
            "hears others"
        } else {
            "hears nobody"
        };
        let since = ago(daemon, &port["since"]);
        writeln!(
            out,
            "  {name:<20} {carrier:<9} {hears}, carrier since {since}"
        )?;
    }
    Ok(())
}

fn checks(daemon: &DaemonFacts, status: &Value, out: &mut dyn Write) -> io::Result<()> {
    let all = status["checks"].as_array().map_or(&[][..], Vec::as_slice);
    if !all.is_empty() {
        writeln!(out, "checks")?;
    }
    for check in all {
        let name = word(&check["name"]);
        let state = match check["passes"].as_bool() {
            Some(true) => "passes",
            Some(false) => "FAILS",
            None => "not run yet",
        };
        let since = ago(daemon, &check["since"]);
        let said = daemon.checks.get(&name).map_or("", String::as_str);
        writeln!(out, "  {name:<20} {state:<9} since {since}; last: {said}")?;
    }
    Ok(())
}

/// What follows the role, in order: what each runs for, or how it last ended.
fn hooks(daemon: &DaemonFacts, out: &mut dyn Write) -> io::Result<()> {
    if !daemon.hooks.is_empty() {
        writeln!(out, "hooks")?;
    }
    for hook in &daemon.hooks {
        let (name, state) = (&hook.name, &hook.state);
        let age = |at: Instant| in_words(daemon.now.since(at));
        let last = match state.last {
            Some((call, at, Outcome::Done)) => {
                format!("done for {}, {} ago", level_word(call.level), age(at))
            }
            Some((call, at, Outcome::Failed | Outcome::Late)) => {
                let (level, age) = (level_word(call.level), age(at));
                format!("FAILED for {level}, {age} ago: {}", hook.said)
            }
            None => "not run yet".to_owned(),
        };
        let running = state.running.map_or_else(String::new, |(call, since)| {
            let level = level_word(call.level);
            format!("; runs for {level} since {}", age(since))
        });
        writeln!(out, "  {name:<20} {last}{running}")?;
    }
    Ok(())
}

/// Who may serve by the witness's grant; nothing where there is no witness (D14).
fn witness(daemon: &DaemonFacts, status: &Value, out: &mut dyn Write) -> io::Result<()> {
    let told = &status["witness"];
    if !told.is_object() {
        return Ok(());
    }
    let (own, node) = (id(&status["node"]), id(&told["node"]));
    let heard = match (own == node, told["heard"] == true) {
        (true, _) => "this node",
        (false, true) => "heard",
        (false, false) => "NOT HEARD",
    };
    let left = serde_json::from_value(told["remaining"].clone())
        .ok()
        .flatten();
    let left = left.map_or_else(|| "-".to_owned(), |left: Duration| in_words(left));
    let holder = match told["granted_to"].as_u64() {
        Some(_) => format!(
            "granted to {} for {left}",
            node_name(daemon, id(&told["granted_to"]))
        ),
        None if own == node => "granted to nobody".to_owned(),
        None => "nothing granted to this node".to_owned(),
    };
    let name = node_name(daemon, node);
    writeln!(out, "witness\n  {name:<20} {heard:<9} {holder}")
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.chars().filter(|letter| !letter.is_control()).collect(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn id(value: &Value) -> NodeId {
    let number = value.as_u64().and_then(|number| u8::try_from(number).ok());
    NodeId(number.unwrap_or_default())
}

fn ago(daemon: &DaemonFacts, value: &Value) -> String {
    let at = Instant::from_nanos(value.as_u64().unwrap_or_default());
    in_words(daemon.now.since(at))
}

fn in_brackets(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!("({text})")
    }
}
