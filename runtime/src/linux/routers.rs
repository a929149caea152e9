//! The kernel as virtual routers need it (D9, D19), on a thread of its own: leases, addresses, and
//! membership of VRRP's groups.
//!
//! As with a node's dataplane the driver's thread takes no lock of the kernel's. On the way up the
//! lease goes first and the addresses after it; on the way down the lease, since without it they
//! are silent at once. Each second the fence is looked at, addresses that somebody removed are put
//! back, what could not be removed is tried again, and groups are joined anew where an interface
//! has become another one.
//!
//! The hard case is a loss that nobody asked about: leases that went with a damaged fence,
//! addresses that cannot be put back. The driver is told as if it had asked ([`Wish::Look`]), so
//! that no router goes on saying that it serves.
//!
//! Membership is what makes a switch that snoops pass advertisements on: the packet sockets that
//! hear them tell no switch. The limit: the reports themselves are the kernel's.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use log::{error, info, warn};
use socket2::{Domain, InterfaceIndexOrAddress, Socket, Type};
use steadfast_core::MacAddr;
use steadfast_core::effect::Failure;
use steadfast_core::wire::vrrp::{GROUP, GROUP6, macs};
use steadfast_shell::vrrp::{Done, RouterPlane, Wish};
use tokio::sync::mpsc;
use tokio::sync::oneshot;

use super::addresses::{Addresses, VirtualAddress};
use super::fence::{Health, RouterFence};
use super::interfaces::{Interface, interfaces};
use super::macvlan;
use super::priority::take_share;

