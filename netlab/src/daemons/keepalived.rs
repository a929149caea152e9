//! keepalived as its handbook would have a pair: two VRRP instances in one sync group, interfaces
//! tracked, `nopreempt` or a delay, gratuitous ARP by its own defaults.
//!
//! Advertisements go over each served segment. VRRPv3, because v2 cannot do less than a second.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use steadfast_scenarios::format::{Gateway, Layout};

use super::{FOLDER, RUN, Standing, served};
use crate::machine::Setup;

/// The virtual router of the first served port; the next ones count on.
const VIRTUAL_ROUTER: u8 = 61;
/// Addresses that its advertisements name, as its handbook advises; the others move with them.
const NAMED_MAX: usize = 20;
/// Real-time priority as its handbook advises for busy machines; the product asks for the same.
/// With it goes a limit of 10 ms without a wait, at which the kernel kills it: bringing 1000
/// addresses up takes longer, so the limit is as high as whoever has so many must set it.
const GLOBAL: &str = "global_defs {\n  vrrp_version 3\n  script_user root\n  \
     vrrp_rt_priority 50\n  vrrp_rlimit_rttime 5000000\n}\n";
/// VRRPv3 counts in centiseconds, up to 40.95 s.
const INTERVAL_MAX: Duration = Duration::from_millis(40_950);

/// Its files and command line.
///
/// # Errors
/// An interval that VRRPv3 cannot say.
pub(super) fn setup(
    layout: &Layout,
    gateway: &Gateway,
    interval: Duration,
    standing: Standing,
) -> Result<Setup, String> {
    let (seconds, priority) = (seconds(interval)?, standing.priority());
    let preempt = preempt(standing);
    let mut text = String::from(GLOBAL);
    let mut group = String::from("vrrp_sync_group BOTH {\n  group {\n");
    for (number, (port, addresses)) in served(layout, gateway).enumerate() {
        let router = usize::from(VIRTUAL_ROUTER) + number;
        let name = &port.name;
        // Writing to memory cannot fail.
        let _ = write!(
            text,
            "vrrp_instance {name} {{\n  state BACKUP\n  {preempt}\n  interface {name}\n  \
             virtual_router_id {router}\n  priority {priority}\n  advert_int {seconds}\n  \
             track_interface {{\n"
        );
        for (port, _) in served(layout, gateway) {
            let _ = writeln!(text, "    {}", port.name);
        }
        text.push_str("  }\n");
        let (named, more) = addresses.split_at(addresses.len().min(NAMED_MAX));
        list(&mut text, "virtual_ipaddress", named, name);
        if !more.is_empty() {
            list(&mut text, "virtual_ipaddress_excluded", more, name);
        }
        text.push_str("}\n");
        let _ = writeln!(group, "    {name}");
    }
    text.push_str(&group);
    text.push_str("  }\n}\n");
    Ok(command(text))
}

/// Its files and command line with a router for each address of the first served port, each for
/// itself.
///
/// # Errors
/// An interval that VRRPv3 cannot say, and more addresses than there are ids.
pub(super) fn routers(
    layout: &Layout,
    gateway: &Gateway,
    interval: Duration,
    standing: Standing,
) -> Result<Setup, String> {
    let (seconds, priority) = (seconds(interval)?, standing.priority());
    let preempt = preempt(standing);
    let mut text = String::from(GLOBAL);
    if let Some((port, addresses)) = served(layout, gateway).next() {
        if addresses.len() > usize::from(u8::MAX) {
            return Err("VRRP has ids up to 255".to_owned());
        }
        let name = &port.name;
        for (router, address) in (1..).zip(addresses) {
            let _ = write!(
                text,
                "vrrp_instance {name}{router} {{\n  state BACKUP\n  {preempt}\n  \
                 interface {name}\n  virtual_router_id {router}\n  priority {priority}\n  \
                 advert_int {seconds}\n"
            );
            list(&mut text, "virtual_ipaddress", &[*address], name);
            text.push_str("}\n");
        }
    }
    Ok(command(text))
}

/// It takes the role back after a delay, or not at all.
fn preempt(standing: Standing) -> String {
    standing.preempt.map_or_else(
        || "nopreempt".to_owned(),
        |delay| format!("preempt_delay {}", delay.as_secs_f64()),
    )
}

/// The interval in seconds.
fn seconds(interval: Duration) -> Result<String, String> {
    let centis = interval.as_millis() / 10;
    if interval > INTERVAL_MAX || centis == 0 || !interval.as_millis().is_multiple_of(10) {
        return Err(format!(
            "VRRPv3 cannot advertise each {interval:?}: 10 ms to 40.95 s"
        ));
    }
    Ok(format!("{}.{:02}", centis / 100, centis % 100))
}

fn list(text: &mut String, key: &str, addresses: &[IpAddr], device: &str) {
    // Writing to memory cannot fail.
    let _ = writeln!(text, "  {key} {{");
    for address in addresses {
        let _ = writeln!(text, "    {address}/16 dev {device}");
    }
    text.push_str("  }\n");
}

fn command(text: String) -> Setup {
    let path = |name: &str| format!("{RUN}/{name}");
    let argv = [
        "/usr/sbin/keepalived".to_owned(),
        "-n".to_owned(),
        "-l".to_owned(),
        "-P".to_owned(),
        format!("--use-file={FOLDER}/keepalived.conf"),
        "-p".to_owned(),
        path("keepalived.pid"),
        "-r".to_owned(),
        path("vrrp.pid"),
        "-c".to_owned(),
        path("checkers.pid"),
    ];
    super::foreign([("keepalived.conf", text)], argv.to_vec())
}
