//! Every fault of wires, switches, power and processes does to real kernels what its verb says.

#![expect(
    clippy::unwrap_used,
    reason = "a test without a harness is still a test"
)]

mod common;
#[path = "common/impaired.rs"]
mod impaired;
#[path = "common/stand.rs"]
mod stand;

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::net::{TcpListener, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, Instant as Clock};

use steadfast_core::PortId;
use steadfast_netlab::ground::{Ground, Wiring};
use steadfast_netlab::lab::{BOOT_TIME, DARK, Lab, Told};
use steadfast_netlab::machine::DaemonEvent;
use steadfast_scenarios::format::{Preset, Span, Verb, Way};
use steadfast_scenarios::{SegmentId, Subject};

use impaired::{chance, relayed, snared};
use stand::{
    A, B, PATIENCE, SILENCE, ZERO, booted, carrier, heard, layout, pair, prepared, wait_daemon,
    wait_for,
};

const LAN: PortId = PortId(0);
const WAN: PortId = PortId(1);
const HA: PortId = PortId(2);
/// Where a stream is waited for that a power loss ends.
const STREAM_PORT: u16 = 30_555;
/// Nothing was heard.
const NONE: [u16; 0] = [];
/// The subject of faults on the active's port.
const A_LAN: Subject = Subject::Port(A, LAN);

/// Tells each life: boot id and uptime; ends with a signal to its whole process group.
const DIARY: &str = "trap 'trap \"\" TERM; kill 0; exit 7' TERM; \
                     cat /proc/sys/kernel/random/boot_id /proc/uptime >> /run/state/diary; \
                     while :; do sleep 1000 & wait; done";
/// Counts as fast as it can.
const COUNTER: &str = "i=0; while :; do i=$((i+1)); echo $i > /run/steadfast/count.new; \
                       mv /run/steadfast/count.new /run/steadfast/count; done";

fn main() -> ExitCode {
    common::main(
        &[],
        &[
            ("ground_is_built_quickly_and_its_machines_meet", meet),
            ("ground_both_ends_of_a_wire_have_one_index", indexes),
            ("wires_port_loses_carrier_and_cable_loses_both", carriers),
            ("wires_silence_is_one_way_and_keeps_carrier", silence),
            ("wires_drop_exactly_the_first_frames", exactly),
            ("wires_loss_is_by_chance", chance),
            ("wires_relayed_are_as_slow_as_told", relayed),
            ("wires_snare_strikes_with_the_frame", snared),
            ("wires_split_switch_heals", split),
            ("wires_forward_delay_holds_a_port_back", delay),
            ("wires_mac_filter_knows_its_ports", mac_filter),
            ("wires_flap_ends_with_carrier", flap),
            ("machine_reboot_keeps_state_and_changes_identity", reboot),
            ("machine_rebooting_finds_faults_as_they_were", meanwhile),
            ("machine_orderly_reboot_waits_for_the_daemon", orderly),
            ("machine_power_loss_is_dark_before_death", power_loss),
            ("machine_frozen_box_stands_still_with_carrier", freeze),
            ("machine_daemon_ends_in_order_and_is_told", quit),
            ("machine_starved_daemon_takes_turns", starve),
            ("machine_endless_output_is_bounded", bounded),
        ],
    )
}

/// A pair with a cable stands in well under a second even on a busy machine (the usual figure is
/// printed), and a client reaches a gateway over the switch.
fn meet() {
    let start = Clock::now();
    let ground = Ground::build(&layout(Preset::Pair), Wiring::PLAIN).unwrap();
    println!("built in {:?}", start.elapsed());
    assert!(start.elapsed() < PATIENCE);
    drop(ground);
    let lab = booted("exec sleep 1000");
    let (client, gateway) = pair(&lab);
    assert_eq!(heard(&client, &gateway, 5), [0, 1, 2, 3, 4]);
    assert_eq!(heard(&gateway, &client, 5), [0, 1, 2, 3, 4]);
}

