//! `steadfastctl interfaces`: what this gateway's interfaces are, and what each is used for (R4.3).

use std::io::{self, Write};

use serde::Deserialize;
use serde_json::Value;

use crate::linux::view::{Traffic, View};

/// One interface of the answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Shown {
    uses: Vec<String>,
    #[serde(flatten)]
    view: View,
}

/// Prints them.
pub(super) fn print(answer: &Value, out: &mut dyn Write) -> io::Result<()> {
    let all = answer["interfaces"].as_array();
    for one in all.map_or(&[][..], Vec::as_slice) {
        let shown: Shown = serde_json::from_value(one.clone()).unwrap_or_default();
        interface(&shown, out)?;
    }
    Ok(())
}

fn interface(shown: &Shown, out: &mut dyn Write) -> io::Result<()> {
    let view = &shown.view;
    let uses = shown.uses.join(", ");
    if view.index.is_none() {
        return writeln!(out, "{:<12} NOT THERE  {uses}", view.name);
    }
    let carrier = match (view.up, view.carrier) {
        (true, true) => "up",
        (true, false) => "NO CARRIER",
        (false, _) => "SET DOWN",
    };
    writeln!(out, "{:<12} {carrier:<10} {uses}", view.name)?;
    writeln!(out, "    link       {}", link(view))?;
    let addresses = [
        view.own.join(" "),
        view.virtuals
            .iter()
            .map(|ip| format!("{ip} (virtual)"))
            .collect::<Vec<_>>()
            .join(" "),
    ];
    let addresses = addresses.iter().filter(|it| !it.is_empty());
    let addresses: Vec<&str> = addresses.map(String::as_str).collect();
    let addresses = if addresses.is_empty() {
        "none".to_owned()
    } else {
        addresses.join(" ")
    };
    writeln!(out, "    addresses  {addresses}")?;
    writeln!(out, "    received   {}", traffic(view.received))?;
    writeln!(out, "    sent       {}", traffic(view.sent))
}

/// Number, kind, what it stands on or holds, speed, longest packet, hardware address.
fn link(view: &View) -> String {
    let mut words = Vec::new();
    if let Some(kind) = &view.kind {
        let vlan = view.vlan.map(|id| format!(" {id}")).unwrap_or_default();
        words.push(format!("{kind}{vlan}"));
    }
    if let Some(below) = &view.below {
        words.push(format!("on {below}"));
    }
    if !view.members.is_empty() {
        words.push(format!("of {}", view.members.join(" ")));
    }
    if let Some(master) = &view.master {
        words.push(format!("in {master}"));
    }
    if let Some(speed) = view.speed_mbit {
        let duplex = view.duplex.as_deref().unwrap_or("unknown");
        words.push(format!("{speed} Mbit/s {duplex} duplex"));
    }
    words.extend(view.mtu.map(|mtu| format!("mtu {mtu}")));
    words.extend(view.mac.clone());
    words.extend(view.index.map(|index| format!("number {index}")));
    if let Some(changes) = view.carrier_changes {
        words.push(format!("carrier changed {changes} times"));
    }
    words.join(", ")
}

fn traffic(way: Traffic) -> String {
    let Traffic {
        packets,
        bytes,
        errors,
        dropped,
    } = way;
    format!("{packets} packets, {bytes} bytes, {errors} errors, {dropped} dropped")
}
