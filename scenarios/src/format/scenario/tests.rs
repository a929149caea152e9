//! Scenario files: what is read, what is refused and with which words.

use std::path::Path;

use super::*;
use crate::format::{
    AllPacified, Allow, Capability, Check, CommandName, Destination, Detection, Moment, OnFrame,
    PastBoot, Preempt, Preset, Rate, Share, Span, Target, Verb, When, Who,
};
use crate::ids::{HostId, SegmentId};
use crate::trace::FrameKind;

const HEAD: &str = "format = 1\nname = \"x\"\ntitle = \"x\"\nduration = \"6s\"\n";

fn parse(rest: &str) -> Result<Scenario, ScenarioError> {
    Scenario::parse("x.toml", &format!("{HEAD}{rest}"))
}

fn plan(rest: &str) -> Plan {
    parse(rest).expect(rest).plan().clone()
}

/// What a reader of the message sees: where, what, and the advice.
fn mistake(rest: &str) -> String {
    let error = parse(rest).expect_err(rest);
    let (line, column) = error.position();
    format!(
        "{line}:{column} {error}; {}",
        error.advice().unwrap_or("no advice")
    )
}

/// Every file of the catalogue reads, says the same after being written, and resolves for seeds.
#[test]
fn scenario_catalogue_reads_and_round_trips() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("catalogue");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let scenario = Scenario::parse(&path.to_string_lossy(), &text)
            .unwrap_or_else(|error| panic!("{:?}", miette::Report::new(error)));
        assert_eq!(
            Some(scenario.plan().name.as_str()),
            path.file_stem().unwrap().to_str()
        );
        for seed in 0..20 {
            let plan = scenario.resolve(seed).unwrap();
            let again = Scenario::from_plan(&plan).unwrap();
            let expected = Plan {
                seed: 0,
                drawn: BTreeMap::new(),
                ..plan
            };
            assert_eq!(*again.plan(), expected, "{}", again.to_toml());
        }
        count += 1;
    }
    assert!(count >= 3);
}

/// The example of the format's description means what it says.
#[test]
fn scenario_reads_typed_values() {
    let plan = plan(
        "[params]\nfault_at = { default = \"3s\", swarm = [\"2s\", \"4s\"] }\nlimit = \"12ms\"\n\
         [topology]\npreset = \"pair_two_cables\"\nhosts = [\"bystander@lan\"]\n\
         stp_delay = { lan = \"30s\" }\n\
         [gateway.a]\nconfigured = \"active\"\nboots = [{ uptime = \"20s\" }]\n\
         [[traffic]]\nname = \"out\"\nfrom = \"client\"\nto = \"vip.wan\"\nrate = \"1 kHz\"\n\
         [[step]]\nname = \"cut\"\nat = \"$fault_at\"\ndo = \"impair\"\ntarget = \"active.lan\"\n\
         loss = \"5 %\"\nway = \"from\"\n\
         [[step]]\nafter = \"cut + 200ms\"\ndo = \"reboot\"\ntarget = \"cut.target\"\n\
         [[expect]]\noracle = \"outage\"\nscope = \"out\"\nafter = \"cut\"\nmax = \"$limit\"\n",
    );
    assert_eq!(plan.topology.preset, Preset::PairTwoCables);
    assert_eq!(
        plan.layout.segment("lan").unwrap().stp_delay,
        Span::secs(30)
    );
    let boots = vec![PastBoot {
        uptime: Span::secs(20),
        clean: false,
    }];
    assert_eq!(plan.gateway("a").boots, boots);
    assert_eq!(plan.traffic[0].rate, Rate(1_000_000));
    assert_eq!(
        plan.destination(&plan.traffic[0]),
        Some(Destination::Virtual(SegmentId(1)))
    );
    let cut = &plan.steps[0];
    assert_eq!(cut.when, When::At(Moment::at(Span::secs(3))));
    assert_eq!(cut.target, Target::Port(Who::Active, "lan".to_owned()));
    assert!(matches!(
        cut.verb,
        Verb::Impair {
            loss: Share(50_000),
            ..
        }
    ));
    let second = &plan.steps[1];
    assert_eq!(second.name, "step2");
    assert_eq!(
        second.when,
        When::At(Moment::after("cut", Span::millis(200)))
    );
    assert_eq!(second.target, Target::Gateway(Who::Same("cut".to_owned())));
    assert_eq!(second.verb, Verb::Reboot { clean: false });
    let expected = Check::Outage {
        max: Span::millis(12),
        lost_max: None,
    };
    assert_eq!(plan.expects[0].check, expected);
    let needs: Vec<Capability> = plan.needs().into_iter().collect();
    assert_eq!(
        needs,
        [Capability::Boots, Capability::Impairment, Capability::Power]
    );
}

