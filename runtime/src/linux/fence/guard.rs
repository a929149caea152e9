//! Which advertisements may leave a port: "active" and "offering" need the lease (D9).
//!
//! An active one refreshes lease and tail as it leaves, only while the lease is there; so the right
//! of a daemon that says nothing ends by itself, and who says it too late is told at that send. In
//! a datagram the same mark stands behind the headers of IPv4 and UDP.
//!
//! Limit: frames are judged as written on the way out of an Ethernet port (`netdev` egress).

use super::FenceSpec;
use super::nftables::{Base, Hook, Meta, Word};
use super::rules::{
    Chain, IPV4, LIVE, Rule, TAIL, millis, of_type, pass, refuse, rule, tail_after_refresh,
};

const STEADFAST: [u8; 2] = [0x88, 0xb5];
/// Five words, network control (`steadfast_core::wire::carriage`).
const DATAGRAM_BEGINS: [u8; 2] = [0x45, 0xc0];
const DATAGRAM_LEN: u32 = 28;
const HOPS: u8 = 255;
const UDP: u8 = 17;
const MARK_AT: u32 = 15;
const MARK_ACTIVE: u8 = 2;
const MARK_OFFERING: u8 = 3;

/// The chain of a port that is not served.
pub(super) fn guard(spec: &FenceSpec, device: &str) -> Chain {
    let mut rules = datagrams_guarded(spec, device);
    rules.push(rule(device, "other frame", &[others(), pass()]));
    rules.extend(guarded(spec, device, ("", &[]), MARK_AT));
    Chain {
        name: format!("{device}_guard"),
        device: device.to_owned(),
        hook: Hook::Egress,
        priority: -510,
        rules,
    }
}

/// The same rules as part of a served port's fence, `live` being what asks for the lease there.
/// Other frames under the lease come first: those are what a gateway forwards.
pub(super) fn within_fence(spec: &FenceSpec, device: &str, live: &[Word]) -> Vec<Rule> {
    let mut rules = datagrams_guarded(spec, device);
    rules.push(rule(device, "lease", &[others(), live.to_vec(), pass()]));
    rules.extend(guarded(spec, device, ("", &of_type(STEADFAST)), MARK_AT));
    rules.push(rule(device, "lease, own frame", &[live.to_vec(), pass()]));
    rules
}

/// What is no frame of ours.
fn others() -> Vec<Word> {
    vec![
        Word::Payload(Base::Link, 12, 2),
        Word::IsNot(STEADFAST.to_vec()),
    ]
}

fn datagrams_guarded(spec: &FenceSpec, device: &str) -> Vec<Rule> {
    let Some(port) = spec.datagrams else {
        return Vec::new();
    };
    let looks = datagrams(port);
    let mark_at = MARK_AT + DATAGRAM_LEN;
    guarded(spec, device, ("datagram, ", &looks), mark_at).to_vec()
}

/// What an advertisement in a datagram looks like. Its hop limit is 255, which what is passed on
/// here has not; and it was sent by this user from this network namespace, which whatever was
/// bridged, redirected or made by another user was not.
fn datagrams(port: u16) -> Vec<Word> {
    let port = port.to_be_bytes();
    let user = rustix::process::geteuid().as_raw();
    vec![
        Word::Meta(Meta::SocketUser),
        Word::Is(user.to_ne_bytes().to_vec()),
        Word::Payload(Base::Link, 12, 4),
        Word::Is([IPV4, DATAGRAM_BEGINS].concat()),
        Word::Payload(Base::Link, 22, 2),
        Word::Is(vec![HOPS, UDP]),
        Word::Payload(Base::Link, 34, 4),
        Word::Is([port, port].concat()),
    ]
}

/// Which advertisements pass, of those that look so and have their mark there.
fn guarded(
    spec: &FenceSpec,
    device: &str,
    (kind, looks): (&str, &[Word]),
    mark_at: u32,
) -> [Rule; 4] {
    let mark = |mark: u8| {
        let load = Word::Payload(Base::Link, mark_at, 1);
        [looks, &[load, Word::Is(vec![mark])]].concat()
    };
    let live = || vec![Word::Meta(Meta::OutType), Word::IsIn(LIVE)];
    let refresh = vec![
        Word::Update(LIVE, millis(spec.lease)),
        Word::Update(TAIL, tail_after_refresh(spec)),
    ];
    let named = |name: &str| format!("{kind}{name}");
    [
        rule(
            device,
            &named("active, refresh"),
            &[mark(MARK_ACTIVE), live(), refresh, pass()],
        ),
        rule(
            device,
            &named("active without lease"),
            &[mark(MARK_ACTIVE), refuse()],
        ),
        rule(
            device,
            &named("offering"),
            &[mark(MARK_OFFERING), live(), pass()],
        ),
        rule(
            device,
            &named("offering without lease"),
            &[mark(MARK_OFFERING), refuse()],
        ),
    ]
}
