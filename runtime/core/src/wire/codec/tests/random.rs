//! The codec against inputs nobody thought of.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::CertificateMark;
use crate::wire::advert::Wait;

prop_compose! {
    fn echo()(node: u8, boot: u64, challenge: u64, response: u64,
              heard in vec((any::<u8>(), any::<u64>()), 0..=16)) -> Echo {
        let heard = heard.into_iter();
        let heard = heard.map(|(path, counter)| Heard { path: PortId(path), counter }).collect();
        Echo { node: NodeId(node), boot: BootId(boot), challenge, response, heard }
    }
}

prop_compose! {
    fn roles()(kind in 1..=11u8, mark in 1..=3u8, configured in 1..=4u8, effective in 1..=8u8)
        -> (Kind, RoleMark, ConfiguredRole, EffectiveRole) {
        (
            Kind::from_byte(kind).unwrap(),
            fields::mark_of(mark).unwrap(),
            fields::configured_of(configured).unwrap(),
            fields::effective_of(effective).unwrap(),
        )
    }
}

prop_compose! {
    fn advert()(
        (kind, mark, configured, effective) in roles(),
        (active_groups, ports_down, version) in any::<(u32, u32, u32)>(),
        (boot, counter, epoch, handover) in (1u64.., any::<u64>(), any::<u64>(), any::<u64>()),
        (config_digest, facts_digest, interfaces_digest) in any::<(u64, u64, u64)>(),
        (virtual_router, flags) in (1u8.., any::<u16>()),
        (priority, health) in any::<(u8, u8)>(),
        (interval, lease) in any::<(u32, u32)>(),
        macs in vec((any::<u8>(), any::<[u8; 6]>()), 0..=16),
        echoes in vec(echo(), 0..=6),
        waits in vec((any::<u8>(), any::<u8>(), any::<u32>()), 0..=16),
        certificate in any::<Option<u64>>(),
    ) -> Advert {
        Advert {
            kind, mark, configured, effective, active_groups, ports_down, version, counter,
            handover, config_digest, facts_digest, interfaces_digest, virtual_router, priority,
            echoes,
            boot: BootId(boot),
            epoch: Epoch(epoch),
            health: HealthClass(health),
            flags: Flags(flags),
            interval: Duration::from_micros(interval.into()),
            lease: Duration::from_micros(lease.into()),
            macs: macs.into_iter().map(|(port, mac)| (PortId(port), MacAddr(mac))).collect(),
            waits: waits
                .into_iter()
                .map(|(node, path, time)| Wait {
                    node: NodeId(node),
                    path: PortId(path),
                    time: Duration::from_micros(time.into()),
                })
                .collect(),
            certificate: certificate.map(CertificateMark),
            ..sample()
        }
    }
}

proptest! {
    // What is sent is what is heard, whatever the fields hold.
    #[test]
    fn advert_round_trip(advert in advert(), padding in 0..50usize) {
        let mut frame = frame_of(&advert);
        frame.resize(frame.len() + padding, 0);
        prop_assert_eq!(decode(&frame), Ok(advert));
    }

    // Garbage behind our own EtherType never panics and is never accepted.
    #[test]
    fn random_bytes_are_refused(payload in vec(any::<u8>(), 0..300)) {
        let mut frame = Vec::new();
        ethernet::header(&mut frame, GROUP_MAC, SOURCE, ethertype::STEADFAST);
        frame.extend_from_slice(&payload);
        prop_assert!(decode(&frame).is_err());
        prop_assert!(decode(&payload).is_err());
    }

    // Nonsense under a good tag (a broken peer) reaches every line of the decoder: it may be
    // refused or read, but what is read keeps the bounds, and nothing panics.
    #[test]
    fn mutated_authentic_frame_stays_in_bounds(
        advert in advert(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in 0..40usize,
        fix_length: bool,
    ) {
        let mut signed = signed_part(&frame_of(&advert));
        signed.truncate(signed.len() - cut.min(signed.len() - FIXED_LEN));
        for (at, byte) in changes {
            let at = at.index(signed.len());
            signed[at] = byte;
        }
        let frame = if fix_length { tagged(signed) } else { signed_as_is(&signed) };
        if let Ok(heard) = decode(&frame) {
            prop_assert!(heard.macs.len() <= PORTS_MAX && heard.echoes.len() <= NODES_MAX);
            prop_assert!(heard.echoes.iter().all(|echo| echo.heard.len() <= PORTS_MAX));
        }
    }
}
