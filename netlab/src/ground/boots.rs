//! What a boot does to the ground: a fresh namespace, and the gateway's ports in it.
//!
//! Nothing else forgets addresses, filters, neighbours and settings as a boot does. The ports are
//! in the old namespace then. To move a port keeps the kernel's one configuration lock for some
//! twenty milliseconds, and labs beside this one wait; so its wires are laid anew, with the
//! indexes, names and MACs they had ([`Ports::Laid`]), on a thread, while the box boots.
//!
//! The hard case is what hangs on the switch's ends: it dies with them. Captures are opened again;
//! with a fault's rules or a relay on any end, ports move after all ([`Ports::Moved`]).

use std::io;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use steadfast_core::NodeId;
use steadfast_scenarios::format::Family;

use super::plugs::{Plug, Station};
use super::{Ground, Room, links, settings};
use crate::error::{Doing, LabError};
use crate::netlink::Request;

/// Between two ports that move: moving one keeps the kernel's configuration lock for a dozen
/// milliseconds, and labs beside this one get it in between.
const BREATH: Duration = Duration::from_millis(2);

/// How a gateway's ports come to the namespace of its next boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ports {
    /// They are laid anew; what was bound to the switch's ends is not any more.
    Laid,
    /// They move, and everything at the switch stays as it is.
    Moved,
}

#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) room: Room,
    /// What its kernel is set to at each boot.
    settings: Vec<settings::Setting>,
    /// How often it has booted.
    boots: u32,
    /// Lays its wires anew.
    laying: Option<JoinHandle<Result<(), LabError>>>,
}

impl Ground {
    /// Gives a gateway a namespace as after a boot, with its ports and addresses, and drops the one
    /// it had. Its ports keep their state at the switch, their indexes and their MACs; they have no
    /// carrier, for the box has no power. Wires that are laid anew come later: [`Self::laid`]; says
    /// whether those of an earlier boot came only now, because power left it early.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub(crate) fn renew(&mut self, id: NodeId, ports: Ports) -> Result<bool, LabError> {
        let Some(place) = self.place(id) else {
            return Err(LabError::Needs(format!("a gateway {}", id.0)));
        };
        let came = self.await_wires(id)?;
        let indexes: Vec<u32> = self.own_indexes(id).collect();
        let old = self.gateways[place].next(&self.layout.gateways[place].name)?;
        let mut requests = vec![links::enable(1, true)];
        let units = self.layout.gateways[place].ports.iter();
        for (units, index) in units.map(|port| &port.units).zip(&indexes) {
            requests.extend(units.iter().map(|unit| links::address(*index, *unit)));
            requests.push(links::enable(*index, true));
        }
        match (old, ports) {
            (Some(old), Ports::Laid) => {
                self.lay_anew(place, old, requests)?;
                return Ok(came);
            }
            (Some(old), Ports::Moved) => self.gateways[place].take_ports(old, &indexes)?,
            (None, _) => {}
        }
        let room = &mut self.gateways[place].room;
        room.ask(&requests, "set up the ports of a gateway")?;
        Ok(came)
    }

    /// Whether wires that are laid anew for this gateway are not known to be there yet.
    pub(crate) fn is_laying(&self, id: NodeId) -> bool {
        let gateway = self.place(id).map(|place| &self.gateways[place]);
        gateway.is_some_and(|it| it.laying.is_some())
    }

    /// Waits for wires that are laid anew for this gateway; whether there were any to wait for.
    ///
    /// # Errors
    /// What the kernel refused.
    pub(crate) fn await_wires(&mut self, id: NodeId) -> Result<bool, LabError> {
        match self.place(id).map(|place| &mut self.gateways[place]) {
            Some(it) if it.laying.is_some() => it.join().map(|()| true),
            Some(_) | None => Ok(false),
        }
    }

    /// Whether wires that were laid anew for this gateway are there; says so once.
    ///
    /// # Errors
    /// What the kernel refused.
    pub(crate) fn laid(&mut self, id: NodeId) -> Result<bool, LabError> {
        match self.place(id).map(|place| &mut self.gateways[place]) {
            Some(it) if it.laying.as_ref().is_some_and(JoinHandle::is_finished) => {
                it.join().map(|()| true)
            }
            Some(_) | None => Ok(false),
        }
    }

    /// A gateway's wires go, and the same ones come to where it is now, where `requests` set them
    /// up. Each that goes costs its caller a grace period after the kernel's lock is free again, so
    /// the caller is a thread.
    fn lay_anew(
        &mut self,
        place: usize,
        old: Room,
        requests: Vec<Request>,
    ) -> Result<(), LabError> {
        let id = self.layout.gateways[place].id;
        let own = |plug: &&Plug| matches!(plug.station, Station::Gateway(owner, _) if owner == id);
        let plugs = || self.plugs.iter().filter(own);
        let gone: Vec<Request> = plugs().map(|plug| links::remove(plug.index)).collect();
        let laid: Vec<Request> = plugs().flat_map(|plug| self.lay(plug)).collect();
        let mut switch = self.switch.another()?;
        let mut room = self.gateways[place].room.another()?;
        let thread = thread::Builder::new().name("wires".to_owned());
        let work = move || {
            let refused = |(_, error): (usize, io::Error)| error;
            let done = switch.ask(&gone).map_err(refused);
            done.doing(|| "take a gateway's wires away".to_owned())?;
            // It held the other ends, which would have gone with it.
            drop(old);
            let done = switch.ask(&laid).map_err(refused);
            done.doing(|| "lay a gateway's wires anew".to_owned())?;
            let done = room.ask(&requests).map_err(refused);
            done.doing(|| "set up the ports of a gateway".to_owned())
        };
        let laying = thread.spawn(work);
        let laying = laying.doing(|| "lay wires anew".to_owned())?;
        self.gateways[place].laying = Some(laying);
        Ok(())
    }
}

impl Gateway {
    pub(super) fn new(name: &str, family: Family) -> Result<Self, LabError> {
        let settings = settings::speaking(family, settings::GATEWAY);
        Ok(Self {
            room: Room::new(&format!("{name}-0"), &settings)?,
            settings,
            boots: 0,
            laying: None,
        })
    }

    /// Takes a fresh room and gives back the old one; the very first was never used.
    fn next(&mut self, name: &str) -> Result<Option<Room>, LabError> {
        self.boots += 1;
        if self.boots == 1 {
            return Ok(None);
        }
        let fresh = Room::new(&format!("{name}-{}", self.boots), &self.settings)?;
        Ok(Some(core::mem::replace(&mut self.room, fresh)))
    }

    /// Waits for wires that are laid anew.
    fn join(&mut self) -> Result<(), LabError> {
        match self.laying.take().map(JoinHandle::join) {
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            Some(Ok(outcome)) => outcome,
            None => Ok(()),
        }
    }

    /// Destroying a namespace destroys its wires: they must be out before the old one goes.
    fn take_ports(&self, mut old: Room, indexes: &[u32]) -> Result<(), LabError> {
        for index in indexes {
            let carry = links::carry(*index, &self.room.net);
            old.ask(&[carry], "move a port of a gateway")?;
            thread::sleep(BREATH);
        }
        Ok(())
    }
}
