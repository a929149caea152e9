//! A player with a planted defect: what `steadfast audit` must find. Takes the command line of
//! `steadfast run NAME ... --seed N --traces DIR`, for built-in scenarios and the world `fast`.
//!
//! A copy's name says which defect it has: with `planted-hashing`, events of one instant are told
//! in the order of a `HashMap`; with `planted-clock`, statuses are dated by the wall clock;
//! `planted-nothing` is sound.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, fs};

use steadfast_core::{Instant, Rules};
use steadfast_scenarios::Scenario;
use steadfast_scenarios::trace::{Event, EventKind, TraceWriter};
use steadfast_sim::fast;

/// Plays as the command line says.
pub(crate) fn main() {
    let args: Vec<String> = env::args().collect();
    let value = |name: &str| {
        let at = args.iter().position(|it| it == name).unwrap();
        args[at + 1].clone()
    };
    let (name, seed, traces) = (&args[2], value("--seed"), value("--traces"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/catalogue");
    let text = fs::read_to_string(folder.join(format!("{name}.toml"))).unwrap();
    let plan = Scenario::parse(name, &text)
        .unwrap()
        .resolve(seed.parse().unwrap())
        .unwrap();
    let defect = args[0].rsplit('-').next().unwrap();
    let file = File::create(Path::new(&traces).join(format!("{name}-{seed}.trace.jsonl")));
    let mut writer = TraceWriter::storing(BufWriter::new(file.unwrap()));
    let mut instant: Vec<Event> = Vec::new();
    let mut tell = |event: &Event| {
        if instant.last().is_some_and(|last| last.at != event.at) {
            told(&mut instant, defect, &mut writer);
        }
        instant.push(event.clone());
    };
    fast::run(&plan, Rules::default(), None, &mut tell).unwrap();
    told(&mut instant, defect, &mut writer);
    writer.finish().unwrap();
}

/// A status whose date is the wall clock's.
fn read_the_clock(event: &mut Event) {
    if let EventKind::Status { since, .. } = &mut event.kind {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        *since = Instant::from_nanos(now.subsec_nanos().into());
    }
}

/// Tells the events of one instant.
fn told(instant: &mut Vec<Event>, defect: &str, writer: &mut TraceWriter<impl std::io::Write>) {
    if defect == "hashing" {
        let by_place: HashMap<usize, Event> = instant.drain(..).enumerate().collect();
        instant.extend(by_place.into_values());
    }
    for mut event in instant.drain(..) {
        if defect == "clock" {
            read_the_clock(&mut event);
        }
        writer.write(&event);
    }
}
