//! What stands behind the driver's dataplane: a gateway's kernel, or on a witness nothing at all.
//!
//! A witness is any host: it owns no address, and whether it forwards is none of our business. So
//! it has no fence, no settings are touched, and every wish is fulfilled by doing nothing (D14).

use std::sync::Arc;

use steadfast_core::config::Config;
use steadfast_core::effect::{Failure, Forwarding};
use steadfast_shell::env::Dataplane;

use super::dataplane::{KernelPlane, PlaneCounters, Undo};
use super::lease::LeaseGuard;

/// A gateway's kernel, or nothing.
pub enum Plane {
    /// The kernel holds lease and addresses.
    Gateway(KernelPlane),
    /// There is nothing to hold.
    Witness,
}

impl Plane {
    /// What the kernel did so far.
    pub fn counters(&self) -> Arc<PlaneCounters> {
        match self {
            Self::Gateway(plane) => plane.counters(),
            Self::Witness => Arc::default(),
        }
    }

    /// How the fence is made, for people.
    pub fn fence(&self) -> String {
        match self {
            Self::Gateway(plane) => plane.support().to_string(),
            Self::Witness => "none: a witness owns nothing".to_owned(),
        }
    }

    /// What the ports ask before they say "active" where the kernel cannot judge that, and tell.
    pub fn guard(&self) -> Option<LeaseGuard> {
        match self {
            Self::Gateway(plane) => Some(plane.guard()),
            Self::Witness => None,
        }
    }

    /// For the end, where there is something to undo.
    pub fn undo(&self) -> Option<Undo> {
        match self {
            Self::Gateway(plane) => Some(plane.undo()),
            Self::Witness => None,
        }
    }
}

impl Dataplane for Plane {
    async fn apply(&mut self, desired: Forwarding) -> Result<(), Failure> {
        match self {
            Self::Gateway(plane) => plane.apply(desired).await,
            Self::Witness => Ok(()),
        }
    }

    async fn reconfigure(&mut self, config: &Config) -> Result<(), Failure> {
        match self {
            Self::Gateway(plane) => plane.reconfigure(config).await,
            Self::Witness => Ok(()),
        }
    }

    async fn check_fence(&mut self) -> bool {
        match self {
            Self::Gateway(plane) => plane.check_fence().await,
            Self::Witness => true,
        }
    }
}
