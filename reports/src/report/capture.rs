//! The frames of a run, read back from `run.pcapng` and put on the time of its trace.
//!
//! A capture has one interface for each port, named `SEGMENT.GATEWAY`, and one of notes. Its stamps
//! are wall time; in the trace time starts at 0. The origin between them is told by the notes: each
//! says what an event of the trace says, at the same time, so the n-th note of a text belongs to
//! the n-th event of that text, and the difference that most of them agree on is the origin. Frame
//! numbers are Wireshark's: every packet counts, notes too, from 1.
//!
//! A capture may be missing, cut short by a full disk, or somebody else's. What can be read is
//! used, and what could not is told ([`Capture::told`]). Limit: [`FRAMES_MAX`].

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::pcapng::{Block, PcapNgReader};
use steadfast_core::Instant;
use steadfast_scenarios::trace::Event;
use steadfast_scenarios::trace::capture::note;

use super::decode::{Decoded, decode};

/// Its name in a bundle.
pub(crate) const FILE: &str = "run.pcapng";
/// Most frames kept, because all are held at once; further ones are counted and told.
const FRAMES_MAX: usize = 1 << 20;
/// Bit 0 and 1 of a packet's flags: inbound 1, outbound 2.
const DIRECTION: u32 = 3;
const OUTBOUND: u32 = 2;

/// What was recorded of the wire.
#[derive(Clone, Debug, Default)]
pub(crate) struct Capture {
    /// In order of time.
    pub(crate) frames: Vec<Captured>,
    /// `SEGMENT.GATEWAY` of each interface.
    pub(crate) interfaces: Vec<String>,
    /// What is missing, in words.
    pub(crate) told: Vec<String>,
    /// Packets counted in all, notes too; 0 without a capture.
    pub(crate) packet_count: u32,
}

/// A frame at a port.
#[derive(Clone, Debug)]
pub(crate) struct Captured {
    /// When, on the time of the trace.
    pub(crate) at: Instant,
    /// As Wireshark counts it.
    pub(crate) number: u32,
    /// Index of the interface.
    pub(crate) interface: usize,
    /// It left the gateway; else it came in.
    pub(crate) outbound: bool,
    /// What it says.
    pub(crate) decoded: Decoded,
}

/// Where the capture of this trace's run lies: `run.pcapng` beside `trace.jsonl`, `NAME.pcapng`
/// beside `NAME.trace.jsonl`.
pub(crate) fn beside(trace: &Path) -> PathBuf {
    let name = trace.file_name().unwrap_or_default().to_string_lossy();
    match name.strip_suffix(".trace.jsonl") {
        Some(name) => trace.with_file_name(format!("{name}.pcapng")),
        None => trace.with_file_name(FILE),
    }
}

impl Capture {
    /// Reads the capture in this file, if there is one.
    pub(crate) fn open(path: &Path, events: &[Event]) -> Self {
        match File::open(path) {
            Ok(file) => Self::read(BufReader::new(file), events),
            Err(_) => Self {
                told: vec![format!(
                    "no {FILE}: what was heard on each port is not recorded"
                )],
                ..Self::default()
            },
        }
    }

    /// Reads a capture.
    pub(crate) fn read(from: impl Read, events: &[Event]) -> Self {
        let mut raw = Raw::default();
        raw.read(from);
        let Some(origin) = origin(&raw.notes, events) else {
            raw.told.push(format!(
                "{FILE}: no note in it matches the trace; its frames are left out"
            ));
            return Self {
                told: raw.told,
                ..Self::default()
            };
        };
        let mut frames: Vec<_> = raw.frames;
        frames.sort_by_key(|(stamp, frame)| (*stamp, frame.number));
        let on_time = |(stamp, mut frame): (Duration, Captured)| {
            let nanos = stamp.saturating_sub(origin).as_nanos();
            frame.at = Instant::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            frame
        };
        Self {
            frames: frames.into_iter().map(on_time).collect(),
            interfaces: raw.interfaces,
            told: raw.told,
            packet_count: raw.count,
        }
    }

    /// The index of a port's interface.
    pub(crate) fn interface(&self, segment: &str, gateway: &str) -> Option<usize> {
        let wanted = format!("{segment}.{gateway}");
        self.interfaces.iter().position(|name| *name == wanted)
    }

    /// Index of the first frame at or after this time.
    pub(crate) fn from(&self, at: Instant) -> usize {
        self.frames.partition_point(|frame| frame.at < at)
    }
}

/// A capture as its file has it.
#[derive(Default)]
struct Raw {
    interfaces: Vec<String>,
    frames: Vec<(Duration, Captured)>,
    notes: Vec<(Duration, String)>,
    told: Vec<String>,
    count: u32,
}

impl Raw {
    fn read(&mut self, from: impl Read) {
        let mut reader = match PcapNgReader::new(from) {
            Ok(reader) => reader,
            Err(why) => return self.told.push(format!("{FILE} is no capture: {why}")),
        };
        let mut left_out = 0_u64;
        while let Some(block) = reader.next_block() {
            match block {
                Err(why) => {
                    self.told
                        .push(format!("{FILE} ends after frame {}: {why}", self.count));
                    break;
                }
                Ok(Block::InterfaceDescription(port)) => {
                    let name = port.options.iter().find_map(|option| match option {
                        InterfaceDescriptionOption::IfName(name) => Some(name.to_string()),
                        _ => None,
                    });
                    self.interfaces.push(name.unwrap_or_default());
                }
                Ok(Block::EnhancedPacket(packet)) => {
                    self.count += 1;
                    left_out += u64::from(!self.take(&packet));
                }
                Ok(Block::Packet(_) | Block::SimplePacket(_)) => self.count += 1,
                Ok(_) => {}
            }
        }
        if left_out > 0 {
            self.told.push(format!(
                "{FILE}: {left_out} frames beyond {FRAMES_MAX} are left out"
            ));
        }
    }

