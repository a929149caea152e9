//! The kernel as virtual routers need it (D9, D19), on a thread of its own: leases, addresses, and
//! membership of VRRP's groups.
//!
//! As with a node's dataplane the driver's thread takes no lock of the kernel's. On the way up the
//! lease goes first and the addresses after it; on the way down the lease, since without it they
//! are silent at once. Each second the fence is looked at, addresses that somebody removed are put
//! back, and groups are joined anew where an interface has become another one.
//!
//! Membership is what makes a switch that snoops pass advertisements on: the packet sockets that
//! hear them tell no switch. The limit: the reports themselves are the kernel's.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use log::{error, info, warn};
use socket2::{Domain, InterfaceIndexOrAddress, Socket, Type};
use steadfast_core::effect::Failure;
use steadfast_core::wire::vrrp::{GROUP, GROUP6};
use steadfast_shell::vrrp::{Done, RouterPlane, Wish};
use tokio::sync::mpsc;
use tokio::sync::oneshot;

use super::addresses::{Addresses, VirtualAddress};
use super::fence::{Health, RouterFence};
use super::interfaces::{Interface, interfaces};
use super::priority::take_share;

/// Wishes on their way to the thread: some for each router of the largest file. A further one is
/// refused.
const WISHES_MAX: usize = 256;
/// Answers on their way back; the thread waits for room.
const DONE_MAX: usize = 256;
/// How often the kernel is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A router's addresses and where they belong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The link's name.
    pub interface: String,
    /// Over IPv6.
    pub ipv6: bool,
    /// The addresses to add and remove: none that is the machine's own.
    pub addresses: Vec<IpAddr>,
}

enum Asked {
    Wish(usize, u64, Wish),
    End(oneshot::Sender<()>),
}

/// The driver's end.
pub struct KernelRouters {
    asked: SyncSender<Asked>,
    done: mpsc::Receiver<Done>,
}

/// Gives everything back: for the daemon's end.
#[derive(Clone)]
pub struct UndoRouters(SyncSender<Asked>);

impl UndoRouters {
    /// Withdraws addresses and fence. Returns when it is done, or when the thread is gone.
    pub async fn all(self) {
        let (done, ended) = oneshot::channel();
        if self.0.try_send(Asked::End(done)).is_ok() {
            // A thread that is gone has nothing left to give back.
            let _ = ended.await;
        }
    }
}

impl KernelRouters {
    /// Starts the thread around an installed fence, whose routers are these, in the same order.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(fence: RouterFence, addresses: Addresses, routers: Vec<Held>) -> io::Result<Self> {
        let (asked, received) = sync_channel(WISHES_MAX);
        let (answers, done) = mpsc::channel(DONE_MAX);
        let mut plane = Plane {
            fence,
            addresses,
            serving: vec![false; routers.len()],
            indexes: vec![0; routers.len()],
            routers,
            members: BTreeMap::new(),
        };
        plane.look();
        let body = move || {
            let _share = take_share();
            plane.serve(&received, &answers);
        };
        thread::Builder::new()
            .name("dataplane".to_owned())
            .spawn(body)?;
        Ok(Self { asked, done })
    }

    /// For the end.
    pub fn undo(&self) -> UndoRouters {
        UndoRouters(self.asked.clone())
    }
}

impl RouterPlane for KernelRouters {
    fn wish(&mut self, router: usize, turn: u64, wish: Wish) -> bool {
        self.asked.try_send(Asked::Wish(router, turn, wish)).is_ok()
    }

    async fn done(&mut self) -> io::Result<Done> {
        let ended = || io::Error::other("the dataplane's thread ended");
        self.done.recv().await.ok_or_else(ended)
    }
}

/// The thread's own.
struct Plane {
    fence: RouterFence,
    addresses: Addresses,
    routers: Vec<Held>,
    serving: Vec<bool>,
    /// Each router's interface by number, as it was last seen; 0 if it is missing.
    indexes: Vec<u32>,
    /// By interface and family; a membership lasts as long as its socket.
    members: BTreeMap<(u32, bool), UdpSocket>,
}

