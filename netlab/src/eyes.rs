//! The instruments of a run, set up on a lab: the world's [`Eyes`].
//!
//! Everything that is seen is seen from outside of the gateways: at the switches' ends of all
//! wires, at the hosts, and from the observer's own outlets. So nothing of it ends with a gateway's
//! power.
//!
//! Opening is one thing ([`Opened`]) and watching another ([`Sight`]): the kernel takes up to a
//! second and more to open the sockets of labs side by side, and no run may have begun by then.

use core::time::Duration;
use std::io;
use std::thread::{self, JoinHandle};

use steadfast_core::{Instant, MacAddr, NodeId};
use steadfast_scenarios::SegmentId;
use steadfast_scenarios::format::{Layout, Plan, Segment};
use steadfast_scenarios::trace::{Event, EventKind};

use crate::error::{Doing, LabError};
use crate::ground::{HOST_PORT, Plug, Station};
use crate::instruments::{
    self, Capture, ConnectionLog, Connections, Enter, Eye, EyeDoor, Finished, HeraldLog, Heralds,
    Neighbours, Observer, Outlet, Pace, ProbeSender, Recorder, RunClock, SharedRecording, Stall,
    StallWatch, Tap, TapDoor, VirtualMacs,
};
use crate::lab::Lab;
use crate::world::Eyes;

/// How long the instruments may take to end; they look each 20 ms.
const PATIENCE: Duration = Duration::from_secs(2);
/// The world acts later than this: told as a stall.
const LATE_MAX: Duration = Duration::from_millis(5);

/// What a run is seen with.
pub struct Sight {
    clock: RunClock,
    layout: Layout,
    virtual_macs: VirtualMacs,
    /// Whether every frame is to be seen.
    recorded: bool,
    door: TapDoor,
    eye_door: EyeDoor,
    /// Taps of ports that were laid anew.
    opening: Vec<(NodeId, JoinHandle<io::Result<()>>)>,
    recorder: Option<Recorder>,
    pace: Pace,
    connections: Option<ConnectionLog>,
    heralds: Option<HeraldLog>,
    finished: Option<Finished>,
}

/// What is wanted beside what oracles need.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// Every frame at the gateways' ports is seen, for a recording.
    pub recorded: bool,
    /// New connections are tried between the first host and the second.
    pub connections: bool,
    /// The observer asks seldom: what is measured is what nobody asks for.
    pub calm: bool,
    /// It is followed who announces which address.
    pub heralds: bool,
    /// Other labs run on this machine.
    pub beside: bool,
    /// From which length on a stall blinds; none is the usual.
    pub blind_after: Option<Duration>,
}

/// Sockets at every place, open; nobody reads them yet.
pub struct Opened {
    wanted: Wanted,
    virtual_macs: VirtualMacs,
    taps: Vec<Tap>,
    outlets: Vec<Outlet>,
    eyes: Vec<Eye>,
    stations: Vec<instruments::Station>,
    connections: Option<Connections>,
    heralds: Option<Heralds>,
}

