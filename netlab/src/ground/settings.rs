//! What each kind of machine sets in its kernel, and nothing that is the daemon's own business.

use std::fs;
use std::io;

use steadfast_scenarios::format::{Family, Version};

use crate::error::{Doing, LabError};
use crate::namespace::Namespace;

/// A setting below `/proc/sys/net`, and its value.
pub(super) type Setting = (&'static str, &'static str);

/// A router's kernel forwards from the start; other settings are reset by this one.
pub(crate) const FORWARDING: &[(&str, &str)] = &[("ipv4/ip_forward", "1")];
/// Routers do not follow redirects or advertisements, and a port without carrier offers no way.
pub(super) const GATEWAY: &[(&str, &str)] = &[
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/conf/all/ignore_routes_with_linkdown", "1"),
    ("ipv4/conf/default/ignore_routes_with_linkdown", "1"),
    QUIET[0],
    QUIET[1],
    QUIET[2],
];
/// A plain machine.
pub(super) const HOST: &[(&str, &str)] = &[
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    QUIET[0],
    QUIET[1],
    QUIET[2],
];
/// A plain machine on several segments, each of which must hear only what is its own.
pub(super) const OBSERVER: &[(&str, &str)] = &[
    ("ipv4/conf/all/arp_ignore", "1"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    QUIET[0],
    QUIET[1],
    QUIET[2],
];
/// Switches speak no IP.
pub(super) const SWITCH: &[(&str, &str)] = &[
    ("ipv6/conf/all/disable_ipv6", "1"),
    ("ipv6/conf/default/disable_ipv6", "1"),
];

/// Where a segment has a router it is the switch's own kernel: it passes packets on.
pub(super) const ROUTES: [Setting; 3] = [
    ("ipv4/ip_forward", "1"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
];

/// No address makes itself, so that nobody multicasts without being asked.
const QUIET: [Setting; 3] = [
    ("ipv6/conf/default/accept_ra", "0"),
    ("ipv6/conf/default/autoconf", "0"),
    ("ipv6/conf/default/addr_gen_mode", "1"),
];

/// Where IPv6 is spoken beside: every port makes its link-local address, as on any machine.
const SPEAKS_IPV6: Setting = ("ipv6/conf/default/addr_gen_mode", "0");
/// Only a gateway's kernel asks for a second or two whether another has an address of its own, as
/// kernels do; what clients have is there at once.
const ASKS_NOBODY: [Setting; 2] = [
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/dad_transmits", "0"),
];

/// A host that learns its routers from what they say (RFC 4861).
pub(super) const LEARNS_ROUTERS: [Setting; 1] = [("ipv6/conf/default/accept_ra", "1")];

/// A machine's settings in a network that speaks these versions of IP.
pub(super) fn speaking(family: Family, settings: &[Setting]) -> Vec<Setting> {
    let mut all = settings.to_vec();
    if family.has(Version::Ipv6) {
        all.push(SPEAKS_IPV6);
        if settings != GATEWAY {
            all.extend(ASKS_NOBODY);
        }
    }
    all
}

/// Writes settings in a namespace. One that this kernel does not have is not needed either.
pub(crate) fn apply(net: &Namespace, settings: &[(&str, &str)]) -> Result<(), LabError> {
    let write = || -> Result<(), (String, io::Error)> {
        for (name, value) in settings {
            match fs::write(format!("/proc/sys/net/{name}"), value) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(((*name).to_owned(), error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    };
    let outcome = net.run(write)?;
    outcome.or_else(|(name, error)| Err(error).doing(|| format!("set {name} in {}", net.name())))
}
