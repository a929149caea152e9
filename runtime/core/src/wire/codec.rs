//! Advertisements to bytes and back; `advert` shows the layout byte by byte.
//!
//! A decoder meets bytes of anybody. It goes from cheap to dear and from structure to meaning, and
//! reads nothing it has not proven: frame type, version, lengths, cluster, key and sender first;
//! then the tag; only then the content, so nobody without the secret gets past this file (R15.1).
//! What fails is named by a [`DecodeError`], which the caller counts.
//!
//! The hard case is the frame of another version. A newer version 1 sender may append fixed fields
//! (skipped by `fixed_len`) and TLVs (skipped by their length); everything else needs version 2.
//!
//! The limit: a frame holds 1400 bytes. An echo of every node always fits, but in a cluster that
//! has many nodes *and* many paths not every heard path does; the encoder cuts the longest lists
//! first, to one common length, and returns how many entries it left out.

mod fields;
mod lists;

use core::time::Duration;

use self::fields::{Reader, be16, micros};
use self::lists::{
    CERTIFICATE_LEN, ECHO_LEN, GRANT_LEN, HEARD_LEN, MAC_LEN, TLV_CERTIFICATE, TLV_ECHO, TLV_GRANT,
    TLV_HEAD, TLV_MACS, TLV_WAITS, WAIT_LEN, put_certificate, put_echo, put_grant, put_macs,
    put_waits, read_certificate, read_echo, read_grant, read_macs, read_waits,
};
use super::advert::{
    Advert, Echo, Flags, HealthClass, Kind, NODES_MAX, PORTS_MAX, RoleMark, WAITS_MAX,
};
use super::auth::{KeyRing, TAG_LEN};
use super::ethernet::{self, Frame, ethertype};
use crate::{BootId, ClusterId, Epoch, MacAddr, NodeId, PortId};

/// Most bytes from byte 14 to the end of the tag: fits every link that carries IPv6 inside one or
/// two tunnels. The encoder leaves out heard paths to stay below; the decoder refuses what is
/// above.
pub const PAYLOAD_MAX: usize = 1400;

const VERSION: u8 = 1;
/// Fixed bytes of version 1, from byte 14 to the first TLV.
const FIXED_LEN: usize = 110;
/// Where the payload's length stands, from byte 14.
const LENGTH_AT: core::ops::Range<usize> = 4..6;

/// What every advertisement has room for: all of it except the heard paths.
const FULL_WITHOUT_HEARD: usize =
    FIXED_LEN + LISTS_LEN + NODES_MAX * (TLV_HEAD + ECHO_LEN) + TAG_LEN;
/// The lists that are there once: every port's MAC, a grant, waits, and a certificate.
const LISTS_LEN: usize =
    TLV_HEAD + PORTS_MAX * MAC_LEN + GRANT_TLV_LEN + WAITS_TLV_LEN + CERTIFICATE_TLV_LEN;
const GRANT_TLV_LEN: usize = TLV_HEAD + GRANT_LEN;
const CERTIFICATE_TLV_LEN: usize = TLV_HEAD + CERTIFICATE_LEN;
const WAITS_TLV_LEN: usize = TLV_HEAD + WAITS_MAX * WAIT_LEN;
const _: () = assert!(FULL_WITHOUT_HEARD <= PAYLOAD_MAX);

/// Why a frame is not an advertisement for us. The caller counts each reason by [`Self::index`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum DecodeError {
    /// The tag does not fit: another secret, a damaged frame, or a forger.
    #[error("failed to decode advertisement: its tag does not verify")]
    BadTag,
    /// Another Steadfast cluster on this segment (F26). Not authenticated.
    #[error(
        "failed to decode advertisement: it is of cluster {cluster:?}, router {virtual_router}"
    )]
    ForeignCluster {
        /// The other cluster.
        cluster: ClusterId,
        /// Its virtual router: a clash if it is ours.
        virtual_router: u8,
        /// The sender's priority there.
        priority: u8,
        /// Whether it says that it is active.
        active: bool,
    },
    /// Lengths that contradict each other, or a value without meaning.
    #[error("failed to decode advertisement: its content contradicts itself")]
    Malformed,
    /// Not our EtherType.
    #[error("failed to decode advertisement: the frame is something else")]
    NotSteadfast,
    /// Longer than [`PAYLOAD_MAX`], or a list longer than its bound.
    #[error("failed to decode advertisement: it is too large")]
    Oversize,
    /// Authentic, and signed with our own node id. Our boot id means a loop brought it back; any
    /// other means that two nodes are configured with one id.
    #[error("failed to decode advertisement: its sender has our own node id (boot {boot})")]
    OwnId {
        /// The sender's boot id.
        boot: BootId,
    },
    /// Ends early.
    #[error("failed to decode advertisement: it is cut short")]
    Truncated,
    /// Signed with a key that is not listed, or closed by a newer enforced one.
    #[error("failed to decode advertisement: its key is not accepted")]
    UnknownKey,
    /// Of our cluster, from a node that is not configured.
    #[error("failed to decode advertisement: its sender is not a node of this cluster")]
    UnknownSender,
    /// A version this node does not speak.
    #[error("failed to decode advertisement: its version is not known")]
    UnknownVersion,
    /// Authentic, and sent on another path than it came in on: a replay, or crossed cables.
    #[error("failed to decode advertisement: it was sent on another path")]
    WrongPath,
}

