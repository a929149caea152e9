//! The daemon: from a configuration file to a node that runs.
//!
//! The order matters. First everything that may refuse: configuration, lock, rivals, settings,
//! fence. Then leftovers of an earlier life go, and the threads come: kernel, links, store,
//! journal, control. Last the driver, on this thread, with precedence over everything else. At the
//! end, and after a start that failed half-way, everything is given back: no address and no fence
//! is left behind. A killed daemon leaves its fence to the keeper.

mod certificate;
mod error;
mod lock;
mod machine;
mod report;
pub mod routers;
mod service;
mod words;

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use log::{error, info, warn};
use steadfast_core::boot::Boot;
use steadfast_core::config::Config;
use steadfast_core::{Instant, Node};
use steadfast_shell::driver::{self, Outlets};
use steadfast_shell::env::Parts;
use steadfast_shell::habits::Habits;
use steadfast_shell::orders::orders;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

pub use certificate::CertificateFacts;
pub use error::StartError;
pub(crate) use lock::Lock;
pub use machine::Machine;

use crate::config::{DaemonSettings, Loaded};
use crate::control::{Bound, Control};
use crate::journal::{self, Recorder};
use crate::linux::addresses::Addresses;
use crate::linux::carrier::CarrierBoard;
use crate::linux::clock::{Monotonic, MonotonicClock};
use crate::linux::datagrams::Datagrams;
use crate::linux::dataplane::KernelPlane;
use crate::linux::environment::{Linux, LocalTasks};
use crate::linux::fence::{self, Fence, FenceSpec, Hooks, ServedPort};
use crate::linux::lease::LeaseGuard;
use crate::linux::links::{LinkSpec, LinkWatch};
use crate::linux::packet::{PacketPorts, PortSpec};
use crate::linux::plane::Plane;
use crate::linux::priority::{Granted, take_precedence};
use crate::linux::stations::remove_all;
use crate::linux::sysctl::{Advice, Level, PortUse, Settings};
use crate::store::{FileStore, StoreHandle};
use report::Report;

/// Alerts on their way to log and status. Beyond this they are dropped.
const ALERTS_MAX: usize = 256;

/// Runs until it is ordered to end.
///
/// # Errors
/// Why it does not start, or what ended it.
pub fn run(loaded: Loaded) -> Result<(), StartError> {
    let folder = loaded.daemon.runtime_dir.clone();
    let lock = Lock::take(&folder).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => StartError::Running { error, folder },
        _ => StartError::refused("take the lock of the runtime directory")(error),
    })?;
    let machine = Machine::look().map_err(StartError::refused("look at the interfaces"))?;
    if loaded.config.is_witness() {
        info!("this node is the witness: no address, fence or setting of this host is touched");
        let ended = drive(loaded, None);
        drop(lock);
        return ended;
    }
    let mut addresses = claimable(&loaded.config, &machine)?;
    let uses = uses(&loaded.config);
    settings(&uses, loaded.daemon.forward)?;
    let fence = install_fence(&loaded, &machine)?;
    if loaded.daemon.forward {
        forward(&uses);
    }
    let (folder, forwards) = (loaded.daemon.runtime_dir.clone(), loaded.daemon.forward);
    let virtuals: Vec<IpAddr> = virtuals(&loaded.config)
        .map(|(_, address)| address)
        .collect();
    let ended = sweep(&mut addresses).and_then(|()| drive(loaded, Some((addresses, fence))));
    if ended.is_err() {
        if forwards {
            told_advice(Settings::of_kernel().stop_forwarding(&uses));
        }
        give_back(&folder, virtuals);
    }
    drop(lock);
    ended
}

/// What a gateway holds from its start on.
type Held = (Addresses, Fence);

/// The driver and everything around it, until the end.
fn drive(loaded: Loaded, held: Option<Held>) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::refused("start the driver's runtime"))?;
    let tasks = LocalSet::new();
    tasks.block_on(&runtime, serve(loaded, held))
}

/// What a start that failed half-way, or a driver that lost its world, would leave behind: first
/// the addresses, which many stand staged behind the fence and answer without it.
fn give_back(folder: &Path, virtuals: Vec<IpAddr>) {
    let addresses = Addresses::open(virtuals).map_err(|why| why.to_string());
    let swept = addresses.and_then(|mut it| it.sweep().map_err(|why| why.to_string()));
    if let Err(why) = swept {
        error!("failed to remove the virtual addresses: {why}");
        error!("the fence stays with them: see `steadfastctl unfence`");
        return;
    }
    if let Err(why) = remove_all() {
        error!("failed to remove the device of a virtual MAC: {why}");
    }
    match fence::remove(folder) {
        Ok(true) => info!("the fence is removed again"),
        Ok(false) => {}
        Err(why) => error!("failed to remove the fence: {why}"),
    }
}

