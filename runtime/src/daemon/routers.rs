//! The daemon of virtual routers: from a file of `[[vrrp]]` tables to machines that run.
//!
//! As with a node's daemon everything that may refuse comes first, then what an earlier life left
//! behind goes, then the threads come, and the driver last, on this thread, with precedence. It
//! needs no store and no secret: what VRRP decides by comes over the wire.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::Arc;

use log::{error, info, warn};
use sd_notify::NotifyState;
use steadfast_core::PortId;
use steadfast_shell::vrrp::{self, Order, Orders, Parts, Placed, RouterStatus};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::LocalSet;

use super::{Lock, Machine, StartError, machine, report, settings, sweep, told};
use crate::config::routers::{RouterConfig, Routers};
use crate::control::{Bound, Control, RouterFacts, Settings};
use crate::linux::addresses::{Addresses, ROUTERS_TAG};
use crate::linux::carrier::CarrierBoard;
use crate::linux::clock::{Monotonic, MonotonicClock};
use crate::linux::environment::LocalTasks;
use crate::linux::fence::{FencedRouter, RouterFence};
use crate::linux::interfaces::interface;
use crate::linux::links::{LinkSpec, LinkWatch};
use crate::linux::macvlan;
use crate::linux::packet::{PacketPorts, PortSpec};
use crate::linux::priority::take_precedence;
use crate::linux::routers::{Held, KernelRouters};
use crate::linux::sysctl::PortUse;
use steadfast_shell::env::Executor as _;

/// Runs until it is ordered to end.
///
/// # Errors
/// Why it does not start, or what ended it.
pub fn run(loaded: Routers) -> Result<(), StartError> {
    let folder = loaded.runtime_dir.clone();
    let lock = Lock::take(&folder).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => StartError::Running { error, folder },
        _ => StartError::refused("take the lock of the runtime directory")(error),
    })?;
    let alone = alone().map_err(|error| StartError::Running {
        error,
        folder: loaded.runtime_dir.clone(),
    })?;
    let mut addresses = claimable(&loaded.routers)?;
    settings(&uses(&loaded.routers), false)?;
    let fence = RouterFence::install(loaded.routers.iter().map(fenced).collect())?;
    info!("the fence is installed: {}", fence.describe());
    let routers = loaded.routers.clone();
    let ended = sweep(&mut addresses).and_then(|()| drive(loaded, addresses, fence));
    if ended.is_err() {
        give_back(&routers);
    }
    drop((alone, lock));
    ended
}

/// One daemon of virtual routers for a network namespace, whatever its folder: they share a table
/// and a mark on addresses. The kernel drops the name with the process.
fn alone() -> std::io::Result<UnixListener> {
    let name = SocketAddr::from_abstract_name(b"steadfast-vrrp")?;
    UnixListener::bind_addr(&name).map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => std::io::Error::new(
            std::io::ErrorKind::WouldBlock,
            "a daemon of virtual routers runs here already; one file holds all routers",
        ),
        _ => error,
    })
}

/// What a start that failed half-way, or a driver that lost its world, would leave behind.
fn give_back(routers: &[RouterConfig]) {
    let virtuals = routers.iter().flat_map(claimed);
    let swept = Addresses::tagged(ROUTERS_TAG, virtuals).map(|mut addresses| addresses.sweep());
    match swept {
        Ok(Ok(_)) => {}
        Ok(Err(why)) => error!("failed to withdraw the virtual addresses: {why}"),
        Err(why) => error!("failed to reach the kernel about addresses: {why}"),
    }
    for router in routers.iter().filter(|it| it.virtual_mac) {
        remove_station(router);
    }
    match RouterFence::remove() {
        Ok(true) => info!("the fence is removed again"),
        Ok(false) => {}
        Err(why) => error!("failed to remove the fence: {why}"),
    }
}

/// Removes the device of a virtual MAC, if it is there.
fn remove_station(router: &RouterConfig) {
    let removed = (|| {
        let Some(link) = interface(&router.interface)? else {
            return Ok(());
        };
        let ipv6 = router.settings.primary.is_ipv6();
        let name = macvlan::name(router.settings.virtual_id, ipv6, link.index);
        interface(&name)?.map_or(Ok(()), |it| macvlan::remove(it.index))
    })();
    if let Err(why) = removed {
        error!("failed to remove a virtual MAC: {why}");
    }
}

fn drive(loaded: Routers, addresses: Addresses, fence: RouterFence) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::refused("start the driver's runtime"))?;
    let tasks = LocalSet::new();
    tasks.block_on(&runtime, serve(loaded, addresses, fence))
}

