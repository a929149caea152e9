//! Questions, answers and the neighbour cache.

use super::*;

const CLIENT: &str = "10.0.1.9";

fn known(kernel: &Kernel, now: Instant, port: PortId, address: &str) -> Option<MacAddr> {
    kernel
        .neighbour(now, port, ip(address))
        .and_then(NeighbourState::mac)
}

/// A client on the LAN that sends everything to the virtual address.
fn client() -> Kernel {
    let ports = vec![port(9, LAN, CLIENT, false)];
    Kernel::new(KernelConfig::host(ports, vec![ip("10.0.1.1")]))
}

fn send(kernel: &mut Kernel, now: Instant) -> Vec<Frame> {
    let mut out = Outbox::default();
    kernel.send_datagram(now, ip(CLIENT), ip("10.0.2.9"), b"probe", &mut out);
    out.frames.into_iter().map(|(_, frame)| frame).collect()
}

fn tick(kernel: &mut Kernel, now: Instant) -> Vec<Frame> {
    let mut out = Outbox::default();
    kernel.tick(now, &mut out);
    out.frames.into_iter().map(|(_, frame)| frame).collect()
}

/// Who is asked for the gateway by these frames.
fn asked(frames: &[Frame]) -> Vec<MacAddr> {
    let ask = |frame: &Frame| {
        let frame = ethernet::Frame::parse(frame).unwrap();
        let arp = Arp::parse(frame.payload)?;
        assert_eq!(
            (arp.operation, arp.target_ip),
            (Operation::Request, v4("10.0.1.1"))
        );
        assert_eq!(arp.sender_ip, v4(CLIENT));
        Some(frame.destination)
    };
    frames.iter().filter_map(ask).collect()
}

fn taught(owner: MacAddr) -> Kernel {
    let mut kernel = client();
    assert_eq!(asked(&send(&mut kernel, ms(0))), [MacAddr::BROADCAST]);
    let answer = reply("10.0.1.1", owner, &kernel, LAN);
    let out = receive(&mut kernel, ms(0), LAN, &answer);
    assert_eq!(out.frames.len(), 1, "the packet that waited leaves");
    kernel
}

/// kernel: weak host answers ARP for a local address on every port, with that port's MAC: a
/// staged address needs the fence, taking it off one port is not enough.
#[test]
fn kernel_weak_host_answers_arp_for_a_local_address_on_every_port() {
    let mut kernel = active_gateway();
    for port in [LAN, WAN, CABLE] {
        for target in ["10.0.0.2", "10.0.1.1", "10.0.1.2", "10.0.2.1", "10.0.2.2"] {
            let answer = ask(&mut kernel, ms(0), port, (target, "10.0.1.77"));
            assert_eq!(answer, Some(mac(1, port)), "{target} on {port}");
        }
        assert_eq!(ask(&mut kernel, ms(0), port, ("10.0.1.77", CLIENT)), None);
    }
}

/// kernel: a question from nobody (0.0.0.0) is answered and leaves no entry: a standby may probe
/// a thousand times a second without touching the active's cache.
#[test]
fn kernel_answers_nobody_and_remembers_nothing() {
    let mut kernel = gateway();
    for _ in 0..500 {
        let answer = ask(&mut kernel, ms(0), LAN, ("10.0.1.2", "0.0.0.0"));
        assert_eq!(answer, Some(mac(1, LAN)));
    }
    assert_eq!(kernel.neighbours().count(), 0);
}

/// kernel: a question in the name of one of its own addresses is not answered: a standby that
/// asked as the virtual address would take a living box for a dead one.
#[test]
fn kernel_is_silent_to_a_sender_that_is_its_own_address() {
    let mut kernel = active_gateway();
    for sender in ["10.0.1.1", "10.0.2.1", "10.0.1.2", "10.0.0.2"] {
        for target in ["10.0.1.1", "10.0.1.2"] {
            assert_eq!(ask(&mut kernel, ms(0), LAN, (target, sender)), None);
        }
    }
    assert_eq!(kernel.neighbours().count(), 0);
    kernel.remove_virtual(LAN, ip("10.0.1.1"));
    let answer = ask(&mut kernel, ms(0), LAN, ("10.0.1.2", "10.0.1.1"));
    assert_eq!(answer, Some(mac(1, LAN)), "it is foreign now");
}

