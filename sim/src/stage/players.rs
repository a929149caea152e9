//! Who plays the daemons, when it is not the stage itself: the whole production shell, elsewhere.
//!
//! A world that runs the shell brings [`Players`]. The stage tells them what to start and which
//! boxes have power, and hands over every frame that leaves a gateway or is meant for one: those
//! frames travel on that world's own cables. Each running shell has a [`Seat`].

use core::fmt::Debug;

use steadfast_core::boot::Record;
use steadfast_core::config::Config;
use steadfast_core::status::Status;
use steadfast_core::vrrp::Placed;
use steadfast_core::{Instant, PortId};

use super::gateway::Order;
use crate::model::Frame;

/// A daemon that shall start.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    /// The gateway's number.
    pub station: usize,
    /// Which start of its daemon this is.
    pub life: u64,
    /// What it is configured with.
    pub config: Config,
    /// The virtual routers that it is in place of a node (D19).
    pub routers: Vec<Placed>,
    /// Entropy of this life.
    pub seed: [u8; 32],
    /// The kernel's boot.
    pub kernel_boot: [u8; 16],
    /// How long the box has run.
    pub uptime: core::time::Duration,
    /// What the disk held when the box was delivered.
    pub delivered: Record,
}

/// Everything beside the stage.
pub(crate) trait Players: Debug {
    /// A daemon starts.
    fn start(&mut self, start: Start) -> Box<dyn Seat>;
    /// A box gets power, or loses it: with it goes whatever ran there.
    fn power(&mut self, station: usize, on: bool);
    /// A frame leaves a gateway for this segment.
    fn carry_up(&mut self, station: usize, segment: usize, frame: &Frame);
    /// A segment delivers a frame to a port of a gateway.
    fn carry_down(&mut self, segment: usize, station: usize, port: PortId, frame: &Frame);
}

/// A running shell, as the stage sees it.
pub(crate) trait Seat: Debug {
    /// Something for it that is not a frame.
    fn order(&mut self, order: Order);
    /// Frames may be waiting in its sockets.
    fn wake(&self);
    /// Its process is stopped, and does not know it; or goes on.
    fn stop(&self, stopped: bool);
    /// Its process ends, at once.
    fn end(&self);
    /// What it last said of itself, and when; nothing if it has said nothing yet.
    fn status(&self) -> Option<(Instant, Status)>;
}
