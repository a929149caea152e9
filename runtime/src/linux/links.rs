//! Carrier of the gateway's ports, by event and by poll (D18), watched by a thread of its own.
//!
//! The kernel may hold back the news of a lost carrier for a second: it does so on interfaces whose
//! index equals their link's, as network cards have it. Asking for the link state (ETHTOOL_GLINK)
//! looks at the driver and flushes what was held back; so every port is asked in turn, as often as
//! [`pace`] says. Events only make it faster: whatever one says, the port is looked at, so a lost
//! event, or a flood of them, costs a look and no truth. Asking may wait for the kernel's
//! configuration lock, hence the thread; what it sees goes over a [`CarrierBoard`], and an event
//! descriptor wakes the driver.
//!
//! "Up" means that the interface is there, is set up and has carrier. One that is missing is down,
//! and found again by its name, whatever index it then has.
//!
//! The limit: a driver without link state (some virtual ones) is taken to be up while the interface
//! is set up and running, as the kernel itself does.

mod pace;
mod watcher;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, eventfd};
use steadfast_core::PortId;
use steadfast_shell::env::{LinkEvent, Links};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::carrier::CarrierBoard;
use super::priority::take_share;
use super::raw;
use watcher::Watcher;

/// A port whose carrier is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkSpec {
    /// The port.
    pub id: PortId,
    /// The interface's name.
    pub name: String,
    /// It is a direct cable to a peer.
    pub direct: bool,
}

/// The driver's end of the watching thread; the thread ends when this is dropped.
#[derive(Debug)]
pub struct LinkWatch {
    ports: Vec<PortId>,
    board: CarrierBoard,
    news: AsyncFd<OwnedFd>,
    ends: Arc<Ends>,
    thread: Option<JoinHandle<()>>,
}

/// What both threads hold.
#[derive(Debug)]
struct Ends {
    /// Wakes the driver.
    news: OwnedFd,
    /// Wakes the watcher, so that it ends.
    stop: OwnedFd,
    /// The watcher has ended.
    over: AtomicBool,
}

impl LinkWatch {
    /// Starts to watch; each port's state is the first news of it. To be called on the driver's
    /// runtime.
    ///
    /// # Errors
    /// No descriptors or no thread can be had.
    pub fn start(ports: &[LinkSpec], board: &CarrierBoard) -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let news = eventfd(0, flags)?;
        let ends = Arc::new(Ends {
            news: news.try_clone()?,
            stop: eventfd(0, flags)?,
            over: AtomicBool::new(false),
        });
        let watcher = Watcher::new(ports, board.clone(), Arc::clone(&ends))?;
        let news = raw::register(news, Interest::READABLE)?;
        let thread = std::thread::Builder::new().name("links".to_owned());
        let thread = thread.spawn(move || {
            let _share = take_share();
            watcher.run();
        })?;
        Ok(Self {
            ports: ports.iter().map(|port| port.id).collect(),
            board: board.clone(),
            news,
            ends,
            thread: Some(thread),
        })
    }

    fn take_news(&self) -> Option<LinkEvent> {
        let news = |port: &PortId| self.board.take_news(*port).map(|seen| (*port, seen));
        let (port, seen) = self.ports.iter().find_map(news)?;
        let up = seen.up;
        Some(LinkEvent { port, up })
    }
}

impl Links for LinkWatch {
    async fn changed(&mut self) -> io::Result<LinkEvent> {
        loop {
            if let Some(event) = self.take_news() {
                return Ok(event);
            }
            if self.ends.over.load(Ordering::Acquire) {
                return Err(io::Error::other("links are not watched any more"));
            }
            let mut ready = self.news.readable().await?;
            // The count is taken before the board is read: what comes later counts again.
            let taken = ready.try_io(|news| Ok(rustix::io::read(news, &mut [0; 8])?));
            if let Ok(taken) = taken {
                taken?;
            }
        }
    }
}

impl Drop for LinkWatch {
    fn drop(&mut self) {
        ring(&self.ends.stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the thread that watches links had panicked");
        }
    }
}

/// Wakes who waits on an event descriptor. It only fails when 2^64 - 1 calls were not read.
fn ring(bell: &OwnedFd) {
    if let Err(error) = rustix::io::write(bell, &1_u64.to_ne_bytes()) {
        log::debug!("failed to wake the other thread: {error}");
    }
}
