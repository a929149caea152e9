//! A recording of a run that packet tools can read: pcapng with one interface for each port.
//!
//! Times are those of the run's events, in nanoseconds, behind the wall time of its beginning, so
//! a frame and the event made of it carry the same time. What happened is written between the
//! frames ([`Recording::note`]): as a packet without bytes on an interface of its own, `notes`,
//! whose comment is the text. Packet lists show it in its place.
//!
//! The library divides nothing: its stamps are nanoseconds whatever the interface says, so each
//! interface must say so (`IfTsResol` 9), or tools read microseconds. The limit: frames are written
//! in the order in which they are told, which between ports is right to some milliseconds;
//! `reordercap` puts them right.

use core::time::Duration;
use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};

use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::{DataLink, PcapError};
use steadfast_core::Instant;

use super::{Event, EventKind};
use crate::oracle::{Finding, Verdict};

/// What the interface of notes is called.
pub const NOTES: &str = "notes";
/// Frames and notes of one recording; further ones are counted and not written (some gigabytes).
pub const PACKETS_MAX: u64 = 1 << 24;
/// Nanoseconds, as a power of ten.
const RESOLUTION: u8 = 9;
/// Bytes kept of a frame; 0 says no limit.
const SNAP: u32 = 0;

/// Which way a frame went, as seen by the machine whose port is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It came in.
    Inbound,
    /// It left.
    Outbound,
}

/// One of the recorded ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortIndex(u32);

/// A recording in the making.
pub struct Recording<W: Write> {
    writer: PcapNgWriter<W>,
    wall_origin: Duration,
    ports: u32,
    written: u64,
    left_out: u64,
}

impl<W: Write> Recording<W> {
    /// Begins one of a run that began at this wall time (since 1970).
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(to: W, wall_origin: Duration) -> io::Result<Self> {
        let mut recording = Self {
            writer: PcapNgWriter::new(to).map_err(plain)?,
            wall_origin,
            ports: 0,
            written: 0,
            left_out: 0,
        };
        recording.add(NOTES, DataLink::USER0)?;
        Ok(recording)
    }

    /// Adds a port; its name should say segment and machine, `lan.a`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add_port(&mut self, name: &str) -> io::Result<PortIndex> {
        self.add(name, DataLink::ETHERNET)
    }

    fn add(&mut self, name: &str, kind: DataLink) -> io::Result<PortIndex> {
        let mut port = InterfaceDescriptionBlock::new(kind, SNAP);
        let name = InterfaceDescriptionOption::IfName(Cow::Owned(name.to_owned()));
        port.options = vec![name, InterfaceDescriptionOption::IfTsResol(RESOLUTION)];
        self.writer.write_pcapng_block(port).map_err(plain)?;
        let index = PortIndex(self.ports);
        self.ports += 1;
        Ok(index)
    }

    /// Adds a frame; `length` is its whole length if not all bytes were kept.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn frame(
        &mut self,
        port: PortIndex,
        at: Instant,
        direction: Direction,
        bytes: &[u8],
        length: u32,
    ) -> io::Result<()> {
        let flags = match direction {
            Direction::Inbound => 1,
            Direction::Outbound => 2,
        };
        let options = vec![EnhancedPacketOption::Flags(flags)];
        self.packet(port, at, bytes, length, options)
    }

    /// Adds a text: a step, a change of role, a verdict.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note(&mut self, at: Instant, text: &str) -> io::Result<()> {
        let options = vec![EnhancedPacketOption::Comment(Cow::Borrowed(text))];
        self.packet(PortIndex(0), at, &[], 0, options)
    }

    /// Adds a note of an event, if it is one that readers of frames look for: a step, what a node
    /// says of itself.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn tell(&mut self, event: &Event) -> io::Result<()> {
        note(&event.kind).map_or(Ok(()), |text| self.note(event.at, &text))
    }

    /// Adds what oracles found that is not well: where it began, or at the end if it is not known;
    /// and the verdict over all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn judged(&mut self, end: Instant, findings: &[Finding]) -> io::Result<()> {
        for finding in findings {
            if finding.verdict != Verdict::Pass {
                let (at, text) = match &finding.first_violation {
                    Some(first) => (first.from, &first.text),
                    None => (end, &finding.evidence),
                };
                let Finding { oracle, scope, .. } = finding;
                let verdict = finding.verdict;
                self.note(
                    at,
                    &format!("verdict {verdict:?}: {oracle} {scope}: {text}"),
                )?;
            }
        }
        self.note(
            end,
            &format!("verdict over all: {:?}", Verdict::of(findings)),
        )
    }

    /// Writes out what waits.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.get_mut().flush()
    }

    /// Packets that did not fit any more.
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Writes out everything and gives back what it was written to.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self) -> io::Result<W> {
        let mut to = self.writer.into_inner();
        to.flush()?;
        Ok(to)
    }

    fn packet(
        &mut self,
        port: PortIndex,
        at: Instant,
        bytes: &[u8],
        length: u32,
        options: Vec<EnhancedPacketOption<'_>>,
    ) -> io::Result<()> {
        if self.written >= PACKETS_MAX {
            self.left_out += 1;
            return Ok(());
        }
        self.written += 1;
        let kept = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let block = EnhancedPacketBlock {
            interface_id: port.0,
            timestamp: self.wall_origin + Duration::from_nanos(at.as_nanos()),
            original_len: length.max(kept),
            data: Cow::Borrowed(bytes),
            options,
        };
        self.writer.write_pcapng_block(block).map_err(plain)?;
        Ok(())
    }
}