impl DecodeError {
    /// One of each, in declaration order; what they carry is zero.
    pub const ALL: [Self; 11] = [
        Self::BadTag,
        Self::ForeignCluster {
            cluster: ClusterId([0; 16]),
            virtual_router: 0,
            priority: 0,
            active: false,
        },
        Self::Malformed,
        Self::NotSteadfast,
        Self::Oversize,
        Self::OwnId { boot: BootId(0) },
        Self::Truncated,
        Self::UnknownKey,
        Self::UnknownSender,
        Self::UnknownVersion,
        Self::WrongPath,
    ];

    /// Position in [`Self::ALL`], whatever the error carries.
    pub const fn index(self) -> usize {
        match self {
            Self::BadTag => 0,
            Self::ForeignCluster { .. } => 1,
            Self::Malformed => 2,
            Self::NotSteadfast => 3,
            Self::Oversize => 4,
            Self::OwnId { .. } => 5,
            Self::Truncated => 6,
            Self::UnknownKey => 7,
            Self::UnknownSender => 8,
            Self::UnknownVersion => 9,
            Self::WrongPath => 10,
        }
    }
}

impl Advert {
    /// Writes the whole frame into `out`, replacing what was there. Signed as [`KeyRing::own`]: an
    /// advertisement that names another sender is accepted by nobody.
    ///
    /// Returns how many list entries were left out because the frame or a list was full; 0 unless
    /// the cluster has many nodes and many paths.
    pub fn encode(
        &self,
        destination: MacAddr,
        source: MacAddr,
        keys: &KeyRing,
        out: &mut Vec<u8>,
    ) -> usize {
        out.clear();
        ethernet::header(out, destination, source, ethertype::STEADFAST);
        let start = out.len();
        let macs = &self.macs[..self.macs.len().min(PORTS_MAX)];
        let echoes = &self.echoes[..self.echoes.len().min(NODES_MAX)];
        let waits = &self.waits[..self.waits.len().min(WAITS_MAX)];
        let heard_max = heard_max(macs, echoes, self.lists_once(waits.len()));
        self.put_head(keys.signing_id(), out);
        self.put_body(out);
        debug_assert_eq!(out.len() - start, FIXED_LEN);
        put_macs(macs, out);
        let mut left_out = self.macs.len() - macs.len() + self.echoes.len() - echoes.len();
        left_out += self.waits.len() - waits.len();
        for echo in echoes {
            let heard = &echo.heard[..echo.heard.len().min(heard_max)];
            left_out += echo.heard.len() - heard.len();
            put_echo(echo, heard, out);
        }
        if let Some(grant) = &self.grant {
            put_grant(grant, out);
        }
        if !waits.is_empty() {
            put_waits(waits, out);
        }
        if let Some(certificate) = self.certificate {
            put_certificate(certificate, out);
        }
        let payload = &mut out[start..];
        let total = be16(payload.len() + TAG_LEN);
        payload[LENGTH_AT].copy_from_slice(&total);
        let tag = keys.sign(payload);
        out.extend_from_slice(&tag);
        left_out
    }

    /// Reads a whole frame that came in on `port`; padding behind the tag is ignored.
    ///
    /// # Errors
    /// The first check that failed, in the order of this module's doc.
    pub fn decode(frame: &[u8], port: PortId, keys: &KeyRing) -> Result<Self, DecodeError> {
        Self::read(frame, port, keys, false)
    }

    /// Reads a frame that may be in this node's own name, for who wants to know what another one
    /// with its id says (R1.3).
    ///
    /// # Errors
    /// As [`Self::decode`], but never [`DecodeError::OwnId`].
    pub(crate) fn decode_own(
        frame: &[u8],
        port: PortId,
        keys: &KeyRing,
    ) -> Result<Self, DecodeError> {
        Self::read(frame, port, keys, true)
    }

