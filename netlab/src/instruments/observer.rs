//! The observer: asks each gateway's own MAC, a thousand times a second, what it answers for.
//!
//! On each switched segment it has an outlet of the switch. Each round asks every gateway by
//! unicast ARP or neighbour solicitation for the segment's first virtual addresses and for its unit
//! addresses. The sender address of ARP is 0.0.0.0: kernels answer that, and make no neighbour
//! entry for it. IPv6 knows no such question; a gateway makes entries of the observer's addresses.
//!
//! An answer says which round asked (`questions`); `rounds` makes the changes of them.
//!
//! The hard case is a virtual MAC: it answers in nobody's name, so through a switch nobody could
//! say who answered. There each gateway is asked at the switch's end of its own port
//! ([`Eye::ports`]), where only its own answers come by. They count while its own address is
//! reached through the switch: what is cut off from a segment owns nothing there.
//!
//! The limit: what a switch does not forward is not seen, and without questions (its outlet is
//! dark) it keeps the last answer.

use core::time::Duration;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use steadfast_core::{Instant, MacAddr, NodeId};
use steadfast_scenarios::SegmentId;
use steadfast_scenarios::format::{Plan, Segment};
use steadfast_scenarios::trace::EventKind;

use super::questions::{Question, TAGS, frame, read, tagged};
use super::recorder::{Desk, Instrument, Stall};
use super::rounds::{Change, Ledger};
use super::sys::{Batch, PacketSocket};
use super::{ASKED_MAX, filter};

/// From round to round.
const ROUND: Duration = Duration::from_millis(1);
/// How long it sleeps before it looks whether the run is over.
const SLEEP_MAX: Duration = Duration::from_millis(20);
/// The same where costs are measured and nobody asks when.
const CALM_ROUND: Duration = Duration::from_millis(200);
/// Batches of answers read from a socket in one round; more wait for the next.
const BATCHES_MAX: usize = 4;
/// Woken later than this, a round is told as a stall.
const LATE_MAX: Duration = Duration::from_millis(2);

/// The observer's sockets on one segment.
#[derive(Debug)]
pub struct Eye {
    /// The segment.
    pub segment: SegmentId,
    /// At its outlet of the switch: from [`Observer::outlet`].
    pub outlet: PacketSocket,
    /// The MAC that virtual addresses answer with, if not the gateways' own.
    pub virtual_mac: Option<MacAddr>,
    /// With a virtual MAC only, from [`Observer::outlet`] too: at the switch's end of each
    /// gateway's port.
    pub ports: Vec<(NodeId, PacketSocket)>,
}

/// Sockets of [`Eye::ports`] that wait for the observer; more are refused.
const WAITING_MAX: usize = 64;

/// Takes sockets at gateways' ports that were made anew while the observer asks.
#[derive(Clone, Debug)]
pub struct EyeDoor(SyncSender<Anew>);

/// A port of this segment and gateway, made anew.
type Anew = (SegmentId, NodeId, PacketSocket);

impl EyeDoor {
    /// Puts a socket in the place of the one that was there.
    ///
    /// # Errors
    /// When the observer has ended, or has not taken the last [`WAITING_MAX`].
    pub fn put(&self, segment: SegmentId, gateway: NodeId, socket: PacketSocket) -> io::Result<()> {
        let sent = self.0.try_send((segment, gateway, socket));
        sent.map_err(|_| io::ErrorKind::WouldBlock.into())
    }
}

/// Watches who answers on all served segments.
#[derive(Debug)]
pub struct Observer {
    sights: Vec<Sight>,
    batch: Batch,
    round: Duration,
    sender: SyncSender<Anew>,
    receiver: Receiver<Anew>,
    /// Sockets of ports that are gone: closing one takes the kernel milliseconds.
    retired: Vec<PacketSocket>,
}

/// One segment.
#[derive(Debug)]
struct Sight {
    segment: SegmentId,
    mac: MacAddr,
    lines: Vec<Line>,
    questions: Vec<Question>,
    ledger: Ledger,
    /// The addresses have a station of their own, and are asked for at each gateway's wire.
    shared: bool,
    /// There, by question: whether it is answered, and whether that was told.
    seen: Vec<bool>,
    told: Vec<bool>,
}

/// One socket, and what is asked through it.
#[derive(Debug)]
struct Line {
    socket: PacketSocket,
    /// At this gateway's wire, and not at the switch's outlet.
    at: Option<NodeId>,
    /// Indexes into the segment's questions.
    asks: Vec<usize>,
    /// By tag: the frames of a round, ready to send.
    frames: Vec<Vec<Vec<u8>>>,
}