impl Opened {
    /// Opens everything.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn new(
        plan: &Plan,
        lab: &Lab,
        wanted: Wanted,
        virtual_macs: &VirtualMacs,
    ) -> Result<Self, LabError> {
        let posts = listening_posts(lab, None);
        let listening = || listen(&plan.layout, &posts, wanted.recorded);
        let taps = lab.ground().switch().run(listening)?;
        let mut taps = taps.doing(|| "listen at the switches".to_owned())?;
        taps.extend(host_taps(plan, lab)?);
        let connections = wanted.connections.then(|| connect(plan, lab)).transpose()?;
        let heralds = wanted.heralds.then(|| heralds(lab, &posts)).transpose()?;
        let opening = || "open the instruments".to_owned();
        Ok(Self {
            wanted,
            virtual_macs: virtual_macs.clone(),
            taps,
            outlets: outlets(plan, lab)?,
            eyes: eyes(plan, lab, virtual_macs).doing(opening)?,
            stations: stations(plan, lab, virtual_macs).doing(opening)?,
            connections,
            heralds,
        })
    }

    /// Starts to watch; the run's time starts with `clock`, and every frame at the gateways' ports
    /// goes to `recording`.
    ///
    /// # Errors
    /// When no threads can be had, or nothing can be recorded.
    pub fn watch(
        self,
        plan: &Plan,
        clock: RunClock,
        recording: Option<SharedRecording>,
    ) -> Result<Sight, LabError> {
        let mut setup = instruments::Setup::new(clock);
        if let Some(after) = self.wanted.blind_after {
            setup.blind_after = after;
        }
        let mut recorder = Recorder::new(setup);
        let capture = Capture::new(plan, self.taps, recording);
        let capture = capture.doing(|| "set up the capture".to_owned())?;
        let door = capture.door();
        let sender = ProbeSender::new(plan, self.outlets);
        let pace = sender.pace();
        let log = self.connections.as_ref().map(Connections::log);
        let heard = self.heralds.as_ref().map(Heralds::log);
        let observer = Observer::new(plan, self.eyes);
        let eye_door = observer.door();
        let (stations, beside) = (self.stations, self.wanted.beside);
        let calm = self.wanted.calm;
        let start = |recorder: &mut Recorder| -> io::Result<()> {
            recorder.start(StallWatch { beside })?;
            recorder.start(if calm { observer.calm() } else { observer })?;
            recorder.start(capture)?;
            recorder.start(Neighbours::new(plan, stations))?;
            recorder.start(sender)?;
            self.heralds.map_or(Ok(()), |it| recorder.start(it))?;
            self.connections.map_or(Ok(()), |it| recorder.start(it))
        };
        start(&mut recorder).doing(|| "start the instruments".to_owned())?;
        Ok(Sight {
            clock,
            layout: plan.layout.clone(),
            virtual_macs: self.virtual_macs,
            recorded: self.wanted.recorded,
            door,
            eye_door,
            opening: Vec::new(),
            recorder: Some(recorder),
            pace,
            connections: log,
            heralds: heard,
            finished: None,
        })
    }
}

impl Sight {
    /// New connections so far, if they were wanted.
    pub const fn connections(&self) -> Option<&ConnectionLog> {
        self.connections.as_ref()
    }

    /// Who announced what, if that was wanted.
    pub const fn heralds(&self) -> Option<&HeraldLog> {
        self.heralds.as_ref()
    }

    /// What the instruments said at their end.
    pub const fn finished(&self) -> Option<&Finished> {
        self.finished.as_ref()
    }

    /// Opens the taps of a gateway's ports again, on a thread: the kernel takes some 50 ms.
    fn open_again(&self, lab: &Lab, gateway: NodeId) -> io::Result<JoinHandle<io::Result<()>>> {
        let posts = listening_posts(lab, Some(gateway));
        let (layout, recorded, door) = (self.layout.clone(), self.recorded, self.door.clone());
        let (virtual_macs, eye_door) = (self.virtual_macs.clone(), self.eye_door.clone());
        let enter = lab.ground().switch().door()?;
        let work = move || {
            enter()?;
            let taps = listen(&layout, &posts, recorded)?;
            taps.into_iter().try_for_each(|tap| door.put(tap))?;
            for (id, gateway, port) in &posts {
                let segment = layout.segments.get(id.index());
                if let Some(segment) = segment.filter(|_| virtual_macs.contains_key(id)) {
                    eye_door.put(*id, *gateway, Observer::outlet(segment, port)?)?;
                }
            }
            Ok(())
        };
        thread::Builder::new().name("taps".to_owned()).spawn(work)
    }

    fn deaf_to(&mut self, gateway: NodeId, why: &io::Error) {
        let since = self.clock.now();
        let why = format!("the ports of {gateway} are not heard: {why}");
        self.tell(since, EventKind::Blind { since, why });
    }
}

impl Eyes for Sight {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn tell(&mut self, at: Instant, kind: EventKind) {
        if let Some(recorder) = &mut self.recorder {
            recorder.tell(at, kind);
        }
    }

    fn early(&mut self) -> Vec<Event> {
        self.recorder
            .as_mut()
            .map(Recorder::early)
            .unwrap_or_default()
    }