/// A file that says nothing of traffic, cluster or gateways has the product's defaults.
#[test]
fn scenario_defaults_are_the_products() {
    let plan = plan("");
    assert_eq!(plan.traffic, Stream::usual(crate::format::Family::Ipv4));
    assert_eq!(plan.cluster, Cluster::default());
    assert_eq!(plan.cluster.interval, Span::millis(100));
    assert_eq!(
        plan.destination(&plan.traffic[0]),
        Some(Destination::Host(HostId(1)))
    );
}

/// Each mistake is told with its place and, where a word is near, what was meant.
#[test]
fn scenario_mistakes_show_place_and_advice() {
    let step = |body: &str| format!("[[step]]\nname = \"cut\"\n{body}\n");
    let expect = |body: &str| format!("[[expect]]\n{body}\n");
    let cases = [
        "durration = \"6s\"".to_owned(),
        "[cluster]\ninterval = \"100\"".to_owned(),
        "[cluster]\ninterval = 100".to_owned(),
        "[cluster]\nintervall = \"100ms\"".to_owned(),
        "[cluster]\npreempt = \"nevr\"".to_owned(),
        "[topology]\nhosts = [\"x@dmz\"]".to_owned(),
        "[gateway.c]\npriority = 5".to_owned(),
        "[gateway.a]\npriority = 0".to_owned(),
        "[gateway.a]\nunlisted = [\"a\"]".to_owned(),
        "[gateway.a]\nunwatched = [\"dmz\"]".to_owned(),
        "[params]\nx = \"1s\"".to_owned(),
        step("at = \"$fault\"\ndo = \"kill\"\ntarget = \"a\""),
        step("at = \"1s\"\ndo = \"kill\"\ntargt = \"a\""),
        step("at = \"1s\"\ndo = \"kil\"\ntarget = \"a\""),
        step("at = \"1s\"\ntarget = \"a\""),
        step("at = \"1s\"\ndo = \"kill\""),
        step("at = \"1s\"\ndo = \"kill\"\ntarget = \"actve\""),
        step("at = \"1s\"\ndo = \"kill\"\ntarget = \"lan\""),
        step("at = \"9s\"\ndo = \"kill\"\ntarget = \"a\""),
        step("do = \"kill\"\ntarget = \"a\""),
        step("at = \"1s\"\nafter = \"cut\"\ndo = \"kill\"\ntarget = \"a\""),
        step("after = \"cutt\"\ndo = \"kill\"\ntarget = \"a\""),
        step("at = \"1s\"\ndo = \"impair\"\nlos = \"5 %\"\ntarget = \"a\""),
        step("at = \"1s\"\ndo = \"impair\"\nloss = \"5\"\ntarget = \"a\""),
        step("at = \"1s\"\ndo = \"segment_split\"\ntarget = \"lan\"\napart = [\"clint\"]"),
        step("at = \"1s\"\ndo = \"stall\"\ntarget = \"a\""),
        expect("oracle = \"outge\"\nmax = \"1s\""),
        expect("oracle = \"outage\"\nmax = \"1s\"\nscope = \"uot\""),
        expect("oracle = \"converges\"\nwithin = \"1s\"\nafter = \"cut\""),
        expect("oracle = \"converges\"\nwithin = \"1s\"\nallow = \"any\""),
        "[cluster.vrrp]\nversion = 4".to_owned(),
        "[cluster.vrrp]\nversion = 2".to_owned(),
        "[cluster]\nlease = \"1s\"\n[cluster.vrrp]".to_owned(),
        "[cluster.vrrp]\n[topology]\nvirtual_mac = true".to_owned(),
        "[cluster.vrrp]\n[gateway.a]\npreferred = true".to_owned(),
        format!(
            "[cluster.vrrp]\n{}command = \"takeover\"\n",
            step("at = \"1s\"\ndo = \"command\"\ntarget = \"a\"")
        ),
        format!("[cluster.vrrp]\n{}", expect("oracle = \"troubles\"")),
        "name = \"twice\"".to_owned(),
        "[[step]\n".to_owned(),
    ];
    let told: Vec<String> = cases.iter().map(|case| mistake(case)).collect();
    insta::assert_snapshot!("mistakes", told.join("\n"));
}