impl Observer {
    /// Opens a socket for an [`Eye`], at an interface of the calling thread's namespace.
    ///
    /// # Errors
    /// When there is no such interface, or no right to open packet sockets there.
    pub fn outlet(segment: &Segment, interface: &str) -> io::Result<PacketSocket> {
        let wanted = filter::answers(segment.observer_mac());
        PacketSocket::open(interface, &wanted, false)
    }

    /// Asks on these segments each [`ROUND`].
    pub fn new(plan: &Plan, eyes: Vec<Eye>) -> Self {
        let sights = eyes.into_iter().filter_map(|eye| {
            let segment = plan.layout.segments.get(eye.segment.index())?;
            Some(Sight::new(plan, segment, eye))
        });
        let (sender, receiver) = sync_channel(WAITING_MAX);
        Self {
            sights: sights.collect(),
            batch: Batch::new(),
            round: ROUND,
            sender,
            receiver,
            retired: Vec::new(),
        }
    }

    /// The way to it while it asks.
    pub fn door(&self) -> EyeDoor {
        EyeDoor(self.sender.clone())
    }

    fn take_anew(&mut self) {
        while let Ok((segment, gateway, socket)) = self.receiver.try_recv() {
            let of = |it: &&mut Sight| it.segment == segment;
            let sight = self.sights.iter_mut().find(of);
            let lines = sight.map(|it| it.lines.iter_mut()).into_iter().flatten();
            let mut lines = lines.filter(|it| it.at == Some(gateway));
            if let Some(line) = lines.next() {
                let former = core::mem::replace(&mut line.socket, socket);
                self.retired.push(former);
            }
        }
    }
}

impl Observer {
    /// The same, asking a few times a second only: it is seen who is active, and that it changed
    /// within a second. Daemons that hear every question of a segment are left in peace.
    #[must_use]
    pub fn calm(mut self) -> Self {
        self.round = CALM_ROUND;
        for sight in &mut self.sights {
            sight.ledger.rounds_apart(CALM_ROUND);
        }
        self
    }
}

impl Instrument for Observer {
    fn name(&self) -> &'static str {
        "observer"
    }

    fn run(&mut self, desk: &Desk) -> io::Result<()> {
        let clock = desk.clock();
        let mut due = clock.now();
        let mut tag = 0;
        while !desk.stopped() {
            let next = due.min(clock.now().after(SLEEP_MAX));
            clock.sleep_until(next);
            if next < due {
                continue;
            }
            let now = clock.now();
            if now.since(due) > LATE_MAX {
                let late = now.since(due).as_micros();
                desk.stall(Stall {
                    since: due,
                    until: now,
                    why: format!("the observer asked {late} us late"),
                });
            }
            self.take_anew();
            for sight in &mut self.sights {
                sight.listen(desk, &mut self.batch)?;
                sight.tell(desk, now);
            }
            let at = clock.now();
            for sight in &mut self.sights {
                sight.ask(tag, at);
            }
            tag = (tag + 1) % TAGS;
            due = due.after(self.round).max(now.after(self.round / 2));
        }
        Ok(())
    }
}

impl Sight {
    fn new(plan: &Plan, segment: &Segment, eye: Eye) -> Self {
        let virtual_mac = eye.virtual_mac;
        let virtuals = (0..ASKED_MAX).zip(&segment.virtuals);
        let mut questions = Vec::new();
        for gateway in &plan.layout.gateways {
            let mut ports = gateway.ports.iter();
            let Some(port) = ports.find(|port| port.segment == segment.id) else {
                continue;
            };
            let question = |mac, ip, address| Question {
                gateway: gateway.id,
                mac,
                ip,
                address,
            };
            let mac = virtual_mac.unwrap_or(port.mac);
            questions.extend(
                virtuals
                    .clone()
                    .map(|(at, ip)| question(mac, *ip, Some(at))),
            );
            let unit = port.units.first();
            questions.extend(unit.map(|ip| question(port.mac, *ip, None)));
        }
        let mac = segment.observer_mac();
        let mut lines = vec![Line::new(eye.outlet, mac, &questions, |question| {
            question.address.is_none() || virtual_mac.is_none()
        })];
        for (gateway, socket) in eye.ports {
            let asks = |it: &Question| {
                virtual_mac.is_some() && it.gateway == gateway && it.address.is_some()
            };
            let line = Line::new(socket, mac, &questions, asks);
            lines.push(Line {
                at: Some(gateway),
                ..line
            });
        }
        Self {
            segment: segment.id,
            mac,
            lines,
            ledger: Ledger::new(questions.iter().map(|it| it.address).collect()),
            shared: virtual_mac.is_some(),
            seen: vec![false; questions.len()],
            told: vec![false; questions.len()],
            questions,
        }
    }

