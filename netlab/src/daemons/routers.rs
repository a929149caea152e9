//! `radvd` on every gateway, as found in the field: it knows nothing of roles.
//!
//! Told to speak from the link-local address that moves with the role, and else from the port's own
//! (of its list the last that is there counts), it looks for addresses when it starts and when it
//! gets SIGHUP. So a loop beside it waits for the kernel's news of addresses and sends that, as an
//! operator's hook would. It starts when the daemon is ready, as a unit ordered after it does:
//! before that nothing is fenced. Limit: Debian's `radvd` and `ip`.

use std::fmt::Write as _;
use std::path::Path;

use steadfast_scenarios::format::{Gateway, Layout, link_local};

use super::steadfast::SOCKET;
use super::{FOLDER, RUN};

const RADVD: &str = "/usr/sbin/radvd";
const IP: &str = "/usr/sbin/ip";

/// Whether this machine has what is run.
pub fn installed() -> bool {
    [RADVD, IP]
        .iter()
        .all(|program| Path::new(program).exists())
}

/// Its configuration, and what starts it.
pub(super) fn files(layout: &Layout, gateway: &Gateway) -> [(String, Vec<u8>); 2] {
    let mut text = String::new();
    for port in &gateway.ports {
        let segment = layout.segments.get(port.segment.index());
        let Some(moving) = segment.and_then(|segment| segment.router) else {
            continue;
        };
        let own = link_local(port.mac);
        // Writing to memory cannot fail.
        let _ = writeln!(
            text,
            "interface {} {{\n  AdvSendAdvert on;\n  MinRtrAdvInterval 3;\n  \
             MaxRtrAdvInterval 4;\n  AdvDefaultLifetime 600;\n  \
             AdvRASrcAddress {{ {own}; {moving}; }};\n}};",
            port.name
        );
    }
    // The monitor first, or news between the two would be missed.
    let start = format!(
        "#!/bin/sh\nuntil [ -e {RUN}/{SOCKET} ]; do sleep 0.05; done\n\
         {IP} -6 monitor address | while read -r news; do\n  \
         [ -e /run/radvd.pid ] && kill -HUP \"$(cat /run/radvd.pid)\"\ndone &\n\
         sleep 0.1\nexec {RADVD} -C {FOLDER}/radvd.conf -n -m stderr -p /run/radvd.pid\n"
    );
    [
        ("radvd.conf".to_owned(), text.into_bytes()),
        ("routers".to_owned(), start.into_bytes()),
    ]
}

/// What runs it.
pub(super) fn command() -> Vec<String> {
    vec!["/bin/sh".to_owned(), format!("{FOLDER}/routers")]
}
