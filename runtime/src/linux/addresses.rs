//! Virtual addresses in the kernel: put there and taken away in batches, told apart by a tag.
//!
//! A virtual address is a /32 or a /128 that brings no route, so nothing in the routing table flaps
//! when it moves, and it never becomes the "secondary" of another one, which would vanish with
//! that. IPv6 addresses skip duplicate detection: it takes a second and more, and the role decides
//! who has the address; and they are preferred for no time, so the kernel speaks as one of them
//! only where a program says so. Each carries the tag [`TAG`] (`IFA_PROTO`), so what a killed
//! daemon left behind is found and swept, and what an operator configured is never touched. An IPv6
//! address is there before packets to it are: a claim waits for that ([`Addresses::await_usable`]).
//!
//! The hard case is a kernel before 5.18, which forgets the tag. It is asked once, with a message
//! that only a kernel that knows the tag refuses as malformed. Without tags an address counts as
//! ours if it is one of the virtual addresses of the configuration, has a host prefix and brings no
//! route ([`Tags::ByAddress`]).
//!
//! Where the kernel has no netdev egress the fence may be one that a flush removes, and then
//! nothing keeps the address of a dead daemon silent. There addresses expire: the daemon adds them
//! again each second, and those of a dead one go by themselves ([`Addresses::expire_after`]).
//!
//! Limits. The membership report of a new IPv6 address (MLD) is the kernel's, sent by a worker of
//! its some time after the address is there, and only once the interface has a link-local one; the
//! core sends its own. A unit address that is removed and added again stands behind the virtual
//! ones, and the kernel then prefers a virtual one as the source of what it sends.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::netlink::{Ack, Batch, CREATE, EXCLUSIVE, Netlink, REPLACE, Refused};
use super::rtnetlink::{
    self, AddressFact, IFA_ADDRESS, IFA_CACHEINFO, IFA_F_NODAD, IFA_F_NOPREFIXROUTE, IFA_FLAGS,
    IFA_LOCAL, IFA_PROTO, NETLINK_ROUTE, RTM_DELADDR, RTM_GETADDR, RTM_NEWADDR,
};

/// Marks our addresses; shown by `ip address` as "proto 77".
pub const TAG: u8 = 77;
/// The same of a virtual router's addresses (VRRP): whoever sweeps one kind leaves the other.
pub const ROUTERS_TAG: u8 = 78;
/// Most addresses per system call: their answers fit into a receive buffer of the least size.
const CHUNK: usize = 64;

/// How long a claim waits for the kernel to take in packets to its new IPv6 addresses. The worker
/// took 0.2 to 1.4 ms on a busy machine.
const USABLE_WITHIN: Duration = Duration::from_millis(20);
/// `ifa_cacheinfo`: preferred and valid for so many seconds; all ones are for ever.
fn cache_info(preferred: u32, valid: u32) -> [u8; 16] {
    let mut info = [0; 16];
    info[..4].copy_from_slice(&preferred.to_ne_bytes());
    info[4..8].copy_from_slice(&valid.to_ne_bytes());
    info
}
/// Between two looks.
const USABLE_ROUND: Duration = Duration::from_micros(50);

/// A virtual address and where it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtualAddress {
    /// The interface's index.
    pub index: u32,
    /// The address.
    pub address: IpAddr,
}

/// How our addresses are told from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tags {
    /// The kernel forgets tags (before 5.18): by the configured addresses.
    ByAddress,
    /// By the tag.
    ByProtocol,
}