    fn read(
        frame: &[u8],
        port: PortId,
        keys: &KeyRing,
        may_be_own: bool,
    ) -> Result<Self, DecodeError> {
        let frame = Frame::parse(frame).ok_or(DecodeError::Truncated)?;
        if frame.ethertype != ethertype::STEADFAST {
            return Err(DecodeError::NotSteadfast);
        }
        let mut reader = Reader(frame.payload);
        let head = Head::read(&mut reader)?;
        head.check(frame.payload.len(), keys.cluster())?;
        let verifier = keys.verifier(head.key, head.sender)?;
        let (signed, rest) = frame.payload.split_at(head.total - TAG_LEN);
        verifier.verify(signed, rest.first_chunk().ok_or(DecodeError::Truncated)?)?;
        if head.sender == keys.own() && !may_be_own {
            let boot = BootId(reader.u64()?);
            return Err(DecodeError::OwnId { boot });
        }
        if head.path != port {
            return Err(DecodeError::WrongPath);
        }
        let mut advert = head.into_advert(&mut reader)?;
        advert.read_lists(&signed[head.fixed_len..])?;
        Ok(advert)
    }

    /// Whom a frame names as its sender. Nothing is verified: anybody can name anybody.
    pub fn names(frame: &[u8]) -> Option<NodeId> {
        let frame = Frame::parse(frame).filter(|it| it.ethertype == ethertype::STEADFAST)?;
        let head = Head::read(&mut Reader(frame.payload)).ok()?;
        Some(head.sender)
    }

    /// Bytes 14 to 48 of the frame: what `Head::read` reads.
    fn put_head(&self, key: u8, out: &mut Vec<u8>) {
        out.extend_from_slice(&[VERSION, fields::mark_byte(self.mark), self.kind.byte(), key]);
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.active_groups.to_be_bytes());
        out.extend_from_slice(&self.cluster.0);
        out.extend_from_slice(&[
            self.virtual_router,
            self.sender.0,
            self.path.0,
            self.priority,
        ]);
        out.extend_from_slice(&be16(FIXED_LEN));
        out.extend_from_slice(&[
            fields::configured_byte(self.configured),
            fields::effective_byte(self.effective),
        ]);
    }

    /// Bytes 48 to 124 of the frame: what `Head::into_advert` reads.
    fn put_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.boot.0.to_be_bytes());
        out.extend_from_slice(&self.counter.to_be_bytes());
        out.extend_from_slice(&self.epoch.0.to_be_bytes());
        out.extend_from_slice(&self.handover.to_be_bytes());
        out.extend_from_slice(&self.ports_down.to_be_bytes());
        out.extend_from_slice(&micros(self.interval).to_be_bytes());
        out.extend_from_slice(&micros(self.lease).to_be_bytes());
        out.extend_from_slice(&self.flags.0.to_be_bytes());
        out.extend_from_slice(&[self.health.0, 0]);
        out.extend_from_slice(&self.config_digest.to_be_bytes());
        out.extend_from_slice(&self.facts_digest.to_be_bytes());
        out.extend_from_slice(&self.interfaces_digest.to_be_bytes());
        out.extend_from_slice(&self.version.to_be_bytes());
    }

    /// Bytes of the lists that are there once, beside the MACs.
    fn lists_once(&self, waits: usize) -> usize {
        let grant = self.grant.map_or(0, |_| GRANT_TLV_LEN);
        let certificate = self.certificate.map_or(0, |_| CERTIFICATE_TLV_LEN);
        let waits = match waits {
            0 => 0,
            _ => TLV_HEAD + waits * WAIT_LEN,
        };
        grant + waits + certificate
    }

    fn read_lists(&mut self, tlvs: &[u8]) -> Result<(), DecodeError> {
        let mut tlvs = Reader(tlvs);
        while !tlvs.0.is_empty() {
            let [kind] = tlvs.take()?;
            let length = usize::from(tlvs.u16()?);
            let value = tlvs.slice(length)?;
            match kind {
                TLV_MACS => self.macs.extend(read_macs(value, self.macs.len())?),
                TLV_ECHO if self.echoes.len() == NODES_MAX => return Err(DecodeError::Oversize),
                TLV_ECHO => self.echoes.push(read_echo(value)?),
                TLV_GRANT => self.grant = Some(read_grant(value)?),
                TLV_CERTIFICATE => self.certificate = Some(read_certificate(value)?),
                TLV_WAITS => self.waits.extend(read_waits(value, self.waits.len())?),
                _ => {}
            }
        }
        Ok(())
    }
}