    fn await_frames(&mut self, awaited: bool) {
        if let Some(recorder) = &self.recorder {
            recorder.desk().hurry(awaited);
        }
    }

    fn late(&mut self, due: Instant, now: Instant) {
        if now.since(due) <= LATE_MAX {
            return;
        }
        if let Some(recorder) = &self.recorder {
            let late = now.since(due).as_micros();
            recorder.desk().stall(Stall {
                since: due,
                until: now,
                why: format!("what was due was done {late} us late"),
            });
        }
    }

    fn poll(&mut self) -> Vec<Event> {
        self.recorder
            .as_mut()
            .map(Recorder::poll)
            .unwrap_or_default()
    }

    fn laid_anew(&mut self, lab: &Lab, gateway: NodeId) {
        // Power may have left an earlier boot before it was over.
        self.opening.retain(|(id, _)| *id != gateway);
        match self.open_again(lab, gateway) {
            Ok(thread) => self.opening.push((gateway, thread)),
            Err(why) => self.deaf_to(gateway, &why),
        }
    }

    fn renewed(&mut self, _: &Lab, gateway: NodeId) {
        let known = self.opening.iter().position(|(id, _)| *id == gateway);
        let Some((_, thread)) = known.map(|place| self.opening.swap_remove(place)) else {
            return;
        };
        // The box is about to speak: who is not open by now has not heard everything.
        if !thread.is_finished() {
            self.deaf_to(gateway, &io::ErrorKind::TimedOut.into());
        }
        match thread.join() {
            Ok(Ok(())) => {}
            Ok(Err(why)) => self.deaf_to(gateway, &why),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    fn steps(&mut self, ran: Option<Instant>, due: &[Instant]) {
        if let Some(at) = ran {
            self.pace.step_ran(at);
        }
        self.pace.steps_due(due.iter().copied());
    }

    fn finish(&mut self) -> Vec<Event> {
        let Some(recorder) = self.recorder.take() else {
            return Vec::new();
        };
        let mut finished = recorder.stop(PATIENCE);
        let events = core::mem::take(&mut finished.events);
        self.finished = Some(finished);
        events
    }
}

/// Where the gateways' ports are listened to, or those of one.
fn listening_posts(lab: &Lab, of: Option<NodeId>) -> Vec<(SegmentId, NodeId, String)> {
    let post = |plug: &Plug| match plug.station {
        Station::Gateway(gateway, _) if of.is_none_or(|of| of == gateway) => {
            Some((plug.segment, gateway, plug.near()))
        }
        Station::Gateway(..) | Station::Host(_) | Station::Spare => None,
    };
    lab.ground().plugs().iter().filter_map(post).collect()
}

/// Listens there; on a thread that stands at the switches.
fn listen(
    layout: &Layout,
    posts: &[(SegmentId, NodeId, String)],
    recorded: bool,
) -> io::Result<Vec<Tap>> {
    let mut taps = Vec::new();
    for (segment, gateway, port) in posts {
        if let Some(segment) = layout.segments.get(segment.index()) {
            taps.push(Tap::gateway(layout, segment, *gateway, port, recorded)?);
        }
    }
    Ok(taps)
}

fn heralds(lab: &Lab, posts: &[(SegmentId, NodeId, String)]) -> Result<Heralds, LabError> {
    let open = || -> io::Result<Vec<_>> {
        let open = |(_, gateway, port): &(_, NodeId, String)| Ok((*gateway, Heralds::post(port)?));
        posts.iter().map(open).collect()
    };
    let opened = lab.ground().switch().run(open)?;
    Ok(Heralds::new(
        opened.doing(|| "listen for announcements".to_owned())?,
    ))
}

fn host_taps(plan: &Plan, lab: &Lab) -> Result<Vec<Tap>, LabError> {
    at_hosts(plan, lab, |host| Tap::host(host.id, HOST_PORT))
}

fn outlets(plan: &Plan, lab: &Lab) -> Result<Vec<Outlet>, LabError> {
    at_hosts(plan, lab, Outlet::open)
}

fn stations(
    plan: &Plan,
    lab: &Lab,
    virtual_macs: &VirtualMacs,
) -> io::Result<Vec<instruments::Station>> {
    let open = |host: &steadfast_scenarios::format::Host| {
        instruments::Station::host(host.id, virtual_macs.get(&host.segment).copied())
    };
    let mut stations = at_hosts(plan, lab, open).map_err(io::Error::other)?;
    let posts = listening_posts(lab, None);
    let switches = || -> io::Result<Vec<_>> {
        let switch = |(segment, mac): (&SegmentId, &MacAddr)| {
            instruments::Station::switch(*segment, *mac, &ports_of(&posts, *segment))
        };
        virtual_macs.iter().map(switch).collect()
    };
    let switches = lab.ground().switch().run(switches);
    stations.extend(switches.map_err(io::Error::other)??);
    Ok(stations)
}

/// A segment's posts: whose port, and the switch's end of it.
fn ports_of(posts: &[(SegmentId, NodeId, String)], segment: SegmentId) -> Vec<(NodeId, String)> {
    let of = posts.iter().filter(|(it, ..)| *it == segment);
    of.map(|(_, gateway, port)| (*gateway, port.clone()))
        .collect()
}

/// Does something in the namespace of each host.
fn at_hosts<T: Send>(
    plan: &Plan,
    lab: &Lab,
    work: impl Fn(&steadfast_scenarios::format::Host) -> io::Result<T> + Sync,
) -> Result<Vec<T>, LabError> {
    let mut done = Vec::new();
    for host in &plan.layout.hosts {
        let Some(room) = lab.ground().host(host.id) else {
            return Err(LabError::Needs(format!("a host {}", host.name)));
        };
        let outcome = room.run(|| work(host))?;
        done.push(outcome.doing(|| format!("open an instrument at {}", host.name))?);
    }
    Ok(done)
}

fn eyes(plan: &Plan, lab: &Lab, virtual_macs: &VirtualMacs) -> io::Result<Vec<Eye>> {
    let open = || -> io::Result<Vec<Eye>> {
        let served = plan
            .layout
            .segments
            .iter()
            .filter(|segment| segment.served());
        let eye = |segment: &Segment| {
            Ok(Eye {
                segment: segment.id,
                outlet: Observer::outlet(segment, &segment.name)?,
                virtual_mac: virtual_macs.get(&segment.id).copied(),
                ports: Vec::new(),
            })
        };
        served.map(eye).collect()
    };
    let eyes = lab.ground().observer().run(open);
    let mut eyes = eyes.map_err(io::Error::other)??;
    let posts = listening_posts(lab, None);
    let at_ports = || -> io::Result<()> {
        for eye in eyes.iter_mut().filter(|eye| eye.virtual_mac.is_some()) {
            let Some(segment) = plan.layout.segments.get(eye.segment.index()) else {
                continue;
            };
            for (gateway, port) in ports_of(&posts, eye.segment) {
                eye.ports.push((gateway, Observer::outlet(segment, &port)?));
            }
        }
        Ok(())
    };
    let opened = lab.ground().switch().run(at_ports);
    opened.map_err(io::Error::other)??;
    Ok(eyes)
}

/// New connections go from the first host to the second.
fn connect(plan: &Plan, lab: &Lab) -> Result<Connections, LabError> {
    let needs = || LabError::Needs("two hosts for connections".to_owned());
    let [from, to, ..] = plan.layout.hosts.as_slice() else {
        return Err(needs());
    };
    let there = lab.ground().host(to.id).ok_or_else(needs)?;
    let here = lab.ground().host(from.id).ok_or_else(needs)?;
    let version = plan.topology.family.first();
    let (Some(client), Some(server)) = (from.address(version), to.address(version)) else {
        return Err(needs());
    };
    let listener = there.run(|| Connections::listen(server))?;
    let listener = listener.doing(|| "listen for connections".to_owned())?;
    let enter: Enter = here.door().doing(|| "open a way to a host".to_owned())?;
    let connections = Connections::new(client, enter, listener);
    connections.doing(|| "prepare connections".to_owned())
}