/// With one index at both ends the kernel delays a lost carrier's event as it does on a physical
/// port; with two it never does.
fn indexes() {
    for prompt in [false, true] {
        let relayed = None;
        let wiring = Wiring { relayed, prompt };
        let ground = Ground::build(&layout(Preset::PairTwoCables), wiring).unwrap();
        for plug in ground.plugs() {
            let here = ground.switch().run(|| rustix_index(&plug.name)).unwrap();
            assert_eq!(here, plug.index, "{}", plug.name);
        }
        let there = ground.gateway(B).unwrap().run(|| rustix_index("ha2"));
        let plug = ground.plugs().iter().find(|plug| plug.name == "ha2-b");
        assert_eq!(there.unwrap() != plug.unwrap().index, prompt);
    }
}

fn rustix_index(name: &str) -> u32 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    rustix::net::netdevice::name_to_index(&socket, name).unwrap()
}

/// A port that loses carrier is told, its neighbours on the switch are not; a cable tells both.
fn carriers() {
    let mut lab = booted("exec sleep 1000");
    let _ = lab.poll_told();
    lab.carry_out(A_LAN, &Verb::LinkDown, ZERO).unwrap();
    assert!(!carrier(&mut lab, A, "lan"));
    assert!(carrier(&mut lab, A, "wan") && carrier(&mut lab, B, "lan"));
    lab.carry_out(A_LAN, &Verb::LinkUp, ZERO).unwrap();
    assert!(carrier(&mut lab, A, "lan"));
    let cable = Subject::Segment(SegmentId(2));
    lab.carry_out(cable, &Verb::CablePull, ZERO).unwrap();
    assert!(!carrier(&mut lab, A, "ha") && !carrier(&mut lab, B, "ha"));
    lab.carry_out(Subject::Port(B, HA), &Verb::LinkDown, ZERO)
        .unwrap();
    lab.carry_out(cable, &Verb::CablePlug, ZERO).unwrap();
    assert!(!carrier(&mut lab, A, "ha"), "the other end is still down");
    lab.carry_out(Subject::Port(B, HA), &Verb::LinkUp, ZERO)
        .unwrap();
    assert!(carrier(&mut lab, A, "ha") && carrier(&mut lab, B, "ha"));
    let wan = Subject::Segment(SegmentId(1));
    lab.carry_out(wan, &Verb::SwitchOff, ZERO).unwrap();
    assert!(!carrier(&mut lab, A, "wan") && !carrier(&mut lab, B, "wan"));
    lab.carry_out(wan, &Verb::SwitchOn, ZERO).unwrap();
    assert!(carrier(&mut lab, A, "wan") && carrier(&mut lab, B, "wan"));
    let told = lab.poll_told();
    let carriers = told.iter().filter(|told| matches!(told, Told::Carrier(_)));
    assert_eq!(carriers.count(), 2 + 4 + 4, "{told:?}");
}

/// What a silenced port does not send still finds its way in, and nobody's carrier tells.
fn silence() {
    let mut lab = booted("exec sleep 1000");
    let (client, gateway) = pair(&lab);
    assert_eq!(heard(&client, &gateway, 3), [0, 1, 2]);
    lab.carry_out(A_LAN, &Verb::Silence { way: Way::From }, ZERO)
        .unwrap();
    assert_eq!(heard(&gateway, &client, 3), NONE);
    assert_eq!(heard(&client, &gateway, 3), [0, 1, 2]);
    lab.carry_out(A_LAN, &Verb::Unsilence, ZERO).unwrap();
    lab.carry_out(A_LAN, &Verb::Silence { way: Way::To }, ZERO)
        .unwrap();
    assert_eq!(heard(&client, &gateway, 3), NONE);
    assert_eq!(heard(&gateway, &client, 3), [0, 1, 2]);
    assert!(carrier(&mut lab, A, "lan"));
    lab.carry_out(A_LAN, &Verb::Unsilence, ZERO).unwrap();
    assert_eq!(heard(&client, &gateway, 3), [0, 1, 2]);
}

