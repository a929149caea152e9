//! Verbs: what a step does to the world, with typed arguments.
//!
//! Carrier loss, silence, one-way loss and slowness are four different faults: a cut cable tells
//! both ends at once, a dead switch path tells nobody. [`Verb::needs`] names the capabilities that
//! a world must have; one that lacks any says `not run: needs X` and never approximates.
//! Where a verb acts on a port, a whole gateway may be named too: all its ports.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Bandwidth, Rate, Share, Shift, Span};
use crate::trace::FrameKind;

mod args;
mod capability;

pub use args::{
    Changes, CommandName, DiskState, EffectMode, EffectiveRoleWord, ForeignProtocol, ReplayWhat,
    Way,
};
pub use capability::Capability;

/// What a step does. Every argument not marked as needed may be left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schemars(tag = "do")]
pub enum Verb {
    /// The kernel applies what the daemon asks: at once, slowly, or not (target: gateway).
    Apply {
        /// How it goes from now on.
        mode: EffectMode,
        /// How long it takes when `slow`.
        #[serde(default)]
        by: Span,
    },
    /// The gateway itself sends a datagram to every host, in whatever name its kernel gives it; an
    /// earlier call's goes on if that was to the same host (target: gateway).
    Call,
    /// The cable is plugged in again (target: cable).
    CablePlug,
    /// The cable is pulled: carrier is lost on both ends (target: cable).
    CablePull,
    /// The certificate's file is another one from now on, or gone (target: gateway).
    Certificate {
        /// What it shows; the file is gone when empty.
        #[serde(default)]
        shows: String,
    },
    /// A check of the gateway's health fails from now on, or passes again (target: gateway).
    Check {
        /// Its name, as in `cluster.checks`.
        check: String,
        /// How it goes from now on.
        passes: bool,
        /// It does not say that it fails: it never answers.
        #[serde(default, skip_serializing_if = "core::ops::Not::not")]
        hangs: bool,
    },
    /// The wall clock runs fast or slow (target: gateway).
    ClockSkew {
        /// Parts per million, positive is fast.
        ppm: i32,
    },
    /// The wall clock jumps; monotonic time does not (target: gateway).
    ClockStep {
        /// How far.
        by: Shift,
    },
    /// An operator's command (target: gateway).
    Command {
        /// Which.
        command: CommandName,
    },
    /// The stopped daemon goes on (target: gateway).
    Cont,
    /// The store's disk changes its behaviour (target: gateway).
    Disk {
        /// How it behaves from now on.
        state: DiskState,
    },
    /// Chosen frames vanish (target: port, gateway or segment).
    DropFrames {
        /// Only frames of this kind.
        #[serde(default)]
        kind: Option<FrameKind>,
        /// Only frames of this EtherType.
        #[serde(default)]
        ethertype: Option<u16>,
        /// Only frames that this gateway sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sender: Option<String>,
        /// Only the first so many matching ones; all when absent.
        #[serde(default)]
        count: Option<u32>,
        /// Only for so long; to the end of the run when absent.
        #[serde(default, rename = "for")]
        lasting: Option<Span>,
        /// Which way, seen from the gateway.
        #[serde(default)]
        way: Way,
    },
    /// The carrier comes and goes (target: port, gateway or cable).
    Flap {
        /// How often it goes.
        count: u32,
        /// How long it is gone.
        down: Span,
        /// How long it is back.
        up: Span,
    },
    /// Random frames flood the segment (target: segment).
    Flood {
        /// How many.
        rate: Rate,
        /// How long.
        #[serde(rename = "for")]
        lasting: Span,
        /// Whether they bear the daemons' own EtherType, so that their sockets take them in.
        #[serde(default)]
        heard: bool,
    },
    /// The rules of the packet filter are all deleted by somebody else (target: gateway).
    FlushRuleset,
    /// A foreign machine speaks a redundancy protocol (target: segment).
    ForeignSpeaker {
        /// Which.
        protocol: ForeignProtocol,
        /// Its virtual id, 1 to 255.
        vrid: u8,
        /// Its priority.
        #[serde(default = "foreign_priority")]
        priority: u8,
        /// How long it speaks.
        #[serde(rename = "for")]
        lasting: Span,
    },
    /// A frame of ours with a wrong signature, in a gateway's name (target: segment).
    Forge {
        /// What it pretends to be.
        kind: FrameKind,
        /// The gateway whose name it bears.
        sender: String,
        /// How many.
        #[serde(default = "one")]
        count: u32,
    },
    /// The whole box stands still and its frames are lost (target: gateway).
    Freeze {
        /// Whether its kernel's clock stands still too, as in a paused virtual machine: then the
        /// lease has as much left afterwards as before.
        #[serde(default)]
        clock_stands: bool,
    },
    /// Frames of our EtherType filled with noise (target: segment).
    Garbage {
        /// How many.
        #[serde(default = "one")]
        count: u32,
    },
    /// Runs of a hook that begin from now on go otherwise (target: gateway).
    Hook {
        /// Its name, as in `cluster.hooks`.
        hook: String,
        /// How long it works before it points and ends; a moment when absent.
        #[serde(default)]
        takes: Span,
        /// It fails instead of pointing anywhere.
        #[serde(default, skip_serializing_if = "core::ops::Not::not")]
        fails: bool,
    },
    /// Frames suffer; with no argument the wire is good again (target: port, gateway or segment).
    Impair {
        /// Share lost.
        #[serde(default)]
        loss: Share,
        /// Time added.
        #[serde(default)]
        delay: Span,
        /// Time added at random, from 0 to this.
        #[serde(default)]
        jitter: Span,
        /// Share that arrives twice.
        #[serde(default)]
        duplicate: Share,
        /// Share that is overtaken by the next frame.
        #[serde(default)]
        reorder: Share,
        /// What passes at most: frames wait for each other, and are lost when they would for long.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rate: Option<Bandwidth>,
        /// Which way, seen from the gateway.
        #[serde(default)]
        way: Way,
    },
    /// The daemon is killed; its kernel state stays (target: gateway).
    Kill,
    /// The daemon's status says another role than it has; for tests of the oracles (target:
    /// gateway).
    Lie {
        /// What it says; the truth again when absent.
        #[serde(default)]
        role: Option<EffectiveRoleWord>,
    },
    /// The port loses carrier, and what it is plugged into sees it (target: port or gateway).
    LinkDown,
    /// The port has carrier again (target: port or gateway).
    LinkUp,
    /// A large ruleset is loaded, which holds the packet filter's lock (target: gateway).
    LoadRuleset {
        /// How many elements of a set.
        elements: u32,
    },
    /// The switch drops frames whose source is not the port's known MAC (target: segment).
    MacFilter {
        /// On or off.
        enabled: bool,
    },
    /// The switch keeps an address at its first port until it ages out (target: segment).
    MacMoveIgnored {
        /// On or off.
        enabled: bool,
    },
    /// The power is gone: the ports first, then everything (target: gateway).
    PowerOff,
    /// The power is back: a cold boot (target: gateway).
    PowerOn,
    /// The daemon ends in order (target: gateway).
    Quit,
    /// The gateway boots anew (target: gateway).
    Reboot {
        /// Whether it shuts down in order.
        #[serde(default)]
        clean: bool,
    },
    /// The gateway boots again and again, uncleanly (target: gateway).
    RebootLoop {
        /// How many boots.
        count: u32,
        /// How long each life lasts.
        uptime: Span,
    },
    /// The daemon is given a changed configuration while it runs (target: gateway). What is not
    /// named is as the scenario gave it at first; a daemon that starts later finds the file so.
    Reload(Changes),
    /// Recorded frames of ours are sent again (target: segment).
    Replay {
        /// Which.
        what: ReplayWhat,
        /// How many, the newest first.
        #[serde(default = "one")]
        count: u32,
    },
    /// All sides of a split segment are one again (target: segment).
    SegmentHeal,
    /// The switch falls into two parts without any carrier change (target: segment).
    SegmentSplit {
        /// Gateways and hosts that stand apart from the observer and the rest.
        apart: Vec<String>,
    },
    /// The port's frames vanish; carrier stays (target: port or gateway).
    Silence {
        /// Which way, seen from the gateway.
        #[serde(default)]
        way: Way,
    },
    /// The switch sends multicast only where somebody joined (target: segment).
    Snooping {
        /// On or off.
        enabled: bool,
    },
    /// The daemon is held still for a while, then goes on (target: gateway).
    Stall {
        /// How long.
        #[serde(rename = "for")]
        lasting: Span,
    },
    /// The daemon is started (target: gateway).
    Start,
    /// The daemon gets the processor only now and then (target: gateway).
    Starve {
        /// How long it runs.
        runs: Span,
        /// How long it does not.
        rests: Span,
        /// How long this goes on.
        #[serde(rename = "for")]
        lasting: Span,
    },
    /// The daemon is stopped and does not know it (target: gateway).
    Stop,
    /// Time from port up to forwarding changes (target: segment).
    StpDelay {
        /// The new delay.
        delay: Span,
    },
    /// The switch dies: all its ports lose carrier (target: segment).
    SwitchOff,
    /// The switch starts with an empty table (target: segment).
    SwitchOn,
    /// The frozen box goes on (target: gateway).
    Thaw,
    /// A machine answers and announces a virtual address as its own (target: segment).
    Thief {
        /// The index of the virtual address.
        #[serde(default)]
        address: u16,
        /// How long.
        #[serde(rename = "for")]
        lasting: Span,
    },
    /// The port's frames pass again (target: port or gateway).
    Unsilence,
}

