//! The instruments in real namespaces: a pair of gateways that somebody switches over by hand.

mod ground;

use core::time::Duration;
use std::io::Write;
use std::process::Command;
use std::sync::{Arc, Mutex};

use ground::{Ground, inside, plan};
use pcap_file::pcapng::{Block, PcapNgReader};
use rustix::time::{ClockId, clock_gettime};
use steadfast_core::wire::advert::Kind;
use steadfast_core::{Instant, NodeId};
use steadfast_scenarios::trace::{Event, EventKind, FrameKind, Holder, SourceKind};
use steadfast_scenarios::{HostId, Picture, SegmentId, StreamId};

use super::sys::PacketSocket;
use super::*;
use steadfast_scenarios::trace::capture::Recording;

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const LAN: SegmentId = SegmentId(0);
const WAN: SegmentId = SegmentId(1);
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A run in progress: what was recorded, and the picture it gives.
struct Run {
    recorder: Recorder,
    picture: Picture,
    events: Vec<Event>,
    door: TapDoor,
}

impl Run {
    /// All instruments, at work.
    fn start(ground: &Ground, recording: Option<SharedRecording>, clock: RunClock) -> Self {
        let mut recorder = Recorder::new(Setup::new(clock));
        let plan = &ground.plan;
        let taps = ground.taps(recording.is_some());
        let capture = Capture::new(plan, taps, recording).unwrap();
        let door = capture.door();
        recorder.start(capture).unwrap();
        recorder.start(Observer::new(plan, ground.eyes())).unwrap();
        recorder
            .start(Neighbours::new(plan, ground.stations()))
            .unwrap();
        recorder.start(StallWatch { beside: false }).unwrap();
        recorder
            .start(ProbeSender::new(plan, ground.outlets()))
            .unwrap();
        Self {
            recorder,
            picture: Picture::new(&observed_names(plan)),
            events: Vec::new(),
            door,
        }
    }

    /// Waits for this, and says with what.
    fn until(&mut self, what: &str, mut seen: impl FnMut(&Picture, &[Event]) -> bool) {
        let clock = self.recorder.desk().clock();
        let (deadline, from) = (clock.now().after(PATIENCE), self.events.len());
        loop {
            for event in self.recorder.poll() {
                self.picture.observe(&event);
                self.events.push(event);
            }
            if seen(&self.picture, &self.events[from..]) {
                return;
            }
            let state = (&self.picture, self.recorder.stalls().len());
            assert!(clock.now() < deadline, "{what} was not seen: {state:?}");
            clock.sleep_until(clock.now().after(Duration::from_millis(5)));
        }
    }

    /// Waits until one gateway alone owns everything, and hosts and probes go by it.
    fn until_served_by(&mut self, id: NodeId) {
        let whose = Holder::Gateway(id);
        self.until("one owner, believed by all", |picture, events| {
            let owns = |segment| picture.sole_owner(segment) == Some(id);
            let entries: Vec<Holder> = picture.neighbours().map(|it| it.2).collect();
            let arrives = |stream: u8| {
                events.iter().any(|event| {
                    matches!(event.kind, EventKind::ProbeReceived { stream: it, via, .. }
                    if it == StreamId(stream) && via == Some(id))
                })
            };
            let believed = entries.len() == 2 && entries.iter().all(|it| *it == whose);
            owns(LAN) && owns(WAN) && believed && (0..4).all(arrives)
        });
    }
}

fn saw(events: &[Event], wanted: &EventKind) -> bool {
    events.iter().any(|event| event.kind == *wanted)
}

/// A takeover by hand: every instrument tells its part, in order, with one owner at any time, and
/// the recording holds the same story.
#[test]
fn lab_instruments_see_a_takeover() {
    if !inside("instruments::tests::lab_instruments_see_a_takeover") {
        return;
    }
    let ground = Ground::build(plan());
    let clock = RunClock::start();
    let written = Shared::default();
    let to: Box<dyn Write + Send> = Box::new(written.clone());
    let recording = Arc::new(Mutex::new(Recording::new(to, clock.wall_origin()).unwrap()));
    ground.serve("a");
    let mut run = Run::start(&ground, Some(Arc::clone(&recording)), clock);
    run.until("both gateways", |picture, _| {
        let both = |segment| picture.reachable(segment, A) && picture.reachable(segment, B);
        both(LAN) && both(WAN)
    });
    run.until_served_by(A);
    recording
        .lock()
        .unwrap()
        .note(clock.now(), "the takeover")
        .unwrap();
    ground.offer("a", Kind::Offer);
    let offer = EventKind::HandoverFrame {
        segment: LAN,
        kind: FrameKind::Offer,
        from: A,
    };
    run.until("the offer", |_, events| saw(events, &offer));
    ground.withdraw("a");
    ground.serve("b");
    run.until_served_by(B);
    let announced = EventKind::VirtualSource {
        segment: WAN,
        gateway: B,
        what: SourceKind::Announcement,
    };
    assert!(saw(&run.events, &announced));
    assert!(!two_owners(&ground, &run.events), "{:?}", run.events);
    ground.cut("lan.b");
    run.until("the cut", |picture, _| {
        !picture.reachable(LAN, B) && picture.reachable(WAN, B)
    });
    // The port comes back as another interface, and is seen again through a new tap.
    ground.plug_anew("lan", "b");
    run.door.put(ground.tap(LAN, B, true)).unwrap();
    let announced = EventKind::VirtualSource {
        segment: LAN,
        gateway: B,
        what: SourceKind::Announcement,
    };
    run.until("the port made anew", |picture, events| {
        ground.announce("b", LAN);
        picture.reachable(LAN, B) && saw(events, &announced)
    });
    let finished = run.recorder.stop(PATIENCE);
    assert!(finished.unfinished.is_empty(), "{:?}", finished.unfinished);
    assert_eq!(finished.lost_count, 0);
    let failed = |event: &&Event| {
        matches!(&event.kind, EventKind::Blind { why, .. }
        if why.contains("failed"))
    };
    assert_eq!(run.events.iter().chain(&finished.events).find(failed), None);
    let times: Vec<Instant> = run.events.iter().map(|event| event.at).collect();
    assert!(times.is_sorted());
    read_back(&recording, &written);
}

