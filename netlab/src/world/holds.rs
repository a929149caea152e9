//! What a daemon holds: what its sockets have not been read of, and its memory.
//!
//! Both are the kernel's own figures. Which sockets are the daemon's its open files say, so the
//! lab's own sockets at the same ports do not count. What waits in a packet socket is counted with
//! what the kernel takes to keep it, three quarters of a kilobyte for a small frame; that is what
//! its limit counts as well. Limit: local sockets, which carry no network's bytes, are passed over.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use steadfast_core::NodeId;
use steadfast_scenarios::format::{Check, Plan};
use steadfast_scenarios::trace::EventKind;

use crate::cost::processes;
use crate::lab::Lab;

/// A list of sockets in `/proc/<pid>/net`: its name, and which words of a line are what waits and
/// the socket's number.
struct List {
    name: &'static str,
    waiting: usize,
    number: usize,
}

impl List {
    const fn new(name: &'static str, waiting: usize, number: usize) -> Self {
        Self {
            name,
            waiting,
            number,
        }
    }
}

/// What waits is a decimal number, or in those of the internet's families `sent:received` in
/// hexadecimal ones.
const LISTS: [List; 8] = [
    List::new("packet", 6, 8),
    List::new("netlink", 4, 9),
    List::new("udp", 4, 9),
    List::new("udp6", 4, 9),
    List::new("raw", 4, 9),
    List::new("raw6", 4, 9),
    List::new("tcp", 4, 9),
    List::new("tcp6", 4, 9),
];

/// Whether a story asks what daemons hold.
pub(super) fn asked_for(plan: &Plan) -> bool {
    let mut checks = plan.expects.iter().map(|it| &it.check);
    checks.any(|it| matches!(it, Check::Bounded { .. }))
}

/// What every gateway's daemon holds now; nothing of those that have none.
pub(super) fn look(plan: &Plan, lab: &Lab) -> Vec<EventKind> {
    let gateways = plan.layout.gateways.iter();
    let of = |id: NodeId| {
        // A namespace that just went away has no daemon either.
        let (unread, resident) = held(lab.ground().gateway(id)?).ok()??;
        Some(EventKind::Holds {
            gateway: id,
            unread,
            resident: Some(resident),
        })
    };
    gateways.filter_map(|gateway| of(gateway.id)).collect()
}

/// Bytes unread and bytes in memory of the processes in a network namespace, if there are any.
fn held(net: impl AsFd) -> io::Result<Option<(u64, u64)>> {
    let mut sum: Option<(u64, u64)> = None;
    for process in processes(net)? {
        let (unread, resident) = sum.unwrap_or_default();
        let own = unread_of(&process);
        sum = Some((unread + own, resident + resident_of(&process)));
    }
    Ok(sum)
}

fn resident_of(process: &Path) -> u64 {
    let text = fs::read_to_string(process.join("status")).unwrap_or_default();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = lines
        .next()
        .and_then(|it| it.split_ascii_whitespace().next());
    let kilobytes: u64 = kilobytes.and_then(|it| it.parse().ok()).unwrap_or_default();
    kilobytes * 1_024
}

fn unread_of(process: &Path) -> u64 {
    let files = fs::read_dir(process.join("fd")).into_iter().flatten();
    let sockets = files.flatten().filter_map(|file| {
        let to = fs::read_link(file.path()).ok()?;
        let number = to.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
        number.parse().ok()
    });
    let sockets: BTreeSet<u64> = sockets.collect();
    let lists = LISTS.iter().map(|list| {
        let text = fs::read_to_string(process.join("net").join(list.name));
        waiting(list, &text.unwrap_or_default(), &sockets)
    });
    lists.sum()
}

/// What waits in these sockets, by a list's text.
fn waiting(list: &List, text: &str, sockets: &BTreeSet<u64>) -> u64 {
    let lines = text.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let number = words.get(list.number)?.parse().ok()?;
        let waiting = words.get(list.waiting)?;
        let waiting = match waiting.split_once(':') {
            Some((_, received)) => u64::from_str_radix(received, 16).ok()?,
            None => waiting.parse().ok()?,
        };
        sockets.contains(&number).then_some(waiting)
    });
    lines.sum()
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    /// What nobody reads is seen, of this process's own sockets; read, it is gone.
    #[test]
    fn lab_sees_what_is_unread() {
        let own = Path::new("/proc/self");
        let (to, from) = ("127.0.0.1:0", UdpSocket::bind("127.0.0.1:0").unwrap());
        let to = UdpSocket::bind(to).unwrap();
        from.send_to(&[7; 1_000], to.local_addr().unwrap()).unwrap();
        assert!(unread_of(own) >= 1_000, "{}", unread_of(own));
        assert!(resident_of(own) > 1 << 20, "{}", resident_of(own));
        let list = fs::read_to_string("/proc/self/net/udp").unwrap();
        let udp = &LISTS[2];
        let nobody = waiting(udp, &list, &BTreeSet::new());
        assert_eq!(nobody, 0, "others' sockets are others'");
    }

    /// The kernel's lists, as 6.18 writes them.
    #[test]
    fn lab_reads_the_lists_of_sockets() {
        let packet = "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n\
             00000000d1ba6a3e 3      3    0003   2     1 212992 0      4711\n\
             00000000d1ba6a3f 3      3    0003   2     1 768    0      4712\n";
        let sockets = BTreeSet::from([4711]);
        assert_eq!(waiting(&LISTS[0], packet, &sockets), 212_992);
        let netlink = "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    \
             Drops    Inode\n00000000 0   0          00000000 96 0        0     2        0        \
             4711\n";
        assert_eq!(waiting(&LISTS[1], netlink, &sockets), 96);
        let udp = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   \
             uid  timeout inode ref pointer drops\n  12: 0100007F:1F90 00000000:0000 07 \
             00000000:00000500 00:00000000 00000000     0        0 4711 2 0000000000000000 0\n";
        assert_eq!(waiting(&LISTS[2], udp, &sockets), 0x500);
    }
}
