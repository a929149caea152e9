//! The stage: every machine of a scenario, its wires, its faults, and who watches them.
//!
//! The worlds share it; they differ in who plays the daemons. On the event heap of `fast` the
//! stage gives the production core its turns itself (`daemons`). In the worlds that run the whole
//! production shell (`crate::shelled`) a daemon has a [`players::Seat`]: its tasks run elsewhere,
//! and its frames leave the stage for that world's own cables.
//!
//! What each room does: `daemons` gives nodes their turns, `wishes` is what kernels and disks are
//! asked, `power` boots and kills, `certificate` is what clients see, `faults` carries out steps,
//! `wires` the faults of wires, `turns` what takes time, `members` tells switches who listens,
//! `routers` tells hosts who carries, `beyond` passes packets on between networks, `observe` asks
//! who answers, `traffic` sends probes, `strangers` misbehave, `setup` makes machines of a plan,
//! `tap` records frames, `players` is the border to the worlds that run the shell.

mod beyond;
mod certificate;
mod checks;
pub(crate) mod daemons;
mod faults;
pub(crate) mod gateway;
mod hooks;
mod members;
pub(crate) mod net;
mod observe;
pub(crate) mod players;
pub(crate) mod power;
mod process;
mod queue;
mod routers;
pub(crate) mod setup;
mod strangers;
mod tap;
mod traffic;
mod turns;
mod vrrp;
mod wires;
mod wishes;
mod world;

pub use queue::EVENTS_MAX;
pub use tap::Tap;
#[cfg(not(madsim))]
pub(crate) use tap::WALL_ORIGIN;
pub use world::{Cost, World};
