//! The thread that looks at ports: when one is due, when the kernel tells of a link, until told to
//! stop.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::netdevice::name_to_index;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use rustix::time::Timespec;
use steadfast_core::{Instant, MacAddr, PortId};

use super::{Ends, LinkSpec, POLL, POLL_DIRECT, ring};
use crate::linux::carrier::{CarrierBoard, Seen};
use crate::linux::clock::Monotonic;
use crate::linux::raw;

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
    /// Asks about interfaces.
    request: OwnedFd,
    /// Tells of changes; none if the kernel refused it, then the poll has to do.
    events: Option<OwnedFd>,
    time: Monotonic,
}

struct Watched {
    id: PortId,
    name: String,
    every: Duration,
    due: Instant,
    index: u32,
    mac: Option<MacAddr>,
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
            every: if spec.direct { POLL_DIRECT } else { POLL },
            due: Instant::ORIGIN,
            index: 0,
            mac: None,
        };
        let events = link_events();
        if let Err(error) = &events {
            log::warn!("no link events, links are polled alone: {error}");
        }
        Ok(Self {
            ports: specs.iter().map(watched).collect(),
            board,
            ends,
            request: raw::request_socket()?,
            events: events.ok(),
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

    /// Looks at every port whose time has come, and tells the driver what is new. Those whose time
    /// is near are looked at as well, and from then on in one go: waking costs more than looking.
    fn look_at_due(&mut self) {
        let now = self.time.now();
        let mut news = false;
        for port in &mut self.ports {
            if now.after(port.every / 4) >= port.due {
                port.due = now.after(port.every);
                let (seen, again) = port.look(&self.request);
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

    /// Reads what waits, and makes the ports it is about due.
    fn read_events(&mut self) {
        let Some(events) = &self.events else {
            return;
        };
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

impl Watched {
    /// What the port is like now, and whether the driver is to be told even if that is no news.
    fn look(&mut self, request: &OwnedFd) -> (Seen, bool) {
        let index = name_to_index(request, &self.name).unwrap_or(0);
        let up = index != 0 && is_up(request, &self.name);
        let mac = raw::hardware(request.as_fd(), &self.name).ok();
        let mac = mac.map(|(_, mac)| mac);
        let changed = index != self.index;
        if changed {
            log::info!("port {}: {}", self.name, existence(index));
        } else if let (Some(before), Some(now)) = (self.mac, mac)
            && before != now
        {
            let name = &self.name;
            log::warn!("port {name}: its address was {before} and is now {now}");
        }
        self.index = index;
        self.mac = mac.or(self.mac);
        (Seen { up, index }, changed)
    }

    fn hurry(&mut self) {
        self.due = Instant::ORIGIN;
    }
}

fn is_up(request: &OwnedFd, name: &str) -> bool {
    match raw::link_detected(request.as_fd(), name) {
        Ok(up) => up,
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            raw::is_running(request.as_fd(), name).unwrap_or(false)
        }
        Err(_) => false,
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

fn timespec(wait: Duration) -> Timespec {
    Timespec {
        tv_sec: wait.as_secs().cast_signed(),
        tv_nsec: wait.subsec_nanos().into(),
    }
}