/// kernel: a question makes a stale entry for its sender; later ones leave it as it is, and one
/// from another station replaces it at once.
#[test]
fn kernel_question_makes_a_stale_entry() {
    let mut kernel = gateway();
    for now in [ms(0), ms(100)] {
        ask(&mut kernel, now, LAN, ("10.0.1.2", "10.0.1.3"));
        let state = kernel.neighbour(now, LAN, ip("10.0.1.3"));
        assert_eq!(state, Some(NeighbourState::Stale { mac: PEER }));
    }
    let mut moved = request("10.0.1.2", "10.0.1.3");
    moved.sender_mac = OTHER;
    let own = mac(1, LAN);
    receive(&mut kernel, ms(200), LAN, &moved.frame(own, OTHER));
    assert_eq!(known(&kernel, ms(200), LAN, "10.0.1.3"), Some(OTHER));
}

/// kernel: an announcement changes the entry of a known neighbour at once, and makes none for an
/// unknown one: clients that hold the virtual address follow a takeover, others ask later.
#[test]
fn kernel_announcement_changes_entries_and_makes_none() {
    for operation in [Operation::Request, Operation::Reply] {
        let announcement = announcement(operation, "10.0.1.1", OTHER);
        let mut stranger = client();
        receive(&mut stranger, ms(1), LAN, &announcement);
        assert_eq!(stranger.neighbour(ms(1), LAN, ip("10.0.1.1")), None);

        let mut kernel = taught(PEER);
        receive(&mut kernel, ms(1), LAN, &announcement);
        assert_eq!(known(&kernel, ms(1), LAN, "10.0.1.1"), Some(OTHER));
        let frames = send(&mut kernel, ms(2));
        assert_eq!(frames[0][..6], OTHER.0, "traffic follows");
    }
}

/// kernel: an announcement of what is known already changes nothing: it neither confirms a stale
/// entry nor makes a confirmed one stale, nor puts off an ask that is due.
#[test]
fn kernel_announcement_of_the_known_station_changes_nothing() {
    let stale = ms(0).after(REACHABLE_TIME);
    for now in [ms(10), stale, stale.after(RETRANSMIT)] {
        let mut kernel = taught(PEER);
        if now > stale {
            send(&mut kernel, stale);
        }
        let before = kernel.neighbour(now, LAN, ip("10.0.1.1"));
        let same = announcement(Operation::Reply, "10.0.1.1", PEER);
        receive(&mut kernel, now, LAN, &same);
        assert_eq!(kernel.neighbour(now, LAN, ip("10.0.1.1")), before);
    }
}

/// kernel: an announcement of an address being asked for completes it and frees what waited.
#[test]
fn kernel_announcement_completes_an_open_question() {
    let mut kernel = client();
    send(&mut kernel, ms(0));
    let announcement = announcement(Operation::Request, "10.0.1.1", OTHER);
    let out = receive(&mut kernel, ms(10), LAN, &announcement);
    assert_eq!(out.frames.len(), 1);
    assert_eq!(out.frames[0].1[..6], OTHER.0);
}

/// kernel: of two stations that answer, the first is believed for the lock time: two owners do
/// not make a cache flap with each reply. Being confirmed does not lock the entry anew.
#[test]
fn kernel_first_reply_wins_for_the_lock_time() {
    let mut kernel = taught(PEER);
    let rival = reply("10.0.1.1", OTHER, &kernel, LAN);
    let edge = ms(0).after(LOCKTIME);
    receive(&mut kernel, edge, LAN, &rival);
    assert_eq!(known(&kernel, edge, LAN, "10.0.1.1"), Some(PEER));
    let confirmed = reply("10.0.1.1", PEER, &kernel, LAN);
    receive(&mut kernel, edge, LAN, &confirmed);
    let later = edge.after(Duration::from_nanos(1));
    receive(&mut kernel, later, LAN, &rival);
    assert_eq!(known(&kernel, later, LAN, "10.0.1.1"), Some(OTHER));
}

/// kernel: somebody else's announcement of our own address changes nothing and is not answered.
#[test]
fn kernel_ignores_a_conflict_about_its_own_address() {
    let mut kernel = active_gateway();
    for operation in [Operation::Request, Operation::Reply] {
        let thief = announcement(operation, "10.0.1.1", OTHER);
        let out = receive(&mut kernel, ms(0), LAN, &thief);
        assert!(out.frames.is_empty());
    }
    assert_eq!(kernel.neighbours().count(), 0);
}