/// "The first three" are three, not about three; another fault in between does not start the count
/// anew; and when its time is over the filter is gone.
fn exactly() {
    let mut lab = booted("exec sleep 1000");
    let (client, gateway) = pair(&lab);
    assert_eq!(heard(&client, &gateway, 1), [0]);
    let drop = |count, lasting| Verb::DropFrames {
        kind: None,
        ethertype: Some(0x0800),
        sender: None,
        count,
        lasting,
        way: Way::To,
    };
    lab.carry_out(A_LAN, &drop(Some(3), None), ZERO).unwrap();
    assert_eq!(heard(&client, &gateway, 2), NONE);
    let elsewhere = Subject::Port(B, WAN);
    lab.carry_out(elsewhere, &Verb::Silence { way: Way::Both }, ZERO)
        .unwrap();
    assert_eq!(heard(&client, &gateway, 5), [1, 2, 3, 4]);
    let second = Some(Span::millis(1000));
    lab.carry_out(A_LAN, &drop(None, second), ZERO).unwrap();
    assert_eq!(heard(&client, &gateway, 5), NONE);
    let over = ZERO.after(Duration::from_secs(1));
    assert_eq!(lab.next_deadline(), Some(over));
    lab.settle(over).unwrap();
    assert_eq!(heard(&client, &gateway, 2), [0, 1]);
}

/// The parts of a split switch do not hear each other while every carrier stays.
fn split() {
    let mut lab = booted("exec sleep 1000");
    let (client, gateway) = pair(&lab);
    assert_eq!(heard(&client, &gateway, 2), [0, 1]);
    let lan = Subject::Segment(SegmentId(0));
    let apart = Verb::SegmentSplit {
        apart: vec!["a".to_owned()],
    };
    lab.carry_out(lan, &apart, ZERO).unwrap();
    assert_eq!(heard(&client, &gateway, 2), NONE);
    assert!(carrier(&mut lab, A, "lan"));
    lab.carry_out(lan, &Verb::SegmentHeal, ZERO).unwrap();
    assert_eq!(heard(&client, &gateway, 2), [0, 1]);
    lab.carry_out(lan, &apart, ZERO).unwrap();
    assert_eq!(heard(&client, &gateway, 2), NONE, "split again");
}

/// Behind a forward delay a port has carrier long before it has a switch.
fn delay() {
    let mut lab = booted("exec sleep 1000");
    let (client, gateway) = pair(&lab);
    assert_eq!(heard(&client, &gateway, 1), [0]);
    let lan = Subject::Segment(SegmentId(0));
    let delay = Verb::StpDelay {
        delay: Span::millis(500),
    };
    lab.carry_out(lan, &delay, ZERO).unwrap();
    assert_eq!(
        heard(&client, &gateway, 1),
        [0],
        "ports that are up stay so"
    );
    lab.carry_out(A_LAN, &Verb::LinkDown, ZERO).unwrap();
    lab.carry_out(A_LAN, &Verb::LinkUp, ZERO).unwrap();
    assert!(carrier(&mut lab, A, "lan"));
    assert_eq!(heard(&client, &gateway, 2), NONE);
    lab.settle(lab.next_deadline().unwrap()).unwrap();
    assert_eq!(heard(&client, &gateway, 2), [0, 1]);
}

/// A filter of MACs lets the machines pass whose ports it knows.
fn mac_filter() {
    let mut lab = booted("exec sleep 1000");
    let lan = Subject::Segment(SegmentId(0));
    let filter = Verb::MacFilter { enabled: true };
    lab.carry_out(lan, &filter, ZERO).unwrap();
    let (client, gateway) = pair(&lab);
    assert_eq!(heard(&client, &gateway, 2), [0, 1]);
    assert_eq!(heard(&gateway, &client, 2), [0, 1]);
}

