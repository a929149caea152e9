//! Who sees to it that the machine begins in the name that its role gives it (R5.3).
//!
//! A thread of its own: to forget what was begun the kernel is asked for each connection, of which
//! a gateway may have a hundred thousand, and no claim waits for that. It is told what shall be,
//! the newest counts, and makes it so; what failed is tried again each second.
//!
//! Limit: it is started with the first port that asks for it, and stays.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use log::error;
use steadfast_core::config::{Config, PortConfig};

use super::dataplane::PlaneCounters;
use super::fence::{SourcePort, SourceSpec, Sources};

/// How long until what failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// The thread, told what shall be.
pub(super) struct Speaker {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    wish: Mutex<Wish>,
    told: Condvar,
}

#[derive(Clone, Default)]
struct Wish {
    spec: SourceSpec,
    serving: bool,
    /// It was not looked at yet.
    fresh: bool,
    end: bool,
}

impl Speaker {
    /// Starts it; nothing is translated yet.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(counters: Arc<PlaneCounters>) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let own = Arc::clone(&shared);
        let thread = thread::Builder::new().name("speaker".to_owned());
        let thread = thread.spawn(move || own.serve(&counters))?;
        Ok(Self { shared, thread })
    }

    /// What the ports ask for from now on.
    pub(super) fn configure(&self, spec: SourceSpec) {
        self.tell(|wish| {
            wish.fresh |= wish.spec != spec;
            wish.spec = spec;
        });
    }

    /// Whether the machine begins in the virtual name from now on.
    pub(super) fn serve(&self, serving: bool) {
        self.tell(|wish| {
            wish.fresh |= wish.serving != serving;
            wish.serving = serving;
        });
    }

    /// Nothing is translated any more, and what was is forgotten when this returns.
    pub(super) fn end(self) {
        self.tell(|wish| (wish.fresh, wish.end) = (true, true));
        // One that has panicked translates nothing: its socket is gone, and with it the table.
        let _ = self.thread.join();
    }

    fn tell(&self, change: impl FnOnce(&mut Wish)) {
        let mut wish = self.shared.lock();
        change(&mut wish);
        if wish.fresh {
            self.shared.told.notify_one();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Wish> {
        self.wish.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, failed: bool) -> Wish {
        let mut wish = self.lock();
        while !wish.fresh {
            if failed {
                let waited = self.told.wait_timeout(wish, AGAIN);
                wish = waited.unwrap_or_else(PoisonError::into_inner).0;
                break;
            }
            let waited = self.told.wait(wish);
            wish = waited.unwrap_or_else(PoisonError::into_inner);
        }
        wish.fresh = false;
        wish.clone()
    }

    fn serve(&self, counters: &PlaneCounters) {
        let mut sources = Sources::default();
        let mut told = String::new();
        loop {
            let wish = self.next(!told.is_empty());
            let settled = if wish.end {
                sources.settle(&SourceSpec::default(), false)
            } else {
                sources.settle(&wish.spec, wish.serving)
            };
            let failed = settled
                .err()
                .map_or_else(String::new, |why| why.to_string());
            if !failed.is_empty() {
                counters.sources_refused.fetch_add(1, Ordering::Relaxed);
            }
            // It is tried again and again, and told once.
            if !failed.is_empty() && failed != told {
                error!("what this machine begins does not leave as `action` asks: {failed}");
            }
            if wish.end {
                return;
            }
            told = failed;
        }
    }
}

/// What a configuration means for what the machine begins.
pub(super) fn source_spec(config: &Config) -> SourceSpec {
    let named = |port: &PortConfig| SourcePort {
        name: port.name.clone(),
        names: port.names(),
    };
    let ports = config.ports.iter().map(named);
    let peers = config.peers.iter().flat_map(|peer| &peer.units);
    SourceSpec {
        ports: ports.filter(|port| !port.names.is_empty()).collect(),
        peers: peers.map(|(_, unit)| *unit).collect(),
        udp_port: config.carriage.port,
    }
}