impl<W: Write> fmt::Debug for Recording<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording")
            .field("ports", &self.ports)
            .field("written", &self.written)
            .field("left_out", &self.left_out)
            .finish_non_exhaustive()
    }
}

/// What stands between the frames when this happens, if anything does.
pub fn note(kind: &EventKind) -> Option<String> {
    match kind {
        EventKind::Step {
            name, verb, target, ..
        } => Some(format!("step {name}: {verb} {target}")),
        EventKind::Status {
            gateway, role, why, ..
        } => Some(format!("node {gateway}: {role:?}: {why}")),
        _ => None,
    }
}

fn plain(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcap_file::pcapng::{Block, PcapNgReader};
    use std::process::Command;

    const WALL: Duration = Duration::from_secs(1_800_000_000);

    fn sample() -> Vec<u8> {
        let mut recording = Recording::new(Vec::new(), WALL).unwrap();
        let lan = recording.add_port("lan.a").unwrap();
        let wan = recording.add_port("wan.a").unwrap();
        let at = Instant::from_nanos(1_000_000_123);
        let out = Direction::Outbound;
        recording.frame(lan, at, out, &[0xaa; 61], 61).unwrap();
        recording.note(at, "step: a loses power").unwrap();
        let frame = recording.frame(wan, at, Direction::Inbound, &[0xbb; 64], 9_000);
        frame.unwrap();
        recording.finish().unwrap()
    }

    /// What is written reads back: ports by name, stamps to the nanosecond, lengths, notes.
    #[test]
    fn pcap_reads_back_as_written() {
        let bytes = sample();
        let mut reader = PcapNgReader::new(&bytes[..]).unwrap();
        let (mut names, mut packets) = (Vec::new(), Vec::new());
        while let Some(block) = reader.next_block() {
            match block.unwrap() {
                Block::InterfaceDescription(port) => {
                    for option in port.options {
                        if let InterfaceDescriptionOption::IfName(name) = option {
                            names.push(name.into_owned());
                        }
                    }
                }
                Block::EnhancedPacket(it) => {
                    assert_eq!(it.timestamp, WALL + Duration::from_nanos(1_000_000_123));
                    let comment = it.options.iter().find_map(|option| match option {
                        EnhancedPacketOption::Comment(text) => Some(text.to_string()),
                        _ => None,
                    });
                    packets.push((it.interface_id, it.data.len(), it.original_len, comment));
                }
                _ => {}
            }
        }
        assert_eq!(names, [NOTES, "lan.a", "wan.a"]);
        let step = Some("step: a loses power".to_owned());
        let wanted = [(1, 61, 61, None), (0, 0, 0, step), (2, 64, 9_000, None)];
        assert_eq!(packets, wanted);
    }

    /// The usual tools read it and see the nanoseconds.
    #[test]
    fn pcap_is_read_by_capinfos() {
        let path = std::env::temp_dir().join(format!("steadfast-{}.pcapng", std::process::id()));
        std::fs::write(&path, sample()).unwrap();
        let output = Command::new("capinfos").arg(&path).output();
        std::fs::remove_file(&path).unwrap();
        let Ok(output) = output else {
            eprintln!("not run: needs capinfos");
            return;
        };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}");
        assert!(
            text.contains("lan.a") && text.contains("nanoseconds"),
            "{text}"
        );
    }
}