/// kernel: an unanswered neighbour is asked three times, a second apart, while the last three
/// packets wait; then they are dropped. The next packet starts anew at once.
#[test]
fn kernel_gives_up_a_silent_neighbour_after_three_asks() {
    let mut kernel = client();
    assert_eq!(asked(&send(&mut kernel, ms(0))), [MacAddr::BROADCAST]);
    for _ in 0..WAITING_MAX {
        assert!(send(&mut kernel, ms(1)).is_empty());
    }
    assert_eq!(
        kernel.counters().unresolved_count,
        1,
        "the oldest made room"
    );
    for seconds in [1000, 2000] {
        assert_eq!(kernel.next_change(ms(2)), Some(ms(seconds)));
        assert!(tick(&mut kernel, ms(seconds - 1)).is_empty());
        assert_eq!(asked(&tick(&mut kernel, ms(seconds))), [MacAddr::BROADCAST]);
    }
    assert!(tick(&mut kernel, ms(3000)).is_empty());
    let state = kernel.neighbour(ms(3000), LAN, ip("10.0.1.1"));
    assert_eq!(state, Some(NeighbourState::Failed));
    assert_eq!(kernel.counters().unresolved_count, 4);
    assert_eq!(kernel.next_change(ms(3000)), None);
    assert_eq!(asked(&send(&mut kernel, ms(3001))), [MacAddr::BROADCAST]);
}

/// kernel: a stale neighbour is used for five seconds, then asked alone, three times, then given
/// up: how a client notices, late, a gateway whose takeover it was not told of.
#[test]
fn kernel_asks_a_stale_neighbour_again() {
    let mut kernel = taught(PEER);
    let stale = ms(0).after(REACHABLE_TIME);
    let state = kernel.neighbour(stale, LAN, ip("10.0.1.1"));
    assert_eq!(state, Some(NeighbourState::Stale { mac: PEER }));
    assert_eq!(kernel.next_change(stale), None, "not while it is not used");
    assert_eq!(send(&mut kernel, stale)[0][..6], PEER.0);
    let mut now = stale.after(DELAY);
    for _ in 0..ASKS_MAX {
        assert_eq!(kernel.next_change(stale), Some(now));
        assert_eq!(asked(&tick(&mut kernel, now)), [PEER]);
        assert_eq!(send(&mut kernel, now)[0][..6], PEER.0, "used meanwhile");
        now = now.after(RETRANSMIT);
    }
    let mut revived = kernel.clone();
    let answer = reply("10.0.1.1", PEER, &revived, LAN);
    receive(&mut revived, now, LAN, &answer);
    assert_eq!(revived.next_change(now), None);
    tick(&mut kernel, now);
    assert_eq!(asked(&send(&mut kernel, now)), [MacAddr::BROADCAST]);
}

/// kernel: losing carrier deletes a port's neighbours; a packet sent into the dark makes an entry
/// that waits up to a second after the return, unless dead neighbours are forgotten.
#[test]
fn kernel_return_of_carrier_needs_dead_neighbours_forgotten() {
    let mut kernel = taught(PEER);
    kernel.set_carrier(LAN, false);
    assert_eq!(kernel.neighbours().count(), 0);
    assert!(send(&mut kernel, ms(100)).is_empty(), "the ask is lost");
    kernel.set_carrier(LAN, true);
    assert!(send(&mut kernel, ms(200)).is_empty(), "still waits");
    assert_eq!(kernel.next_change(ms(200)), Some(ms(1100)));
    kernel.forget_dead_neighbours();
    assert_eq!(asked(&send(&mut kernel, ms(201))), [MacAddr::BROADCAST]);

    let mut kept = taught(PEER);
    kept.forget_dead_neighbours();
    assert_eq!(known(&kept, ms(1), LAN, "10.0.1.1"), Some(PEER));
}

/// kernel: with `ignore_routes_with_linkdown` no packet waits for a dark port.
#[test]
fn kernel_ignoring_linkdown_routes_leaves_no_entry() {
    let ports = vec![port(9, LAN, CLIENT, false)];
    let mut config = KernelConfig::host(ports, vec![ip("10.0.1.1")]);
    config.ignores_linkdown_routes = true;
    let mut kernel = Kernel::new(config);
    kernel.set_carrier(LAN, false);
    send(&mut kernel, ms(0));
    assert_eq!(kernel.neighbours().count(), 0);
    assert_eq!(kernel.counters().unroutable_count, 1);
}