/// Whether an address ever had two owners for any time.
fn two_owners(ground: &Ground, events: &[Event]) -> bool {
    let mut picture = Picture::new(&observed_names(&ground.plan));
    for event in events {
        let twice = picture.contested(LAN) || picture.contested(WAN);
        if twice && event.at > picture.now() {
            return true;
        }
        picture.observe(event);
    }
    false
}

fn read_back(recording: &SharedRecording, written: &Shared) {
    assert_eq!(recording.lock().unwrap().left_out(), 0);
    let bytes = written.bytes.lock().unwrap().clone();
    let mut reader = PcapNgReader::new(&bytes[..]).unwrap();
    let mut counts = [0_u32; 8];
    while let Some(block) = reader.next_block() {
        if let Block::EnhancedPacket(packet) = block.unwrap() {
            counts[packet.interface_id as usize] += 1;
        }
    }
    assert_eq!(counts[0], 1, "one note");
    assert!(counts[1..5].iter().all(|count| *count > 0), "{counts:?}");
}

/// Two owners of an address are seen for as long as there are two.
#[test]
fn lab_instruments_see_two_owners() {
    if !inside("instruments::tests::lab_instruments_see_two_owners") {
        return;
    }
    let ground = Ground::build(plan());
    ground.serve("a");
    let mut run = Run::start(&ground, None, RunClock::start());
    run.until_served_by(A);
    ground.serve("b");
    run.until("two owners", |picture, _| {
        picture.contested(LAN) && picture.contested(WAN)
    });
    ground.withdraw("a");
    run.until_served_by(B);
    let thieves = run
        .picture
        .neighbours()
        .filter(|it| it.0 == HostId(0))
        .count();
    assert_eq!(thieves, 1);
    assert!(run.recorder.stop(PATIENCE).unfinished.is_empty());
}

/// A dead switch is known as such at once: what is asked through it is not answered by anybody.
#[test]
fn lab_instruments_know_a_dead_outlet() {
    if !inside("instruments::tests::lab_instruments_know_a_dead_outlet") {
        return;
    }
    let shell = |script: &str| {
        let status = Command::new("sh").args(["-ec", script]).status();
        assert!(status.unwrap().success(), "{script}");
    };
    shell(
        "ip link add outlet type veth peer name switch
         ip link set outlet up; ip link set switch up",
    );
    let outlet = PacketSocket::open("outlet", &filter::everything(), false).unwrap();
    assert!(!outlet.is_dark());
    shell("ip link set switch down");
    assert!(outlet.is_dark(), "at once, whatever the kernel puts off");
    shell("ip link set switch up");
    assert!(!outlet.is_dark());
}

/// New connections pass through the gateways and are counted.
#[test]
fn lab_instruments_count_new_connections() {
    if !inside("instruments::tests::lab_instruments_count_new_connections") {
        return;
    }
    let ground = Ground::build(plan());
    ground.serve("a");
    let mut recorder = Recorder::new(Setup::new(RunClock::start()));
    let connections = ground.connections();
    let log = connections.log();
    recorder.start(connections).unwrap();
    let clock = recorder.desk().clock();
    let deadline = clock.now().after(PATIENCE);
    while log
        .connections()
        .iter()
        .filter(|it| it.took.is_some())
        .count()
        < 20
    {
        assert!(clock.now() < deadline, "{:?}", log.connections());
        clock.sleep_until(clock.now().after(Duration::from_millis(5)));
    }
    assert!(recorder.stop(PATIENCE).unfinished.is_empty());
}

/// Nobody fails over: all instruments together, four streams at 1 kHz and the observer at 1 kHz on
/// two segments, leave most of the machine to the gateways. The kernel's work on the frames is in
/// the figure, since it is done in the name of who sends.
#[test]
fn lab_instruments_leave_room_for_gateways() {
    if !inside("instruments::tests::lab_instruments_leave_room_for_gateways") {
        return;
    }
    let ground = Ground::build(plan());
    ground.serve("a");
    let mut run = Run::start(&ground, None, RunClock::start());
    run.until_served_by(A);
    let clock = run.recorder.desk().clock();
    let (used, from) = (used(), clock.now());
    let until = from.after(Duration::from_secs(3));
    run.until("three seconds", |_, _| clock.now() >= until);
    let busy = (self::used() - used).as_secs_f64();
    let share = busy / clock.now().since(from).as_secs_f64();
    let events = run.events.len();
    let stalls = run.recorder.stalls().len();
    eprintln!(
        "instruments use {:.1} % of a core; {events} events, {stalls} stalls",
        share * 100.0
    );
    assert!(run.recorder.stop(PATIENCE).unfinished.is_empty());
    assert!(share < 0.6, "{share}");
}

fn used() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.try_into().unwrap())
}

/// A file in memory that can be read while it is written.
#[derive(Clone, Default)]
struct Shared {
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
