//! A virtual router on a machine: where it stands, what its kernel is asked, what is told of it.

use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Settings, State};
use crate::effect::Failure;
use crate::wire::vrrp::Refusal;
use crate::{Instant, MacAddr, PortId};

/// A virtual router and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The link.
    pub port: PortId,
    /// The link's name, for people.
    pub interface: String,
    /// The link's own address on layer 2.
    pub mac: MacAddr,
    /// What it is set to.
    pub settings: Settings,
    /// Other links that it needs, with their names.
    pub tracked: Vec<(PortId, String)>,
    /// How much its priority falls with each of them that is down; without this it does not run
    /// then (D19: what else is known may only make it weaker).
    pub weight: Option<u8>,
}

/// What the kernel shall do for a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Say whether its lease is there.
    Look,
    /// Begin a lease and own its addresses.
    Serve,
    /// End the lease and own none of them.
    Withdraw,
}

/// What the kernel did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// For the router at this place.
    pub router: usize,
    /// The number of the wish.
    pub turn: u64,
    /// What was wished.
    pub wish: Wish,
    /// Whether it is so.
    pub outcome: Result<(), Failure>,
}

/// A router's state, in the field's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stands {
    /// Serves.
    Active,
    /// Waits.
    Backup,
    /// Does not run: its link is down.
    Initialize,
}

impl From<State> for Stands {
    fn from(state: State) -> Self {
        match state {
            State::Active => Self::Active,
            State::Backup => Self::Backup,
            State::Initialize => Self::Initialize,
        }
    }
}

/// What is told of a router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterStatus {
    /// The link.
    pub interface: String,
    /// Its number.
    pub virtual_router: u8,
    /// 4 or 6.
    pub family: u8,
    /// 2 or 3.
    pub version: u8,
    /// Where it stands.
    pub state: Stands,
    /// Since when, in the driver's time.
    pub since: Instant,
    /// Why, in words.
    pub why: String,
    /// Its priority now.
    pub priority: u8,
    /// The kernel serves its addresses.
    pub serving: bool,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// What was counted, by name, without zeros.
    pub counters: Vec<(String, u64)>,
}

/// Every reason why a packet is ignored, for counters.
pub(super) const REFUSED: [(&str, Refusal); 11] = [
    ("refused_hop_limit", Refusal::Ttl),
    ("refused_carp", Refusal::Carp),
    ("refused_short", Refusal::Short),
    ("refused_version", Refusal::Version),
    ("refused_type", Refusal::Type),
    ("refused_count", Refusal::Count),
    ("refused_checksum", Refusal::Checksum),
    ("refused_virtual_router", Refusal::VirtualId),
    ("refused_destination", Refusal::Destination),
    ("refused_authentication", Refusal::Authentication),
    ("refused_interval", Refusal::Interval),
];
