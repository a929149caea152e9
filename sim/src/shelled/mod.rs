//! The whole production shell on the stage: what the worlds `turmoil` and `madsim` share.
//!
//! A gateway is one host of the world, a segment is one host, and a cable is the pair of them: a
//! frame crosses it as one datagram of that world's network, so that world's pair faults are cable
//! faults, and a host that crashes takes all its ports with it. The models stay on the stage
//! (`crate::stage`): kernels and daemons' sockets are touched by their gateway's host alone,
//! switches and plain machines by their segment's.
//!
//! What each room does: `ground` is what a world must offer, `cables` carries frames between
//! hosts, `gate` stops and kills a process, `seat` is how the stage reaches it, `streams`
//! is TCP over them, `env` is the
//! world as the shell sees it, `hosts` are the programs that hosts run, `set` puts it all together.

pub(crate) mod cables;
pub(crate) mod env;
pub(crate) mod gate;
pub(crate) mod ground;
pub(crate) mod hosts;
mod routers;
pub(crate) mod seat;
pub(crate) mod set;
pub(crate) mod streams;

use std::cell::RefCell;
use std::rc::Rc;

use crate::stage::World;

/// The stage, shared by the hosts of a world. It is borrowed for moments, never across an `await`.
pub(crate) type Stage = Rc<RefCell<World<'static>>>;