/// Why virtual addresses are not as they should be.
#[derive(Debug, Error)]
pub enum AddressError {
    /// The kernel did not answer; what was done is not known.
    #[error("failed to reach the kernel about addresses: {0}")]
    Netlink(#[from] io::Error),
    /// The kernel refused some; the others are done.
    #[error("failed to {what}: {error}{cure}; {others} more refused")]
    Refused {
        /// What the first one was.
        what: String,
        /// Why it was refused.
        error: io::Error,
        /// What helps, if that is known.
        cure: &'static str,
        /// How many more were refused.
        others: usize,
    },
}

/// The virtual addresses of this host.
#[derive(Debug)]
pub struct Addresses {
    netlink: Netlink,
    tag: u8,
    tags: Tags,
    /// Every virtual address of the configuration.
    configured: BTreeSet<IpAddr>,
    /// Seconds after which the kernel itself takes an address away that was not added again, all
    /// ones for never; none where that was never asked for.
    lifetime: Option<u32>,
}

impl Addresses {
    /// Opens the way to the kernel, in this thread's network namespace. `configured` are all
    /// virtual addresses this host may ever hold.
    ///
    /// # Errors
    /// Netlink is refused.
    pub fn open(configured: impl IntoIterator<Item = IpAddr>) -> io::Result<Self> {
        Self::tagged(TAG, configured)
    }

    /// The same with another tag: [`ROUTERS_TAG`].
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn tagged(tag: u8, configured: impl IntoIterator<Item = IpAddr>) -> io::Result<Self> {
        let mut netlink = Netlink::open(NETLINK_ROUTE)?;
        let tags = tags(&mut netlink)?;
        Ok(Self {
            netlink,
            tag,
            tags,
            configured: configured.into_iter().collect(),
            lifetime: None,
        })
    }

    /// From now on these are the virtual addresses that this host may ever hold.
    pub fn configure(&mut self, configured: impl IntoIterator<Item = IpAddr>) {
        self.configured = configured.into_iter().collect();
    }

    /// From now on what is added goes by itself after this, in whole seconds and up to one late,
    /// unless it is added again (F37); none: what is added stays, also what would have gone.
    pub fn expire_after(&mut self, lifetime: Option<Duration>) {
        let seconds = |it: Duration| it.as_secs() + u64::from(it.subsec_nanos() > 0);
        let seconds = lifetime.map(seconds).and_then(|it| u32::try_from(it).ok());
        self.lifetime = Some(seconds.unwrap_or(u32::MAX).max(1));
    }

    /// How our addresses are told from others on this kernel.
    pub fn tags(&self) -> Tags {
        self.tags
    }

    /// Adds those that are not there, and where they expire lets the others last from now. Doing it
    /// twice is doing it once.
    ///
    /// # Errors
    /// The kernel refused some, or did not answer; the others are there.
    pub fn add_all(&mut self, wanted: &[VirtualAddress]) -> Result<(), AddressError> {
        self.put(wanted, CREATE | EXCLUSIVE)?;
        if self.lifetime.is_some() {
            // Those alone that are ours: an operator's equal one stays what it is.
            let mut ours = self.observe()?;
            ours.retain(|one| wanted.contains(one));
            self.put(&ours, CREATE | REPLACE)?;
        }
        Ok(())
    }

    fn put(&mut self, wanted: &[VirtualAddress], kind: u16) -> Result<(), AddressError> {
        let (tag, lifetime) = (self.tag, self.lifetime);
        self.in_chunks(wanted, libc::EEXIST, |batch, one| {
            let VirtualAddress { index, address } = *one;
            let flags = match address {
                IpAddr::V4(_) => IFA_F_NOPREFIXROUTE,
                IpAddr::V6(_) => IFA_F_NOPREFIXROUTE | IFA_F_NODAD,
            };
            let what = format!("add address {address} to interface {index}");
            let header = rtnetlink::address_header(index, address);
            let mut message = batch.message(what, RTM_NEWADDR, kind, &header);
            put_address(&mut message, address);
            message.put_u32(IFA_FLAGS, flags).put(IFA_PROTO, &[tag]);
            match (address, lifetime) {
                (IpAddr::V4(_), None) => {}
                (IpAddr::V4(_), Some(valid)) => {
                    message.put(IFA_CACHEINFO, &cache_info(valid, valid));
                }
                // Preferred for no time: see above.
                (IpAddr::V6(_), valid) => {
                    message.put(IFA_CACHEINFO, &cache_info(0, valid.unwrap_or(u32::MAX)));
                }
            }
        })
    }

