//! One state of the explored world, and how two states are found equal.
//!
//! Nodes and kernels are shared between states until one changes them, so a state costs what its
//! step changed. Equality is equality of hashes of what matters for the future: the nodes as
//! [`steadfast_core::Node::project`] sees them, the kernels' leases and addresses, the wires, the
//! frames in flight by what they say, and what the properties remember. The story that led here,
//! and how long it took, are told and never compared.

use core::fmt;
use core::hash::{Hash, Hasher};
use core::time::Duration;
use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;
use std::sync::Arc;

use steadfast_core::effect::Forwarding;
use steadfast_core::{Instant, Node, NodeId, OpId};

use super::fault::Fault;
use super::glimpse::{Gist, Glimpse};
use super::judge::{Broken, Watch};
use super::run::STALL_MAX;
use super::setup::{NODES_MAX, PATHS_MAX, Setup};
use super::wires::{Losing, Wires};
use crate::model::Frame;
use crate::model::kernel::Kernel;

/// Frames that each socket of a stopped daemon holds; further ones are dropped, as by a full
/// receive buffer.
pub(super) const SOCKET_MAX: usize = 48;

/// Counters and epochs further apart than this are equally far apart: no rule looks further than
/// sixteen messages back.
const COUNTERS_MAX: u64 = 17;

/// A frame that waits for a stopped daemon, with the time it came.
pub(super) type Waiting = (Instant, Frame);

/// One gateway: a box, its kernel, and its daemon while there is one.
#[derive(Clone)]
pub(super) struct Gateway {
    pub(super) node: Option<Arc<Node>>,
    pub(super) kernel: Arc<Kernel>,
    pub(super) powered: bool,
    /// Since when the whole box stands still.
    pub(super) frozen: Option<Instant>,
    /// Since when the daemon is stopped.
    pub(super) stopped: Option<Instant>,
    /// What the kernel was asked and has not done.
    pub(super) apply: Option<(OpId, Forwarding)>,
    /// What waits for a stopped daemon, by path.
    pub(super) sockets: [VecDeque<Waiting>; PATHS_MAX],
    /// Carrier changes that a stopped daemon has not seen, in order.
    pub(super) links: Vec<(usize, bool)>,
    /// When the kernel last shortened the lease for an offer.
    pub(super) offered: Option<Instant>,
}

impl Gateway {
    /// A box that has just come up; its daemon has yet to start.
    pub(super) fn new(setup: &Setup, place: usize) -> Self {
        Self {
            node: None,
            kernel: Arc::new(setup.kernel(place)),
            powered: true,
            frozen: None,
            stopped: None,
            apply: None,
            sockets: Default::default(),
            links: Vec::new(),
            offered: None,
        }
    }

    /// Whether the box takes part in the world.
    pub(super) fn runs(&self) -> bool {
        self.powered && self.frozen.is_none()
    }

    /// Since when a daemon that could go on is held still.
    pub(super) fn held_since(&self) -> Option<Instant> {
        let since = self.stopped.into_iter().chain(self.frozen).min();
        since.filter(|_| self.node.is_some())
    }

    /// The daemon, if it is there and not held still.
    pub(super) fn awake(&self) -> Option<&Node> {
        let held = !self.runs() || self.stopped.is_some();
        self.node.as_deref().filter(|_| !held)
    }
}

/// A state of the world.
#[derive(Clone)]
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) gateways: Vec<Gateway>,
    pub(super) wires: Wires,
    /// By receiver and sender: the newest counter delivered; what is not newer is a copy.
    pub(super) delivered: [[u64; NODES_MAX]; NODES_MAX],
    /// By receiver and sender: the gist of the newest message delivered; what says the same
    /// repeats it.
    pub(super) heard: [[Option<Gist>; NODES_MAX]; NODES_MAX],
    /// Faults may strike here: something has just happened.
    pub(super) point: bool,
    /// Faults left to strike.
    pub(super) budget: u8,
    /// What the properties remember.
    pub(super) watch: Watch,
    /// The faults so far.
    pub(super) story: Vec<(Instant, Fault)>,
    /// How long after an advertisement of the first active the first fault struck.
    pub(super) phase: Duration,
    /// The property that does not hold here, if any: nothing follows.
    pub(super) broken: Option<Broken>,
}

impl World {
    /// All boxes up, wires whole, no daemon yet.
    pub(super) fn new(setup: &Setup, budget: u8) -> Self {
        let now = Instant::from_millis(1_000);
        Self {
            now,
            gateways: (0..setup.shape.nodes)
                .map(|place| Gateway::new(setup, place))
                .collect(),
            wires: Wires::new(setup.shape),
            delivered: Default::default(),
            heard: Default::default(),
            point: true,
            budget,
            watch: Watch::default(),
            story: Vec::new(),
            phase: Duration::ZERO,
            broken: None,
        }
    }

    /// Equal for equal states; the same in every build.
    pub(super) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    /// The numbers of all gateways.
    pub(super) fn places(&self) -> core::ops::Range<usize> {
        0..self.gateways.len()
    }

