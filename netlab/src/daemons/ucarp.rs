//! ucarp: one process for each served port, addresses added and removed by scripts.
//!
//! ucarp knows no groups and no interface tracking; its interval is whole seconds. `-P` preempts,
//! at once.

use std::time::Duration;

use steadfast_scenarios::format::{Gateway, Layout, Version};

use super::{FOLDER, Standing, served};
use crate::machine::Setup;

/// The virtual host id of the first served port; the next ones count on.
const VIRTUAL_HOST: u8 = 81;

/// How far advertisements of gateways are skewed from each other, in parts of 256 of a second.
const SKEW_STEP: u8 = 50;

/// Its files and command line.
///
/// # Errors
/// An interval that is no whole number of seconds, or a port without an address of its own.
pub(super) fn setup(
    layout: &Layout,
    gateway: &Gateway,
    interval: Duration,
    standing: Standing,
) -> Result<Setup, String> {
    if interval.is_zero() || interval.subsec_nanos() != 0 {
        return Err(format!(
            "ucarp cannot advertise each {interval:?}: whole seconds only"
        ));
    }
    let skew = standing.place.saturating_mul(SKEW_STEP);
    let preempt = match standing.preempts_at_once("ucarp")? {
        true => " -P",
        false => "",
    };
    let up = "#!/bin/sh\nexec ip addr add \"$2/16\" dev \"$1\"\n";
    let down = "#!/bin/sh\nexec ip addr del \"$2/16\" dev \"$1\"\n";
    let mut start = String::from("#!/bin/sh\ntrap 'kill 0' TERM INT\n");
    for (number, (port, addresses)) in served(layout, gateway).enumerate() {
        let address = super::only("ucarp", port, addresses)?;
        let own = port
            .unit(Version::Ipv4)
            .ok_or_else(|| format!("{} has no address of its own", port.name))?;
        let router = usize::from(VIRTUAL_HOST) + number;
        start.push_str(&format!(
            "/usr/sbin/ucarp -i {} -s {own} -v {router} -p steadfast-lab -a {address} -b {} \
             -k {skew}{preempt} -z -u {FOLDER}/up -d {FOLDER}/down &\n",
            port.name,
            interval.as_secs()
        ));
    }
    start.push_str("wait\n");
    let files = [
        ("up", up.to_owned()),
        ("down", down.to_owned()),
        ("ucarps", start),
    ];
    Ok(super::foreign(files, vec![format!("{FOLDER}/ucarps")]))
}
