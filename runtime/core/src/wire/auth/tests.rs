//! Keys: which are refused, which sign, which are accepted.

use super::*;

const CLUSTER: ClusterId = ClusterId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);

fn key(id: u8, phase: Phase) -> Key {
    let secret = Secret::new(format!("the secret of key {id}").as_bytes()).unwrap();
    Key { id, secret, phase }
}

fn ring(own: u8, keys: &[(u8, Phase)]) -> Result<KeyRing, KeyError> {
    let keys = keys.iter().map(|(id, phase)| key(*id, *phase)).collect();
    KeyRing::new(CLUSTER, NodeId(own), &[NodeId(2), NodeId(1)], keys)
}

fn hears(receiver: &KeyRing, sender: &KeyRing) -> Result<(), DecodeError> {
    let tag = sender.sign(b"payload");
    receiver
        .verifier(sender.signing_id(), sender.own())?
        .verify(b"payload", &tag)
}

#[test]
fn tag_known_answer() {
    // HKDF and HMAC must be those of RFC 5869 and RFC 2104, truncated on the right: the bytes were
    // computed by another implementation.
    let secret = Secret::new(b"a secret of the test's own").unwrap();
    let keys = vec![Key {
        id: 9,
        secret,
        phase: Phase::Enforce,
    }];
    let ring = KeyRing::new(CLUSTER, NodeId(7), &[], keys).unwrap();
    assert_eq!(
        u128::from_be_bytes(ring.sign(b"advert")),
        0x4696_0fdd_9bba_a397_a1a2_d439_7412_79ce
    );
}

#[test]
fn secret_refused_for_a_named_reason() {
    // An operator who forgot to set a secret must learn what is wrong with it (R15.1).
    assert_eq!(Secret::new(b""), Err(KeyError::EmptySecret));
    assert_eq!(Secret::new(b" \n"), Err(KeyError::EmptySecret));
    assert_eq!(Secret::new(b"change_me"), Err(KeyError::ExampleSecret));
    assert_eq!(Secret::new(b"Change_Me\n"), Err(KeyError::ExampleSecret));
    assert_eq!(
        Secret::new(b"fifteen bytes.."),
        Err(KeyError::ShortSecret(15))
    );
    assert!(Secret::new(b"sixteen bytes...").is_ok());
}

#[test]
fn secret_never_printed() {
    // Debug output lands in logs and bug reports; neither form of the secret may be in it.
    let ring = ring(1, &[(1, Phase::Enforce)]).unwrap();
    let text = format!("{ring:?} {:?}", key(1, Phase::Enforce));
    assert!(text.contains("Secret(..)"));
    assert!(!text.contains("the secret"), "{text}");
    assert!(!text.contains("116, 104, 101"), "{text}");
}

#[test]
fn ring_refuses_what_cannot_work() {
    // Each of these would leave a node mute, deaf, or unsure which secret a frame means.
    let new = |own, nodes: &[NodeId], keys| KeyRing::new(CLUSTER, NodeId(own), nodes, keys).err();
    let good = || vec![key(1, Phase::Enforce)];
    assert_eq!(new(1, &[], vec![]), Some(KeyError::NoSendingKey));
    assert_eq!(
        new(1, &[], vec![key(1, Phase::ReceiveOnly)]),
        Some(KeyError::NoSendingKey)
    );
    let twice = vec![
        key(3, Phase::Enforce),
        key(1, Phase::Enforce),
        key(3, Phase::Enforce),
    ];
    assert_eq!(new(1, &[], twice), Some(KeyError::DuplicateId(3)));
    let many = (0..9).map(|id| key(id, Phase::Permissive)).collect();
    assert_eq!(new(1, &[], many), Some(KeyError::TooManyKeys));
    assert_eq!(
        new(0, &[], good()),
        Some(KeyError::NodeOutOfRange(NodeId(0)))
    );
    assert_eq!(
        new(1, &[NodeId(255)], good()),
        Some(KeyError::NodeOutOfRange(NodeId(255)))
    );
    let nodes: Vec<NodeId> = (1..=33).map(NodeId).collect();
    assert_eq!(new(1, &nodes, good()), Some(KeyError::TooManyNodes));
    assert_eq!(new(1, &nodes[..32], good()), None);
}

#[test]
fn key_change_neighbouring_steps_hear_each_other() {
    // The operator changes one node after the other: nodes one step apart must understand each
    // other both ways, and the last step must close the old key.
    use Phase::{Enforce, Permissive, ReceiveOnly};
    let steps: [&[(u8, Phase)]; 5] = [
        &[(1, Enforce)],
        &[(1, Enforce), (2, ReceiveOnly)],
        &[(1, Enforce), (2, Permissive)],
        &[(1, Enforce), (2, Enforce)],
        &[(2, Enforce)],
    ];
    for pair in steps.windows(2) {
        let (behind, ahead) = (ring(1, pair[0]).unwrap(), ring(2, pair[1]).unwrap());
        assert_eq!(hears(&behind, &ahead), Ok(()), "{pair:?}");
        assert_eq!(hears(&ahead, &behind), Ok(()), "{pair:?}");
    }
    let (old, new) = (ring(1, steps[1]).unwrap(), ring(2, steps[3]).unwrap());
    assert_eq!(hears(&new, &old), Err(DecodeError::UnknownKey));
    assert!(!new.accepts(1) && new.accepts(2));
}

#[test]
fn key_is_bound_to_sender_and_cluster() {
    // The same secret and payload must give another tag for another sender or cluster, else a
    // frame could be passed off as somebody else's by rewriting one byte.
    let (one, two) = (
        ring(1, &[(1, Phase::Enforce)]),
        ring(2, &[(1, Phase::Enforce)]),
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    let elsewhere = ClusterId([9; 16]);
    let keys = vec![key(1, Phase::Enforce)];
    let other = KeyRing::new(elsewhere, NodeId(1), &[], keys).unwrap();
    let tag = one.sign(b"payload");
    assert_ne!(tag, two.sign(b"payload"));
    assert_ne!(tag, other.sign(b"payload"));
    let verify = |sender| two.verifier(1, NodeId(sender))?.verify(b"payload", &tag);
    assert_eq!(verify(1), Ok(()));
    assert_eq!(verify(2), Err(DecodeError::BadTag));
    assert_eq!(verify(3), Err(DecodeError::UnknownSender));
}
