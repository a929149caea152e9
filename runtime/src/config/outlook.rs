//! What a fault costs with *this* configuration: worst outage and worst overlap of two owners.
//!
//! Every figure is a sum of times that the configuration holds and of two allowances that it does
//! not, so an operator can check it and change what it is made of. All rows assume one fault at a
//! time, gateways that are not starved, and a host that does its own part; they are bounds from
//! the rules (D7 to D15), not measurements. Where nothing bounds a row, it says so in words.
//!
//! The abbreviations of the formulas: I interval, S slack, D dead interval, L lease, R round,
//! T round trip bound, V offer, `W(w) = max(w, 3 R) + R` a confirm window as it is counted,
//! C = [`CARRIER`] and A = [`TAKE`].

use std::net::IpAddr;
use std::time::Duration;

use serde::{Serialize, Serializer};
use steadfast_core::config::{Config, Detection, Isolation, PortConfig};

use super::Loaded;
use super::quantity::show;

mod rows;

/// C: how late a lost carrier is noticed at the latest (D18: it is polled each 2 to 10 ms).
pub const CARRIER: Duration = Duration::from_millis(10);
/// A: lease, addresses and the first announcement of a claim, until the segment knows; measured
/// 3 to 6 ms for a few addresses (D17).
pub const TAKE: Duration = Duration::from_millis(8);
/// How long a segment must be silent before it counts against a node's health (D12).
pub const SILENT: Duration = Duration::from_millis(2_200);
/// How much earlier than L the kernel's lease may end (D9).
pub const LEASE_EARLY: Duration = Duration::from_millis(6);

/// Columns that reasons and advice may fill.
const TABLE_CHARS: usize = 92;

/// How long something lasts at worst.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Not at all.
    None,
    /// At most so long.
    AtMost(Duration),
    /// Until something that no timer decides.
    Until(&'static str),
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::AtMost(time) if *time < Duration::from_secs(1) => f.write_str(&show(*time)),
            Self::AtMost(time) => {
                let tenths = time.as_nanos().div_ceil(100_000_000);
                write!(f, "{}.{}s", tenths / 10, tenths % 10)
            }
            Self::Until(what) => write!(f, "until {what}"),
        }
    }
}

/// `{"ms": 12.0}`, `{"until": "…"}` or `{"ms": 0.0}`.
impl Serialize for Bound {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            Self::None => map.serialize_entry("ms", &0.0)?,
            Self::AtMost(time) => map.serialize_entry("ms", &(time.as_secs_f64() * 1e3))?,
            Self::Until(what) => map.serialize_entry("until", what)?,
        }
        map.end()
    }
}

/// One fault and what it costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What happens to the active.
    pub fault: String,
    /// How long nobody serves the address.
    pub outage: Bound,
    /// How long two do.
    pub overlap: Bound,
    /// Why.
    pub reason: String,
    /// The rules it follows from.
    pub rules: &'static str,
}

/// What faults cost, and what would make them cost less.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outlook {
    /// One fault each.
    pub rows: Vec<Row>,
    /// What this configuration lacks.
    pub advice: Vec<String>,
}

/// Works out the table for a configuration.
pub fn outlook(loaded: &Loaded) -> Outlook {
    let view = View::new(&loaded.config);
    Outlook {
        rows: view.rows(),
        advice: view.advice(),
    }
}

