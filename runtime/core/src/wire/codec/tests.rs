//! The codec against damage, replay, reflection and later versions.

mod lists;
mod random;

use super::super::advert::{GROUP_MAC, Grant, Heard, Kind, RoleMark, Wait};
use super::super::auth::{Key, KeyError, Phase, Secret};
use super::super::ethernet::HEADER_LEN;
use super::*;
use crate::role::{ConfiguredRole, EffectiveRole};

const CLUSTER: ClusterId = ClusterId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
const PATH: PortId = PortId(2);
const SOURCE: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);

fn ring(cluster: ClusterId, own: u8, key_id: u8, secret: &[u8]) -> Result<KeyRing, KeyError> {
    let key = Key {
        id: key_id,
        secret: Secret::new(secret)?,
        phase: Phase::Enforce,
    };
    KeyRing::new(cluster, NodeId(own), &[NodeId(7), NodeId(8)], vec![key])
}

fn sender() -> KeyRing {
    ring(CLUSTER, 7, 9, b"a secret of the test's own").unwrap()
}

fn receiver() -> KeyRing {
    ring(CLUSTER, 8, 9, b"a secret of the test's own").unwrap()
}

/// `sample()` from byte 14 on.
const REFERENCE: [&str; 6] = [
    "0102030900ad00000001000102030405060708090a0b0c0d0e0f33070264006e",
    "0201112233445566778800000000000000050000000000000003000000000000",
    "000000000004000186a0000493e00015010000000000000000a1000000000000",
    "00b200000000000000c301020003010007020200000000070200220800000000",
    "00000099000000000000dead000000000000beef0200000000000000290a9178",
    "3e9eeb4b0b720d3824d5eb59e5",
];

/// What node 7 says to node 8 on path 2.
fn sample() -> Advert {
    let heard = vec![Heard {
        path: PATH,
        counter: 41,
    }];
    let (boot, challenge, response) = (BootId(0x99), 0xdead, 0xbeef);
    Advert {
        kind: Kind::Claim,
        mark: RoleMark::Active,
        active_groups: 1,
        cluster: CLUSTER,
        virtual_router: 51,
        sender: NodeId(7),
        path: PATH,
        boot: BootId(0x1122_3344_5566_7788),
        counter: 5,
        configured: ConfiguredRole::Any,
        effective: EffectiveRole::Active,
        health: HealthClass(1),
        priority: 100,
        flags: Flags::WITNESSED
            .with(Flags::FENCE_WHOLE, true)
            .with(Flags::ELIGIBLE, true),
        epoch: Epoch(3),
        handover: 0,
        ports_down: 4,
        interval: Duration::from_millis(100),
        lease: Duration::from_millis(300),
        config_digest: 0xa1,
        facts_digest: 0xb2,
        interfaces_digest: 0xc3,
        version: 0x0102_0003,
        macs: vec![(PATH, SOURCE)],
        echoes: vec![Echo {
            node: NodeId(8),
            boot,
            challenge,
            response,
            heard,
        }],
        grant: None,
        waits: Vec::new(),
        certificate: None,
    }
}

fn frame_of(advert: &Advert) -> Vec<u8> {
    let mut out = Vec::new();
    assert_eq!(advert.encode(GROUP_MAC, SOURCE, &sender(), &mut out), 0);
    out
}

fn decode(frame: &[u8]) -> Result<Advert, DecodeError> {
    Advert::decode(frame, PATH, &receiver())
}

/// A frame with this signed part, correctly tagged; the length field is set right.
fn tagged(mut signed: Vec<u8>) -> Vec<u8> {
    let total = be16(signed.len() + TAG_LEN);
    signed[LENGTH_AT].copy_from_slice(&total);
    signed_as_is(&signed)
}

fn signed_as_is(signed: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    ethernet::header(&mut frame, GROUP_MAC, SOURCE, ethertype::STEADFAST);
    frame.extend_from_slice(signed);
    frame.extend_from_slice(&sender().sign(signed));
    frame
}

