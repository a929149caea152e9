//! What an advertisement says, read without its key: it was made by this model.
//!
//! Enough to tell two frames in flight apart, and a message that decides from one that repeats.

use steadfast_core::NodeId;

use super::setup::NODES_MAX;
use super::wires::counter;

/// What matters of an advertisement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Glimpse {
    pub(super) mark: u8,
    pub(super) kind: u8,
    pub(super) effective: u8,
    pub(super) counter: u64,
    pub(super) epoch: u64,
    pub(super) handover: u64,
    pub(super) flags: [u8; 2],
    pub(super) health: u8,
    pub(super) sender: NodeId,
    echoes: [Option<(NodeId, u64)>; NODES_MAX],
}

/// Kind, mark, effective role, epoch, hand-over, flags and health of a message.
pub(super) type Gist = (u8, u8, u8, u64, u64, [u8; 2], u8);

impl Glimpse {
    /// The newest counter that the sender has heard of each other node.
    pub(super) fn echoes(&self) -> impl Iterator<Item = (NodeId, u64)> {
        self.echoes.into_iter().flatten()
    }

    /// What decides; the rest changes with every message.
    pub(super) fn gist(self) -> Gist {
        (
            self.kind,
            self.mark,
            self.effective,
            self.epoch,
            self.handover,
            self.flags,
            self.health,
        )
    }

    /// Offsets: [`steadfast_core::wire::advert`].
    pub(super) fn of(frame: &[u8]) -> Option<Self> {
        counter(frame)?;
        let byte = |at: usize| frame.get(at).copied();
        let number = |at: usize| -> Option<u64> {
            Some(u64::from_be_bytes(*frame.get(at..)?.first_chunk()?))
        };
        Some(Self {
            mark: byte(15)?,
            kind: byte(16)?,
            effective: byte(47)?,
            counter: number(56)?,
            epoch: number(64)?,
            handover: number(72)?,
            flags: [byte(92)?, byte(93)?],
            health: byte(94)?,
            sender: NodeId(byte(41)?),
            echoes: echoes(frame),
        })
    }
}

/// Of each node that an advertisement echoes, the newest counter among the heard paths.
fn echoes(frame: &[u8]) -> [Option<(NodeId, u64)>; NODES_MAX] {
    const TLVS_AT: usize = 124;
    const TLV_HEAD: usize = 3;
    const TLV_ECHO: u8 = 2;
    let mut found = [None; NODES_MAX];
    let mut free = found.iter_mut();
    let mut at = TLVS_AT;
    while let Some([kind, high, low]) = frame.get(at..).and_then(|rest| rest.first_chunk()) {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(value) = frame.get(at + TLV_HEAD..at + TLV_HEAD + len) else {
            return found;
        };
        if *kind == TLV_ECHO
            && let Some(place) = free.next()
        {
            *place = echo(value);
        }
        at += TLV_HEAD + len;
    }
    found
}

fn echo(value: &[u8]) -> Option<(NodeId, u64)> {
    const ECHO_FIXED: usize = 25;
    const HEARD: usize = 9;
    let heard = value.get(ECHO_FIXED..)?.chunks_exact(HEARD);
    let counters = heard.filter_map(|entry| entry.get(1..)?.first_chunk());
    let newest = counters.map(|bytes| u64::from_be_bytes(*bytes)).max();
    Some((NodeId(*value.first()?), newest.unwrap_or_default()))
}
