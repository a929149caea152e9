//! Kernel settings a gateway needs: looked at, and set where that is safe.
//!
//! Forwarding and filters are the operator's, so they are only advised on; forwarding is turned on
//! if the configuration asks for it. Set are two things that
//! concern our ports alone: routes over a port without carrier are ignored, so that packets take
//! another way or fail at once and leave no neighbour entry behind that holds later ones back; and
//! a port under a virtual MAC asks with and answers for its own addresses only, else it teaches the
//! wrong MAC to clients.
//!
//! A setting counts as the kernel reads it: of "all" and the port, mostly the larger. The limit: it
//! is looked at when this is called; who changes it later is not noticed.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;

/// What a port is used for, as far as kernel settings care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortUse {
    /// The interface's name.
    pub name: String,
    /// Virtual IPv4 addresses live here.
    pub virtual4: bool,
    /// Virtual IPv6 addresses live here.
    pub virtual6: bool,
    /// A virtual MAC stands on it.
    pub virtual_mac: bool,
}

/// Something about the kernel's settings that an operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// How bad it is.
    pub level: Level,
    /// The setting, as `sysctl` names it, with slashes.
    pub key: String,
    /// What it is.
    pub found: String,
    /// What it should be.
    pub wanted: &'static str,
    /// What it does otherwise.
    pub why: &'static str,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The gateway cannot work like this.
    Refuse,
    /// It works, not as well as it could.
    Warn,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key,
            found,
            wanted,
            why,
            ..
        } = self;
        write!(f, "{key} is {found}, should be {wanted}: {why}")
    }
}

/// The settings of this thread's network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    root: PathBuf,
}

/// The settings by which a host forwards what these ports' virtual addresses attract.
fn forwarding(ports: &[PortUse]) -> impl Iterator<Item = (&'static str, &'static str)> {
    let four = ports
        .iter()
        .any(|port| port.virtual4)
        .then_some(("ipv4/ip_forward", "this host forwards no IPv4 packets"));
    let six = ports.iter().any(|port| port.virtual6).then_some((
        "ipv6/conf/all/forwarding",
        "this host forwards no IPv6 packets and is no router to its neighbours",
    ));
    four.into_iter().chain(six)
}

impl Settings {
    /// Where the kernel shows them.
    pub fn of_kernel() -> Self {
        Self::below("/proc/sys/net")
    }

    /// Those in another folder: for trials.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// What is wrong for these ports, forwarding aside. Changes nothing.
    pub fn check(&self, ports: &[PortUse]) -> Vec<Advice> {
        let advice = ports.iter().flat_map(|port| self.check_port(port));
        advice.collect()
    }

    /// Whether packets are forwarded as these ports need it. Changes nothing.
    pub fn check_forwarding(&self, ports: &[PortUse]) -> Vec<Advice> {
        let wanted = forwarding(ports);
        let off = wanted.filter(|(key, _)| self.number(key) == Some(0));
        off.map(|(key, why)| warn(key, 0, "1", why)).collect()
    }

    /// Turns forwarding on for the families of these ports' virtual addresses. What could not be
    /// set is told.
    pub fn forward(&self, ports: &[PortUse]) -> Vec<Advice> {
        let wanted = forwarding(ports);
        let set = wanted.filter_map(|(key, why)| self.set(key.to_owned(), "1", why));
        set.collect()
    }

    /// Turns it off again. What could not be set is told.
    pub fn stop_forwarding(&self, ports: &[PortUse]) -> Vec<Advice> {
        let why = "nothing keeps this host from carrying what clients still send to it";
        let set = |(key, _): (&str, _)| self.set(key.to_owned(), "0", why);
        forwarding(ports).filter_map(set).collect()
    }

    /// Sets what is safe to set for these ports. What could not be set is told.
    pub fn prepare(&self, ports: &[PortUse]) -> Vec<Advice> {
        let mut advice = Vec::new();
        for PortUse {
            name, virtual_mac, ..
        } in ports
        {
            for family in ["ipv4", "ipv6"] {
                let key = format!("{family}/conf/{name}/ignore_routes_with_linkdown");
                let why = "packets may be held back for a second after a port without carrier";
                advice.extend(self.set(key, "1", why));
            }
            if *virtual_mac {
                advice.extend(self.under_station(name));
            }
        }
        advice
    }

    /// Sets what a port under a virtual MAC needs, unless it is so. What could not be set is told.
    pub fn under_station(&self, name: &str) -> Vec<Advice> {
        let key = format!("ipv4/conf/{name}/arp_announce");
        let why = "questions of this host teach its own MAC for a virtual address";
        let mut advice: Vec<Advice> = self.set(key, "2", why).into_iter().collect();
        let key = format!("ipv4/conf/{name}/arp_ignore");
        let why = "this host answers for a virtual address with its own MAC";
        if self.number(&key) == Some(0) {
            advice.extend(self.set(key, "1", why));
        }
        advice
    }

    fn check_port(&self, port: &PortUse) -> Vec<Advice> {
        let name = &port.name;
        let mut advice = Vec::new();
        let (key, ignore) = self.larger(name, "arp_ignore");
        match ignore {
            8 if port.virtual4 => advice.push(Advice {
                level: Level::Refuse,
                ..warn(&key, 8, "0 or 1", "no question for an address is answered")
            }),
            2 if port.virtual4 => {
                let why = "virtual addresses outside of the port's own subnets are not answered";
                advice.push(warn(&key, 2, "0 or 1", why));
            }
            _ => {}
        }
        let key = format!("ipv6/conf/{name}/disable_ipv6");
        if port.virtual6 && self.number(&key) == Some(1) {
            advice.push(Advice {
                level: Level::Refuse,
                ..warn(&key, 1, "0", "virtual IPv6 addresses cannot be added")
            });
        }
        advice
    }

    /// A setting of which the larger of "all" and the port's counts, and where that stands.
    fn larger(&self, name: &str, setting: &str) -> (String, u32) {
        let keys = ["all", name].map(|place| format!("ipv4/conf/{place}/{setting}"));
        let [all, own] = keys.map(|key| {
            let value = self.number(&key).unwrap_or(0);
            (key, value)
        });
        if own.1 >= all.1 { own } else { all }
    }

    /// Sets a setting, unless it is so. A port or a family that is missing needs none.
    fn set(&self, key: String, wanted: &'static str, why: &'static str) -> Option<Advice> {
        let path = self.root.join(&key);
        let found = fs::read_to_string(&path).ok()?.trim().to_owned();
        if found == wanted {
            return None;
        }
        match fs::write(&path, wanted) {
            Ok(()) => None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(Advice {
                level: Level::Warn,
                key,
                found: format!("{found} (failed to set it: {error})"),
                wanted,
                why,
            }),
        }
    }

    fn number(&self, key: &str) -> Option<u32> {
        let text = fs::read_to_string(self.root.join(key)).ok()?;
        text.trim().parse().ok()
    }
}

fn warn(key: &str, found: u32, wanted: &'static str, why: &'static str) -> Advice {
    Advice {
        level: Level::Warn,
        key: key.to_owned(),
        found: found.to_string(),
        wanted,
        why,
    }
}
