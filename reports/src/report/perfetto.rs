//! A run for trace viewers: Chrome's trace event format, which ui.perfetto.dev and others open.
//!
//! A group of lanes is a process, a lane is a thread; spans are complete events, points instants,
//! and the number of gateways that answer on a segment is a counter, where two is the picture of a
//! split brain. Times are microseconds with three decimals, so no nanosecond is lost.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::timeline::{Bar, Lane, Timeline};

/// The file's text.
pub(crate) fn document(timeline: &Timeline) -> String {
    let mut events = Vec::new();
    let mut processes: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, lane) in timeline.lanes.iter().enumerate() {
        let next = processes.len() + 1;
        let process = *processes.entry(&lane.group).or_insert(next);
        if process == next {
            events.push(named("process_name", process, 0, &lane.group));
            events.push(
                json!({"ph": "M", "name": "process_sort_index", "pid": process, "tid": 0,
                "args": {"sort_index": process}}),
            );
        }
        let thread = at + 1;
        let name = if lane.name.is_empty() {
            lane.kind
        } else {
            &lane.name
        };
        events.push(named("thread_name", process, thread, name));
        spans(lane, process, thread, &mut events);
        points(lane, process, thread, &mut events);
        if lane.kind == "owner" {
            counter(lane, process, timeline.end, &mut events);
        }
    }
    let about = json!({"scenario": timeline.scenario, "seed": timeline.seed,
        "world": timeline.world, "trace": timeline.trace});
    let all = json!({"displayTimeUnit": "ms", "otherData": about, "traceEvents": events});
    all.to_string() + "\n"
}

fn named(what: &str, process: usize, thread: usize, name: &str) -> Value {
    json!({"ph": "M", "name": what, "pid": process, "tid": thread, "args": {"name": name}})
}

/// What a lane shows one after the other; what lasts no time is an instant.
fn spans(lane: &Lane, process: usize, thread: usize, events: &mut Vec<Value>) {
    for bar in &lane.bars {
        let args = about(bar.line, bar.frame, &bar.why);
        let mut event = json!({"name": bar.text, "cat": lane.kind, "pid": process, "tid": thread,
            "ts": micros(bar.from), "args": args});
        if bar.until > bar.from {
            event["ph"] = json!("X");
            event["dur"] = micros(bar.until - bar.from);
        } else {
            event["ph"] = json!("i");
            event["s"] = json!("t");
        }
        events.push(event);
    }
}

fn points(lane: &Lane, process: usize, thread: usize, events: &mut Vec<Value>) {
    for mark in &lane.marks {
        let mut args = about(mark.line, mark.frame, "");
        for (name, value) in &mark.fields {
            args.insert((*name).to_owned(), json!(value));
        }
        events.push(
            json!({"ph": "i", "s": "t", "name": mark.text, "cat": mark.kind,
            "pid": process, "tid": thread, "ts": micros(mark.at), "args": args}),
        );
    }
}

/// How many answer, each time that changes.
fn counter(lane: &Lane, process: usize, end: u64, events: &mut Vec<Value>) {
    let owners = |bar: &Bar| if bar.kind == "contested" { 2 } else { 1 };
    let name = format!("owners of {}", lane.group);
    let mut push = |at: u64, count: u32| {
        events.push(json!({"ph": "C", "name": name, "pid": process, "tid": 0,
            "ts": micros(at), "args": {"owners": count}}));
    };
    push(0, 0);
    for (at, bar) in lane.bars.iter().enumerate() {
        push(bar.from, owners(bar));
        let goes_on = lane
            .bars
            .get(at + 1)
            .is_some_and(|next| next.from == bar.until);
        if !goes_on && bar.until < end {
            push(bar.until, 0);
        }
    }
}

fn about(line: Option<u32>, frame: Option<u32>, why: &str) -> Map<String, Value> {
    let mut args = Map::new();
    if !why.is_empty() {
        args.insert("why".to_owned(), json!(why));
    }
    let numbers = [("trace line", line), ("frame", frame)];
    args.extend(
        numbers
            .into_iter()
            .filter_map(|(name, it)| Some((name.to_owned(), json!(it?)))),
    );
    args
}

fn micros(nanos: u64) -> Value {
    json!(nanos as f64 / 1000.0)
}
