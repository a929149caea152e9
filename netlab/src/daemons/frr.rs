//! FRR: zebra and vrrpd, with the macvlan that vrrpd expects on each served port.
//!
//! vrrpd has no groups and tracks nothing; each port elects for itself. It says "Refusing to
//! start" once and then serves. zebra stays in the foreground, vrrpd beside it.

use std::fmt::Write as _;
use std::time::Duration;

use steadfast_scenarios::format::{Gateway, Layout};

use super::{FOLDER, RUN, comes_first, served};
use crate::machine::Setup;

/// The virtual router of the first served port; the next ones count on.
const VIRTUAL_ROUTER: u8 = 71;

/// Its files and command line.
///
/// # Errors
/// An interval that VRRPv3 cannot say.
pub(super) fn setup(
    layout: &Layout,
    gateway: &Gateway,
    interval: Duration,
) -> Result<Setup, String> {
    let millis = interval.as_millis();
    if millis == 0 || millis > 40_950 || !millis.is_multiple_of(10) {
        return Err(format!(
            "VRRPv3 cannot advertise each {interval:?}: 10 ms to 40.95 s"
        ));
    }
    let priority = if comes_first(&layout.gateways, gateway) {
        110
    } else {
        100
    };
    let mut before = String::new();
    let mut vrrp = String::new();
    for (number, (port, address)) in served(layout, gateway).enumerate() {
        let router = usize::from(VIRTUAL_ROUTER) + number;
        let device = format!("vr{router}");
        let mac = format!("00:00:5e:00:01:{router:02x}");
        // Writing to memory cannot fail.
        let _ = write!(
            before,
            "ip link add {device} link {} addrgenmode none type macvlan mode bridge\n\
             ip link set {device} address {mac}\nip addr add {address}/16 dev {device}\n\
             ip link set {device} up\n",
            port.name
        );
        // Writing to memory cannot fail.
        let _ = write!(
            vrrp,
            "interface {}\n vrrp {router} version 3\n vrrp {router} priority {priority}\n \
             vrrp {router} advertisement-interval {millis}\n no vrrp {router} preempt\n \
             vrrp {router} ip {address}\n!\n",
            port.name
        );
    }
    let start = format!(
        "#!/bin/sh\ntrap 'kill 0' TERM INT\ncd {RUN}\n{before}\
         /usr/lib/frr/zebra -u root -g root --vty_socket {RUN} -z {RUN}/zserv.api \
         -i {RUN}/zebra.pid -f /dev/null --log stdout &\n\
         /usr/lib/frr/vrrpd -u root -g root --vty_socket {RUN} -z {RUN}/zserv.api \
         -i {RUN}/vrrpd.pid -f {FOLDER}/vrrpd.conf --log stdout &\nwait\n"
    );
    let files = [("vrrpd.conf", vrrp), ("daemons", start)];
    Ok(super::foreign(files, vec![format!("{FOLDER}/daemons")]))
}
