//! The thread that looks at ports: when one is due, when the kernel tells of a link, until told to
//! stop.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use steadfast_core::{Instant, MacAddr, PortId};

use super::pace::{ALARM, IDENTIFY, Looks, next_look};
use super::{Ends, LinkSpec, ring};
use crate::linux::carrier::{CarrierBoard, Seen};
use crate::linux::clock::{Monotonic, timespec};
use crate::linux::netlink::Netlink;
use crate::linux::raw;
use crate::linux::rtnetlink::{self, LinkFact, NETLINK_ROUTE};

/// Group "links" of rtnetlink, as a bit.
const GROUP_LINKS: u32 = 1;
/// Most events read in a row; the rest after the ports were looked at.
const EVENTS_MAX: usize = 64;
/// Longest event: links with many attributes take some 2 KiB. What is longer is cut; the header,
/// which is all that matters here, stands in front.
const EVENT_LEN: usize = 4096;
/// Where an event says which link it is about: behind the netlink header, family and type.
const EVENT_INDEX_AT: usize = 16 + 4;

pub(super) struct Watcher {
    ports: Vec<Watched>,
    board: CarrierBoard,
    ends: Arc<Ends>,
    kernel: Kernel,
    /// Tells of changes; none if the kernel refused it, then the poll has to do.
    events: Option<OwnedFd>,
    /// A link changed a short while ago, so the kernel may hold back what it knows until then.
    alarmed_until: Instant,
    time: Monotonic,
}

/// Whom interfaces are asked of.
struct Kernel {
    /// Which interface has a name, and what it is.
    links: Netlink,
    /// Carrier: quick, and without an answer to be read.
    request: OwnedFd,
}

struct Watched {
    id: PortId,
    name: String,
    direct: bool,
    due: Instant,
    /// When to ask again which interface has the name.
    identify_at: Instant,
    index: u32,
    mac: Option<MacAddr>,
    /// The kernel may hold back the event of its lost carrier.
    may_be_late: bool,
}

impl Watcher {
    pub(super) fn new(
        specs: &[LinkSpec],
        board: CarrierBoard,
        ends: Arc<Ends>,
    ) -> io::Result<Self> {
        let watched = |spec: &LinkSpec| Watched {
            id: spec.id,
            name: spec.name.clone(),
            direct: spec.direct,
            due: Instant::ORIGIN,
            identify_at: Instant::ORIGIN,
            index: 0,
            mac: None,
            may_be_late: true,
        };
        let events = link_events();
        if let Err(error) = &events {
            log::warn!("no link events, links are polled alone: {error}");
        }
        Ok(Self {
            ports: specs.iter().map(watched).collect(),
            board,
            ends,
            kernel: Kernel {
                links: Netlink::open(NETLINK_ROUTE)?,
                request: raw::request_socket()?,
            },
            events: events.ok(),
            alarmed_until: Instant::ORIGIN,
            time: Monotonic::start(),
        })
    }