    /// Asks everything once; a round of which a question could not be sent does not count. Through
    /// a dead switch nobody can be asked, and nobody answers; nor does a gateway whose own wire
    /// takes nothing.
    fn ask(&mut self, tag: u8, at: Instant) {
        let mut whole = true;
        for line in &self.lines {
            let frames = &line.frames[usize::from(tag)];
            let sent = line.socket.send(frames) == frames.len();
            whole &= sent || line.at.is_some() || line.socket.is_dark();
        }
        if whole {
            self.ledger.asked(tag, at);
        }
    }

    fn listen(&mut self, desk: &Desk, batch: &mut Batch) -> io::Result<()> {
        for line in &self.lines {
            for _ in 0..BATCHES_MAX {
                let count = line.socket.receive(batch).or_else(dark)?;
                let reading = desk.clock().read();
                for caught in batch.frames() {
                    let answer = read(self.mac, caught.bytes);
                    let Some((tag, mac, ip)) = answer else {
                        continue;
                    };
                    let asked = |it: &Question| it.mac == mac && it.ip == ip;
                    let mut asks = line.asks.iter().copied();
                    if let Some(question) = asks.find(|it| asked(&self.questions[*it])) {
                        let at = reading.time_of(caught.stamp);
                        self.ledger.answered(tag, question, at);
                    }
                }
                if count < super::sys::BATCH {
                    break;
                }
            }
        }
        Ok(())
    }

    fn tell(&mut self, desk: &Desk, now: Instant) {
        for change in self.ledger.judge(now) {
            if !self.shared {
                desk.tell(change.at, self.event(&change));
                continue;
            }
            self.seen[change.question] = change.answered;
            let of = &self.questions[change.question];
            if of.address.is_none() {
                desk.tell(change.at, self.event(&change));
            }
            let gateway = of.gateway;
            for event in self.owns(gateway) {
                desk.tell(change.at, event);
            }
        }
    }

    /// What changed in who owns: what a gateway answers at its own wire counts while the segment
    /// reaches it.
    fn owns(&mut self, gateway: NodeId) -> Vec<EventKind> {
        let asked = || (0..).zip(&self.questions);
        let mut of = asked().filter(|(_, it)| it.gateway == gateway);
        let reached = of.any(|(at, it): (usize, _)| it.address.is_none() && self.seen[at]);
        let mut news = Vec::new();
        for (at, question) in asked().filter(|(_, it)| it.gateway == gateway) {
            let Some(address) = question.address else {
                continue;
            };
            let answered = reached && self.seen[at];
            if core::mem::replace(&mut self.told[at], answered) != answered {
                news.push(EventKind::Owner {
                    segment: self.segment,
                    gateway,
                    address,
                    answered,
                });
            }
        }
        news
    }

    fn event(&self, change: &Change) -> EventKind {
        let question = &self.questions[change.question];
        let (segment, gateway) = (self.segment, question.gateway);
        match question.address {
            Some(address) => EventKind::Owner {
                segment,
                gateway,
                address,
                answered: change.answered,
            },
            None => EventKind::Reachable {
                segment,
                gateway,
                reachable: change.answered,
            },
        }
    }
}

impl Line {
    fn new(
        socket: PacketSocket,
        mac: MacAddr,
        questions: &[Question],
        asks: impl Fn(&Question) -> bool,
    ) -> Self {
        let chosen = questions.iter().enumerate().filter(|(_, it)| asks(it));
        let asks: Vec<usize> = chosen.map(|(at, _)| at).collect();
        let frames = |tag| {
            let frame = |at: &usize| frame(tagged(mac, tag), tag, &questions[*at]);
            asks.iter().map(frame).collect()
        };
        Self {
            frames: (0..TAGS).map(frames).collect(),
            socket,
            at: None,
            asks,
        }
    }
}

/// A socket whose interface is down reads as empty: it comes back with the interface.
pub(super) fn dark(error: io::Error) -> io::Result<usize> {
    match error.kind() {
        io::ErrorKind::NetworkDown => Ok(0),
        _ => Err(error),
    }
}
