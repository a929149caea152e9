//! Who may speak: shared secrets, the keys made of them, and the tag at the end of every frame.
//!
//! Every node holds the same secrets and makes from each one key per sender (D3), so a frame of
//! node 1 cannot be turned into one of node 2 by rewriting a byte:
//!
//! ```text
//! key(secret, sender) = HKDF-SHA256(ikm = secret, no salt,
//!                                   info = "steadfast advert v1" || cluster || sender), 32 bytes
//! tag                 = first 16 bytes of HMAC-SHA256(key, payload before the tag)
//! ```
//!
//! A key is changed without a moment in which two nodes do not understand each other (R15.1). Keys
//! are listed from oldest to newest, each with a phase:
//!
//! - a node *sends* with the newest key that is not receive-only;
//! - a node *accepts* the newest enforced key and every key newer than it; older ones are closed.
//!   While no key is enforced, it accepts all of them.
//!
//! ```text
//!        old       new            sends  accepts
//!    0   enforce   -              old    old
//!    1   enforce   receive-only   old    old, new
//!    2   enforce   permissive     new    old, new
//!    3   enforce   enforce        new    new          (the old one may now be deleted)
//! ```
//!
//! Nodes that are one step apart always hear each other; nodes two steps apart may not.
//!
//! The limit: any node that knows the secret can speak for any other. The tag keeps strangers out;
//! it does not guard against a gateway that was broken into.

use core::fmt;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::advert::NODES_MAX;
use super::codec::DecodeError;
use crate::{ClusterId, NodeId};

/// Bytes of the tag.
pub const TAG_LEN: usize = 16;
/// Most keys of a ring: a key change needs two. More are refused with [`KeyError::TooManyKeys`].
pub const KEYS_MAX: usize = 8;
/// Fewest bytes of a secret: as many as the tag has, so that guessing the one is no easier.
pub const SECRET_LEN_MIN: usize = 16;

const EXAMPLE_SECRET: &[u8] = b"change_me";
const INFO: &[u8] = b"steadfast advert v1";

/// Why secrets or keys cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum KeyError {
    /// Two keys share an id: a receiver could not know which one a frame means.
    #[error("failed to use keys: id {0} is listed twice")]
    DuplicateId(u8),
    /// The secret is empty.
    #[error("failed to use secret: it is empty")]
    EmptySecret,
    /// The secret is the one printed in every example.
    #[error("failed to use secret: \"change_me\" is the example everybody knows")]
    ExampleSecret,
    /// Node ids are 1 to 254.
    #[error("failed to use keys: node id {0} is outside 1 to 254")]
    NodeOutOfRange(NodeId),
    /// There is no key at all, or none that may be sent with.
    #[error("failed to use keys: every key is receive-only, so nothing could be sent")]
    NoSendingKey,
    /// The secret is short enough to be guessed.
    #[error("failed to use secret: it has {0} bytes, fewer than {min}", min = SECRET_LEN_MIN)]
    ShortSecret(usize),
    /// More than [`KEYS_MAX`] keys.
    #[error("failed to use keys: more than {max} are listed", max = KEYS_MAX)]
    TooManyKeys,
    /// More than [`NODES_MAX`] nodes.
    #[error("failed to use keys: more than {max} nodes are listed", max = NODES_MAX)]
    TooManyNodes,
}

/// What the operator typed: at least [`SECRET_LEN_MIN`] bytes and not the example (R15.1).
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Checks and keeps a secret. The bytes are used as they are: white space counts.
    ///
    /// # Errors
    /// When it is empty, the example, or too short.
    pub fn new(bytes: &[u8]) -> Result<Self, KeyError> {
        let trimmed = bytes.trim_ascii();
        if trimmed.is_empty() {
            Err(KeyError::EmptySecret)
        } else if trimmed.eq_ignore_ascii_case(EXAMPLE_SECRET) {
            Err(KeyError::ExampleSecret)
        } else if bytes.len() < SECRET_LEN_MIN {
            Err(KeyError::ShortSecret(bytes.len()))
        } else {
            Ok(Self(bytes.to_vec()))
        }
    }
}

/// Says that there is a secret, never which.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// How far the introduction of a key has come; the table in the module's doc shows the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Accepted, never sent with: for while some nodes do not know the key yet.
    ReceiveOnly,
    /// Sent with; older keys are still accepted.
    Permissive,
    /// Sent with; older keys are accepted no more.
    Enforce,
}

/// A secret, its name on the wire, and how far it is in use.
#[derive(Clone, Debug)]
pub struct Key {
    /// Byte 17 of the frame: tells the receiver which secret to use. Any value, unique in the list.
    pub id: u8,
    /// The secret.
    pub secret: Secret,
    /// How far it is in use.
    pub phase: Phase,
}

/// The keys of a cluster, ready for use: one keyed HMAC state per accepted key and node, so that a
/// frame costs a copy of that state and no key derivation.
#[derive(Clone)]
pub struct KeyRing {
    cluster: ClusterId,
    own: NodeId,
    /// Sorted, each once; `own` included.
    nodes: Vec<NodeId>,
    /// Oldest to newest, closed keys left out.
    keys: Vec<NodeKeys>,
    signing_id: u8,
    signing: Hmac<Sha256>,
}