impl Outlook {
    /// The table for people, reasons below each row.
    pub fn table(&self) -> String {
        let mut out = String::from("worst case for one fault of the active, with this file\n\n");
        let cells = |row: &Row| {
            [
                row.fault.clone(),
                row.outage.to_string(),
                row.overlap.to_string(),
            ]
        };
        let header = ["fault", "nobody serves", "two owners"].map(str::to_owned);
        let lines: Vec<[String; 3]> = self.rows.iter().map(cells).collect();
        let width = |column: usize| {
            let all = lines.iter().chain([&header]);
            all.map(|line| line[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths = [width(0), width(1), width(2)];
        let draw = |line: &[String; 3]| {
            let [a, b, c] = line;
            let [x, y, z] = widths;
            format!("{a:<x$}  {b:<y$}  {c:<z$}").trim_end().to_owned() + "\n"
        };
        out.push_str(&draw(&header));
        for (row, line) in self.rows.iter().zip(&lines) {
            out.push_str(&draw(line));
            wrap(&format!("{} [{}]", row.reason, row.rules), "    ", &mut out);
        }
        for advice in &self.advice {
            out.push('\n');
            wrap(&format!("advice: {advice}"), "", &mut out);
        }
        out
    }
}

/// Breaks a text into lines of at most [`TABLE_CHARS`], where words end.
fn wrap(text: &str, indent: &str, out: &mut String) {
    let mut line = String::from(indent);
    for word in text.split(' ') {
        let blank = line.len() == indent.len();
        if !blank && line.chars().count() + word.chars().count() >= TABLE_CHARS {
            out.push_str(&line);
            out.push('\n');
            line = String::from(indent);
        } else if !blank {
            line.push(' ');
        }
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
}

/// What the rows are made of.
struct View<'a> {
    config: &'a Config,
    /// A direct cable joins the two nodes there are; of more, it joins only two.
    cable: bool,
    /// Every peer's kernel can be asked on some served segment (D8).
    armed: bool,
    /// Some station beside the suspect is sure to be asked on a served segment (D12).
    proven: bool,
}

impl<'a> View<'a> {
    fn new(config: &'a Config) -> Self {
        let served = || config.ports.iter().filter(|port| port.served());
        let witness = config.witness.map(|witness| witness.node);
        let gateways = || {
            let peers = config.peers.iter();
            peers.filter(move |peer| Some(peer.node) != witness)
        };
        let askable =
            |peer: &steadfast_core::config::PeerConfig| served().any(|port| can_ask(port, peer));
        let third = gateways().count() > 1 && served().any(|port| port.heartbeat);
        Self {
            config,
            cable: gateways().count() == 1 && config.ports.iter().any(|port| port.direct),
            armed: gateways().next().is_some() && gateways().all(askable),
            proven: third || served().any(|port| port.neighbour.is_some()),
        }
    }

    fn advice(&self) -> Vec<String> {
        let mut advice = Vec::new();
        if self.config.is_witness() {
            return advice;
        }
        let mut say = |wanted: bool, text: &str| {
            if wanted {
                advice.push(text.to_owned());
            }
        };
        let timing = &self.config.timing;
        let alone = self.config.peers.is_empty();
        say(
            alone,
            "list the other gateways as `[[peer]]`; alone, nothing takes over",
        );
        say(
            !alone && !self.armed,
            "list each peer's own addresses under `[peer.addresses]`: then its kernel is asked, \
             and a takeover need not wait for dead interval + lease",
        );
        say(
            !alone && !self.cable && self.config.policy.detection == Detection::Fast,
            "a direct cable between two gateways (`direct = true`) tells of a power loss at once",
        );
        say(
            !alone && !self.proven,
            "list a station that is always on as `neighbour`: a claim waits for proof that this \
             node hears a segment",
        );
        say(
            self.config.policy.isolation == Isolation::Serve && !alone,
            "with `isolation = \"serve\"` two sides of a complete cut both serve; `yield` prefers \
             nobody to two, and a `[witness]` one",
        );
        say(
            timing.lease > timing.dead_interval * 4,
            "a lease much longer than the dead interval only makes a dead daemon's dead port last",
        );
        advice
    }
}

/// A virtual address of the port and a listed own address of the peer on its segment, of one
/// family; a question by IPv6 needs an own address to ask from.
fn can_ask(port: &PortConfig, peer: &steadfast_core::config::PeerConfig) -> bool {
    let beyond = |unit: &IpAddr| matches!(unit, IpAddr::V4(unit) if port.is_beyond(*unit));
    let listed = |v6: bool| {
        let mut near = peer.units.iter().filter(|(_, unit)| !beyond(unit));
        near.any(|(id, unit)| *id == port.id && unit.is_ipv6() == v6)
    };
    let from =
        |v6: bool| !v6 || port.units.is_empty() || port.units.iter().any(|it| it.0.is_ipv6());
    port.virtuals
        .iter()
        .any(|ip| listed(ip.is_ipv6()) && from(ip.is_ipv6()))
}

#[cfg(test)]
mod tests;