    /// Waits until the kernel takes in what is sent to these, `longest` and [`USABLE_WITHIN`] at
    /// most. An IPv6 address answers neighbour solicitations as soon as it is there; but a worker
    /// of the kernel's makes the route that packets to it need, and until then they are routed back
    /// out (F43). Nobody may be told of the address before that. Says how many are still without.
    ///
    /// # Errors
    /// The kernel did not answer.
    pub fn await_usable(
        &mut self,
        places: &[VirtualAddress],
        longest: Duration,
    ) -> io::Result<usize> {
        let (start, longest) = (Instant::now(), longest.min(USABLE_WITHIN));
        let mut missing: Vec<&VirtualAddress> = places.iter().collect();
        missing.retain(|place| place.address.is_ipv6());
        loop {
            let mut late = Vec::new();
            for place in missing {
                if !self.is_usable(place)? {
                    late.push(place);
                }
            }
            if late.is_empty() || start.elapsed() > longest {
                return Ok(late.len());
            }
            missing = late;
            std::thread::sleep(USABLE_ROUND);
        }
    }

    /// An address of the link means something on its interface alone, and an interface in a VRF has
    /// its routes in a table of its own: so it is asked for there, too.
    fn is_usable(&mut self, place: &VirtualAddress) -> io::Result<bool> {
        Ok(self.is_local(place.address, None)?
            || self.is_local(place.address, Some(place.index))?)
    }

