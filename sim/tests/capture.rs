//! Captures of simulated runs: whole, readable, and without influence on what they record.

#![cfg(not(madsim))]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::rc::Rc;

use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::pcapng::{Block, PcapNgReader};
use steadfast_core::wire::ethernet::{Frame, ethertype};
use steadfast_scenarios::trace::EventKind;
use steadfast_scenarios::trace::capture::NOTES;
use steadfast_scenarios::{Scenario, Verdict, trace};
use steadfast_sim::campaign::{Setting, World, play, play_recording};

/// Bytes that somebody else reads when the run is over.
#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a capture holds: frames of our protocol by interface, and notes.
#[derive(Default)]
struct Read {
    ours: BTreeMap<String, usize>,
    notes: Vec<String>,
}

fn scenario(name: &str) -> Scenario {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/catalogue");
    let path = folder.join(format!("{name}.toml"));
    let text = fs::read_to_string(&path).expect("a scenario");
    Scenario::parse(&path.display().to_string(), &text).expect("a valid scenario")
}

fn read(bytes: &[u8]) -> Read {
    let mut reader = PcapNgReader::new(bytes).expect("a capture");
    let (mut names, mut read) = (Vec::new(), Read::default());
    while let Some(block) = reader.next_block() {
        match block.expect("a whole block") {
            Block::InterfaceDescription(port) => {
                for option in port.options {
                    if let InterfaceDescriptionOption::IfName(name) = option {
                        names.push(name.into_owned());
                    }
                }
            }
            Block::EnhancedPacket(packet) => {
                let name = &names[packet.interface_id as usize];
                let is_ours = |it: Frame<'_>| it.ethertype == ethertype::STEADFAST;
                if Frame::parse(&packet.data).is_some_and(is_ours) {
                    *read.ours.entry(name.clone()).or_default() += 1;
                }
                for option in packet.options {
                    if let EnhancedPacketOption::Comment(text) = option {
                        assert_eq!(name, NOTES);
                        read.notes.push(text.into_owned());
                    }
                }
            }
            _ => {}
        }
    }
    read
}

/// Recording a run changes nothing in it, and leaves our frames on every port of every gateway,
/// and between them the step, the takeover and the verdict.
#[test]
fn capture_holds_every_port_and_changes_nothing() {
    let scenario = scenario("active-loses-power");
    for world in [World::Fast, World::Turmoil] {
        let setting = Setting::from(world);
        let (events, frames) = (Shared::default(), Shared::default());
        let capture = Box::new(frames.clone());
        let recorded = play_recording(&scenario, 7, setting, events.clone(), capture);
        let recorded = recorded.expect("a playable scenario");
        let plain = play(&scenario, 7, setting).expect("a playable scenario");
        assert_eq!(recorded.trace, plain.trace, "{world:?}, seed 7");
        assert_eq!(recorded.verdict, Verdict::Pass, "{world:?}, seed 7");

        let read = read(&frames.0.borrow());
        let text = String::from_utf8(events.0.take()).expect("a trace is text");
        let events = trace::read(&text).expect("a whole trace");
        let Some(EventKind::Names(names)) = events.first().map(|event| &event.kind) else {
            panic!("{world:?}: a trace begins with names");
        };
        let both = |segment: &str| ["a", "b"].map(|name| format!("{segment}.{name}"));
        let wanted: BTreeSet<_> = names
            .segments
            .iter()
            .flat_map(|it| both(&it.name))
            .collect();
        assert_eq!(read.ours.keys().cloned().collect::<BTreeSet<_>>(), wanted);
        assert!(
            read.ours.values().all(|count| *count > 50),
            "{:?}",
            read.ours
        );
        for note in ["step ", "node 2: Active", "verdict over all: Pass"] {
            let there = read.notes.iter().any(|text| text.starts_with(note));
            assert!(
                there,
                "{world:?}: no note begins with {note:?}: {:?}",
                read.notes
            );
        }
    }
}