/// What must be known before the tag can be checked; its numbers mean nothing until it was.
#[derive(Clone, Copy)]
struct Head {
    mark: u8,
    kind: u8,
    key: u8,
    total: usize,
    active_groups: u32,
    cluster: ClusterId,
    virtual_router: u8,
    sender: NodeId,
    path: PortId,
    priority: u8,
    fixed_len: usize,
    configured: u8,
    effective: u8,
}

impl Head {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let short = |_| DecodeError::Truncated;
        let [version, mark, kind, key] = reader.take().map_err(short)?;
        if version != VERSION {
            return Err(DecodeError::UnknownVersion);
        }
        let total = usize::from(reader.u16().map_err(short)?);
        let active_groups = reader.u32().map_err(short)?;
        let cluster = ClusterId(reader.take().map_err(short)?);
        let [virtual_router, sender, path, priority] = reader.take().map_err(short)?;
        let fixed_len = usize::from(reader.u16().map_err(short)?);
        let [configured, effective] = reader.take().map_err(short)?;
        Ok(Self {
            mark,
            kind,
            key,
            total,
            active_groups,
            cluster,
            virtual_router,
            sender: NodeId(sender),
            path: PortId(path),
            priority,
            fixed_len,
            configured,
            effective,
        })
    }

    fn check(&self, available: usize, cluster: ClusterId) -> Result<(), DecodeError> {
        if self.total > PAYLOAD_MAX {
            Err(DecodeError::Oversize)
        } else if self.total > available {
            Err(DecodeError::Truncated)
        } else if self.fixed_len < FIXED_LEN || self.fixed_len + TAG_LEN > self.total {
            Err(DecodeError::Malformed)
        } else if self.cluster != cluster {
            Err(DecodeError::ForeignCluster {
                cluster: self.cluster,
                virtual_router: self.virtual_router,
                priority: self.priority,
                active: fields::mark_of(self.mark) == Ok(RoleMark::Active),
            })
        } else {
            Ok(())
        }
    }

    /// Reads the rest of the fixed fields; the lists stay empty.
    fn into_advert(self, reader: &mut Reader<'_>) -> Result<Advert, DecodeError> {
        let advert = Advert {
            kind: Kind::from_byte(self.kind).ok_or(DecodeError::Malformed)?,
            mark: fields::mark_of(self.mark)?,
            active_groups: self.active_groups,
            cluster: self.cluster,
            virtual_router: self.virtual_router,
            sender: self.sender,
            path: self.path,
            priority: self.priority,
            configured: fields::configured_of(self.configured)?,
            effective: fields::effective_of(self.effective)?,
            boot: BootId(reader.u64()?),
            counter: reader.u64()?,
            epoch: Epoch(reader.u64()?),
            handover: reader.u64()?,
            ports_down: reader.u32()?,
            interval: Duration::from_micros(u64::from(reader.u32()?)),
            lease: Duration::from_micros(u64::from(reader.u32()?)),
            flags: Flags(reader.u16()?),
            health: HealthClass(reader.take::<2>()?[0]),
            config_digest: reader.u64()?,
            facts_digest: reader.u64()?,
            interfaces_digest: reader.u64()?,
            version: reader.u32()?,
            macs: Vec::new(),
            echoes: Vec::new(),
            grant: None,
            waits: Vec::new(),
            certificate: None,
        };
        if advert.virtual_router == 0 || advert.boot == BootId(0) {
            return Err(DecodeError::Malformed);
        }
        Ok(advert)
    }
}

/// The length that every list of heard paths is cut to, so that all echoes fit: [`PORTS_MAX`] when
/// there is room for everything.
fn heard_max(macs: &[(PortId, MacAddr)], echoes: &[Echo], once: usize) -> usize {
    let unheard = FIXED_LEN
        + once
        + TLV_HEAD
        + macs.len() * MAC_LEN
        + echoes.len() * (TLV_HEAD + ECHO_LEN)
        + TAG_LEN;
    let room = (PAYLOAD_MAX - unheard) / HEARD_LEN;
    let fits = |cap: &usize| {
        echoes
            .iter()
            .map(|echo| echo.heard.len().min(*cap))
            .sum::<usize>()
            <= room
    };
    (0..=PORTS_MAX).rev().find(fits).unwrap_or(0)
}

#[cfg(test)]
mod tests;
