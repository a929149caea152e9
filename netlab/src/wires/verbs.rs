//! What verbs mean for wires, as values: which are refused, which way they go, what they match.

use steadfast_core::MacAddr;
use steadfast_scenarios::format::{Layout, Share, Verb, Way};
use steadfast_scenarios::link::{ADDRESS_AT, Source};
use steadfast_scenarios::trace::FrameKind;

use crate::ground::{Plug, Station};
use crate::nft::{Hook, Test};

const STEADFAST: [u8; 2] = [0x88, 0xb5];
const ETHERTYPE_AT: u32 = 12;
/// Where an advertisement's kind stands, counted from the destination MAC; see the core's codec.
const KIND_AT: u32 = 16;

/// What of a verb no lab can do, in words for `not run: needs ...`. Every verb is listed, so that a
/// new one is either carried out or refused and never passed over.
pub fn refuses(verb: &Verb) -> Option<&'static str> {
    match verb {
        Verb::Freeze { clock_stands } => clock_stands.then_some("a kernel clock that stands still"),
        Verb::Apply { .. } => Some("apply faults"),
        Verb::Disk { .. } => Some("disk faults"),
        Verb::Lie { .. } => Some("lies"),
        Verb::MacMoveIgnored { .. } => Some("a switch that ignores moves"),
        Verb::CablePlug
        | Verb::CablePull
        | Verb::Call
        | Verb::Command { .. }
        | Verb::Cont
        | Verb::Certificate { .. }
        | Verb::Check { .. }
        | Verb::ClockSkew { .. }
        | Verb::ClockStep { .. }
        | Verb::DropFrames { .. }
        | Verb::Flap { .. }
        | Verb::Flood { .. }
        | Verb::FlushRuleset
        | Verb::ForeignSpeaker { .. }
        | Verb::Forge { .. }
        | Verb::Garbage { .. }
        | Verb::Hook { .. }
        | Verb::Impair { .. }
        | Verb::Kill
        | Verb::LinkDown
        | Verb::LinkUp
        | Verb::LoadRuleset { .. }
        | Verb::MacFilter { .. }
        | Verb::PowerOff
        | Verb::PowerOn
        | Verb::Quit
        | Verb::Reboot { .. }
        | Verb::RebootLoop { .. }
        | Verb::Reload(_)
        | Verb::Replay { .. }
        | Verb::SegmentHeal
        | Verb::SegmentSplit { .. }
        | Verb::Silence { .. }
        | Verb::Snooping { .. }
        | Verb::Stall { .. }
        | Verb::Start
        | Verb::Starve { .. }
        | Verb::Stop
        | Verb::StpDelay { .. }
        | Verb::SwitchOff
        | Verb::SwitchOn
        | Verb::Thaw
        | Verb::Thief { .. }
        | Verb::Unsilence => None,
    }
}

/// Whether a verb does to frames what only a relay can.
pub fn needs_relay(verb: &Verb) -> bool {
    match verb {
        Verb::Impair {
            delay,
            jitter,
            duplicate,
            reorder,
            rate,
            ..
        } => {
            let only_loss = delay.0.is_zero() && jitter.0.is_zero() && rate.is_none();
            !only_loss || duplicate.0 > 0 || reorder.0 > 0
        }
        _ => false,
    }
}

/// Whether a verb does something to a wire's end or a switch, which then must be there.
pub const fn is_wires(verb: &Verb) -> bool {
    !matches!(
        verb,
        Verb::Call
            | Verb::Command { .. }
            | Verb::Cont
            | Verb::FlushRuleset
            | Verb::Kill
            | Verb::LoadRuleset { .. }
            | Verb::PowerOff
            | Verb::PowerOn
            | Verb::Quit
            | Verb::Reboot { .. }
            | Verb::RebootLoop { .. }
            | Verb::Reload(_)
            | Verb::Stall { .. }
            | Verb::Start
            | Verb::Starve { .. }
            | Verb::Stop
    )
}

/// Whether a verb gives back what a wire or a switch had lost: it works when the kernel has done
/// it, and what was lost before that was lost to the fault.
pub const fn mends(verb: &Verb) -> bool {
    matches!(
        verb,
        Verb::CablePlug | Verb::LinkUp | Verb::SegmentHeal | Verb::SwitchOn | Verb::Unsilence
    )
}