impl KeyRing {
    /// Makes every node's keys. `nodes` are those whose frames are accepted, in any order, with or
    /// without `own`; `keys` are listed from oldest to newest.
    ///
    /// # Errors
    /// When an id is out of range or listed twice, a bound is exceeded, or no key can be sent with.
    pub fn new(
        cluster: ClusterId,
        own: NodeId,
        nodes: &[NodeId],
        keys: Vec<Key>,
    ) -> Result<Self, KeyError> {
        let nodes = sorted_nodes(own, nodes)?;
        check_ids(&keys)?;
        let newest_first = || keys.iter().rev();
        let sending = newest_first().find(|key| key.phase != Phase::ReceiveOnly);
        let sending = sending.ok_or(KeyError::NoSendingKey)?;
        let signing = node_key(&expander(&sending.secret), cluster, own);
        let signing_id = sending.id;
        let enforced = keys.iter().rposition(|key| key.phase == Phase::Enforce);
        let accepted = keys.into_iter().skip(enforced.unwrap_or(0));
        let keys = accepted
            .map(|key| NodeKeys::new(&key, cluster, &nodes))
            .collect();
        Ok(Self {
            cluster,
            own,
            nodes,
            keys,
            signing_id,
            signing,
        })
    }

    /// The cluster these keys are for.
    pub const fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The node that signs.
    pub const fn own(&self) -> NodeId {
        self.own
    }

    /// Id of the key that is sent with.
    pub const fn signing_id(&self) -> u8 {
        self.signing_id
    }

    /// Whether frames under key `id` are accepted.
    pub fn accepts(&self, id: u8) -> bool {
        self.keys.iter().any(|key| key.id == id)
    }

    /// The tag of a payload sent by this node under [`Self::signing_id`].
    pub(super) fn sign(&self, payload: &[u8]) -> [u8; TAG_LEN] {
        let full = self
            .signing
            .clone()
            .chain_update(payload)
            .finalize()
            .into_bytes();
        let mut tag = [0; TAG_LEN];
        tag.copy_from_slice(&full[..TAG_LEN]);
        tag
    }

    /// The verifier for frames of `sender` under key `id`.
    pub(super) fn verifier(&self, id: u8, sender: NodeId) -> Result<Verifier<'_>, DecodeError> {
        let key = self
            .keys
            .iter()
            .find(|key| key.id == id)
            .ok_or(DecodeError::UnknownKey)?;
        let at = self
            .nodes
            .binary_search(&sender)
            .map_err(|_| DecodeError::UnknownSender)?;
        key.by_node
            .get(at)
            .map(Verifier)
            .ok_or(DecodeError::UnknownSender)
    }
}

/// Names what is in the ring; no secret, no key.
impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing")
            .field("cluster", &self.cluster)
            .field("own", &self.own)
            .field("nodes", &self.nodes)
            .field(
                "accepts",
                &self.keys.iter().map(|key| key.id).collect::<Vec<_>>(),
            )
            .field("signing_id", &self.signing_id)
            .finish_non_exhaustive()
    }
}

/// Checks tags of one sender under one key.
pub(super) struct Verifier<'a>(&'a Hmac<Sha256>);

impl Verifier<'_> {
    /// Compares in constant time.
    pub(super) fn verify(&self, payload: &[u8], tag: &[u8; TAG_LEN]) -> Result<(), DecodeError> {
        let state = self.0.clone().chain_update(payload);
        state
            .verify_truncated_left(tag)
            .map_err(|_| DecodeError::BadTag)
    }
}

/// One accepted key, made into one keyed state per node, in the order of `KeyRing::nodes`.
#[derive(Clone)]
struct NodeKeys {
    id: u8,
    by_node: Vec<Hmac<Sha256>>,
}

impl NodeKeys {
    fn new(key: &Key, cluster: ClusterId, nodes: &[NodeId]) -> Self {
        let hkdf = expander(&key.secret);
        let by_node = nodes
            .iter()
            .map(|node| node_key(&hkdf, cluster, *node))
            .collect();
        Self {
            id: key.id,
            by_node,
        }
    }
}

fn sorted_nodes(own: NodeId, nodes: &[NodeId]) -> Result<Vec<NodeId>, KeyError> {
    let mut all: Vec<NodeId> = nodes.iter().copied().chain([own]).collect();
    all.sort_unstable();
    all.dedup();
    if let Some(node) = all.iter().find(|node| !(1..=254).contains(&node.0)) {
        return Err(KeyError::NodeOutOfRange(*node));
    }
    if all.len() > NODES_MAX {
        return Err(KeyError::TooManyNodes);
    }
    Ok(all)
}

fn check_ids(keys: &[Key]) -> Result<(), KeyError> {
    if keys.len() > KEYS_MAX {
        return Err(KeyError::TooManyKeys);
    }
    let mut ids: Vec<u8> = keys.iter().map(|key| key.id).collect();
    ids.sort_unstable();
    match ids.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(KeyError::DuplicateId(pair[0])),
        None => Ok(()),
    }
}

fn expander(secret: &Secret) -> Hkdf<Sha256> {
    Hkdf::new(None, &secret.0)
}

/// Expands to the 32 bytes the tag is keyed with. HMAC pads a short key with zeros (RFC 2104 §2),
/// so the rest of the block stays zero.
fn node_key(hkdf: &Hkdf<Sha256>, cluster: ClusterId, sender: NodeId) -> Hmac<Sha256> {
    let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
    let expanded = hkdf.expand_multi_info(&[INFO, &cluster.0, &[sender.0]], &mut block[..32]);
    assert!(
        expanded.is_ok(),
        "HKDF gives up to 8160 bytes (RFC 5869 §2.3); 32 were asked for"
    );
    Hmac::new(&block)
}

#[cfg(test)]
mod tests;