    /// The newest counter a gateway has sent.
    fn sent(&self, place: usize) -> u64 {
        let node = self.gateways.get(place).and_then(|it| it.node.as_ref());
        node.map_or(0, |node| node.newest_counter())
    }

    /// The same by the node's number.
    fn sent_by(&self, node: NodeId) -> u64 {
        self.sent(usize::from(node.0).wrapping_sub(1))
    }

    fn hash_gateway<H: Hasher>(&self, place: usize, out: &mut H) {
        let gateway = &self.gateways[place];
        let kernel = &gateway.kernel;
        let left = |end: Option<Instant>| end.map(|end| end.since(self.now));
        // A deadline of a timer that is not compared is met all the same: what follows it does not
        // follow from a state in which it is still to come.
        (gateway.powered, self.is_due(place)).hash(out);
        (
            left(kernel.lease_end(self.now)),
            left(kernel.tail_end(self.now)),
        )
            .hash(out);
        (
            kernel.virtuals().count(),
            gateway.apply.map(|(_, desired)| desired),
        )
            .hash(out);
        for since in [gateway.stopped, gateway.frozen] {
            since
                .map(|since| self.now.since(since).min(STALL_MAX))
                .hash(out);
        }
        gateway.links.hash(out);
        let offer = gateway.offered.filter(|_| kernel.holds_lease(self.now));
        offer.map(|at| self.now.since(at)).hash(out);
        if let Some(node) = &gateway.node {
            node.project(self.now, |node| self.sent_by(node), out);
        }
        for socket in &gateway.sockets {
            socket.len().hash(out);
            for (at, frame) in socket {
                self.now.since(*at).min(STALL_MAX).hash(out);
                self.hash_frame(frame, place, out);
            }
        }
    }

    /// What each sender last said to a gateway, as far as a repetition of it is told by that.
    fn hash_heard<H: Hasher>(&self, place: usize, out: &mut H) {
        let behind = |newest: u64, number: u64| newest.saturating_sub(number).min(COUNTERS_MAX);
        let newest = self.newest_epoch();
        for (from, gist) in self.heard[place].iter().enumerate() {
            let told = gist.map(|(kind, mark, role, epoch, handover, flags, health)| {
                let begun = named(handover, |number| behind(self.sent(from), number));
                (
                    kind,
                    mark,
                    role,
                    behind(newest, epoch),
                    begun,
                    flags,
                    health,
                )
            });
            told.hash(out);
        }
    }

    fn newest_epoch(&self) -> u64 {
        let nodes = self.gateways.iter().filter_map(|it| it.node.as_ref());
        nodes.map(|node| node.epoch().0).max().unwrap_or_default()
    }

    /// A frame by what it says to its receiver.
    fn hash_frame<H: Hasher>(&self, frame: &Frame, to: usize, out: &mut H) {
        let Some(glimpse) = Glimpse::of(frame) else {
            frame.hash(out);
            return;
        };
        let (own, peer) = (self.sent(to), self.sent_by(glimpse.sender));
        let behind = |newest: u64, counter: u64| newest.saturating_sub(counter).min(COUNTERS_MAX);
        (
            glimpse.kind,
            glimpse.mark,
            glimpse.effective,
            glimpse.flags,
            glimpse.health,
        )
            .hash(out);
        (glimpse.sender, behind(peer, glimpse.counter)).hash(out);
        for (node, echo) in glimpse.echoes() {
            (node, behind(self.sent_by(node), echo)).hash(out);
        }
        behind(self.newest_epoch(), glimpse.epoch).hash(out);
        let begun = |number| (behind(own, number), behind(peer, number));
        named(glimpse.handover, begun).hash(out);
    }
}

/// A hand-over by the message it began with, as `told`, and by whom it names; none is 0.
fn named<T>(handover: u64, told: impl Fn(u64) -> T) -> Option<(T, u64)> {
    (handover != 0).then(|| (told(handover >> 8), handover & 0xff))
}

impl Hash for World {
    fn hash<H: Hasher>(&self, out: &mut H) {
        for place in self.places() {
            self.hash_gateway(place, out);
        }
        (self.wires.down, self.wires.parted, self.wires.overrun).hash(out);
        (self.budget, self.point, self.broken).hash(out);
        for place in self.places() {
            matches!(self.wires.losing[place], Some(Losing::Next)).hash(out);
            self.hash_heard(place, out);
        }
        for lane in self.wires.lanes() {
            for frame in self.wires.flying(lane) {
                lane.hash(out);
                self.hash_frame(frame, lane.to, out);
            }
        }
        self.watch.project(self.now, out);
    }
}

impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        self.digest() == other.digest()
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = |gateway: &Gateway| gateway.node.as_ref().map(|node| node.role());
        let roles: Vec<_> = self.gateways.iter().map(role).collect();
        let lease = |gateway: &Gateway| gateway.kernel.lease_end(self.now);
        let leases: Vec<_> = self.gateways.iter().map(lease).collect();
        write!(
            f,
            "{:?} {roles:?} leases to {leases:?} {:?}",
            self.now, self.story
        )
    }
}