fn signed_part(frame: &[u8]) -> Vec<u8> {
    frame[HEADER_LEN..frame.len() - TAG_LEN].to_vec()
}

fn heard_all(node: u8) -> Echo {
    let heard = (0..16)
        .map(|path| Heard {
            path: PortId(path),
            counter: 7,
        })
        .collect();
    Echo {
        node: NodeId(node),
        boot: BootId(1),
        challenge: 2,
        response: 3,
        heard,
    }
}

#[test]
fn advert_bytes_known_answer() {
    // The whole frame, built by hand after the table by another implementation: whatever this
    // encoder and decoder agree on between themselves, a node of last year must read it.
    let reference = REFERENCE.concat();
    let frame = frame_of(&sample());
    let hex: String = frame[HEADER_LEN..]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(hex, reference);
    assert_eq!(
        &frame[..HEADER_LEN],
        b"\x03SF\0\0\x01\x02\0\0\0\0\x07\x88\xb5"
    );
    assert_eq!(decode(&frame), Ok(sample()));
}

#[test]
fn mark_at_byte_15_for_every_mark() {
    // The kernel's lease guard is programmed with this offset and these values (D9).
    let marks = [
        (RoleMark::Standby, 1),
        (RoleMark::Active, 2),
        (RoleMark::Offering, 3),
    ];
    for (mark, byte) in marks {
        let frame = frame_of(&Advert { mark, ..sample() });
        assert_eq!(frame[15], byte);
        assert_eq!(decode(&frame).map(|advert| advert.mark), Ok(mark));
    }
}

#[test]
fn frame_cut_anywhere_is_refused() {
    // A frame that ends early must be an error at every length; padding behind it is none.
    let frame = frame_of(&sample());
    for length in 0..frame.len() {
        assert_eq!(
            decode(&frame[..length]),
            Err(DecodeError::Truncated),
            "{length} bytes"
        );
    }
    let padded = [&frame[..], &[0xa5; 46]].concat();
    assert_eq!(decode(&padded), Ok(sample()));
}

#[test]
fn every_flipped_bit_is_refused() {
    // Everything from byte 14 on is covered by the tag, or part of it.
    let frame = frame_of(&sample());
    for bit in 14 * 8..frame.len() * 8 {
        let mut flipped = frame.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(
            decode(&flipped).is_err(),
            "byte {} bit {}",
            bit / 8,
            bit % 8
        );
    }
}

#[test]
fn replay_onto_another_path_is_refused() {
    // A recorded frame put onto another segment must not prove that path alive (D3).
    let frame = frame_of(&sample());
    let elsewhere = Advert::decode(&frame, PortId(3), &receiver());
    assert_eq!(elsewhere, Err(DecodeError::WrongPath));
}

#[test]
fn own_frame_coming_back_is_told_from_a_clash() {
    // A loop returns our own boot id; a second node configured with our id has another. Only an
    // authentic frame may raise that alarm.
    let frame = frame_of(&sample());
    let own = Advert::decode(&frame, PATH, &sender());
    assert_eq!(
        own,
        Err(DecodeError::OwnId {
            boot: sample().boot
        })
    );
    let mut forged = frame;
    forged[48] ^= 1;
    assert_eq!(
        Advert::decode(&forged, PATH, &sender()),
        Err(DecodeError::BadTag)
    );
}

#[test]
fn strangers_are_named() {
    // Each kind of stranger needs another cure, so each has its own error.
    let secret = b"a secret of the test's own";
    let at = |keys: Result<KeyRing, KeyError>| {
        Advert::decode(&frame_of(&sample()), PATH, &keys.unwrap())
    };
    let foreign = DecodeError::ForeignCluster {
        priority: 100,
        active: true,
        cluster: CLUSTER,
        virtual_router: 51,
    };
    assert_eq!(at(ring(ClusterId([9; 16]), 8, 9, secret)), Err(foreign));
    assert_eq!(
        at(ring(CLUSTER, 8, 10, secret)),
        Err(DecodeError::UnknownKey)
    );
    assert_eq!(
        at(ring(CLUSTER, 8, 9, b"another secret......")),
        Err(DecodeError::BadTag)
    );
    let key = Key {
        id: 9,
        secret: Secret::new(secret).unwrap(),
        phase: Phase::Enforce,
    };
    let without_7 = KeyRing::new(CLUSTER, NodeId(8), &[NodeId(6)], vec![key]);
    assert_eq!(at(without_7), Err(DecodeError::UnknownSender));
    let mut frame = frame_of(&sample());
    frame[14] = 2;
    assert_eq!(decode(&frame), Err(DecodeError::UnknownVersion));
    frame[12..14].copy_from_slice(&ethertype::ARP.to_be_bytes());
    assert_eq!(decode(&frame), Err(DecodeError::NotSteadfast));
}

