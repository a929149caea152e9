//! The control socket: bound safely, served within bounds, each peer known by its credentials.
//!
//! A daemon that was killed leaves its socket behind, and one that lives must not lose it to a
//! second start. So the path is connected to first: who answers lives, and is named; a refusal
//! means that nobody holds the socket, and it is removed. What is no socket is never removed. A
//! lock beside the socket keeps two starts from doing this at once.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::net;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use rustix::fs::FlockOperation;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

use super::{CONNECTIONS_MAX, Settings};
use crate::linux::credentials::{Credentials, peer_credentials, peer_groups};

/// After a failed accept (no descriptors left), before the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the control socket cannot be had.
#[derive(Debug, Error)]
pub enum BindError {
    /// A daemon listens there.
    #[error("failed to start: process {pid} already serves {path}; stop it first")]
    Alive {
        /// Its process id; 0 if it is in another process namespace.
        pid: i32,
        /// The socket.
        path: PathBuf,
    },
    /// Something else is in the way.
    #[error("failed to bind {0}: it exists and is no socket; remove it by hand")]
    NoSocket(PathBuf),
    /// The operating system refuses.
    #[error("failed to bind {path}: {why}")]
    Refused {
        /// The socket.
        path: PathBuf,
        /// The reason.
        why: io::Error,
    },
    /// Another start holds the lock.
    #[error("failed to bind {0}: another start is under way; try again")]
    Starting(PathBuf),
}

/// A bound control socket; removed when dropped, if it is still this one.
#[derive(Debug)]
pub struct Bound {
    settings: Settings,
    listener: net::UnixListener,
    identity: (u64, u64),
}

/// Who may command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rights {
    pub(super) own: u32,
    pub(super) group: Option<u32>,
}

/// The other end of a connection, as it was when it connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) uid: u32,
    pub(super) pid: i32,
    /// Its main group and its supplementary ones.
    pub(super) groups: Vec<u32>,
}

impl Peer {
    /// A peer the kernel does not name is nobody.
    fn of(stream: &UnixStream) -> Self {
        match peer_credentials(stream.as_fd()) {
            Ok(Credentials { uid, gid, pid }) => {
                let mut groups = peer_groups(stream.as_fd()).unwrap_or_default();
                groups.push(gid);
                Self { uid, pid, groups }
            }
            Err(_) => Self {
                uid: u32::MAX,
                pid: 0,
                groups: Vec::new(),
            },
        }
    }

    pub(super) fn may_command(&self, rights: Rights) -> bool {
        let member = rights
            .group
            .is_some_and(|group| self.groups.contains(&group));
        self.uid == 0 || self.uid == rights.own || member
    }
}

impl Bound {
    /// Binds the socket of `settings`.
    ///
    /// # Errors
    /// A daemon listens there, something else is in the way, or the operating system refuses.
    pub fn new(settings: Settings) -> Result<Self, BindError> {
        let path = settings.socket.clone();
        let refused = |why: io::Error| BindError::Refused {
            path: path.clone(),
            why,
        };
        let _lock = lock(&path)?;
        clear(&path)?;
        let listener = net::UnixListener::bind(&path).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        if let Some(group) = settings.group {
            chown(&path, None, Some(group)).map_err(refused)?;
        }
        fs::set_permissions(&path, Permissions::from_mode(0o660)).map_err(refused)?;
        let facts = fs::symlink_metadata(&path).map_err(refused)?;
        Ok(Self {
            identity: (facts.dev(), facts.ino()),
            settings,
            listener,
        })
    }

    pub(super) const fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn rights(&self) -> Rights {
        Rights {
            own: rustix::process::geteuid().as_raw(),
            group: self.settings.group,
        }
    }

    /// The socket for the runtime that calls.
    pub(super) fn listen(&self) -> io::Result<Gate> {
        Ok(Gate {
            listener: UnixListener::from_std(self.listener.try_clone()?)?,
            places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            connection_wait: self.settings.connection_wait,
        })
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let path = &self.settings.socket;
        let facts = fs::symlink_metadata(path);
        if facts.is_ok_and(|facts| (facts.dev(), facts.ino()) == self.identity) {
            // If it cannot be removed, the next start finds it stale.
            let _ = fs::remove_file(path);
        }
    }
}

fn lock(path: &Path) -> Result<File, BindError> {
    let refused = |why: io::Error| BindError::Refused {
        path: path.to_owned(),
        why,
    };
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(name)
        .map_err(refused)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(BindError::Starting(path.to_owned())),
        Err(why) => Err(refused(why.into())),
    }
}

/// Removes a socket nobody listens to; see the module's doc.
fn clear(path: &Path) -> Result<(), BindError> {
    let refused = |why: io::Error| BindError::Refused {
        path: path.to_owned(),
        why,
    };
    match fs::symlink_metadata(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(why) => return Err(refused(why)),
        Ok(facts) if !facts.file_type().is_socket() => {
            return Err(BindError::NoSocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match net::UnixStream::connect(path) {
        Ok(stream) => Err(BindError::Alive {
            pid: peer_credentials(stream.as_fd()).map_or(0, |peer| peer.pid),
            path: path.to_owned(),
        }),
        Err(why) if why.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(refused)
        }
        Err(why) => Err(refused(why)),
    }
}

/// The socket, letting in so many at a time.
pub(super) struct Gate {
    listener: UnixListener,
    places: Arc<Semaphore>,
    connection_wait: Duration,
}

impl Listener for Gate {
    type Io = Guarded;
    type Addr = Peer;

    async fn accept(&mut self) -> (Guarded, Peer) {
        loop {
            let place = Arc::clone(&self.places).acquire_owned().await.ok();
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let peer = Peer::of(&stream);
                    let deadline = Box::pin(tokio::time::sleep(self.connection_wait));
                    let guarded = Guarded {
                        stream,
                        deadline,
                        _place: place,
                    };
                    return (guarded, peer);
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }
}

impl Connected<IncomingStream<'_, Gate>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Gate>) -> Self {
        stream.remote_addr().clone()
    }
}

/// A connection that ends at its deadline, so that idle ones do not keep others out.
pub(super) struct Guarded {
    stream: UnixStream,
    deadline: Pin<Box<Sleep>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Guarded {
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::Error::from(io::ErrorKind::TimedOut)),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_deadline(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_deadline(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