/// The virtual addresses, each with its port's interface.
fn virtuals(config: &Config) -> impl Iterator<Item = (&str, IpAddr)> {
    let ports = config.ports.iter();
    ports.flat_map(|port| port.virtuals.iter().map(|ip| (port.name.as_str(), *ip)))
}

/// The addresses of this host, once nobody else holds a virtual one.
fn claimable(config: &Config, machine: &Machine) -> Result<Addresses, StartError> {
    let refused = StartError::refused;
    let all = virtuals(config).map(|(_, address)| address);
    let mut addresses =
        Addresses::open(all).map_err(refused("reach the kernel about addresses"))?;
    for (interface, address) in virtuals(config) {
        let holder = addresses.foreign_holder(address);
        if let Some(index) = holder.map_err(refused("list the addresses of this host"))? {
            if routers::is_of_a_link(&address) && machine.index(interface) != Some(index) {
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

/// Removes what an earlier life left. Only behind the fence is that known to be an earlier one:
/// a daemon that lives, with another runtime directory, owns it and has been refused to us.
fn sweep(addresses: &mut Addresses) -> Result<(), StartError> {
    let swept = addresses.sweep();
    let swept = swept.map_err(|why| StartError::Setting(why.to_string()))?;
    for leftover in swept {
        info!(
            "removed {}, left behind by an earlier life",
            leftover.address
        );
    }
    Ok(())
}

/// What ports are used for, as far as the kernel's settings care.
fn uses(config: &Config) -> Vec<PortUse> {
    let uses = config.ports.iter().map(|port| PortUse {
        name: port.name.clone(),
        virtual4: port.virtuals.iter().any(IpAddr::is_ipv4),
        virtual6: port.virtuals.iter().any(IpAddr::is_ipv6),
        virtual_mac: port.virtual_mac.is_some(),
    });
    uses.collect()
}

/// Turns forwarding on behind the fence: now only an owner carries what comes.
fn forward(uses: &[PortUse]) {
    told_advice(Settings::of_kernel().forward(uses));
}

/// A reload brought addresses of another version, or to another port: the kernel's settings for
/// them, as at the start. What would have refused that is told, for the addresses stand already.
fn settings_after_reload(loaded: &Loaded) {
    log::set_max_level(loaded.daemon.log);
    let uses = uses(&loaded.config);
    if loaded.config.is_witness() {
        return;
    }
    if let Err(why) = settings(&uses, loaded.daemon.forward) {
        error!("{why}");
    }
    if loaded.daemon.forward {
        forward(&uses);
    }
}

/// Turns it off again, before the fence goes: then nothing else would keep this host from carrying
/// what clients still send to it (R1.6). What could not be set is returned.
pub(crate) fn stop_forwarding(config: &Config) -> Vec<Advice> {
    Settings::of_kernel().stop_forwarding(&uses(config))
}

fn told_advice(advice: Vec<Advice>) {
    for advice in advice {
        warn!("{advice}");
    }
}

/// Puts the kernel's settings right, and refuses where one makes the job impossible. Whether
/// packets are forwarded is looked at unless that is `forwarded` later.
fn settings(uses: &[PortUse], forwarded: bool) -> Result<(), StartError> {
    let settings = Settings::of_kernel();
    for advice in settings.prepare(uses) {
        warn!("{advice}");
    }
    if !forwarded {
        for advice in settings.check_forwarding(uses) {
            warn!("{advice}");
        }
    }
    for advice in settings.check(uses) {
        match advice.level {
            Level::Refuse => return Err(StartError::Setting(advice.to_string())),
            Level::Warn => warn!("{advice}"),
        }
    }
    Ok(())
}

fn install_fence(loaded: &Loaded, machine: &Machine) -> Result<Fence, StartError> {
    let (keeper, hooks) = (&loaded.daemon.runtime_dir, loaded.daemon.fence);
    let spec = fence_spec(&loaded.config, machine, (keeper, hooks));
    let fence = Fence::install(&spec)?;
    info!("the fence is installed: {:?}", fence.support());
    if hooks == Hooks::Flushable {
        warn!(
            "`fence = \"flushable\"` tries what kernels before 5.13 can do: whoever flushes the \
             packet filter takes the fence along; leave it out where clients depend on it"
        );
    }
    Ok(fence)
}

/// What a configuration means for the fence.
fn fence_spec(config: &Config, machine: &Machine, (keeper, hooks): (&Path, Hooks)) -> FenceSpec {
    let heartbeat = config.ports.iter().filter(|port| port.heartbeat);
    let served = config.ports.iter().filter(|port| port.served());
    FenceSpec {
        heartbeat_ports: heartbeat.map(|port| port.name.clone()).collect(),
        served: served
            .map(|port| ServedPort {
                name: port.name.clone(),
                units: machine.own(&port.name),
                virtuals: port.virtuals.clone(),
                virtual_macs: port.virtual_mac.into_iter().collect(),
            })
            .collect(),
        datagrams: datagrams(config),
        hooks,
        lease: config.timing.lease,
        tail: config.timing.tail,
        keeper_dir: keeper.to_owned(),
        keeper_program: OsString::from("/proc/self/exe"),
    }
}

/// What a configuration means for the fence, whenever it is asked.
fn fence_specs(daemon: &DaemonSettings) -> impl Fn(&Config) -> FenceSpec + Send + use<> {
    let (keeper, hooks) = (daemon.runtime_dir.clone(), daemon.fence);
    move |config| {
        // Interfaces that cannot be listed have no addresses: nothing of theirs is let through.
        let machine = Machine::look().unwrap_or_default();
        fence_spec(config, &machine, (&keeper, hooks))
    }
}

/// Everything around the driver, and the driver.
async fn serve(loaded: Loaded, held: Option<Held>) -> Result<(), StartError> {
    let config = loaded.config.clone();
    let forwards = loaded.daemon.forward && held.is_some();
    let time = Monotonic::start();
    let clock = MonotonicClock::new(time).map_err(StartError::refused("make a timer"))?;
    let state = loaded.daemon.state_dir.clone();
    let (store, restored) = FileStore::open(&state);
    for note in &restored.notes {
        warn!("{note}");
    }
    let boot = boot(time.now(), restored.record)?;
    let recorder = record(&loaded, &boot)?;
    let node = Node::new(config.clone(), boot);
    let (orders, received) = orders();
    let (status, statuses) = watch::channel(Arc::new(node.status(time.now())));
    let (alerts, raised) = mpsc::channel(ALERTS_MAX);
    let board = CarrierBoard::new();
    let dataplane = plane(&loaded, held, (time, &board))?;
    let undo = dataplane.undo();
    let links = LinkWatch::start(&link_specs(&config), &board);
    let links = links.map_err(StartError::refused("watch the links"))?;
    let _port = hold_port(&config)?;
    let frames = frames(&config, (time, &board), dataplane.guard())?;
    let store = StoreHandle::start(store).map_err(StartError::refused("start the store"))?;
    let parts = (
        dataplane.counters(),
        recorder.counters(),
        frames.published(),
    );
    let fence = dataplane.fence();
    let report = Report::new(loaded, time, parts, fence, &restored.notes);
    let report = Arc::new(report);
    let control = control(&report, &orders, &statuses)?;
    service::tell(statuses.clone(), raised, Arc::clone(&report))
        .map_err(StartError::refused("start the service thread"))?;
    report
        .run_programs(&orders, statuses)
        .map_err(StartError::refused("start the threads of checks and hooks"))?;
    // Threads inherit precedence: this one takes it last.
    let granted = take_precedence();
    report.granted(&granted);
    told(&granted);
    service::listen(&orders, Arc::clone(&report)).map_err(StartError::refused("take signals"))?;
    let parts = Parts::<Linux> {
        clock,
        executor: LocalTasks,
        frames,
        links,
        dataplane,
        store,
        journal: recorder,
        habits: Habits::complete(),
    };
    let outlets = Outlets { status, alerts };
    let ended = driver::run(node, parts, received, outlets).await;
    if forwards {
        // What is in flight after a hand-over has its tail first (D10).
        tokio::time::sleep(config.timing.tail).await;
        told_advice(stop_forwarding(&report.config_in_force()));
    }
    if let Some(undo) = undo {
        undo.all().await;
    }
    report.end_programs();
    if let Err(why) = control.stop() {
        error!("control ended early: {why}");
    }
    ended.map_err(StartError::Driver)
}

/// The ports; a witness, which never says "active", has no guard.
fn frames(
    config: &Config,
    (time, board): (Monotonic, &CarrierBoard),
    guard: Option<LeaseGuard>,
) -> Result<PacketPorts, StartError> {
    let ports = PacketPorts::open(&port_specs(config), time, board);
    let ports = ports.map_err(StartError::refused("open the ports"))?;
    Ok(match guard {
        Some(guard) => ports.guarded_by(guard),
        None => ports,
    })
}

/// The kernel's side, on a thread of its own; of a witness nothing.
fn plane(
    loaded: &Loaded,
    held: Option<Held>,
    (time, board): (Monotonic, &CarrierBoard),
) -> Result<Plane, StartError> {
    let Some((addresses, fence)) = held else {
        return Ok(Plane::Witness);
    };
    let specs = fence_specs(&loaded.daemon);
    let plane = KernelPlane::start(fence, addresses, &loaded.config, (time, board), specs);
    let plane = plane.map_err(StartError::refused("start the dataplane's thread"))?;
    Ok(Plane::Gateway(plane))
}

/// Control, on a thread of its own.
fn control(
    report: &Arc<Report>,
    orders: &steadfast_shell::orders::Orders,
    statuses: &watch::Receiver<Arc<steadfast_core::status::Status>>,
) -> Result<Control, StartError> {
    let bound = Bound::new(report.control_settings()?)?;
    let daemon = Arc::clone(report);
    Control::start(bound, orders.clone(), statuses.clone(), daemon)
        .map_err(StartError::refused("start control"))
}

fn boot(now: Instant, restored: steadfast_core::boot::Record) -> Result<Boot, StartError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|why| std::io::Error::other(why.to_string()))
        .map_err(StartError::refused("draw a seed"))?;
    let kernel_boot =
        machine::kernel_boot().map_err(StartError::refused("read the kernel's boot id"))?;
    Ok(Boot {
        now,
        seed,
        kernel_boot,
        uptime: machine::uptime(),
        restored,
    })
}

fn record(loaded: &Loaded, boot: &Boot) -> Result<Recorder, StartError> {
    let mut settings = journal::Settings::new(loaded.daemon.state_dir.join("journal"));
    let files = settings.files_max as u64;
    settings.file_bytes_max = loaded.daemon.journal_bytes_max / files.max(1);
    let origin = journal::Origin {
        build: crate::BUILD,
        config: &loaded.config,
        text: &loaded.text,
        boot,
    };
    let recorder = Recorder::start(settings, origin);
    let recorder = recorder.map_err(StartError::refused("start the journal"))?;
    let (rescue, hook) = (recorder.rescue(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        hook(panic);
        rescue.now();
    }));
    Ok(recorder)
}

fn link_specs(config: &Config) -> Vec<LinkSpec> {
    let spec = |port: &steadfast_core::config::PortConfig| LinkSpec {
        id: port.id,
        name: port.name.clone(),
        direct: port.direct,
    };
    config.ports.iter().map(spec).collect()
}

/// No other program may send from the port of advertisements.
fn hold_port(config: &Config) -> Result<Option<Datagrams>, StartError> {
    let Some(port) = datagrams(config) else {
        return Ok(None);
    };
    let ports = config.ports.iter().filter(|port| port.heartbeat);
    let units = ports.filter_map(|port| {
        let mut units = port.units.iter();
        units.find_map(|(unit, _)| match unit {
            IpAddr::V4(unit) => Some(*unit),
            IpAddr::V6(_) => None,
        })
    });
    let held = Datagrams::hold(port, &units.collect::<Vec<_>>());
    held.map(Some)
        .map_err(|error| StartError::PortHeld { port, error })
}

/// The UDP port of advertisements, where datagrams are used.
fn datagrams(config: &Config) -> Option<u16> {
    let carriage = &config.carriage;
    carriage.has_datagrams().then_some(carriage.port)
}

fn port_specs(config: &Config) -> Vec<PortSpec> {
    let spec = |port: &steadfast_core::config::PortConfig| PortSpec {
        id: port.id,
        name: port.name.clone(),
        mac: port.mac,
        heartbeat: port.heartbeat,
        served: port.served(),
        datagrams: datagrams(config).filter(|_| port.heartbeat),
        routed: port.via.is_some(),
    };
    config.ports.iter().map(spec).collect()
}

fn told(granted: &Granted) {
    info!(
        "the heartbeat thread is scheduled as {}",
        granted.scheduling
    );
    for note in &granted.notes {
        warn!("{note}");
    }
}
