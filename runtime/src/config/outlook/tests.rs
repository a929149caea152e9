//! The table of a whole configuration and of poorer ones.

use super::super::tests::{SOUND, changed, load_text, sound};
use super::*;

fn of(text: &str) -> Outlook {
    outlook(&load_text(text).1.expect("a sound file"))
}

fn find<'a>(outlook: &'a Outlook, fault: &str) -> &'a Row {
    let row = outlook.rows.iter().find(|row| row.fault == fault);
    row.unwrap_or_else(|| panic!("no row {fault}"))
}

/// With a cable, listed addresses and a neighbour: the whole table as people see it.
#[test]
fn outlook_of_a_whole_configuration() {
    insta::assert_snapshot!(outlook(&sound()).table());
}

/// Without peers' addresses nothing is asked: dead interval + lease decide, and it says so.
#[test]
fn outlook_without_peer_addresses_waits_for_the_lease() {
    let text = SOUND.replace(
        "[peer.addresses]\nlan0 = \"10.0.1.3\"\nwan0 = \"10.0.2.3\"\n",
        "",
    );
    let outlook = of(&text);
    let wait = Bound::AtMost(Duration::from_millis(609));
    assert_eq!(find(&outlook, "power loss").outage, wait);
    let lost = find(&outlook, "all heartbeats lost, segments whole");
    assert!(matches!(lost.overlap, Bound::Until(_)));
    assert!(
        outlook
            .advice
            .iter()
            .any(|text| text.contains("[peer.addresses]"))
    );
}

/// Without a cable, silence must be noticed first; by dead interval, later still.
#[test]
fn outlook_power_loss_depends_on_cable_and_detection() {
    let ms = |millis| Bound::AtMost(Duration::from_millis(millis));
    assert_eq!(find(&outlook(&sound()), "power loss").outage, ms(23));
    let no_cable = changed("direct = true", "watched = false");
    assert_eq!(find(&of(&no_cable), "power loss").outage, ms(134));
    let slow = changed("preempt =", "detection = \"dead-interval\"\npreempt =");
    assert_eq!(find(&of(&slow), "power loss").outage, ms(329));
}

/// Without a neighbour the claim may lack proof of reception: the policy decides how long.
#[test]
fn outlook_without_neighbour_is_honest_about_proof() {
    let serve = SOUND.replace("neighbour = \"10.0.1.50\"\n", "");
    let row = find(&of(&serve), "power loss").clone();
    assert_eq!(row.outage, Bound::AtMost(Duration::from_millis(618)));
    let yields = serve.replace("preempt =", "isolation = \"yield\"\npreempt =");
    let row = find(&of(&yields), "power loss").clone();
    assert_eq!(row.outage, Bound::Until("a station is heard"));
}

/// A pause may leave a lease of any length up to L; a shorter lease makes it shorter.
#[test]
fn outlook_pause_overlaps_for_the_lease() {
    let short = changed("\"100ms\"", "\"100ms\"\nlease = \"116ms\"");
    let row = find(&of(&short), "virtual machine paused, resumed").clone();
    assert_eq!(row.overlap, Bound::AtMost(Duration::from_millis(116)));
}

/// One path alone cannot hand over when it dies.
#[test]
fn outlook_single_path_cannot_hand_over() {
    let text = SOUND.replace(
        "interface = \"ha0\"",
        "heartbeat = false\ninterface = \"ha0\"",
    );
    let text = text.replace(
        "interface = \"wan0\"",
        "heartbeat = false\ninterface = \"wan0\"",
    );
    let outlook = of(&text);
    let time = Bound::AtMost(Duration::from_millis(609));
    assert_eq!(find(&outlook, "lan0 loses carrier").outage, time);
    assert!(find(&outlook, "wan0 loses carrier").outage != time);
}

/// What is certain only with a whole fence has a row for a damaged one.
#[test]
fn outlook_damaged_fence_costs_the_lease() {
    let outlook = outlook(&sound());
    let row = find(&outlook, "power loss, its fence damaged");
    assert_eq!(row.outage, Bound::AtMost(Duration::from_millis(609)));
    let killed = find(&outlook, "daemon killed, its fence damaged");
    assert!(matches!(killed.overlap, Bound::Until(_)));
}

/// Machines read the same table.
#[test]
fn outlook_serialises() {
    let json = serde_json::to_value(outlook(&sound())).expect("JSON");
    assert_eq!(json["rows"][0]["outage"]["ms"], 23.0);
    assert!(json["rows"].as_array().is_some_and(|rows| rows.len() > 12));
}

/// A witness: a dead box costs its term, a cut of everything has one owner; believed proof costs
/// nothing and promises nothing (D14).
#[test]
fn outlook_with_a_witness() {
    let with = |more: &str| {
        let third = "[[peer]]\nid = 3\nname = \"w\"\n\n[witness]\nnode = 3\n";
        of(&changed("[policy]", &format!("{third}{more}\n[policy]")))
    };
    let ms = |millis| Bound::AtMost(Duration::from_millis(millis));
    let always = with("");
    assert_eq!(find(&always, "power loss").outage, ms(723));
    let cut = find(&always, "everything between the nodes lost");
    assert_eq!((&cut.outage, &cut.overlap), (&ms(723), &Bound::None));
    assert_eq!(find(&always, "the witness is lost").outage, Bound::None);
    assert!(always.advice.iter().all(|text| !text.contains("isolation")));
    let unproven = with("asks = \"unproven\"\n");
    assert_eq!(find(&unproven, "power loss").outage, ms(23));
    let cut = find(&unproven, "everything between the nodes lost");
    assert!(matches!(cut.overlap, Bound::Until(_)));
}