#[test]
fn sender_that_is_not_the_ring_is_accepted_by_nobody() {
    // A node signs as itself: naming another sender must not borrow that sender's key.
    let frame = frame_of(&Advert {
        sender: NodeId(8),
        ..sample()
    });
    let third = ring(CLUSTER, 6, 9, b"a secret of the test's own").unwrap();
    assert_eq!(
        Advert::decode(&frame, PATH, &third),
        Err(DecodeError::BadTag)
    );
}

#[test]
fn later_fixed_fields_and_tlvs_are_skipped() {
    // A newer node of the same version may say more; an older one must still hear it (D1).
    let mut signed = signed_part(&frame_of(&sample()));
    let more = [0xee; 13];
    signed.splice(FIXED_LEN..FIXED_LEN, more);
    signed[30..32].copy_from_slice(&be16(FIXED_LEN + more.len()));
    signed.extend_from_slice(&[0, 0, 0, 200, 0, 3, 1, 2, 3]);
    assert_eq!(decode(&tagged(signed)), Ok(sample()));
}

#[test]
fn contradicting_lengths_are_refused() {
    // Authentic nonsense is still nonsense: a broken peer must not make this one misread.
    let refused = |error, change: &dyn Fn(&mut Vec<u8>)| {
        let mut signed = signed_part(&frame_of(&sample()));
        change(&mut signed);
        assert_eq!(decode(&tagged(signed)), Err(error));
    };
    refused(DecodeError::Malformed, &|s| s[31] -= 1);
    refused(DecodeError::Malformed, &|s| s[30] = 1);
    refused(DecodeError::Malformed, &|s| s[FIXED_LEN + 2] -= 1);
    refused(DecodeError::Malformed, &|s| s.extend([TLV_MACS]));
    refused(DecodeError::Malformed, &|s| s.extend([TLV_MACS, 0, 1]));
    refused(DecodeError::Malformed, &|s| s.extend([TLV_ECHO, 0, 0]));
    refused(DecodeError::Malformed, &|s| {
        s.extend([TLV_ECHO, 0, 26].iter().chain(&[1; 26]));
    });
    refused(DecodeError::Malformed, &|s| s[26] = 0);
    refused(DecodeError::Malformed, &|s| s[34..42].fill(0));
    for at in [1, 2, 32, 33] {
        refused(DecodeError::Malformed, &|s| s[at] = 0);
        refused(DecodeError::Malformed, &|s| s[at] = 12);
    }
    // Fixed bytes of zeros would pass for empty TLVs, were the fixed part allowed to be shorter.
    let (config_digest, facts_digest, interfaces_digest, version) = (0, 0, 0, 0);
    let zeros = Advert {
        config_digest,
        facts_digest,
        interfaces_digest,
        version,
        ..sample()
    };
    let mut early = signed_part(&frame_of(&zeros));
    early[31] = 83;
    assert_eq!(decode(&tagged(early)), Err(DecodeError::Malformed));
    let mut short = signed_part(&frame_of(&sample()));
    short[LENGTH_AT].copy_from_slice(&[0, 125]);
    assert_eq!(decode(&signed_as_is(&short)), Err(DecodeError::Malformed));
}

