//! Wires that lose, delay, double and narrow frames.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant as Clock};

use steadfast_netlab::ground::Wiring;
use steadfast_netlab::lab::Lab;
use steadfast_scenarios::Subject;
use steadfast_scenarios::format::{Bandwidth, Share, Span, Verb, Way};
use steadfast_scenarios::trace::FrameKind;

use crate::stand::{A, ZERO, booted, carrier, heard, pair, wired};
use crate::{A_LAN, NONE};

/// Half of the frames are lost, within what chance allows (ten standard deviations), and on plain
/// wires delays are refused rather than approximated.
pub(crate) fn chance() {
    let mut lab = booted("exec sleep 1000");
    let (client, gateway) = pair(&lab);
    assert_eq!(heard(&client, &gateway, 1), [0]);
    lab.carry_out(A_LAN, &impair(500_000, 0, 0), ZERO).unwrap();
    let arrived = heard(&client, &gateway, 400).len();
    assert!((100..=300).contains(&arrived), "{arrived} of 400");
    let refused = lab.carry_out(A_LAN, &impair(0, 5, 0), ZERO).unwrap_err();
    assert!(refused.to_string().ends_with("relayed wires"), "{refused}");
}

/// Frames to the gateway suffer.
fn impair(loss: u32, delay: u64, duplicate: u32) -> Verb {
    Verb::Impair {
        loss: Share(loss),
        delay: Span::millis(delay),
        jitter: Span::default(),
        duplicate: Share(duplicate),
        reorder: Share(0),
        rate: None,
        way: Way::To,
    }
}

/// So many bits a second and no more reach the gateway.
fn narrow(bits: u64) -> Verb {
    let mut verb = impair(0, 0, 0);
    if let Verb::Impair { rate, .. } = &mut verb {
        *rate = Some(Bandwidth(bits));
    }
    verb
}

/// Relayed wires carry every frame once and in order; told to be slow, they are so one way alone;
/// told to double, they do; healed, they are as before. Cuts and carriers work as on plain ones.
pub(crate) fn relayed() {
    let mut lab = wired(Wiring::relayed(7), "exec sleep 1000");
    let (client, gateway) = pair(&lab);
    assert_eq!(heard(&client, &gateway, 5), [0, 1, 2, 3, 4]);
    lab.carry_out(A_LAN, &impair(0, 40, 0), ZERO).unwrap();
    let slow = Duration::from_millis(40);
    let took = |from: &UdpSocket, to: &UdpSocket| {
        let start = Clock::now();
        assert_eq!(heard(from, to, 1), [0]);
        start.elapsed()
    };
    assert!(took(&client, &gateway) >= slow, "slow to the gateway");
    // One of a few is quick enough, however busy the machine.
    let mut back = (0..9).map(|_| took(&gateway, &client));
    assert!(back.any(|took| took < slow), "slow from the gateway, too");
    lab.carry_out(A_LAN, &impair(0, 0, 1_000_000), ZERO)
        .unwrap();
    assert_eq!(heard(&client, &gateway, 4), [0, 0, 1, 1]);
    assert_eq!(heard(&client, &gateway, 0), NONE);
    let mut rest = [0; 2];
    while gateway.recv(&mut rest).is_ok() {}
    // Two bytes with their headers, and what stands around a frame: 68 bytes, each 10 ms.
    lab.carry_out(A_LAN, &narrow(68 * 8 * 100), ZERO).unwrap();
    let start = Clock::now();
    assert_eq!(heard(&client, &gateway, 5), [0, 1, 2, 3, 4]);
    let least = Duration::from_millis(5 * 10);
    assert!(start.elapsed() >= least, "narrow to the gateway");
    lab.carry_out(A_LAN, &impair(0, 0, 0), ZERO).unwrap();
    assert_eq!(heard(&client, &gateway, 2), [0, 1]);
    lab.carry_out(A_LAN, &Verb::Silence { way: Way::Both }, ZERO)
        .unwrap();
    assert_eq!(heard(&client, &gateway, 2), NONE);
    lab.carry_out(A_LAN, &Verb::LinkDown, ZERO).unwrap();
    assert!(!carrier(&mut lab, A, "lan") && carrier(&mut lab, A, "wan"));
}

/// The first frame that a snare waits for is lost with all that follows, on every wire of its box
/// and in both directions; of a daemon's process only our own frames are. When the step was
/// carried out and its time is over, nothing of it is left.
pub(crate) fn snared() {
    let mut lab = booted("exec sleep 1000");
    let (client, gateway) = pair(&lab);
    assert_eq!(heard(&client, &gateway, 1), [0]);
    assert_eq!(heard(&gateway, &client, 1), [0], "each knows the other");
    // A question for an address that nobody has is the frame, another one each time; what follows
    // is of another kind.
    let kind = FrameKind::Arp;
    let ask = |last: u8| {
        let mut nobody = client.local_addr().unwrap();
        if let IpAddr::V4(ip) = nobody.ip() {
            let [a, b, c, _] = ip.octets();
            nobody.set_ip(Ipv4Addr::new(a, b, c, last).into());
        }
        gateway.send_to(b"x", nobody).unwrap();
    };
    let victim = Subject::Gateway(A);
    let off = Verb::PowerOff;
    let over = |lab: &mut Lab| {
        let over = lab.next_deadline().unwrap();
        lab.settle(over).unwrap();
    };
    assert!(
        !lab.lay(0, victim, &Verb::Start, kind).unwrap(),
        "it strikes nobody"
    );
    assert!(lab.lay(1, victim, &off, kind).unwrap());
    assert_eq!(heard(&client, &gateway, 2), [0, 1], "not sprung");
    assert!(!lab.struck(1, ZERO).unwrap(), "no frame sprang it");
    over(&mut lab);

    assert!(lab.lay(2, victim, &off, kind).unwrap());
    ask(77);
    assert_eq!(heard(&client, &gateway, 2), NONE, "what follows");
    assert_eq!(heard(&gateway, &client, 2), NONE, "in both directions");
    assert!(carrier(&mut lab, A, "lan"), "a snare is no loss of carrier");
    assert!(lab.struck(2, ZERO).unwrap());
    over(&mut lab);
    assert_eq!(heard(&client, &gateway, 2), [0, 1]);

    assert!(lab.lay(3, victim, &Verb::Kill, kind).unwrap());
    ask(78);
    assert_eq!(heard(&gateway, &client, 2), [0, 1], "not our frames");
    assert!(lab.struck(3, ZERO).unwrap());
    over(&mut lab);

    assert!(lab.lay(4, victim, &off, kind).unwrap());
    ask(79);
    assert_eq!(heard(&client, &gateway, 1), NONE);
    assert!(
        lab.sprung_in_vain().unwrap(),
        "a box is cut, and nobody was told"
    );
}