/// kernel: asks in the name of the waiting packet's source if that is its own address, virtual or
/// not: without the fence, a gateway's own questions would teach its address to the segment.
#[test]
fn kernel_asks_in_the_name_of_the_waiting_packet() {
    for (from, named) in [("10.0.1.1", "10.0.1.1"), ("10.0.2.2", "10.0.2.2")] {
        let mut kernel = active_gateway();
        let mut out = Outbox::default();
        kernel.send_datagram(ms(0), ip(from), ip(CLIENT), b"hello", &mut out);
        let frame = ethernet::Frame::parse(&out.frames[0].1).unwrap();
        assert_eq!(Arp::parse(frame.payload).unwrap().sender_ip, v4(named));
    }
    let mut fenced = gateway();
    let mut out = Outbox::default();
    fenced.send_datagram(ms(0), ip("10.0.1.1"), ip(CLIENT), b"hello", &mut out);
    assert!(out.frames.is_empty(), "the fence drops that question");
    let mut routed = active_gateway();
    let transit = datagram(mac(1, WAN), "10.0.2.9", CLIENT);
    let out = receive(&mut routed, ms(0), WAN, &transit);
    let frame = ethernet::Frame::parse(&out.frames[0].1).unwrap();
    assert_eq!(Arp::parse(frame.payload).unwrap().sender_ip, v4("10.0.1.2"));
}

/// kernel: the longest prefix chooses the port, and a question is asked in the name of the address
/// nearest to the one asked for.
#[test]
fn kernel_longest_prefix_chooses_port_and_name() {
    let mut wide = port(1, LAN, "10.1.0.1", false);
    wide.addresses = vec![(ip("10.1.0.1"), 16), (ip("10.9.0.1"), 24)];
    let narrow = port(1, WAN, "10.1.2.1", false);
    let mut kernel = Kernel::new(KernelConfig {
        forwards: true,
        ..KernelConfig::host(vec![wide, narrow], Vec::new())
    });
    for (to, at, named) in [
        ("10.1.2.9", WAN, "10.1.2.1"),
        ("10.1.3.9", LAN, "10.1.0.1"),
        ("10.9.0.9", LAN, "10.9.0.1"),
    ] {
        let transit = datagram(mac(1, LAN), "10.1.3.7", to);
        let (out_of, frame) = receive(&mut kernel, ms(0), LAN, &transit)
            .frames
            .pop()
            .unwrap();
        let frame = ethernet::Frame::parse(&frame).unwrap();
        let asked = Arp::parse(frame.payload).unwrap();
        assert_eq!(
            (out_of, asked.sender_ip, asked.target_ip),
            (at, v4(named), v4(to))
        );
    }
}

/// kernel: a full neighbour table answers nobody it does not know, except who asks from 0.0.0.0,
/// and keeps no packets for strangers.
#[test]
fn kernel_full_neighbour_table_silences_answers() {
    let mut kernel = gateway();
    for n in 0..NEIGHBOURS_MAX {
        let sender = format!("10.9.{}.{}", n / 256, n % 256);
        let answer = ask(&mut kernel, ms(0), LAN, ("10.0.1.2", &sender));
        assert_eq!(answer, Some(mac(1, LAN)));
    }
    assert_eq!(ask(&mut kernel, ms(0), LAN, ("10.0.1.2", CLIENT)), None);
    assert!(ask(&mut kernel, ms(0), LAN, ("10.0.1.2", "10.9.0.0")).is_some());
    assert!(ask(&mut kernel, ms(0), LAN, ("10.0.1.2", "0.0.0.0")).is_some());
    let mut out = Outbox::default();
    kernel.send_datagram(ms(0), ip("10.0.1.2"), ip(CLIENT), b"hello", &mut out);
    assert_eq!(kernel.counters().neighbours_full_count, 1);
}

/// kernel: does not hear frames for other stations, nor anything without carrier.
#[test]
fn kernel_hears_its_own_frames_and_groups_alone() {
    let mut kernel = gateway();
    let asked = request("10.0.1.2", "0.0.0.0");
    for (destination, heard) in [(OTHER, 0), (MacAddr::BROADCAST, 1), (mac(1, LAN), 1)] {
        let out = receive(&mut kernel, ms(0), LAN, &asked.frame(destination, PEER));
        assert_eq!(out.frames.len(), heard, "{destination}");
    }
    kernel.set_carrier(LAN, false);
    let out = receive(&mut kernel, ms(0), LAN, &asked.frame(mac(1, LAN), PEER));
    assert!(out.frames.is_empty() && out.captured.is_empty());
}