async fn serve(
    loaded: Routers,
    addresses: Addresses,
    fence: RouterFence,
) -> Result<(), StartError> {
    let described = fence.describe();
    let held = loaded.routers.iter().map(held).collect();
    let plane = KernelRouters::start(fence, addresses, held);
    let plane = plane.map_err(StartError::refused("start the dataplane's thread"))?;
    let undo = plane.undo();
    let ended = around(loaded, described, plane).await;
    // Without a service manager there is nobody to tell.
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    undo.all().await;
    ended
}

/// Everything around the driver, and the driver.
async fn around(
    loaded: Routers,
    fence: &'static str,
    plane: KernelRouters,
) -> Result<(), StartError> {
    let refused = StartError::refused;
    let time = Monotonic::start();
    let clock = MonotonicClock::new(time).map_err(refused("make a timer"))?;
    let ports = ports(&loaded.routers);
    let board = CarrierBoard::new();
    let watched = watched(&loaded.routers, &ports);
    let links = LinkWatch::start(&watched, &board).map_err(refused("watch the links"))?;
    let frames = PacketPorts::open(&ports, time, &board).map_err(refused("open the ports"))?;
    let placed = |it: &RouterConfig| placed(it, &watched);
    let placed: Vec<Placed> = loaded.routers.iter().map(placed).collect();
    let (orders, received) = vrrp::orders();
    let (status, statuses) = watch::channel(Vec::new());
    let facts = RouterFacts {
        build: crate::BUILD.to_owned(),
        pid: std::process::id(),
        config_path: loaded.path.clone(),
        fence: fence.to_owned(),
        notes: loaded.notes.iter().map(|note| note.text.clone()).collect(),
        time,
    };
    let bound = Bound::new(control_settings(&loaded)?)?;
    let control = Control::start_routers(bound, orders.clone(), statuses.clone(), facts)
        .map_err(refused("start control"))?;
    // Threads inherit precedence: this one takes it last.
    told(&take_precedence());
    listen(&orders).map_err(refused("take signals"))?;
    LocalTasks.spawn("log of states", tell(statuses));
    let parts = Parts {
        clock,
        frames,
        links,
        plane,
    };
    let ended = vrrp::run(placed, parts, received, status).await;
    if let Err(why) = control.stop() {
        error!("control ended early: {why}");
    }
    ended.map_err(StartError::Driver)
}

/// The addresses of this host, once nobody else holds a virtual one.
fn claimable(routers: &[RouterConfig]) -> Result<Addresses, StartError> {
    let refused = StartError::refused;
    let virtuals = || {
        let of = |router| claimed(router).map(move |address| (router, address));
        routers.iter().flat_map(of)
    };
    let all = virtuals().map(|(_, address)| address);
    let addresses = Addresses::tagged(ROUTERS_TAG, all);
    let mut addresses = addresses.map_err(refused("reach the kernel about addresses"))?;
    let machine = Machine::look().map_err(refused("look at the interfaces"))?;
    for (router, address) in virtuals() {
        let holder = addresses.foreign_holder(address);
        if let Some(index) = holder.map_err(refused("list the addresses of this host"))? {
            if is_of_a_link(&address) && machine.index(&router.interface) != Some(index) {
                continue;
            }
            return Err(StartError::AddressHeld {
                address,
                interface: machine.name(index).unwrap_or("an interface").to_owned(),
                by: machine::running_rivals(),
            });
        }
    }
    Ok(addresses)
}