/// What a verb acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acts {
    /// A direct cable.
    Cable,
    /// A gateway.
    Gateway,
    /// A port, or all ports of a gateway.
    Port,
    /// A port, all ports of a gateway, or a cable.
    PortOrCable,
    /// A port, all ports of a gateway, or everybody on a segment.
    PortOrSegment,
    /// A switched segment.
    Switch,
}

impl Acts {
    /// For messages.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Cable => "a cable",
            Self::Gateway => "a gateway",
            Self::Port => "a port, or a gateway with all its ports",
            Self::PortOrCable => "a port, a gateway with all its ports, or a cable",
            Self::PortOrSegment => "a port, a gateway with all its ports, or a segment",
            Self::Switch => "a switched segment",
        }
    }
}

impl Verb {
    /// The verb as a file writes it.
    pub fn word(&self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(word)) => word,
            Ok(serde_json::Value::Object(map)) => map.keys().next().cloned().unwrap_or_default(),
            Ok(_) | Err(_) => String::new(),
        }
    }

    /// What the verb acts on.
    pub const fn acts(&self) -> Acts {
        match self {
            Self::CablePlug | Self::CablePull => Acts::Cable,
            Self::LinkDown | Self::LinkUp | Self::Silence { .. } | Self::Unsilence => Acts::Port,
            Self::Flap { .. } => Acts::PortOrCable,
            Self::DropFrames { .. } | Self::Impair { .. } => Acts::PortOrSegment,
            Self::Flood { .. }
            | Self::ForeignSpeaker { .. }
            | Self::Forge { .. }
            | Self::Garbage { .. }
            | Self::MacFilter { .. }
            | Self::MacMoveIgnored { .. }
            | Self::Replay { .. }
            | Self::SegmentHeal
            | Self::SegmentSplit { .. }
            | Self::Snooping { .. }
            | Self::StpDelay { .. }
            | Self::SwitchOff
            | Self::SwitchOn
            | Self::Thief { .. } => Acts::Switch,
            Self::Apply { .. }
            | Self::Call
            | Self::Certificate { .. }
            | Self::Check { .. }
            | Self::ClockSkew { .. }
            | Self::ClockStep { .. }
            | Self::Command { .. }
            | Self::Cont
            | Self::Disk { .. }
            | Self::FlushRuleset
            | Self::Freeze { .. }
            | Self::Hook { .. }
            | Self::Kill
            | Self::Lie { .. }
            | Self::LoadRuleset { .. }
            | Self::PowerOff
            | Self::PowerOn
            | Self::Quit
            | Self::Reboot { .. }
            | Self::RebootLoop { .. }
            | Self::Reload(_)
            | Self::Stall { .. }
            | Self::Start
            | Self::Starve { .. }
            | Self::Stop
            | Self::Thaw => Acts::Gateway,
        }
    }

    /// What a world needs to carry this out.
    pub const fn needs(&self) -> &'static [Capability] {
        use Capability as C;
        match self {
            Self::Apply { .. } => &[C::ApplyFaults],
            Self::Call => &[],
            Self::CablePlug
            | Self::CablePull
            | Self::Flap { .. }
            | Self::LinkDown
            | Self::LinkUp => &[C::Carrier],
            Self::Certificate { .. } => &[C::Certificates],
            Self::Check { .. } => &[C::Checks],
            Self::ClockSkew { .. } | Self::ClockStep { .. } => &[C::Clocks],
            Self::Command { .. } => &[C::Commands],
            Self::Cont | Self::Stall { .. } | Self::Starve { .. } | Self::Stop => &[C::Stalls],
            Self::Disk { .. } => &[C::DiskFaults],
            Self::DropFrames { .. } => &[C::FrameFilter],
            Self::Flood { .. }
            | Self::Forge { .. }
            | Self::Garbage { .. }
            | Self::Replay { .. } => &[C::Injection],
            Self::FlushRuleset | Self::LoadRuleset { .. } => &[C::Ruleset],
            Self::ForeignSpeaker { .. } | Self::Thief { .. } => &[C::Foreigners],
            Self::Freeze { .. } | Self::Thaw => &[C::BoxFreeze],
            Self::Hook { .. } => &[C::Hooks],
            Self::Impair { .. } => &[C::Impairment],
            Self::Kill | Self::Quit | Self::Start => &[C::Process],
            Self::Lie { .. } => &[C::Lies],
            Self::MacFilter { .. }
            | Self::MacMoveIgnored { .. }
            | Self::SegmentHeal
            | Self::SegmentSplit { .. }
            | Self::Snooping { .. }
            | Self::StpDelay { .. } => &[C::Switches],
            Self::PowerOff | Self::PowerOn => &[C::Power],
            Self::Reboot { .. } | Self::RebootLoop { .. } => &[C::Boots, C::Power],
            Self::Reload(_) => &[C::Reloads],
            Self::Silence { .. } | Self::Unsilence => &[C::Silence],
            Self::SwitchOff | Self::SwitchOn => &[C::Carrier, C::Switches],
        }
    }
}

const fn foreign_priority() -> u8 {
    100
}

const fn one() -> u32 {
    1
}