impl Plane {
    fn serve(mut self, asked: &Receiver<Asked>, answers: &mpsc::Sender<Done>) {
        let mut look_at = Instant::now() + LOOK_EVERY;
        loop {
            let left = look_at.saturating_duration_since(Instant::now());
            match asked.recv_timeout(left) {
                Ok(Asked::Wish(router, turn, wish)) => {
                    let outcome = self.carry_out(router, wish);
                    let done = Done {
                        router,
                        turn,
                        wish,
                        outcome,
                    };
                    // A driver that is gone waits for no answer.
                    let _ = answers.blocking_send(done);
                }
                Ok(Asked::End(done)) => {
                    self.end();
                    let _ = done.send(());
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if Instant::now() >= look_at {
                look_at = Instant::now() + LOOK_EVERY;
                self.look();
            }
        }
    }

    fn carry_out(&mut self, router: usize, wish: Wish) -> Result<(), Failure> {
        match wish {
            Wish::Look => match self.fence.lease_left(router) {
                Ok(Some(_)) => Ok(()),
                Ok(None) => Err(Failure::LeaseLapsed),
                Err(why) => {
                    error!("failed to look for a lease: {why}");
                    Err(Failure::Refused)
                }
            },
            Wish::Serve => self.begin(router),
            Wish::Withdraw => self.withdraw(router),
        }
    }

    fn begin(&mut self, router: usize) -> Result<(), Failure> {
        if let Err(why) = self.fence.arm(router) {
            error!("failed to arm a lease: {why}");
            return Err(Failure::Refused);
        }
        self.serving[router] = true;
        if let Err(why) = self.hold(router) {
            error!("failed to add the virtual addresses: {why}");
            // It is refused already; what is left ends with its lease.
            let _ = self.withdraw(router);
            return Err(Failure::Refused);
        }
        Ok(())
    }

    fn withdraw(&mut self, router: usize) -> Result<(), Failure> {
        self.serving[router] = false;
        let fenced = self.fence.close(router).map_err(|why| why.to_string());
        let places = self.places(router);
        let gone = self.addresses.remove_all(&places);
        fenced
            .and(gone.map_err(|why| why.to_string()))
            .map_err(|why| {
                error!("failed to withdraw: {why}");
                Failure::Refused
            })
    }

    fn hold(&mut self, router: usize) -> Result<(), String> {
        let places = self.places(router);
        let added = self.addresses.add_all(&places);
        added.map_err(|why| why.to_string())
    }

    /// Where a router's addresses live; nowhere while its interface is missing.
    fn places(&self, router: usize) -> Vec<VirtualAddress> {
        let index = self.indexes[router];
        let held = self.routers[router].addresses.iter();
        held.filter(|_| index != 0)
            .map(|address| VirtualAddress {
                index,
                address: *address,
            })
            .collect()
    }

    /// Looks at interfaces, groups, addresses and fence, and mends what is not as it should be.
    fn look(&mut self) {
        match interfaces() {
            Ok(there) => self.settle(&there),
            Err(why) => error!("failed to look at the interfaces: {why}"),
        }
        match self.fence.check() {
            Health::Whole => {}
            Health::Repaired(what) => {
                error!("the fence was damaged and is set up again: {what}");
            }
            Health::Missing(why) => error!("the fence is gone: {why}"),
        }
        for router in 0..self.routers.len() {
            if self.serving[router]
                && let Err(why) = self.hold(router)
            {
                error!("failed to restore the virtual addresses: {why}");
            }
        }
    }

    fn settle(&mut self, there: &[Interface]) {
        for (held, known) in self.routers.iter().zip(&mut self.indexes) {
            let found = there.iter().find(|it| it.name == held.interface);
            *known = found.map_or(0, |it| it.index);
            let key = (*known, held.ipv6);
            if *known == 0 || self.members.contains_key(&key) {
                continue;
            }
            match join(*known, held.ipv6) {
                Ok(member) => {
                    self.members.insert(key, member);
                }
                Err(why) => {
                    let name = &held.interface;
                    warn!("{name}: failed to join VRRP's group, a switch may keep it back: {why}");
                }
            }
        }
        let there: Vec<u32> = there.iter().map(|it| it.index).collect();
        self.members.retain(|(index, _), _| there.contains(index));
    }

    fn end(mut self) {
        for router in 0..self.routers.len() {
            let places = self.places(router);
            if let Err(why) = self.addresses.remove_all(&places) {
                error!("failed to withdraw the virtual addresses: {why}");
            }
        }
        match self.fence.unfence() {
            Ok(()) => info!("the fence is removed"),
            Err(why) => error!("failed to remove the fence: {why}"),
        }
    }
}

/// Joins VRRP's group on an interface, for as long as the socket lives. It hears nothing.
fn join(index: u32, ipv6: bool) -> io::Result<UdpSocket> {
    if ipv6 {
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
        socket.join_multicast_v6(&GROUP6, index)?;
        return Ok(socket);
    }
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    let from = std::net::SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    socket.bind(&from.into())?;
    socket.join_multicast_v4_n(&GROUP, &InterfaceIndexOrAddress::Index(index))?;
    Ok(socket.into())
}