/// The rendered message has file, line, caret and suggestion.
#[test]
fn scenario_mistake_is_rendered_with_caret() {
    let text = "[[step]]\nat = \"1s\"\ndo = \"kill\"\ntargt = \"a\"\n";
    let mut out = String::new();
    miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor())
        .render_report(&mut out, &parse(text).unwrap_err())
        .unwrap();
    insta::assert_snapshot!("rendered", out);
}

/// A mistake that only another draw would meet is found when the file is read.
#[test]
fn scenario_mistake_at_a_swarms_end_is_found() {
    let step = "[[step]]\nat = \"$at\"\ndo = \"kill\"\ntarget = \"a\"\n";
    let late = format!("[params]\nat = {{ default = \"1s\", swarm = [\"1s\", \"9s\"] }}\n{step}");
    assert!(
        parse(&late)
            .unwrap_err()
            .to_string()
            .contains("after the end of the run")
    );
}

/// Seed 0 is the file as told; a seed always gives the same plan; seeds differ.
#[test]
fn scenario_seeds_are_repeatable() {
    let text = "[params]\nat = { default = \"3s\", swarm = [\"2s\", \"4s\"] }\n\
                n = { default = 1, among = [2, 3] }\n\
                [[step]]\nat = \"$at\"\ndo = \"load_ruleset\"\nelements = \"$n\"\ntarget = \"a\"\n";
    let scenario = parse(text).unwrap();
    let one = scenario.resolve(1).unwrap();
    assert_eq!(one, scenario.resolve(1).unwrap());
    assert_ne!(one.steps, scenario.resolve(2).unwrap().steps);
    assert_eq!(scenario.resolve(0).unwrap(), *scenario.plan());
    assert_eq!(
        scenario.plan().steps[0].verb,
        Verb::LoadRuleset { elements: 1 }
    );
    assert_ne!(one.steps[0].verb, Verb::LoadRuleset { elements: 1 });
    assert_eq!(one.drawn.keys().collect::<Vec<_>>(), ["at", "n"]);
}

/// What is built in Rust is the same as a file, and is written as one.
#[test]
fn scenario_builder_writes_a_file() {
    let offer = OnFrame {
        frame: FrameKind::Offer,
        from: Some("cut.target".to_owned()),
        after: None,
        count: 2,
        wait: Span::millis(1),
    };
    let scenario = Scenario::builder("built")
        .title("built in Rust")
        .claims(&["R1.1"])
        .lasting(Span::secs(4))
        .topology(Topology {
            preset: Preset::Trio,
            ..Topology::default()
        })
        .cluster(|cluster| cluster.lease = Span::millis(150))
        .gateway("c", |gateway| gateway.powered = false)
        .step("cut", Moment::at(Span::secs(1)), "active", Verb::LinkDown)
        .step_on("ask", offer, "lan", Verb::Snooping { enabled: true })
        .step(
            "back",
            Moment::after("cut", Span::secs(1)),
            "cut.target",
            Verb::Command {
                command: CommandName::Takeover,
            },
        )
        .expect(
            Expectation::of(Check::VipOwnerAgrees { within: None })
                .on("lan")
                .after(Moment::after("cut", Span::default()))
                .allowing(Allow::UpTo(Span::millis(5)), "because"),
        )
        .build()
        .unwrap();
    insta::assert_snapshot!("built", scenario.to_toml());
    let read = Scenario::parse("built.toml", scenario.to_toml()).unwrap();
    assert_eq!(read.plan(), scenario.plan());
    let stray = Scenario::builder("x").step("s", Moment::default(), "dmz", Verb::SwitchOff);
    assert!(stray.build().unwrap_err().to_string().contains("`dmz`"));
}

