//! Neighbour entries that would hold traffic back: those still asked for, and those that failed.
//!
//! While a segment was dark the kernel asked in vain for stations behind it. Until such an entry
//! times out, packets for it wait or are refused, up to a second after the segment is back. So
//! they are forgotten on a claim and when carrier comes back; the next packet asks afresh.
//!
//! The limit: an entry that is made between looking and forgetting stays; it is a fresh one.

use std::io;

use super::netlink::{Ack, Batch, Netlink};
use super::rtnetlink::{
    self, AF_INET, AF_INET6, NDA_DST, NETLINK_ROUTE, NUD_FAILED, NUD_INCOMPLETE, NeighbourFact,
    RTM_DELNEIGH, RTM_GETNEIGH,
};

/// Most entries per system call: their answers fit into a receive buffer of the least size.
const CHUNK: usize = 64;

/// The neighbour tables of this thread's network namespace.
#[derive(Debug)]
pub struct Neighbours {
    netlink: Netlink,
}

impl Neighbours {
    /// Opens the way to the kernel.
    ///
    /// # Errors
    /// Netlink is refused.
    pub fn open() -> io::Result<Self> {
        let netlink = Netlink::open(NETLINK_ROUTE)?;
        Ok(Self { netlink })
    }

    /// Forgets what was asked for in vain on these interfaces, given by index. Returns how many
    /// entries that were.
    ///
    /// # Errors
    /// The kernel did not answer, or refused (CAP_NET_ADMIN is needed).
    pub fn forget_unresolved(&mut self, indexes: &[u32]) -> io::Result<usize> {
        let mut unresolved = self.facts(AF_INET)?;
        unresolved.extend(self.facts(AF_INET6)?);
        unresolved.retain(|one| {
            one.state & (NUD_INCOMPLETE | NUD_FAILED) != 0 && indexes.contains(&one.index)
        });
        for chunk in unresolved.chunks(CHUNK) {
            self.forget(chunk)?;
        }
        Ok(unresolved.len())
    }

    fn facts(&mut self, family: u8) -> io::Result<Vec<NeighbourFact>> {
        let header = rtnetlink::neighbour_header(family, 0);
        let answers = self
            .netlink
            .dump(|batch| drop(batch.message("list neighbours", RTM_GETNEIGH, 0, &header)))?;
        Ok(answers.iter().filter_map(rtnetlink::neighbour).collect())
    }

    fn forget(&mut self, entries: &[NeighbourFact]) -> io::Result<()> {
        let mut batch = Batch::new();
        for NeighbourFact { index, address, .. } in entries {
            let what = format!("forget neighbour {address} on interface {index}");
            let header = rtnetlink::neighbour_header(rtnetlink::family(*address), *index);
            let mut message = batch.message(what, RTM_DELNEIGH, 0, &header);
            message.put(NDA_DST, &rtnetlink::octets(*address));
        }
        let mut refused = self.netlink.exchange(batch, Ack::Each)?;
        // Gone by itself meanwhile, or with its interface.
        let gone = [Some(libc::ENOENT), Some(libc::ENODEV)];
        refused.retain(|one| !gone.contains(&one.error.raw_os_error()));
        refused
            .into_iter()
            .next()
            .map_or(Ok(()), |first| Err(first.error))
    }
}
