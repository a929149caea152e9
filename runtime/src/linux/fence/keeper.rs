//! The keeper: a small process that shares the socket which owns the fence.
//!
//! The kernel removes an owned table when its owning socket closes. So that the fence outlives a
//! killed daemon, a child holds a second reference to the same socket and does nothing else. A
//! new daemon asks it, over a Unix socket in the runtime folder, for the socket, and replaces it
//! by a keeper of its own; told to leave, it leaves.
//!
//! It is the daemon's own binary, run again with a hidden argument, so there is nothing more to
//! install. It gets its two sockets as standard input and output: no other descriptor, no
//! environment, no terminal, no port.
//!
//! The hard case is a service manager that ends the whole group of a failed service: the keeper
//! must be spared (`KillMode=process`), or the kernel must let tables persist (Linux 6.9).
//! Limit: one client at a time, each with a second to speak.

use std::ffi::OsStr;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;
use std::{fs, thread};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use crate::linux::credentials::peer_credentials;

/// The hidden argument: `steadfastd keeper` runs [`keeper_main`].
pub const KEEPER_ARGUMENT: &str = "keeper";

const SOCKET_NAME: &str = "keeper.sock";
/// Longest wait for the other side's word; beyond it the talk ends.
const WORD_WAIT: Duration = Duration::from_secs(1);
/// How long after a failed accept the keeper tries again, for as long as it holds the fence.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
const GIVE: u8 = b'g';
const LEAVE: u8 = b'l';
/// Bytes of a namespace's name: device and inode.
const NAMESPACE_LEN: usize = 16;

/// Runs the keeper until it is told to leave. Standard input is the owning socket, standard
/// output the socket it listens on. To be called first in `main`, before anything is opened:
/// every other descriptor is closed.
pub fn keeper_main() -> ExitCode {
    // Inherited descriptors would keep somebody's files and ports open for as long as the fence
    // stands; where they cannot be closed the fence is still worth more.
    let _ = super::sys::close_inherited(3);
    let held = io::stdin().as_fd().try_clone_to_owned();
    let listener = io::stdout().as_fd().try_clone_to_owned();
    let (Ok(held), Ok(listener)) = (held, listener) else {
        return ExitCode::FAILURE;
    };
    let listener = UnixListener::from(listener);
    let Ok(namespace) = namespace() else {
        return ExitCode::FAILURE;
    };
    loop {
        match listener.accept() {
            Ok((client, _)) => {
                if is_trusted(&client) && serve(&client, held.as_fd(), namespace) {
                    return ExitCode::SUCCESS;
                }
            }
            Err(_) => thread::sleep(ACCEPT_PAUSE),
        }
    }
}

/// Whether the client told the keeper to leave.
fn serve(client: &UnixStream, held: BorrowedFd<'_>, namespace: [u8; NAMESPACE_LEN]) -> bool {
    let _ = client.set_read_timeout(Some(WORD_WAIT));
    let _ = client.set_write_timeout(Some(WORD_WAIT));
    let (mut reader, mut word) = (client, [0]);
    // Give, then leave: no client has more to say.
    for _ in 0..2 {
        if reader.read_exact(&mut word).is_err() {
            return false;
        }
        match word[0] {
            GIVE => {
                if give(client, held, namespace).is_err() {
                    return false;
                }
            }
            LEAVE => {
                let _ = (&*client).write_all(&word);
                return true;
            }
            _ => return false,
        }
    }
    false
}

fn give(
    client: &UnixStream,
    held: BorrowedFd<'_>,
    namespace: [u8; NAMESPACE_LEN],
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [held];
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    let words = [IoSlice::new(&namespace)];
    rustix::net::sendmsg(client, &words, &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Only root and the keeper's own user may have the socket.
fn is_trusted(client: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    peer_credentials(client.as_fd()).is_ok_and(|peer| peer.uid == 0 || peer.uid == own)
}

/// The daemon's hold on its keeper.
#[derive(Debug)]
pub(super) struct Keeper {
    child: Child,
    path: PathBuf,
}

impl Keeper {
    /// Starts a keeper for the socket. The path is the new keeper's from then on.
    pub(super) fn start(program: &OsStr, folder: &Path, held: BorrowedFd<'_>) -> io::Result<Self> {
        let path = folder.join(SOCKET_NAME);
        forget_at(&path)?;
        let listener = UnixListener::bind(&path)?;
        let child = Command::new(program)
            .arg(KEEPER_ARGUMENT)
            .env_clear()
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::from(held.try_clone_to_owned()?))
            .stdout(Stdio::from(OwnedFd::from(listener)))
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { child, path })
    }

    /// The keeper's process number.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Tells the keeper to leave and waits until it has. One whose socket somebody removed, or
    /// whom somebody else has just told to leave (`unfence` beside the daemon), is gone as well.
    pub(super) fn dismiss(mut self) -> io::Result<()> {
        if self.is_running() {
            let former = Former::find_at(&self.path).ok().flatten();
            if former.is_none_or(|former| former.dismiss().is_err()) {
                self.child.kill()?;
            }
            self.child.wait()?;
        }
        forget_at(&self.path)
    }
}

/// The keeper of an earlier life.
#[derive(Debug)]
pub(super) struct Former(UnixStream);

impl Former {
    /// The keeper in this folder; none if nobody listens there.
    pub(super) fn find(folder: &Path) -> io::Result<Option<Self>> {
        Self::find_at(&folder.join(SOCKET_NAME))
    }

    /// Removes the socket that a dismissed keeper leaves, when none comes after it.
    pub(super) fn forget(folder: &Path) -> io::Result<()> {
        forget_at(&folder.join(SOCKET_NAME))
    }

    fn find_at(path: &Path) -> io::Result<Option<Self>> {
        match UnixStream::connect(path) {
            Ok(stream) => {
                stream.set_read_timeout(Some(WORD_WAIT))?;
                stream.set_write_timeout(Some(WORD_WAIT))?;
                Ok(Some(Self(stream)))
            }
            Err(why) => match why.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
                _ => Err(why),
            },
        }
    }

    /// The socket it holds; none if it lives in another network namespace.
    pub(super) fn socket(&self) -> io::Result<Option<OwnedFd>> {
        (&self.0).write_all(&[GIVE])?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut name = [0; NAMESPACE_LEN];
        let read = rustix::net::recvmsg(
            &self.0,
            &mut [IoSliceMut::new(&mut name)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        let socket = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        let is_here = read.bytes == NAMESPACE_LEN && name == namespace()?;
        Ok(socket.filter(|_| is_here))
    }

    /// Tells it to leave and hears that it does.
    pub(super) fn dismiss(&self) -> io::Result<()> {
        (&self.0).write_all(&[LEAVE])?;
        (&self.0).read_exact(&mut [0])
    }
}

/// Removes a keeper's socket; one that is not there is no error.
fn forget_at(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Which network namespace this thread is in.
fn namespace() -> io::Result<[u8; NAMESPACE_LEN]> {
    let file = fs::metadata("/proc/thread-self/ns/net")?;
    let mut name = [0; NAMESPACE_LEN];
    name[..8].copy_from_slice(&file.dev().to_ne_bytes());
    name[8..].copy_from_slice(&file.ino().to_ne_bytes());
    Ok(name)
}