    fn is_local(&mut self, address: IpAddr, index: Option<u32>) -> io::Result<bool> {
        let question = rtnetlink::route_to(address, index);
        match self.netlink.ask(question) {
            Ok(answers) => Ok(answers.iter().any(rtnetlink::is_local)),
            // No way there at all is no route of its own either.
            Err(error) if no_route(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes those that are there and ours. Doing it twice is doing it once.
    ///
    /// # Errors
    /// The kernel refused some, or did not answer; the others are gone.
    pub fn remove_all(&mut self, unwanted: &[VirtualAddress]) -> Result<(), AddressError> {
        let unwanted: BTreeSet<_> = unwanted.iter().collect();
        let mut present = self.observe()?;
        present.retain(|one| unwanted.contains(one));
        self.remove(&present)
    }

    /// Removes every address of ours, wherever it is: what an earlier life left behind. Returns
    /// what was there.
    ///
    /// # Errors
    /// The kernel refused some, or did not answer; the others are gone.
    pub fn sweep(&mut self) -> Result<Vec<VirtualAddress>, AddressError> {
        let present = self.observe()?;
        self.remove(&present)?;
        Ok(present)
    }

    /// Every address of ours that is there, wherever it is, each once. What comes or goes in the
    /// same instant may be missing (the kernel notices a change a little after it made it), and
    /// among changes that do not end an address may be missed: who observes does so again.
    ///
    /// # Errors
    /// The kernel did not answer.
    pub fn observe(&mut self) -> io::Result<Vec<VirtualAddress>> {
        let mut facts = self.facts()?;
        let mut seen = BTreeSet::new();
        facts.retain(|fact| self.is_ours(fact) && seen.insert(place(fact)));
        Ok(facts.iter().map(place).collect())
    }

    /// Where on this host an address stands that is not ours, although it is a virtual one: an
    /// operator's, or another program's. It would answer whatever the role is.
    ///
    /// # Errors
    /// The kernel did not answer.
    pub fn foreign_holder(&mut self, address: IpAddr) -> io::Result<Option<u32>> {
        let facts = self.facts()?;
        let mut foreign = facts.iter().filter(|fact| !self.is_ours(fact));
        let holder = foreign.find(|fact| fact.address == address);
        Ok(holder.map(|fact| fact.index))
    }

    fn remove(&mut self, unwanted: &[VirtualAddress]) -> Result<(), AddressError> {
        self.in_chunks(unwanted, libc::EADDRNOTAVAIL, |batch, one| {
            let VirtualAddress { index, address } = *one;
            let what = format!("remove address {address} from interface {index}");
            let header = rtnetlink::address_header(index, address);
            let mut message = batch.message(what, RTM_DELADDR, 0, &header);
            put_address(&mut message, address);
        })
    }

    /// Writes a message for each address and sends them; `fine` is no failure.
    fn in_chunks(
        &mut self,
        addresses: &[VirtualAddress],
        fine: i32,
        write: impl Fn(&mut Batch, &VirtualAddress),
    ) -> Result<(), AddressError> {
        let mut refused = Vec::new();
        for chunk in addresses.chunks(CHUNK) {
            let mut batch = Batch::new();
            chunk.iter().for_each(|one| write(&mut batch, one));
            refused.extend(self.netlink.exchange(batch, Ack::Each)?);
        }
        refused.retain(|one| one.error.raw_os_error() != Some(fine));
        let others = refused.len().saturating_sub(1);
        refused
            .into_iter()
            .next()
            .map_or(Ok(()), |first| Err(refusal(first, others)))
    }

    fn facts(&mut self) -> io::Result<Vec<AddressFact>> {
        let answers = self
            .netlink
            .dump_loosely(|batch| drop(batch.message("list addresses", RTM_GETADDR, 0, &[0; 8])))?;
        Ok(answers.iter().filter_map(rtnetlink::address).collect())
    }

    fn is_ours(&self, fact: &AddressFact) -> bool {
        let host = fact.prefix == if fact.address.is_ipv4() { 32 } else { 128 };
        host && match self.tags {
            Tags::ByProtocol => fact.protocol == Some(self.tag),
            Tags::ByAddress => {
                let routeless = fact.flags & IFA_F_NOPREFIXROUTE != 0;
                routeless && self.configured.contains(&fact.address)
            }
        }
    }
}

fn no_route(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    matches!(
        code,
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL)
    )
}

fn put_address(message: &mut super::netlink::Message<'_>, address: IpAddr) {
    let octets = rtnetlink::octets(address);
    message.put(IFA_LOCAL, &octets).put(IFA_ADDRESS, &octets);
}

fn place(fact: &AddressFact) -> VirtualAddress {
    VirtualAddress {
        index: fact.index,
        address: fact.address,
    }
}

/// Whether the kernel knows tags: it then refuses one without a value before it looks at anything
/// else. One that does not know them finds that there is no interface 0.
fn tags(netlink: &mut Netlink) -> io::Result<Tags> {
    let address = IpAddr::from([192, 0, 2, 1]);
    let mut batch = Batch::new();
    let header = rtnetlink::address_header(0, address);
    let mut message = batch.message("ask for address tags", RTM_NEWADDR, CREATE, &header);
    put_address(&mut message, address);
    message.put(IFA_PROTO, &[]);
    drop(message);
    let refused = netlink.exchange(batch, Ack::Each)?;
    let error = refused.first().and_then(|one| one.error.raw_os_error());
    Ok(match error {
        Some(libc::ERANGE | libc::EINVAL) => Tags::ByProtocol,
        Some(_) | None => Tags::ByAddress,
    })
}

fn refusal(first: Refused, others: usize) -> AddressError {
    let cure = match first.error.raw_os_error() {
        Some(libc::EPERM) => " (CAP_NET_ADMIN is needed)",
        Some(libc::EACCES) => " (is IPv6 disabled on it? see net.ipv6.conf.*.disable_ipv6)",
        Some(libc::ENODEV) => " (the interface is missing)",
        Some(_) | None => "",
    };
    AddressError::Refused {
        what: first.what.into_owned(),
        error: first.error,
        cure,
        others,
    }
}