/// A port that flaps twice goes down and up twice, and stays up.
fn flap() {
    let mut lab = booted("exec sleep 1000");
    let _ = lab.poll_told();
    let flap = Verb::Flap {
        count: 2,
        down: Span::millis(10),
        up: Span::millis(30),
    };
    lab.carry_out(A_LAN, &flap, ZERO).unwrap();
    let mut seen = Vec::new();
    let mut now = ZERO;
    loop {
        for told in lab.poll_told() {
            if let Told::Carrier(change) = told {
                assert_eq!(carrier(&mut lab, A, "lan"), change.up);
                seen.push((now.since(ZERO).as_millis(), change.up));
            }
        }
        let Some(next) = lab.next_deadline() else {
            break;
        };
        now = next;
        lab.settle(now).unwrap();
    }
    assert_eq!(seen, [(0, false), (10, true), (40, false), (50, true)]);
}

/// A reboot is another boot id and a clock since boot that starts anew, on the same disk.
fn reboot() {
    let mut lab = booted(DIARY);
    let diary = lab.machine(A).unwrap().place().join("state/diary");
    let lines = |count: usize| {
        wait_for(
            || {
                let text = fs::read_to_string(&diary).unwrap_or_default();
                let lines: Vec<String> = text.lines().map(str::to_owned).collect();
                (text.ends_with('\n') && lines.len() >= count).then_some(lines)
            },
            "the diary",
        )
    };
    let first = lines(2);
    let reboot = Verb::Reboot { clean: false };
    lab.carry_out(Subject::Gateway(A), &reboot, ZERO).unwrap();
    assert!(!lab.machine(A).unwrap().powered());
    lab.settle(ZERO.after(DARK)).unwrap();
    lab.settle(ZERO.after(DARK + BOOT_TIME)).unwrap();
    let second = lines(4);
    assert_eq!(second[..2], first, "the disk is the same");
    assert_ne!(second[2], second[0], "another boot");
    for uptime in [&second[1], &second[3]] {
        let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        assert!(uptime < PATIENCE.as_secs_f64(), "an uptime of {uptime} s");
    }
    let (client, gateway) = pair(&lab);
    assert_eq!(heard(&client, &gateway, 2), [0, 1], "its ports work again");
}

/// A box that boots gets new wires. A switch that was split is split for them, too; what strikes
/// while they are laid strikes the new ones; and a fault that hangs on a wire outlives the boot.
fn meanwhile() {
    let mut lab = booted("exec sleep 1000");
    let lan = Subject::Segment(SegmentId(0));
    let off = |lab: &mut Lab| {
        let box_a = Subject::Gateway(A);
        lab.carry_out(box_a, &Verb::PowerOff, ZERO).unwrap();
        lab.power_on(A, ZERO).unwrap();
    };
    let wires = |told: &[Told]| told.iter().filter(|it| **it == Told::Laid(A)).count();
    let apart = Verb::SegmentSplit {
        apart: vec!["a".to_owned()],
    };
    // From here on the client need not ask where it is.
    let (client, gateway) = pair(&lab);
    assert_eq!(heard(&client, &gateway, 1), [0]);
    lab.carry_out(lan, &apart, ZERO).unwrap();
    off(&mut lab);
    lab.settle(ZERO.after(BOOT_TIME)).unwrap();
    assert_eq!(wires(&lab.poll_told()), 1);
    let (client, gateway) = pair(&lab);
    assert_eq!(heard(&client, &gateway, 2), NONE, "still split");
    lab.carry_out(lan, &Verb::SegmentHeal, ZERO).unwrap();
    assert_eq!(heard(&client, &gateway, 2), [0, 1]);
    off(&mut lab);
    let silence = Verb::Silence { way: Way::From };
    lab.carry_out(A_LAN, &silence, ZERO).unwrap();
    lab.settle(ZERO.after(BOOT_TIME)).unwrap();
    assert_eq!(wires(&lab.poll_told()), 1, "told once");
    let (client, gateway) = pair(&lab);
    assert_eq!(heard(&gateway, &client, 2), NONE);
    assert_eq!(heard(&client, &gateway, 2), [0, 1]);
    off(&mut lab);
    lab.settle(ZERO.after(BOOT_TIME)).unwrap();
    assert_eq!(wires(&lab.poll_told()), 0, "the silent wire is the same");
    let (client, gateway) = pair(&lab);
    assert_eq!(heard(&gateway, &client, 2), NONE, "still silent");
    assert_eq!(heard(&client, &gateway, 2), [0, 1]);
}

