//! The lists that are there once: grant, certificate, waits.

use super::*;
use crate::CertificateMark;

/// A grant comes through as it was sent, one that is cut short is refused, and what a later version
/// appends is skipped.
#[test]
fn grant_is_read() {
    let grant = Grant {
        node: NodeId(8),
        boot: BootId(0x1122),
        counter: 77,
        term: Duration::from_millis(700),
    };
    let granting = Advert {
        grant: Some(grant),
        ..sample()
    };
    let frame = frame_of(&granting);
    assert_eq!(decode(&frame), Ok(granting));
    let signed = signed_part(&frame);
    let value = signed.len() - GRANT_LEN;
    let resized = |length: usize| {
        let mut other = signed[..value].to_vec();
        other[value - 2..].copy_from_slice(&be16(length));
        other.extend_from_slice(&signed[value..]);
        other.resize(value + length, 0xee);
        decode(&tagged(other)).map(|advert| advert.grant)
    };
    assert_eq!(resized(GRANT_LEN - 1), Err(DecodeError::Malformed));
    assert_eq!(resized(GRANT_LEN + 5), Ok(Some(grant)));
}

/// A certificate's mark comes through as it was sent; one cut short is refused, and what a later
/// version adds is skipped.
#[test]
fn certificate_mark_is_read() {
    let shown = Advert {
        certificate: Some(CertificateMark(0x6171_a91d_dfc5_ee45)),
        ..sample()
    };
    let frame = frame_of(&shown);
    let signed = signed_part(&frame);
    let list = signed.len() - TLV_HEAD - CERTIFICATE_LEN;
    let known = [5, 0, 8, 0x61, 0x71, 0xa9, 0x1d, 0xdf, 0xc5, 0xee, 0x45];
    assert_eq!(signed[list..], known);
    assert_eq!(decode(&frame).as_ref(), Ok(&shown));
    let of = |length: usize| {
        let mut other = signed[..list].to_vec();
        other.push(TLV_CERTIFICATE);
        other.extend_from_slice(&be16(length));
        other.resize(list + TLV_HEAD + length, 1);
        decode(&tagged(other)).map(|advert| advert.certificate)
    };
    assert_eq!(of(CERTIFICATE_LEN - 1), Err(DecodeError::Malformed));
    let later = CertificateMark(0x0101_0101_0101_0101);
    assert_eq!(of(CERTIFICATE_LEN + 3), Ok(Some(later)));
}

/// Waits come through as they were sent; an entry cut short and an entry too many are refused; what
/// the sender had no room for is counted.
#[test]
fn waits_are_read() {
    let wait = |path: u8| Wait {
        node: NodeId(8),
        path: PortId(path),
        time: Duration::from_micros(41_300),
    };
    let waiting = Advert {
        waits: vec![wait(2), wait(3)],
        ..sample()
    };
    let frame = frame_of(&waiting);
    assert_eq!(decode(&frame), Ok(waiting));
    let signed = signed_part(&frame);
    let list = signed.len() - TLV_HEAD - 2 * WAIT_LEN;
    let known = [4, 0, 12, 8, 2, 0, 0, 0xa1, 0x54, 8, 3, 0, 0, 0xa1, 0x54];
    assert_eq!(signed[list..], known);
    let of = |length: usize| {
        let mut other = signed[..list].to_vec();
        other.push(TLV_WAITS);
        other.extend_from_slice(&be16(length));
        other.resize(list + TLV_HEAD + length, 1);
        decode(&tagged(other)).map(|advert| advert.waits.len())
    };
    assert_eq!(of(WAIT_LEN - 1), Err(DecodeError::Malformed));
    assert_eq!(of(WAITS_MAX * WAIT_LEN), Ok(WAITS_MAX));
    assert_eq!(of((WAITS_MAX + 1) * WAIT_LEN), Err(DecodeError::Oversize));
    let more = Advert {
        waits: vec![wait(2); WAITS_MAX + 3],
        ..sample()
    };
    let mut out = Vec::new();
    assert_eq!(more.encode(GROUP_MAC, SOURCE, &sender(), &mut out), 3);
    assert_eq!(decode(&out).map(|it| it.waits.len()), Ok(WAITS_MAX));
}