/// Parts per thousand, as links count and the simulators round.
pub(super) fn permille(share: Share) -> u16 {
    u16::try_from(share.0 / 1_000).unwrap_or(1_000)
}

/// Where the destination's MAC stands, and the source's.
pub(super) const MACS_AT: [u32; 2] = [0, 6];
/// Bytes that all MACs of one observer share.
const OBSERVER_LEN: u32 = 5;

/// The test that leaves an observer's frames out, at this hook: chance must not make it see gaps
/// where there are none. It still sees cuts, as everybody does.
pub(super) const fn unobserved(observer: MacAddr, hook: Hook) -> Test {
    let [to, from] = MACS_AT;
    let at = match hook {
        Hook::In => to,
        Hook::Out => from,
    };
    Test::Not {
        at,
        bytes: observer.0,
        len: OBSERVER_LEN,
    }
}

/// The hooks of a way, and where their state stands.
pub(super) fn hooks(way: Way) -> impl Iterator<Item = (Hook, usize)> + Clone {
    let all = [(Hook::In, 0), (Hook::Out, 1)];
    all.into_iter().filter(move |(hook, _)| match way {
        Way::Both => true,
        Way::From => *hook == Hook::In,
        Way::To => *hook == Hook::Out,
    })
}

/// The tests for the frames that a verb drops at a segment's wires; none if their sender has no
/// port there.
pub(super) fn dropped(verb: &Verb, layout: &Layout, plug: &Plug) -> Option<Vec<Test>> {
    let Verb::DropFrames {
        kind,
        ethertype,
        sender,
        count,
        ..
    } = verb
    else {
        return None;
    };
    let mut tests = matching(*kind, *ethertype);
    if let Some(sender) = sender {
        let at = match plug.station {
            Station::Gateway(id, _) => Some(id),
            Station::Host(_) | Station::Spare => None,
        };
        tests.extend(from(layout.source_of(sender, plug.segment, at)?));
    }
    tests.extend(count.map(Test::First));
    Some(tests)
}

/// The tests for frames of this sender.
fn from(source: Source) -> Vec<Test> {
    match source {
        Source::Station(MacAddr(bytes)) => {
            let [_, at] = MACS_AT;
            vec![Test::Begins { at, bytes, len: 6 }]
        }
        Source::Address(ip) => {
            let (mut bytes, at) = ([0; 6], ADDRESS_AT as u32);
            bytes[..4].copy_from_slice(&ip.octets());
            vec![of_type([0x08, 0x00]), Test::Begins { at, bytes, len: 4 }]
        }
    }
}

/// The tests for frames of a kind, or of an EtherType, or for all frames.
pub(super) fn matching(kind: Option<FrameKind>, ethertype: Option<u16>) -> Vec<Test> {
    use steadfast_core::wire::advert::Kind;
    let Some(kind) = kind else {
        return ethertype
            .map(|number| of_type(number.to_be_bytes()))
            .into_iter()
            .collect();
    };
    let kind = match kind {
        FrameKind::Advert => Kind::Advert,
        FrameKind::Answer => Kind::Answer,
        FrameKind::Claim => Kind::Claim,
        FrameKind::Decline => Kind::Decline,
        FrameKind::LetGo => Kind::LetGo,
        FrameKind::Offer => Kind::Offer,
        FrameKind::Prepare => Kind::Prepare,
        FrameKind::Probe => Kind::Probe,
        FrameKind::Ready => Kind::Ready,
        FrameKind::Released => Kind::Released,
        FrameKind::Request => Kind::Request,
        FrameKind::Arp => return vec![of_type([0x08, 0x06])],
        FrameKind::Ndisc => return vec![of_type([0x86, 0xdd])],
        FrameKind::Vrrp => return vec![of_type([0x08, 0x00])],
    };
    let byte = Test::Is {
        at: KIND_AT,
        bytes: [kind.byte(), 0],
        len: 1,
    };
    vec![of_ours(), byte]
}

/// The test for frames of our own EtherType.
pub(super) const fn of_ours() -> Test {
    of_type(STEADFAST)
}

const fn of_type(bytes: [u8; 2]) -> Test {
    Test::Is {
        at: ETHERTYPE_AT,
        bytes,
        len: 2,
    }
}
