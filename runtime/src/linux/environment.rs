//! Linux as the shell's environment: which backend stands behind which trait.

use std::future::Future;

use steadfast_shell::env::{Env, Executor};

use super::clock::MonotonicClock;
use super::links::LinkWatch;
use super::packet::PacketPorts;
use super::plane::Plane;
use crate::journal::Recorder;
use crate::store::StoreHandle;

/// A gateway.
pub struct Linux;

impl Env for Linux {
    type Clock = MonotonicClock;
    type Executor = LocalTasks;
    type Frames = PacketPorts;
    type Links = LinkWatch;
    type Dataplane = Plane;
    type Store = StoreHandle;
    type Journal = Recorder;
}

/// Tasks on the driver's own thread; must be used inside a `LocalSet`.
#[derive(Clone, Copy, Debug)]
pub struct LocalTasks;

impl Executor for LocalTasks {
    fn spawn(&self, _name: &'static str, task: impl Future<Output = ()> + 'static) {
        drop(tokio::task::spawn_local(task));
    }
}
