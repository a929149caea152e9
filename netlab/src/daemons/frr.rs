//! FRR: zebra and vrrpd, with the macvlan that vrrpd expects on each served port.
//!
//! vrrpd has no groups and tracks nothing; each port elects for itself. It says "Refusing to
//! start" once and then serves. zebra stays in the foreground, vrrpd beside it.

use std::fmt::Write as _;
use std::time::Duration;

use steadfast_scenarios::format::{Gateway, Layout};

use super::{FOLDER, File, Program, comes_first, served};

/// The virtual router of the first served port; the next ones count on.
const VIRTUAL_ROUTER: u8 = 71;

/// Its files and command line.
///
/// # Errors
/// An interval that VRRPv3 cannot say.
pub(super) fn program(
    layout: &Layout,
    gateway: &Gateway,
    interval: Duration,
) -> Result<Program, String> {
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
    let mut before = Vec::new();
    let mut vrrp = String::new();
    for (number, (port, address)) in served(layout, gateway).enumerate() {
        let router = usize::from(VIRTUAL_ROUTER) + number;
        let device = format!("vr{router}");
        let mac = format!("00:00:5e:00:01:{router:02x}");
        let words = |line: String| line.split(' ').map(str::to_owned).collect();
        before.push(words(format!(
            "ip link add {device} link {} addrgenmode none type macvlan mode bridge",
            port.name
        )));
        before.push(words(format!("ip link set {device} address {mac}")));
        before.push(words(format!("ip addr add {address}/16 dev {device}")));
        before.push(words(format!("ip link set {device} up")));
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
        "#!/bin/sh\ntrap 'kill 0' TERM INT\ncd {FOLDER}\n\
         /usr/lib/frr/zebra -u root -g root --vty_socket {FOLDER} -z {FOLDER}/zserv.api \
         -i {FOLDER}/zebra.pid -f /dev/null --log stdout &\n\
         /usr/lib/frr/vrrpd -u root -g root --vty_socket {FOLDER} -z {FOLDER}/zserv.api \
         -i {FOLDER}/vrrpd.pid -f {FOLDER}/vrrpd.conf --log stdout &\nwait\n"
    );
    Ok(Program {
        files: vec![
            File::new("vrrpd.conf", vrrp),
            File::new("daemons", start).with_mode(0o755),
        ],
        before,
        argv: vec!["/bin/sh".to_owned(), format!("{FOLDER}/daemons")],
    })
}
