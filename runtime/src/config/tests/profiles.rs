//! Product profiles in a file: what they set, what a file may still say, and what not (R2.1).

use std::time::Duration;

use steadfast_core::config::profile::Profile;
use steadfast_core::config::{AllPacified, Detection, Preempt};

use super::*;

/// The sound file with this profile, these times and this policy.
fn with(profile: &str, timing: &str, policy: &str) -> Result<Loaded, Report> {
    let text = changed(
        "virtual_router",
        &format!("profile = \"{profile}\"\nvirtual_router"),
    )
    .replace("interval = \"100ms\"", timing)
    .replace("preempt = \"never\"", policy);
    load_text(&text).1
}

/// A file that names a product and nothing else gets its times and its choices.
#[test]
fn config_profile_sets_what_is_not_written() {
    let secs = Duration::from_secs;
    let loaded = with("kemp", "", "").expect("sound");
    let (timing, policy) = (loaded.config.timing, loaded.config.policy);
    assert_eq!((timing.interval, timing.dead_interval), (secs(1), secs(9)));
    assert_eq!(timing.lease, secs(3));
    assert_eq!(policy.detection, Detection::DeadInterval);
    assert_eq!(policy.preempt, Preempt::Prefer);
    assert_eq!(policy.all_pacified, AllPacified::Never);
    for profile in Profile::ALL {
        let loaded = with(profile.name(), "", "").expect("sound");
        let timing = loaded.config.timing;
        assert_eq!(timing, profile.timing(profile.interval()), "{profile}");
        assert_eq!(
            loaded.config.policy.preempt,
            profile.policy().preempt,
            "{profile}"
        );
    }
}

/// What is written counts, and what is not follows it as in that product.
#[test]
fn config_profile_gives_way_to_what_is_written() {
    let secs = Duration::from_secs;
    let slow = with("seqrite", "interval = \"5s\"", "preempt = \"prefer\"").expect("sound");
    assert_eq!(slow.config.timing.dead_interval, secs(15));
    assert_eq!(slow.config.timing.lease, secs(15));
    assert_eq!(slow.config.policy.preempt, Preempt::Prefer);
    let text = "dead_interval = \"12s\"";
    let kemp = with("kemp", text, "all_pacified = \"serve\"").expect("sound");
    assert_eq!(kemp.config.timing.dead_interval, secs(12));
    assert_eq!(kemp.config.policy.all_pacified, AllPacified::Serve);
    let fast = with("kemp", "", "detection = \"fast\"").expect("sound");
    assert_eq!(fast.config.policy.detection, Detection::Fast);
}

/// A time that the product does not offer is told with what it offers, and where both stand.
#[test]
fn config_profile_refuses_what_the_product_does_not_offer() {
    let drawn = |profile: &str, timing: &str| {
        let report = with(profile, timing, "").expect_err("not offered");
        let lines = report.mistakes.iter().map(|one| {
            let (line, message, cure) = (one.line, &one.message, &one.cure);
            format!("{line}: {message}\n   {cure}")
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    let told = [
        drawn("kemp", "interval = \"500ms\"\ndead_interval = \"10s\""),
        drawn("seqrite", "interval = \"1500ms\""),
        drawn("fortimail", "dead_interval = \"2500ms\""),
        drawn("kmep", ""),
    ];
    insta::assert_snapshot!(told.join("\n"));
}

/// The vendor's spelling is understood, and the word of ours is noted.
#[test]
fn config_profile_knows_the_products_names() {
    let loaded = with("loadmaster", "", "").expect("sound");
    let notes: Vec<&str> = loaded.notes.iter().map(|note| note.text.as_str()).collect();
    assert!(
        notes.contains(&"`loadmaster` is understood as `kemp`"),
        "{notes:?}"
    );
    assert_eq!(loaded.config.policy.preempt, Preempt::Prefer);
}

/// Two nodes agree on what a profile means, however it was said (R1.4, R7.1).
#[test]
fn config_profile_is_compared_by_what_it_sets() {
    let named = with("seqrite", "", "").expect("sound");
    let said = "interval = \"1s\"\ndead_interval = \"3s\"\nlease = \"3s\"";
    let text = changed("interval = \"100ms\"", said);
    let text = text.replace("preempt =", "detection = \"dead-interval\"\npreempt =");
    let spelt = load_text(&text).1.expect("sound");
    assert_eq!(named.config.digests.config, spelt.config.digests.config);
}
