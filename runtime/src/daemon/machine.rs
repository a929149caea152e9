//! This machine as the daemon finds it: interfaces, this boot, and who else holds an address.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::config::{InterfaceFacts, Interfaces};
use crate::linux::interfaces::{Interface, interfaces};

/// Programs that move addresses too; named when an address is held already.
const RIVALS: [&str; 6] = [
    "keepalived",
    "vrrpd",
    "ucarp",
    "carpd",
    "uvrrpd",
    "heartbeat",
];
/// Processes looked at for a rival's name. Beyond it the name stays unknown; the refusal does not.
const PROCESSES_MAX: usize = 65_536;

/// The interfaces of this machine.
#[derive(Debug, Default)]
pub struct Machine(Vec<Interface>);

impl Machine {
    /// Looks.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn look() -> io::Result<Self> {
        Ok(Self(interfaces()?))
    }

    /// The index of an interface.
    pub fn index(&self, name: &str) -> Option<u32> {
        self.0
            .iter()
            .find(|one| one.name == name)
            .map(|one| one.index)
    }

    /// The name of an interface.
    pub fn name(&self, index: u32) -> Option<&str> {
        let found = self.0.iter().find(|one| one.index == index);
        found.map(|one| one.name.as_str())
    }

    /// The addresses of an interface that stay.
    pub fn own(&self, name: &str) -> Vec<IpAddr> {
        let found = self.0.iter().find(|one| one.name == name);
        let own = found.map(|one| one.own.iter().map(|(address, _)| *address));
        own.into_iter().flatten().collect()
    }
}

impl Interfaces for Machine {
    fn interface(&self, name: &str) -> Option<InterfaceFacts> {
        let found = self.0.iter().find(|one| one.name == name && one.ethernet)?;
        Some(InterfaceFacts {
            mac: found.mac?,
            units: found.own.clone(),
        })
    }

    fn names(&self) -> Vec<String> {
        let ethernet = self.0.iter().filter(|one| one.ethernet);
        ethernet.map(|one| one.name.clone()).collect()
    }
}

/// The kernel's boot id (`/proc/sys/kernel/random/boot_id`).
///
/// # Errors
/// It cannot be read, or is no id.
pub(super) fn kernel_boot() -> io::Result<[u8; 16]> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    boot_id(&text).ok_or_else(|| io::Error::other(format!("no boot id: {text:?}")))
}

fn boot_id(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
    if digits.len() != 32 || !digits.is_ascii() {
        return None;
    }
    let mut id = [0; 16];
    for (place, byte) in id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(id)
}

/// How long the kernel has been up, sleep included.
pub(super) fn uptime() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// The same as a part of a sentence; nothing if none runs.
pub(super) fn running_rivals() -> String {
    let rivals = rivals();
    if rivals.is_empty() {
        String::new()
    } else {
        format!(" (running here: {})", rivals.join(", "))
    }
}

/// Names of running programs that are known to move addresses.
fn rivals() -> Vec<String> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for process in processes.take(PROCESSES_MAX).flatten() {
        let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        let name = name.trim();
        if RIVALS.contains(&name) && !found.iter().any(|known| known == name) {
            found.push(name.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel's form is read; anything else is no id.
    #[test]
    fn machine_boot_id_is_read() {
        let id = boot_id("00112233-4455-6677-8899-aabbccddeeff\n").unwrap();
        assert_eq!(id[0..3], [0x00, 0x11, 0x22]);
        assert_eq!(id[15], 0xff);
        for wrong in [
            "",
            "0011",
            "zz112233-4455-6677-8899-aabbccddeeff",
            "ü0112233-4455-6677",
        ] {
            assert_eq!(boot_id(wrong), None, "{wrong}");
        }
        assert!(kernel_boot().is_ok());
    }
}
