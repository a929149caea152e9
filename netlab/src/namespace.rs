//! A network namespace of the lab, and how to do something inside it.
//!
//! A thread stands in exactly one network namespace, and a socket stays for ever in the one it was
//! opened in. So whoever needs a socket elsewhere opens it in [`Namespace::run`], on a thread of
//! its own that ends afterwards, and uses it anywhere. Nothing else ever moves between namespaces:
//! a thread that came back by mistake to the wrong one cannot exist.
//!
//! The hard case is a closure that panics: its thread takes the wrong namespace with it into the
//! grave and the panic goes on in the caller. The limit: a run costs a thread (some 50 us).

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::thread;

use netns_rs::{Env, NetNs};
use rustix::mount::{UnmountFlags, unmount};

use crate::error::{Doing, LabError};

/// A network namespace that has a name under `/run/netns` of this lab. Dropping removes the name;
/// the kernel frees the rest when the last socket and process are gone.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    net: NetNs<Place>,
}

impl Namespace {
    /// Makes a new one, with nothing in it but a loopback that is down.
    ///
    /// # Errors
    /// What the kernel says: usually that we are not inside a lab.
    pub fn create(name: &str) -> Result<Self, LabError> {
        let net = NetNs::new_with_env(name, Place).map_err(io::Error::other);
        Ok(Self {
            name: name.to_owned(),
            net: net.doing(|| format!("make the namespace {name}"))?,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs this inside and gives back what it returns: for opening sockets.
    ///
    /// # Errors
    /// When no thread can be had, or it is not allowed inside.
    ///
    /// # Panics
    /// When `work` does.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        let inside = || -> io::Result<T> {
            self.enter_for_good()?;
            Ok(work())
        };
        let outcome = thread::scope(|scope| {
            let thread = thread::Builder::new().name(self.name.clone());
            let handle = thread.spawn_scoped(scope, inside)?;
            match handle.join() {
                Ok(outcome) => outcome,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        });
        outcome.doing(|| format!("work inside the namespace {}", self.name))
    }

    /// A way in for a thread elsewhere, which it may take once, for the rest of its life.
    ///
    /// # Errors
    /// When no more files can be opened.
    pub fn door(&self) -> io::Result<Box<dyn FnOnce() -> io::Result<()> + Send>> {
        let file = self.as_fd().try_clone_to_owned()?;
        Ok(Box::new(move || {
            let kind = Some(rustix::thread::LinkNameSpaceType::Network);
            Ok(rustix::thread::move_into_link_name_space(
                file.as_fd(),
                kind,
            )?)
        }))
    }

    /// Moves the calling thread inside, for the rest of its life. For threads that live there;
    /// everybody else wants [`Namespace::run`].
    ///
    /// # Errors
    /// When it is not allowed.
    pub fn enter_for_good(&self) -> io::Result<()> {
        self.net.enter().map_err(io::Error::other)
    }
}

impl AsFd for Namespace {
    /// What moves interfaces and processes into it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.net.file().as_fd()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A name that cannot be removed now ends with the lab's mounts.
        let _ = unmount(self.net.path(), UnmountFlags::DETACH);
        let _ = fs::remove_file(self.net.path());
    }
}

/// Where the names stand: the lab's own `/run`, never the host's.
#[derive(Debug)]
struct Place;

impl Env for Place {
    fn persist_dir(&self) -> PathBuf {
        PathBuf::from("/run/netns")
    }
}
