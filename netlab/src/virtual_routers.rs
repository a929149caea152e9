//! The product as virtual routers of VRRP, in a story about those (D19).
//!
//! Nobody asks it for its word: what it says of itself is in no cluster's words, and clients and
//! the wire tell enough. An operator's `release` makes every router of a gateway resign.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};

use steadfast_core::{Instant, NodeId};
use steadfast_scenarios::format::{Capability, CommandName, Gateway, Plan};

use crate::agent::post;
use crate::daemons::Daemon;
use crate::machine::Setup;
use crate::world::{Agent, Said};

/// Gateways that run `steadfastd` as virtual routers.
#[derive(Debug)]
pub struct VirtualRouters {
    daemon: PathBuf,
    /// What each gateway is told to resign, as its control socket takes it.
    resigns: Vec<(NodeId, Vec<String>)>,
    unheard: (Sender<String>, Receiver<String>),
}

impl VirtualRouters {
    /// All of this plan's; `daemon` is `steadfastd`.
    pub fn new(daemon: &Path, plan: &Plan) -> Self {
        let gateways = plan.layout.gateways.iter();
        let bodies = |it: &Gateway| (it.id, Daemon::resignations(&plan.layout, it));
        Self {
            daemon: daemon.to_owned(),
            resigns: gateways.map(bodies).collect(),
            unheard: channel(),
        }
    }
}

impl Agent for VirtualRouters {
    fn setup(&self, plan: &Plan, gateway: &Gateway) -> Result<Setup, String> {
        Daemon::virtual_routers(plan, gateway, &self.daemon.to_string_lossy())
    }

    fn offers(&self) -> BTreeSet<Capability> {
        BTreeSet::from([Capability::Commands, Capability::VirtualRouters])
    }

    fn status(&mut self, _: NodeId, _: &Path) -> Option<(Instant, Said)> {
        None
    }

    fn command(&mut self, node: NodeId, run: &Path, command: CommandName) -> Result<(), String> {
        if command != CommandName::Release {
            return Err(format!("{command:?}, which a router of VRRP does not obey"));
        }
        let own = self.resigns.iter().find(|(id, _)| *id == node);
        for body in own.into_iter().flat_map(|(_, bodies)| bodies) {
            post(&self.unheard.0, run, "/v1/vrrp/resign", body.clone())?;
        }
        Ok(())
    }

    fn unheard(&mut self) -> Option<String> {
        self.unheard.1.try_recv().ok()
    }
}
