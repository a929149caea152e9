//! FRR: zebra and vrrpd, with the macvlan that vrrpd expects on each served port.
//!
//! vrrpd has no groups and tracks nothing; each port elects for itself. It says "Refusing to start"
//! once and then serves. zebra stays in the foreground, vrrpd beside it, who comes when zebra
//! listens. Both insist on a group of theirs and on folders, which a gateway's own mounts give
//! them. Without `arp_ignore` a kernel answers for a macvlan's address on the link below it, too.

use std::fmt::Write as _;
use std::time::Duration;

use steadfast_core::MacAddr;
use steadfast_scenarios::SegmentId;
use steadfast_scenarios::format::{Gateway, Layout};

use super::{FOLDER, RUN, Standing, served};
use crate::machine::Setup;

/// The virtual router of the first served port; the next ones count on.
const VIRTUAL_ROUTER: u8 = 71;

/// How often it is looked whether zebra listens, each 20 ms, before all is given up.
const LOOKS: u32 = 250;
/// Their group, and the folders they insist on; once in a boot.
const PREPARE: &str = "\
if mkdir frr 2>/dev/null; then\n\
sed 's/^frrvty:.*/frrvty:x:0:root/' /etc/group >frr/group\n\
mount --bind frr/group /etc/group\n\
mkdir frr/etc\ntouch frr/etc/vtysh.conf\n\
mount --bind frr/etc /etc/frr\nmount -t tmpfs none /var/tmp\n\
fi\n";

/// The MAC of the virtual router on a segment, if a gateway serves it: VRRP's, with its id.
pub(super) fn virtual_mac(layout: &Layout, segment: SegmentId) -> Option<MacAddr> {
    let gateway = layout.gateways.first()?;
    let place = served(layout, gateway).position(|(port, _)| port.segment == segment)?;
    Some(router_mac(router(place)?))
}

/// The id of the virtual router on a gateway's served port of this place.
fn router(place: usize) -> Option<u8> {
    VIRTUAL_ROUTER.checked_add(u8::try_from(place).ok()?)
}

/// RFC 5798, section 7.3.
const fn router_mac(router: u8) -> MacAddr {
    MacAddr([0, 0, 0x5e, 0, 1, router])
}

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
    let millis = interval.as_millis();
    if millis == 0 || millis > 40_950 || !millis.is_multiple_of(10) {
        return Err(format!(
            "VRRPv3 cannot advertise each {interval:?}: 10 ms to 40.95 s"
        ));
    }
    let priority = standing.priority();
    let preempt = match standing.preempts_at_once("frr")? {
        true => "",
        false => "no ",
    };
    let mut before = String::new();
    let mut vrrp = String::new();
    let ports: Vec<_> = served(layout, gateway).collect();
    super::few("frr", &ports)?;
    for (number, (port, addresses)) in ports.into_iter().enumerate() {
        let router = router(number).ok_or("VRRP has ids up to 255")?;
        let device = format!("vr{router}");
        let mac = router_mac(router);
        // Writing to memory cannot fail.
        let _ = write!(
            before,
            "if ip link add {device} link {port} type macvlan mode bridge; then\n\
             ip link set {device} address {mac}\n\
             for address in {}; do ip addr add $address/16 dev {device}; done\n\
             echo 1 >/proc/sys/net/ipv4/conf/{port}/arp_ignore\n\
             ip link set {device} protodown on\n\
             ip link set {device} up\nfi\n",
            super::spelt(addresses).join(" "),
            port = port.name
        );
        // Writing to memory cannot fail.
        let _ = write!(
            vrrp,
            "interface {}\n vrrp {router} version 3\n vrrp {router} priority {priority}\n \
             vrrp {router} advertisement-interval {millis}\n {preempt}vrrp {router} preempt\n",
            port.name
        );
        for address in addresses {
            let _ = writeln!(vrrp, " vrrp {router} ip {address}");
        }
        vrrp.push_str("!\n");
    }
    let start = format!(
        "#!/bin/sh\ntrap 'kill 0' TERM INT\ncd {RUN}\n{PREPARE}{before}\
         rm -f zserv.api\n\
         for name in zebra vrrpd; do\n\
         file=/dev/null\n[ $name = zebra ] || file={FOLDER}/vrrpd.conf\n\
         /usr/lib/frr/$name -u root -g root --vty_socket {RUN} -z {RUN}/zserv.api \
         -i {RUN}/$name.pid -f $file --log stdout &\n\
         left={LOOKS}\n\
         until [ -S zserv.api ]; do\n\
         left=$((left - 1))\n[ $left -gt 0 ] || {{ echo 'zebra does not listen'; exit 1; }}\n\
         sleep 0.02\n\
         done\n\
         done\nwait\n"
    );
    let files = [("vrrpd.conf", vrrp), ("daemons", start)];
    Ok(super::foreign(files, vec![format!("{FOLDER}/daemons")]))
}