/// Whether it is another address on each link.
pub(super) const fn is_of_a_link(address: &std::net::IpAddr) -> bool {
    match address {
        std::net::IpAddr::V4(_) => false,
        std::net::IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// The addresses that come and go.
fn claimed(router: &RouterConfig) -> impl Iterator<Item = std::net::IpAddr> {
    let addresses = router.settings.addresses.iter().copied();
    addresses.filter(|it| !router.own.contains(it))
}

fn held(router: &RouterConfig) -> Held {
    Held {
        interface: router.interface.clone(),
        mac: router.link_mac,
        ipv6: router.settings.primary.is_ipv6(),
        station: router.virtual_mac.then_some(router.settings.virtual_id),
        addresses: claimed(router).collect(),
    }
}

fn fenced(router: &RouterConfig) -> FencedRouter {
    FencedRouter {
        interface: router.interface.clone(),
        virtual_id: router.settings.virtual_id,
        ipv6: router.settings.primary.is_ipv6(),
        virtual_mac: router.virtual_mac,
        accept: router.accept,
        addresses: claimed(router).collect(),
        lease: router.lease,
    }
}

/// What ports are used for, as far as the kernel's settings care.
fn uses(routers: &[RouterConfig]) -> Vec<PortUse> {
    let mut uses: Vec<PortUse> = Vec::new();
    for router in routers {
        let ipv6 = router.settings.primary.is_ipv6();
        match uses.iter_mut().find(|it| it.name == router.interface) {
            Some(known) => {
                known.virtual4 |= !ipv6;
                known.virtual6 |= ipv6;
                known.virtual_mac |= router.virtual_mac;
            }
            None => uses.push(PortUse {
                name: router.interface.clone(),
                virtual4: !ipv6,
                virtual6: ipv6,
                virtual_mac: router.virtual_mac,
            }),
        }
    }
    uses
}

/// A port for each link that has routers.
fn ports(routers: &[RouterConfig]) -> Vec<PortSpec> {
    let mut ports: Vec<PortSpec> = Vec::new();
    for router in routers {
        if !ports.iter().any(|it| it.name == router.interface) {
            ports.push(PortSpec {
                id: PortId(u8::try_from(ports.len()).unwrap_or(u8::MAX)),
                name: router.interface.clone(),
                mac: router.link_mac,
                // Before all other traffic: a word that waits is a word not heard.
                heartbeat: true,
                served: true,
                datagrams: None,
                routed: false,
            });
        }
    }
    ports
}

/// The links of all routers, and behind them those that they track.
fn watched(routers: &[RouterConfig], ports: &[PortSpec]) -> Vec<LinkSpec> {
    let own = ports.iter().map(|port| port.name.clone());
    let mut names: Vec<String> = own.collect();
    for name in routers.iter().flat_map(|it| &it.track) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    let spec = |(place, name): (usize, String)| LinkSpec {
        id: PortId(u8::try_from(place).unwrap_or(u8::MAX)),
        name,
        direct: false,
    };
    names.into_iter().enumerate().map(spec).collect()
}

fn placed(router: &RouterConfig, watched: &[LinkSpec]) -> Placed {
    let numbered = |name: &String| {
        let found = watched.iter().find(|it| it.name == *name);
        found.map_or(PortId(u8::MAX), |it| it.id)
    };
    let tracked = router.track.iter();
    Placed {
        port: numbered(&router.interface),
        tracked: tracked.map(|name| (numbered(name), name.clone())).collect(),
        weight: router.track_weight,
        interface: router.interface.clone(),
        mac: router.mac,
        settings: router.settings.clone(),
    }
}

fn control_settings(loaded: &Routers) -> Result<Settings, StartError> {
    let mut settings = Settings::new(loaded.control_socket.clone());
    if let Some(name) = &loaded.control_group {
        let group = report::group(name).map_err(StartError::refused(
            "look up [daemon] control_group in /etc/group",
        ))?;
        settings.group = Some(group);
    }
    Ok(settings)
}

/// TERM and INT end the daemon in order; HUP, which other daemons reload at, is answered.
fn listen(orders: &Orders) -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    LocalTasks.spawn("reload signal", async move {
        while hangup.recv().await.is_some() {
            warn!("a changed file of virtual routers needs a restart: nothing is read again");
        }
    });
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut end = signal(kind)?;
        let orders = orders.clone();
        LocalTasks.spawn("end signal", async move {
            while end.recv().await.is_some() {
                info!("asked to end: resigning");
                if orders.send(Order::Shutdown).await.is_err() {
                    return;
                }
            }
        });
    }
    Ok(())
}

/// Each change of a state goes to the log with its reason; the service manager learns that the
/// daemon is ready and, with each status, that its driver still runs.
async fn tell(mut statuses: watch::Receiver<Vec<RouterStatus>>) {
    let mut known: Arc<[(vrrp::Stands, bool)]> = Arc::from([]);
    let mut ready = false;
    while statuses.changed().await.is_ok() {
        let all = statuses.borrow_and_update().clone();
        for (place, router) in all.iter().enumerate() {
            let before = known.get(place);
            let stands = (router.state, router.serving);
            if before != Some(&stands) {
                info!("{}", words(router));
            }
        }
        known = all.iter().map(|it| (it.state, it.serving)).collect();
        let state = if core::mem::replace(&mut ready, true) {
            NotifyState::Watchdog
        } else {
            NotifyState::Ready
        };
        // Without a service manager there is nobody to tell.
        let _ = sd_notify::notify(&[state]);
    }
}

fn words(router: &RouterStatus) -> String {
    let RouterStatus {
        interface,
        virtual_router,
        family,
        ..
    } = router;
    let state = match router.state {
        vrrp::Stands::Active if router.serving => "active",
        vrrp::Stands::Active => "becoming active",
        vrrp::Stands::Backup => "backup",
        vrrp::Stands::Initialize => "not running",
    };
    let why = &router.why;
    format!("{interface}, virtual router {virtual_router}, IPv{family}: {state}: {why}")
}