    /// Keeps a packet, unless there are too many.
    fn take(&mut self, packet: &EnhancedPacketBlock<'_>) -> bool {
        let (mut outbound, mut comment) = (false, None);
        for option in &packet.options {
            match option {
                EnhancedPacketOption::Comment(text) => comment = Some(text.to_string()),
                EnhancedPacketOption::Flags(flags) => outbound = flags & DIRECTION == OUTBOUND,
                _ => {}
            }
        }
        if let Some(text) = comment.filter(|_| packet.data.is_empty()) {
            self.notes.push((packet.timestamp, text));
            return true;
        }
        if self.frames.len() >= FRAMES_MAX {
            return false;
        }
        let frame = Captured {
            at: Instant::ORIGIN,
            number: self.count,
            interface: packet.interface_id as usize,
            outbound,
            decoded: decode(&packet.data),
        };
        self.frames.push((packet.timestamp, frame));
        true
    }
}

/// The wall time at which the trace's time is 0: the one that most notes agree on.
fn origin(notes: &[(Duration, String)], events: &[Event]) -> Option<Duration> {
    let mut told: BTreeMap<String, Vec<Instant>> = BTreeMap::new();
    for event in events {
        if let Some(text) = note(&event.kind) {
            told.entry(text).or_default().push(event.at);
        }
    }
    let (mut seen, mut votes) = (BTreeMap::new(), BTreeMap::new());
    for (stamp, text) in notes {
        let nth: &mut usize = seen.entry(text).or_default();
        let at = told.get(text).and_then(|times| times.get(*nth));
        *nth += 1;
        let since = at.map(|at| Duration::from_nanos(at.as_nanos()));
        if let Some(origin) = since.and_then(|since| stamp.checked_sub(since)) {
            *votes.entry(origin).or_insert(0_u32) += 1;
        }
    }
    let most = votes
        .into_iter()
        .max_by_key(|(origin, count)| (*count, *origin));
    most.map(|(origin, _)| origin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcap_file::DataLink;
    use pcap_file::pcapng::PcapNgWriter;
    use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionBlock;
    use std::borrow::Cow;
    use steadfast_scenarios::trace::EventKind;

    const WALL: Duration = Duration::from_secs(1_800_000_000);

    fn events() -> Vec<Event> {
        let step = |name: &str, at| {
            let (name, verb, target) = (name.to_owned(), "kill".to_owned(), "a".to_owned());
            Event::new(
                Instant::from_millis(at),
                EventKind::Step {
                    name,
                    verb,
                    target,
                    done: true,
                    took: None,
                },
            )
        };
        vec![step("one", 1000), step("two", 2000)]
    }

    /// Notes and one frame, 5 ms after the first step, of a run that began at this wall time.
    fn written(notes: &[(&str, u64)]) -> Vec<u8> {
        let mut writer = PcapNgWriter::new(Vec::new()).unwrap();
        for name in ["notes", "lan.a"] {
            let mut port = InterfaceDescriptionBlock::new(DataLink::ETHERNET, 0);
            let name = InterfaceDescriptionOption::IfName(Cow::Borrowed(name));
            port.options = vec![name, InterfaceDescriptionOption::IfTsResol(9)];
            writer.write_pcapng_block(port).unwrap();
        }
        let mut packet = |interface_id, millis, data: &'static [u8], options| {
            let block = EnhancedPacketBlock {
                interface_id,
                timestamp: WALL + Duration::from_millis(millis),
                original_len: 60,
                data: Cow::Borrowed(data),
                options,
            };
            writer.write_pcapng_block(block).unwrap();
        };
        for (text, millis) in notes {
            let text = EnhancedPacketOption::Comment(Cow::Owned((*text).to_owned()));
            packet(0, *millis, &[], vec![text]);
        }
        packet(
            1,
            1005,
            &[0; 60],
            vec![EnhancedPacketOption::Flags(OUTBOUND)],
        );
        writer.into_inner()
    }

    /// The origin is the one that notes agree on; a frame's number counts the notes before it.
    #[test]
    fn capture_is_put_on_the_time_of_the_trace() {
        let bytes = written(&[
            ("step one: kill a", 1000),
            ("step two: kill a", 2000),
            ("else", 3),
        ]);
        let capture = Capture::read(&bytes[..], &events());
        let [frame] = &capture.frames[..] else {
            panic!("{capture:?}")
        };
        assert_eq!((frame.at, frame.number), (Instant::from_millis(1005), 4));
        assert!(frame.outbound && capture.told.is_empty(), "{capture:?}");
        assert_eq!(capture.interface("lan", "a"), Some(frame.interface));
    }

    /// What does not match is left out and told; what is cut short is used as far as it goes.
    #[test]
    fn capture_tells_what_it_cannot_use() {
        let strange = Capture::read(&written(&[("step x: kill a", 1000)])[..], &events());
        assert!(
            strange.frames.is_empty() && strange.told[0].contains("no note"),
            "{strange:?}"
        );
        let bytes = written(&[("step one: kill a", 1000)]);
        let cut = Capture::read(&bytes[..bytes.len() - 3], &events());
        assert!(
            cut.told
                .iter()
                .any(|told| told.contains("ends after frame 1")),
            "{cut:?}"
        );
        let none = Capture::open(Path::new("/nonexistent"), &events());
        assert!(none.told[0].starts_with("no run.pcapng"), "{none:?}");
        assert!(!Capture::read(&b"nonsense"[..], &events()).told.is_empty());
    }
}