/// An orderly reboot lets the daemon end first; one that does not end does not hold it up for ever.
fn orderly() {
    let mut lab = booted(DIARY);
    let diary = lab.machine(A).unwrap().place().join("state/diary");
    wait_for(|| fs::exists(&diary).unwrap().then_some(()), "the diary");
    let _ = lab.poll_told();
    let reboot = Verb::Reboot { clean: true };
    lab.carry_out(Subject::Gateway(A), &reboot, ZERO).unwrap();
    let mut told = Vec::new();
    wait_for(
        || {
            lab.settle(ZERO).unwrap();
            told.extend(lab.poll_told());
            told.contains(&Told::PowerOff(A)).then_some(())
        },
        "the reboot",
    );
    let ended = |it: &Told| matches!(it, Told::Daemon(A, DaemonEvent::Ended(7), _));
    let ended = told.iter().position(ended);
    let off = told.iter().position(|it| *it == Told::PowerOff(A));
    assert!(ended.is_some() && ended < off, "{told:?}");
    lab.settle(ZERO.after(DARK + BOOT_TIME)).unwrap();
}

/// No process of a gateway says a word after its power failed.
fn power_loss() {
    let host = layout(Preset::Pair).hosts[0].addresses[0];
    let script = format!("exec bash -c 'exec 3<>/dev/tcp/{host}/{STREAM_PORT}; sleep 1000'");
    let mut listener = None;
    let mut lab = prepared(Wiring::PLAIN, &script, |lab| {
        let id = lab.ground().layout().hosts[0].id;
        let listen = || TcpListener::bind((host, STREAM_PORT)).unwrap();
        listener = Some(lab.ground().host(id).unwrap().run(listen).unwrap());
    });
    let unit = lab.ground().layout().gateways[0].ports[0].units[0];
    let listener = listener.unwrap();
    let mut stream = loop {
        let (stream, from) = listener.accept().unwrap();
        if from.ip() == unit {
            break stream;
        }
    };
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    let (client, gateway) = pair(&lab);
    assert_eq!(heard(&client, &gateway, 2), [0, 1]);
    let pid = lab.machine(A).unwrap().pid().unwrap();
    let start = Clock::now();
    lab.carry_out(Subject::Gateway(A), &Verb::PowerOff, ZERO)
        .unwrap();
    println!("power off in {:?}", start.elapsed());
    let place = format!("/proc/{}", pid.as_raw_nonzero());
    let buried = || (!fs::exists(&place).unwrap()).then_some(());
    wait_for(buried, "the burial of its first process");
    let end = stream.read(&mut [0]).expect_err("no goodbye");
    assert_eq!(end.kind(), ErrorKind::WouldBlock, "no reset either");
    assert_eq!(
        heard(&gateway, &client, 2),
        NONE,
        "its kernel is cut off as well"
    );
    let told = lab.poll_told();
    let at = |wanted: Told| told.iter().position(|told| *told == wanted);
    let last_carrier = told
        .iter()
        .rposition(|told| matches!(told, Told::Carrier(_)));
    assert!(last_carrier < at(Told::PowerOff(A)), "{told:?}");
    lab.power_on(A, ZERO).unwrap();
    assert!(!carrier(&mut lab, B, "ha"), "a booting box is dark");
    lab.settle(ZERO.after(BOOT_TIME)).unwrap();
    assert!(carrier(&mut lab, A, "lan") && carrier(&mut lab, B, "ha"));
}