    /// Watches until told to stop, or until waiting itself fails.
    pub(super) fn run(mut self) {
        let outcome = loop {
            self.look_at_due();
            match self.wait() {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if let Err(error) = outcome {
            log::error!("failed to wait for link events: {error}");
        }
        self.ends.over.store(true, Ordering::Release);
        ring(&self.ends.news);
    }

    /// Looks at every port whose time has come, and tells the driver what is new.
    fn look_at_due(&mut self) {
        let now = self.time.now();
        let (is_alarmed, serves) = (now < self.alarmed_until, self.board.serves());
        let mut news = false;
        for port in &mut self.ports {
            if now >= port.due {
                let (seen, again) = port.look(&mut self.kernel, now);
                port.due = port.next_look(now, is_alarmed, serves);
                news |= self.board.write(port.id, seen, again);
            }
        }
        if news {
            ring(&self.ends.news);
        }
    }

    /// Waits for an event or the next port's turn. False: stop.
    fn wait(&mut self) -> io::Result<bool> {
        let next = self.ports.iter().map(|port| port.due).min();
        let next = next.map(|due| timespec(due.since(self.time.now())));
        let mut fds = vec![PollFd::new(&self.ends.stop, PollFlags::IN)];
        if let Some(events) = &self.events {
            fds.push(PollFd::new(events, PollFlags::IN));
        }
        match poll(&mut fds, next.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let told = |fd: Option<&PollFd<'_>>| fd.is_some_and(|fd| !fd.revents().is_empty());
        if told(fds.first()) {
            return Ok(false);
        }
        if told(fds.get(1)) {
            drop(fds);
            self.read_events();
        }
        Ok(true)
    }

    /// Reads what waits, and makes the ports it is about due; and those whose own news the kernel
    /// may hold back now.
    fn read_events(&mut self) {
        let Some(events) = &self.events else {
            return;
        };
        self.alarmed_until = self.time.now().after(ALARM);
        let late = |port: &&mut Watched| port.may_be_late;
        let at_once = |port: &mut Watched| port.due = Instant::ORIGIN;
        self.ports.iter_mut().filter(late).for_each(at_once);
        for _ in 0..EVENTS_MAX {
            let mut event = [0; EVENT_LEN];
            match recv(events, &mut event, RecvFlags::DONTWAIT) {
                Ok(_) => {
                    let index = event.get(EVENT_INDEX_AT..EVENT_INDEX_AT + 4);
                    let index = index.and_then(|bytes| bytes.try_into().ok());
                    let index = index.map_or(0, u32::from_ne_bytes);
                    // A link of another index may have a missing port's name.
                    let about = |port: &&mut Watched| port.index == index || port.index == 0;
                    self.ports.iter_mut().filter(about).for_each(Watched::hurry);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return,
                Err(rustix::io::Errno::NOBUFS) => self.ports.iter_mut().for_each(Watched::hurry),
                Err(error) => {
                    log::warn!("no link events any more, links are polled alone: {error}");
                    self.events = None;
                    return;
                }
            }
        }
    }
}

impl Kernel {
    /// The interface of a name, if there is one.
    fn link(&mut self, name: &str) -> io::Result<Option<LinkFact>> {
        match self.links.ask(rtnetlink::link_of(name)) {
            Ok(answers) => Ok(answers.iter().find_map(rtnetlink::link)),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Carrier of an interface that is set up; none if there is no such interface any more.
    fn is_up(&self, name: &str) -> Option<bool> {
        let request = self.request.as_fd();
        match raw::link_detected(request, name) {
            Ok(up) => Some(up),
            Err(error) => match error.raw_os_error() {
                Some(libc::ENODEV) => None,
                Some(libc::EOPNOTSUPP) => Some(raw::is_running(request, name).unwrap_or(false)),
                _ => Some(false),
            },
        }
    }
}

impl Watched {
    /// What the port is like now, and whether the driver is to be told even if that is no news.
    fn look(&mut self, kernel: &mut Kernel, now: Instant) -> (Seen, bool) {
        let before = self.index;
        if now >= self.identify_at {
            self.identify(kernel, now);
        }
        let mut up = self.carrier(kernel);
        if up.is_none() && self.index != 0 {
            self.identify(kernel, now);
            up = self.carrier(kernel);
        }
        let changed = self.index != before;
        if changed {
            log::info!("port {}: {}", self.name, existence(self.index));
        }
        let (up, index) = (up.unwrap_or(false), self.index);
        (Seen { up, index }, changed)
    }

    fn carrier(&self, kernel: &Kernel) -> Option<bool> {
        (self.index != 0).then(|| kernel.is_up(&self.name))?
    }

    /// Asks which interface has the port's name, and what it is like. Without an answer it is what
    /// it was, until asked again.
    fn identify(&mut self, kernel: &mut Kernel, now: Instant) {
        self.identify_at = now.after(IDENTIFY);
        let found = match kernel.link(&self.name) {
            Ok(found) => found,
            Err(error) => return log::warn!("port {}: cannot be asked for: {error}", self.name),
        };
        let Some(link) = found else {
            self.index = 0;
            return;
        };
        if link.index == self.index
            && let (Some(before), Some(now)) = (self.mac, link.mac)
            && before != now
        {
            let name = &self.name;
            log::warn!("port {name}: its address was {before} and is now {now}");
        }
        self.index = link.index;
        self.mac = link.mac.or(self.mac);
        self.may_be_late = link.iflink == link.index;
    }

    fn hurry(&mut self) {
        self.due = Instant::ORIGIN;
        self.identify_at = Instant::ORIGIN;
    }

    fn next_look(&self, now: Instant, is_alarmed: bool, serves: bool) -> Instant {
        let looks = Looks {
            direct: self.direct,
            may_be_late: self.may_be_late,
            is_alarmed,
            serves,
        };
        next_look(now, looks)
    }
}

fn existence(index: u32) -> String {
    if index == 0 {
        "its interface is missing".to_owned()
    } else {
        format!("is interface {index}")
    }
}

fn link_events() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let events = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    bind(&events, &SocketAddrNetlink::new(0, GROUP_LINKS))?;
    Ok(events)
}