/// How long a claim waits for IPv6 addresses to take packets in: a part of the first lease.
const USABLE_WITHIN: Duration = Duration::from_millis(5);

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
    /// The link's own station, as its announcements name it.
    pub mac: MacAddr,
    /// Over IPv6.
    pub ipv6: bool,
    /// The router's number, if it has a station of its own: its addresses live on a device of that.
    pub station: Option<u8>,
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
        // There may be no room for it yet; a thread that is gone has nothing left to give back.
        let asking = tokio::task::spawn_blocking(move || self.0.send(Asked::End(done)));
        if let Ok(Ok(())) = asking.await {
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
            serving: vec![None; routers.len()],
            owed: vec![false; routers.len()],
            indexes: vec![0; routers.len()],
            made: BTreeSet::new(),
            routers,
            members: BTreeMap::new(),
        };
        plane.settle();
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
    /// Which wish made a router serve, if it does.
    serving: Vec<Option<u64>>,
    /// Whose addresses could not be removed.
    owed: Vec<bool>,
    /// Where each router's addresses live, by number, as it was last seen; 0 if it is missing.
    indexes: Vec<u32>,
    /// Devices that were made here, by number.
    made: BTreeSet<u32>,
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
                    let outcome = self.carry_out(router, turn, wish);
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
                Err(RecvTimeoutError::Disconnected) => {
                    self.end();
                    return;
                }
            }
            if Instant::now() >= look_at {
                look_at = Instant::now() + LOOK_EVERY;
                for done in self.look() {
                    let _ = answers.blocking_send(done);
                }
            }
        }
    }

    fn carry_out(&mut self, router: usize, turn: u64, wish: Wish) -> Result<(), Failure> {
        match wish {
            Wish::Look => match self.fence.lease_left(router) {
                Ok(Some(_)) => Ok(()),
                Ok(None) => Err(Failure::LeaseLapsed),
                Err(why) => {
                    error!("failed to look for a lease: {why}");
                    Err(Failure::Refused)
                }
            },
            Wish::Serve => self.begin(router, turn),
            Wish::Withdraw => self.withdraw(router),
        }
    }

    fn begin(&mut self, router: usize, turn: u64) -> Result<(), Failure> {
        let before = self.indexes[router];
        self.settle();
        if self.indexes[router] == 0 {
            error!(
                "{}: there is nowhere to serve",
                self.routers[router].interface
            );
            return Err(Failure::Refused);
        }
        if self.indexes[router] != before {
            // The kernel took the fence of the former interface with it.
            self.check_fence();
        }
        if let Err(why) = self.fence.arm(router) {
            error!("failed to arm a lease: {why}");
            return Err(Failure::Refused);
        }
        // What an earlier end still owes is not to be paid from this claim.
        self.owed[router] = false;
        self.serving[router] = Some(turn);
        if let Err(why) = self.hold(router) {
            error!("failed to add the virtual addresses: {why}");
            // It is refused already; what is left is tried again.
            let _ = self.withdraw(router);
            return Err(Failure::Refused);
        }
        // Whoever is told of an address sends to it at once. A late one mends itself.
        let places = self.places(router);
        if let Err(why) = self.addresses.await_usable(&places, USABLE_WITHIN) {
            error!("failed to look whether the virtual addresses are usable: {why}");
        }
        Ok(())
    }

    fn withdraw(&mut self, router: usize) -> Result<(), Failure> {
        self.serving[router] = None;
        let fenced = self.fence.close(router).map_err(|why| why.to_string());
        let places = self.places(router);
        let gone = self.addresses.remove_all(&places);
        let outcome = fenced.and(gone.map_err(|why| why.to_string()));
        self.owed[router] = outcome.is_err();
        outcome.map_err(|why| {
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
    /// Gives back what is lost, for those who believe that they serve.
    fn look(&mut self) -> Vec<Done> {
        self.settle();
        let unleased = self.check_fence();
        let mut lost = Vec::new();
        for router in 0..self.routers.len() {
            if self.owed[router] {
                // It is told to the log, and tried again in a second.
                let _ = self.withdraw(router);
            }
            let Some(turn) = self.serving[router] else {
                continue;
            };
            let held = self.hold(router);
            if let Err(why) = &held {
                error!("failed to restore the virtual addresses: {why}");
            }
            if unleased || held.is_err() || self.indexes[router] == 0 {
                lost.push(Done {
                    router,
                    turn,
                    wish: Wish::Look,
                    outcome: Err(Failure::LeaseLapsed),
                });
            }
        }
        lost
    }

    /// Whether every lease is gone, since the fence had to be built anew.
    fn check_fence(&mut self) -> bool {
        match self.fence.check() {
            Health::Whole => false,
            Health::Repaired(what) => {
                error!("the fence was damaged and is set up again: {what}");
                true
            }
            Health::Missing(why) => {
                error!("the fence is gone: {why}");
                true
            }
        }
    }

    /// Where everything lives now, and whether VRRP is heard there.
    fn settle(&mut self) {
        match interfaces() {
            Ok(there) => self.settle_on(&there),
            Err(why) => error!("failed to look at the interfaces: {why}"),
        }
    }

    fn settle_on(&mut self, there: &[Interface]) {
        for (held, known) in self.routers.iter().zip(&mut self.indexes) {
            let Some(link) = there.iter().find(|it| it.name == held.interface) else {
                *known = 0;
                continue;
            };
            *known = link.index;
            if held.station.is_none() && link.mac != Some(held.mac) {
                *known = 0;
                let (name, mac) = (&held.interface, held.mac);
                error!("{name}: it is another station than {mac}: restart to speak as that one");
                continue;
            }
            if let Some(virtual_id) = held.station {
                let name = macvlan::name(virtual_id, held.ipv6, link.index);
                let (mac, _) = macs(virtual_id, held.ipv6);
                match macvlan::ensure(&name, link, (mac, held.ipv6), there) {
                    Ok(index) => {
                        *known = index;
                        self.made.insert(index);
                    }
                    Err(why) => {
                        *known = 0;
                        error!("{name}: {why}");
                    }
                }
            }
            let key = (link.index, held.ipv6);
            if self.members.contains_key(&key) {
                continue;
            }
            match join(link.index, held.ipv6) {
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

    /// Gives everything back. The fence stays where an address does, which is silent behind it.
    /// Also where a link that is another station by now has one: nobody serves there, and the fence
    /// alone kept it silent.
    fn end(mut self) {
        let swept = self.addresses.sweep();
        let stays = swept.is_err();
        if let Err(why) = swept {
            error!("failed to withdraw the virtual addresses: {why}");
        }
        for index in &self.made {
            if let Err(why) = macvlan::remove(*index) {
                error!("{why}");
            }
        }
        if stays {
            error!("the fence stays with them: see `steadfastctl unfence`");
            return;
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