#[test]
fn lists_above_their_bound_are_refused() {
    // One entry too many in any list, and one byte too many in the whole, is refused; what is
    // exactly at the bound is read.
    let with = |tlvs: &[&[u8]]| {
        let mut signed = signed_part(&frame_of(&Advert {
            macs: vec![],
            echoes: vec![],
            ..sample()
        }));
        tlvs.iter().for_each(|tlv| signed.extend_from_slice(tlv));
        decode(&tagged(signed))
    };
    let macs =
        |count: usize| [&[TLV_MACS, 0, be16(count * 7)[1]][..], &vec![1; count * 7]].concat();
    assert_eq!(
        with(&[&macs(9), &macs(7)]).map(|advert| advert.macs.len()),
        Ok(16)
    );
    assert_eq!(with(&[&macs(9), &macs(8)]), Err(DecodeError::Oversize));
    let echo = |heard: usize| {
        let length = 25 + heard * 9;
        [&[TLV_ECHO, 0, be16(length)[1]][..], &vec![1; length]].concat()
    };
    assert_eq!(
        with(&[&echo(16)]).map(|advert| advert.echoes[0].heard.len()),
        Ok(16)
    );
    assert_eq!(with(&[&echo(17)]), Err(DecodeError::Oversize));
    let bare = echo(0);
    assert_eq!(
        with(&[&bare[..]; 32]).map(|advert| advert.echoes.len()),
        Ok(32)
    );
    assert_eq!(with(&[&bare[..]; 33]), Err(DecodeError::Oversize));
    let mut signed = signed_part(&frame_of(&sample()));
    let fill = PAYLOAD_MAX - TAG_LEN - signed.len() - TLV_HEAD;
    signed.push(77);
    signed.extend_from_slice(&be16(fill));
    signed.resize(PAYLOAD_MAX - TAG_LEN, 0);
    assert_eq!(decode(&tagged(signed.clone())), Ok(sample()));
    signed.push(0);
    assert_eq!(decode(&tagged(signed)), Err(DecodeError::Oversize));
}

#[test]
fn crowded_advert_keeps_every_echo_and_counts_what_it_leaves_out() {
    // 32 nodes on 16 paths do not fit. Without its echo a node cannot be proven at all, so heard
    // paths go first, from all alike; the count lets the caller show it.
    let crowd = Advert {
        macs: vec![(PATH, SOURCE); 17],
        echoes: (1..=33).map(heard_all).collect(),
        ..sample()
    };
    let mut frame = Vec::new();
    let left_out = crowd.encode(GROUP_MAC, SOURCE, &sender(), &mut frame);
    let heard = decode(&frame).unwrap();
    assert_eq!((heard.macs.len(), heard.echoes.len()), (16, 32));
    assert!(heard.echoes.iter().all(|echo| echo.heard.is_empty()));
    assert_eq!(left_out, 1 + 1 + 32 * 16);
    let half = Advert {
        echoes: (1..=8).map(heard_all).collect(),
        ..sample()
    };
    let left_out = half.encode(GROUP_MAC, SOURCE, &sender(), &mut frame);
    let lengths: Vec<usize> = decode(&frame)
        .unwrap()
        .echoes
        .iter()
        .map(|echo| echo.heard.len())
        .collect();
    assert_eq!(lengths, [14; 8]);
    assert_eq!(left_out, 8 * 2);
}

#[test]
fn times_saturate_and_lose_no_more_than_a_microsecond() {
    // An absurd configuration must not wrap around into a short lease.
    let advert = Advert {
        interval: Duration::MAX,
        lease: Duration::from_nanos(1_999),
        ..sample()
    };
    let heard = decode(&frame_of(&advert)).unwrap();
    assert_eq!(heard.interval, Duration::from_micros(u64::from(u32::MAX)));
    assert_eq!(heard.lease, Duration::from_micros(1));
}

#[test]
fn error_index_is_its_place_in_all() {
    // Counters are kept by index; two errors on one counter would hide one of them.
    for (place, error) in DecodeError::ALL.into_iter().enumerate() {
        assert_eq!(error.index(), place);
    }
    assert!(DecodeError::ALL.is_sorted());
}