/// A frozen box does nothing and answers nobody, but its carrier stays; thawed it goes on.
fn freeze() {
    let mut lab = booted(COUNTER);
    let count = lab.machine(A).unwrap().place().join("run/count");
    let read = || fs::read_to_string(&count).ok()?.trim().parse::<u64>().ok();
    let beyond = |least: u64| wait_for(|| read().filter(|now| *now > least), "the counter");
    beyond(0);
    let (client, gateway) = pair(&lab);
    assert_eq!(heard(&client, &gateway, 1), [0]);
    let freeze = Verb::Freeze {
        clock_stands: false,
    };
    lab.carry_out(Subject::Gateway(A), &freeze, ZERO).unwrap();
    let frozen = read();
    assert_eq!(heard(&client, &gateway, 2), NONE);
    assert_eq!(read(), frozen, "nothing moved for {SILENCE:?}");
    assert!(carrier(&mut lab, A, "lan"));
    lab.carry_out(Subject::Gateway(A), &Verb::Thaw, ZERO)
        .unwrap();
    beyond(frozen.unwrap());
    assert_eq!(heard(&client, &gateway, 2), [0, 1]);
}

/// A daemon that is asked to end does so with its own code, one that is killed does not; either can
/// be started again, while the box and its state stay.
fn quit() {
    let mut lab = booted(DIARY);
    let diary = lab.machine(A).unwrap().place().join("state/diary");
    let lines = || fs::read_to_string(&diary).map_or(0, |text| text.lines().count());
    // A life that is cut off before it has written all of its lines would leave the count short.
    wait_for(|| (lines() >= 2).then_some(()), "the first life");
    let mut act = |verb: Verb, expected: DaemonEvent| {
        lab.carry_out(Subject::Gateway(A), &verb, ZERO).unwrap();
        wait_daemon(&mut lab, expected);
    };
    act(Verb::Kill, DaemonEvent::Ended(128 + 9));
    act(Verb::Start, DaemonEvent::Started);
    wait_for(|| (lines() >= 4).then_some(()), "the second life");
    act(Verb::Quit, DaemonEvent::Ended(7));
}

/// A starved daemon is stopped and goes on in turns, and runs when the time is over.
fn starve() {
    let mut lab = booted(COUNTER);
    let _ = lab.poll_told();
    let starve = Verb::Starve {
        runs: Span::millis(5),
        rests: Span::millis(45),
        lasting: Span::millis(100),
    };
    lab.carry_out(Subject::Gateway(A), &starve, ZERO).unwrap();
    let mut turns = Vec::new();
    let mut now = ZERO;
    loop {
        for told in lab.poll_told() {
            if let Told::Stopped(_, stopped) = told {
                turns.push((now.since(ZERO).as_millis(), stopped));
            }
        }
        let Some(next) = lab.next_deadline() else {
            break;
        };
        now = next;
        lab.settle(now).unwrap();
    }
    let expected = [(0, true), (45, false), (50, true), (95, false)];
    assert_eq!(turns, expected);
}

/// A daemon that never stops writing fills neither the disk nor the lab's memory.
fn bounded() {
    let mut lab = booted("exec yes steadfast");
    let log = lab.machine(A).unwrap().log();
    let size = || fs::metadata(&log).map_or(0, |it| it.len());
    let full = wait_for(
        || Some(size()).filter(|size| *size >= 4 << 20),
        "a full log",
    );
    assert_eq!(full, 4 << 20);
    lab.carry_out(Subject::Gateway(A), &Verb::Kill, ZERO)
        .unwrap();
    wait_daemon(&mut lab, DaemonEvent::Ended(128 + 9));
    assert_eq!(size(), 4 << 20, "what is too much is not kept");
}
