//! The lists behind the fixed bytes: type, length, value. A receiver skips types it does not know.

use core::time::Duration;

use super::DecodeError;
use super::fields::{Reader, be16, micros};
use crate::wire::advert::{Echo, Grant, Heard, PORTS_MAX, WAITS_MAX, Wait};
use crate::{BootId, CertificateMark, MacAddr, NodeId, PortId};

/// Type and length.
pub(super) const TLV_HEAD: usize = 3;
pub(super) const TLV_MACS: u8 = 1;
pub(super) const TLV_ECHO: u8 = 2;
pub(super) const TLV_GRANT: u8 = 3;
pub(super) const TLV_WAITS: u8 = 4;
pub(super) const TLV_CERTIFICATE: u8 = 5;
/// A port's entry.
pub(super) const MAC_LEN: usize = 7;
/// An echo without the paths heard.
pub(super) const ECHO_LEN: usize = 25;
/// A path heard.
pub(super) const HEARD_LEN: usize = 9;
/// A wait.
pub(super) const WAIT_LEN: usize = 6;
/// A grant's value.
pub(super) const GRANT_LEN: usize = 21;

/// A certificate's value.
pub(super) const CERTIFICATE_LEN: usize = 8;

pub(super) fn put_macs(macs: &[(PortId, MacAddr)], out: &mut Vec<u8>) {
    out.push(TLV_MACS);
    out.extend_from_slice(&be16(macs.len() * MAC_LEN));
    for (port, mac) in macs {
        out.push(port.0);
        out.extend_from_slice(&mac.0);
    }
}

pub(super) fn put_echo(echo: &Echo, heard: &[Heard], out: &mut Vec<u8>) {
    out.push(TLV_ECHO);
    out.extend_from_slice(&be16(ECHO_LEN + heard.len() * HEARD_LEN));
    out.push(echo.node.0);
    out.extend_from_slice(&echo.boot.0.to_be_bytes());
    out.extend_from_slice(&echo.challenge.to_be_bytes());
    out.extend_from_slice(&echo.response.to_be_bytes());
    for entry in heard {
        out.push(entry.path.0);
        out.extend_from_slice(&entry.counter.to_be_bytes());
    }
}

/// Reads one list of MACs, when `before` were already there. What it returns is bounded by
/// [`PORTS_MAX`], so the caller may collect it.
pub(super) fn read_macs(
    value: &[u8],
    before: usize,
) -> Result<impl Iterator<Item = (PortId, MacAddr)>, DecodeError> {
    let (entries, rest) = value.as_chunks::<MAC_LEN>();
    if !rest.is_empty() {
        return Err(DecodeError::Malformed);
    }
    if before + entries.len() > PORTS_MAX {
        return Err(DecodeError::Oversize);
    }
    Ok(entries
        .iter()
        .map(|&[port, a, b, c, d, e, f]| (PortId(port), MacAddr([a, b, c, d, e, f]))))
}

pub(super) fn read_echo(value: &[u8]) -> Result<Echo, DecodeError> {
    let mut reader = Reader(value);
    let [node] = reader.take()?;
    let (boot, challenge, response) = (BootId(reader.u64()?), reader.u64()?, reader.u64()?);
    let (entries, rest) = reader.0.as_chunks::<HEARD_LEN>();
    if !rest.is_empty() {
        return Err(DecodeError::Malformed);
    }
    if entries.len() > PORTS_MAX {
        return Err(DecodeError::Oversize);
    }
    let heard = entries.iter().map(|&[path, ref counter @ ..]| Heard {
        path: PortId(path),
        counter: u64::from_be_bytes(*counter),
    });
    Ok(Echo {
        node: NodeId(node),
        boot,
        challenge,
        response,
        heard: heard.collect(),
    })
}

pub(super) fn put_grant(grant: &Grant, out: &mut Vec<u8>) {
    out.push(TLV_GRANT);
    out.extend_from_slice(&be16(GRANT_LEN));
    out.push(grant.node.0);
    out.extend_from_slice(&grant.boot.0.to_be_bytes());
    out.extend_from_slice(&grant.counter.to_be_bytes());
    out.extend_from_slice(&micros(grant.term).to_be_bytes());
}

/// Bytes beyond those that are known are a later version's, and skipped.
pub(super) fn read_grant(value: &[u8]) -> Result<Grant, DecodeError> {
    let mut reader = Reader(value);
    let [node] = reader.take()?;
    Ok(Grant {
        node: NodeId(node),
        boot: BootId(reader.u64()?),
        counter: reader.u64()?,
        term: Duration::from_micros(u64::from(reader.u32()?)),
    })
}

pub(super) fn put_certificate(certificate: CertificateMark, out: &mut Vec<u8>) {
    out.push(TLV_CERTIFICATE);
    out.extend_from_slice(&be16(CERTIFICATE_LEN));
    out.extend_from_slice(&certificate.0.to_be_bytes());
}

/// Bytes beyond those that are known are a later version's, and skipped.
pub(super) fn read_certificate(value: &[u8]) -> Result<CertificateMark, DecodeError> {
    Reader(value).u64().map(CertificateMark)
}

pub(super) fn put_waits(waits: &[Wait], out: &mut Vec<u8>) {
    out.push(TLV_WAITS);
    out.extend_from_slice(&be16(waits.len() * WAIT_LEN));
    for wait in waits {
        out.extend_from_slice(&[wait.node.0, wait.path.0]);
        out.extend_from_slice(&micros(wait.time).to_be_bytes());
    }
}

/// Reads one list of waits, when `before` were already there. What it returns is bounded by
/// [`WAITS_MAX`], so the caller may collect it.
pub(super) fn read_waits(
    value: &[u8],
    before: usize,
) -> Result<impl Iterator<Item = Wait>, DecodeError> {
    let (entries, rest) = value.as_chunks::<WAIT_LEN>();
    if !rest.is_empty() {
        return Err(DecodeError::Malformed);
    }
    if before + entries.len() > WAITS_MAX {
        return Err(DecodeError::Oversize);
    }
    Ok(entries.iter().map(|&[node, path, ref time @ ..]| Wait {
        node: NodeId(node),
        path: PortId(path),
        time: Duration::from_micros(u64::from(u32::from_be_bytes(*time))),
    }))
}
