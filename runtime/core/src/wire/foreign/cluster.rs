//! Another cluster of this product, as its neighbours see it: its virtual MAC, if it has one, is
//! made of the same 8 bit id as everybody's: two with one id may share a station (F26, R5.4).
//!
//! Nothing of it can be verified here, whose secret is another; that it is spoken is what counts.
//! Its active alone uses the id.
//!
//! The limit: one that speaks in datagrams is seen where this cluster listens to them, too, and on
//! the same UDP port.

use core::time::Duration;

use super::{ForeignProtocol, ForeignSpeaker};
use crate::role::{ConfiguredRole, EffectiveRole};
use crate::wire::advert::{Advert, Flags, GROUP_MAC, HealthClass, Kind, RoleMark};
use crate::wire::auth::{Key, KeyError, KeyRing, Phase, Secret};
use crate::wire::codec::DecodeError;
use crate::{BootId, ClusterId, Epoch, MacAddr, NodeId, PortId};

/// The cluster that [`frame`] speaks for, and its secret.
const CLUSTER: ClusterId = ClusterId(*b"another cluster.");
const SECRET: &[u8] = b"the secret of another cluster";

/// The speaker behind a frame that is of another cluster.
pub fn foreign_cluster(error: DecodeError, source: MacAddr) -> Option<ForeignSpeaker> {
    let DecodeError::ForeignCluster {
        virtual_router,
        priority,
        active: true,
        ..
    } = error
    else {
        return None;
    };
    Some(ForeignSpeaker {
        protocol: ForeignProtocol::Steadfast,
        virtual_id: virtual_router,
        priority,
        source,
    })
}

/// A whole advertisement of this speaker, who is the active of its cluster.
pub(super) fn frame(speaker: &ForeignSpeaker) -> Vec<u8> {
    let (node, path) = (NodeId(1), PortId(0));
    let mut frame = Vec::new();
    let Ok(keys) = keys(node) else {
        // The secret above is a good one.
        return frame;
    };
    let advert = Advert {
        kind: Kind::Advert,
        mark: RoleMark::Active,
        active_groups: 1,
        cluster: CLUSTER,
        virtual_router: speaker.virtual_id,
        sender: node,
        path,
        boot: BootId(1),
        counter: 1,
        configured: ConfiguredRole::Any,
        effective: EffectiveRole::Active,
        health: HealthClass(0),
        priority: speaker.priority,
        flags: Flags::FENCE_WHOLE.with(Flags::ELIGIBLE, true),
        epoch: Epoch(1),
        handover: 0,
        ports_down: 0,
        interval: Duration::from_secs(1),
        lease: Duration::from_secs(3),
        config_digest: 0,
        facts_digest: 0,
        interfaces_digest: 0,
        version: 0,
        macs: vec![(path, speaker.source)],
        echoes: Vec::new(),
        grant: None,
        waits: Vec::new(),
        certificate: None,
    };
    advert.encode(GROUP_MAC, speaker.source, &keys, &mut frame);
    frame
}

fn keys(node: NodeId) -> Result<KeyRing, KeyError> {
    let key = Key {
        id: 1,
        secret: Secret::new(SECRET)?,
        phase: Phase::Enforce,
    };
    KeyRing::new(CLUSTER, node, &[node], vec![key])
}