/// The schema names every key and every verb, so that editors complete what the reader reads.
#[test]
fn scenario_schema_knows_every_word() {
    let schema = crate::schema().to_string();
    for word in [
        "segment_split",
        "lost_max",
        "w_carrier",
        "stp_delay",
        "fault_at",
        "clear_pacified",
    ] {
        assert_eq!(schema.contains(word), word != "fault_at", "{word}");
    }
    for check in Check::ALWAYS {
        assert!(schema.contains(check.name()), "{check:?}");
    }
}

/// No verb's argument and no oracle's bound has the name of a key of the table around it: the
/// writer would write it twice.
#[test]
fn scenario_arguments_do_not_hide_own_keys() {
    let schema = crate::schema();
    let own = |table: &str| -> Vec<&String> {
        let properties = schema["$defs"][table]["properties"].as_object().unwrap();
        properties.keys().collect()
    };
    for (table, count) in [("StepTable", 40), ("ExpectTable", 10)] {
        let variants = schema["$defs"][table]["oneOf"].as_array().unwrap();
        assert!(
            variants.len() >= count,
            "{table} has {} variants",
            variants.len()
        );
        for variant in variants {
            for key in variant["properties"].as_object().unwrap().keys() {
                assert!(!own(table).contains(&key), "{table}: {key} in {variant}");
            }
        }
    }
}

/// A profile stands where the file says nothing, follows what it says, and survives being written.
#[test]
fn scenario_profile_fills_in_what_the_file_leaves_out() {
    let text = |cluster: &str| {
        format!(
            "format = 1\nname = \"x\"\ntitle = \"x\"\nclaims = [\"R2.1\"]\nduration = \"1s\"\n\
             [cluster]\n{cluster}\n[[expect]]\noracle = \"no_flap\"\nmax_moves = 1\n"
        )
    };
    let cluster = |lines: &str| {
        let read = Scenario::parse("x.toml", &text(lines)).unwrap();
        let written = Scenario::from_plan(read.plan()).unwrap();
        assert_eq!(
            written.plan().cluster,
            read.plan().cluster,
            "{}",
            written.to_toml()
        );
        read.plan().cluster.clone()
    };
    let kemp = cluster("profile = \"kemp\"");
    assert_eq!(kemp.interval, Span::secs(1));
    assert_eq!(
        (kemp.dead_interval, kemp.lease),
        (Span::secs(9), Span::secs(3))
    );
    assert_eq!(
        (kemp.preempt, kemp.detection),
        (Preempt::Prefer, Detection::DeadInterval)
    );
    assert_eq!(kemp.all_pacified, AllPacified::Never);
    let never = cluster("profile = \"kemp\"\npreempt = \"never\"\nlease = \"2s\"");
    assert_eq!(
        (never.preempt, never.lease),
        (Preempt::Never, Span::secs(2))
    );
    let slow = cluster("profile = \"seqrite\"\ninterval = \"5s\"");
    assert_eq!(
        (slow.dead_interval, slow.lease),
        (Span::secs(15), Span::secs(15))
    );
    let wrong = Scenario::parse("x.toml", &text("profile = \"kmep\"")).unwrap_err();
    assert!(format!("{wrong:?}").contains("kmep"), "{wrong:?}");
}
