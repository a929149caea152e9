//! The pages of one small run: what they say, what they never do.

use std::path::Path;

use super::*;
use timeline::Timeline;

/// A run whose active loses its power, thinned to what matters, and its scenario.
fn evidence() -> Evidence {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/report");
    Evidence::open(&folder, Some(World::Fast)).unwrap()
}

fn drawn() -> (Evidence, Timeline) {
    let evidence = evidence();
    let timeline = timeline::of(&evidence);
    (evidence, timeline)
}

/// Lanes, spans and counts of points: the fault is shaded from its step on, the role moves.
#[test]
fn report_model_shows_who_was_what_and_when() {
    let (_, timeline) = drawn();
    let mut text = format!("view {:?}\n", timeline.view);
    for lane in &timeline.lanes {
        text += &format!(
            "{} {} [{}], {} points\n",
            lane.group,
            lane.name,
            lane.kind,
            lane.marks.len()
        );
        for bar in &lane.bars {
            let (from, until) = (bar.from / 1000, bar.until / 1000);
            text += &format!("    {from:>8} {until:>8} {} {}\n", bar.kind, bar.text);
        }
    }
    insta::assert_snapshot!(text);
}

/// The chain of the takeover goes back to the step, and that of missing evidence says what is
/// missing.
#[test]
fn report_why_goes_back_to_the_fault() {
    let (evidence, timeline) = drawn();
    insta::assert_snapshot!(why::document(&evidence, &timeline));
}

/// Names that would be markup anywhere else are shown and never run.
#[test]
fn report_page_escapes_hostile_names() {
    let (_, mut timeline) = drawn();
    let hostile = "</script><img src=x onerror=alert(1)>{{data}}\u{2028}&'\"";
    timeline.scenario = hostile.to_owned();
    timeline.title = hostile.to_owned();
    timeline.lanes[0].bars[0].text = hostile.to_owned();
    timeline.jumps[0].text = hostile.to_owned();
    let page = page::timeline(&timeline);
    assert!(!page.contains("<img"), "markup came through");
    assert_eq!(
        page.matches("</script>").count(),
        2,
        "an element was ended early"
    );
    let (_, data) = page.split_once("id=\"data\">").unwrap();
    let (data, _) = data.split_once("</script>").unwrap();
    assert!(data.contains("\\u003c/script\\u003e\\u003cimg"));
    assert!(
        !data.contains(['<', '>', '&', '\u{2028}']),
        "data that could end its element"
    );
}

/// Beside the name of SVG no page holds an address, nor anything that could load one.
#[test]
fn report_page_loads_nothing() {
    let (_, timeline) = drawn();
    let page = page::timeline(&timeline).replace("http://www.w3.org/2000/svg", "");
    for load in [
        "http://", "https://", "src=", "@import", "url(", "<link", "fetch(", "XMLHttp",
    ] {
        assert!(!page.contains(load), "{load}");
    }
    assert!(page.contains("default-src 'none'"));
}

/// A trace that is long stays a page that opens: what is not drawn is told.
#[test]
fn report_page_of_a_long_run_is_bounded() {
    let mut evidence = evidence();
    let many = evidence.events.iter().position(|event| {
        matches!(
            event.kind,
            steadfast_scenarios::trace::EventKind::HandoverFrame { .. }
        )
    });
    let (frame, end) = (
        evidence.events[many.unwrap()].clone(),
        evidence.events.len() - 1,
    );
    let copies = 60_000;
    let tail = evidence.events.split_off(end);
    let line = evidence.lines[end - 1];
    evidence.events.extend(
        (0..copies).map(|_| steadfast_scenarios::trace::Event::new(tail[0].at, frame.kind.clone())),
    );
    evidence.events.extend(tail);
    evidence.lines.resize(evidence.events.len(), line);
    let timeline = timeline::of(&evidence);
    let page = page::timeline(&timeline);
    assert!(page.len() < 3_000_000, "{} bytes", page.len());
    let told = timeline
        .told
        .iter()
        .any(|told| told.contains("claim frames drawn"));
    assert!(told, "{:?}", timeline.told);
}

/// What trace viewers need: every event with phase, process and thread; spans with a length.
#[test]
fn report_perfetto_has_what_viewers_need() {
    let (_, timeline) = drawn();
    let all: serde_json::Value = serde_json::from_str(&perfetto::document(&timeline)).unwrap();
    let events = all["traceEvents"].as_array().unwrap();
    let count = |phase: &str| events.iter().filter(|event| event["ph"] == phase).count();
    for event in events {
        let numbers = ["pid", "tid"].map(|key| event[key].is_u64());
        assert!(
            numbers == [true, true] && event["name"].is_string(),
            "{event}"
        );
        if event["ph"] != "M" {
            assert!(event["ts"].is_f64(), "{event}");
        }
        assert_eq!(event["ph"] == "X", event["dur"].is_f64(), "{event}");
    }
    assert!(["M", "X", "i", "C"].iter().all(|phase| count(phase) > 0));
}
