//! Daemons under test: what each must be told, and how each is asked.
//!
//! The lab knows machines; what runs on them comes from here as files and a command line. Steadfast
//! is the product, the others are what it is compared with, configured as their own handbooks say
//! for a pair that moves LAN and WAN together. All of them live in a node's own mounts, so paths
//! below `/run` are private to a gateway.

pub mod clocks;
pub mod frr;
pub mod keepalived;
pub mod programs;
pub mod routers;
mod standing;
pub mod steadfast;
pub mod ucarp;
mod vrrp;

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use steadfast_core::MacAddr;
use steadfast_scenarios::SegmentId;
use steadfast_scenarios::format::{Gateway, Layout, Plan, Port, Version};

pub use standing::Standing;

use crate::machine::Setup;

/// Where a gateway's daemon finds its files, inside the node's own mounts.
pub const FOLDER: &str = "/run/etc";
/// Where it keeps sockets and process ids.
pub const RUN: &str = "/run/steadfast";
/// Where it keeps what outlives a boot.
pub const STATE: &str = "/run/state";

/// What a machine runs: files by name, and a command line that stays in the foreground.
fn setup<const N: usize>(files: [(&str, String); N], argv: Vec<String>) -> Setup {
    let bytes = |(name, text): (&str, String)| (name.to_owned(), text.into_bytes());
    Setup {
        argv,
        files: files.into_iter().map(bytes).collect(),
        ..Setup::default()
    }
}

/// The same for a daemon that is not ours.
fn foreign<const N: usize>(files: [(&str, String); N], argv: Vec<String>) -> Setup {
    Setup {
        foreign: true,
        ..setup(files, argv)
    }
}

/// Which daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Daemon {
    /// FRR's zebra and vrrpd.
    Frr,
    /// keepalived.
    Keepalived,
    /// The product.
    Steadfast,
    /// ucarp.
    Ucarp,
    /// The product as a router of VRRP.
    Vrrp,
}

impl Daemon {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Frr => "frr",
            Self::Keepalived => "keepalived",
            Self::Steadfast => "steadfast",
            Self::Ucarp => "ucarp",
            Self::Vrrp => "steadfast-vrrp",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        let all = [
            Self::Frr,
            Self::Keepalived,
            Self::Steadfast,
            Self::Ucarp,
            Self::Vrrp,
        ];
        all.into_iter().find(|daemon| daemon.name() == name)
    }

    /// The programs that must be installed.
    pub const fn needs(self) -> &'static [&'static str] {
        match self {
            Self::Frr => &["/usr/lib/frr/zebra", "/usr/lib/frr/vrrpd"],
            Self::Keepalived => &["/usr/sbin/keepalived"],
            Self::Steadfast | Self::Vrrp => &[],
            Self::Ucarp => &["/usr/sbin/ucarp", "/usr/sbin/ip"],
        }
    }

    /// The MAC that a segment's virtual addresses answer with, if that is no gateway's own.
    pub fn virtual_mac(self, layout: &Layout, segment: SegmentId) -> Option<MacAddr> {
        match self {
            Self::Frr => frr::virtual_mac(layout, segment),
            Self::Keepalived | Self::Steadfast | Self::Ucarp | Self::Vrrp => None,
        }
    }

    /// The same with each address of the first served segment a virtual router of its own.
    ///
    /// # Errors
    /// In words: what that daemon cannot do.
    pub fn routers(
        self,
        layout: &Layout,
        gateway: &Gateway,
        interval: Duration,
        standing: Standing,
    ) -> Result<Setup, String> {
        match self {
            Self::Keepalived => keepalived::routers(layout, gateway, interval, standing),
            Self::Frr | Self::Steadfast | Self::Ucarp | Self::Vrrp => Err(format!(
                "{} with a router for each address is not built",
                self.name()
            )),
        }
    }

    /// What the product runs on a gateway of a story about virtual routers.
    ///
    /// # Errors
    /// A plan without such, or more addresses than a router can name.
    pub fn virtual_routers(plan: &Plan, gateway: &Gateway, program: &str) -> Result<Setup, String> {
        vrrp::of_plan(plan, gateway, program)
    }

    /// What its control socket is told so that every virtual router of a gateway resigns.
    pub fn resignations(layout: &Layout, gateway: &Gateway) -> Vec<String> {
        vrrp::resignations(layout, gateway)
    }

    /// What another daemon runs on a gateway of a layout, or why it cannot do the job. `program` is
    /// the product's, which is another daemon as a router of VRRP; as itself it takes a whole plan
    /// ([`steadfast::setup`]).
    ///
    /// # Errors
    /// In words: what that daemon cannot do.
    pub fn foreign(
        self,
        layout: &Layout,
        gateway: &Gateway,
        interval: Duration,
        standing: Standing,
        program: &str,
    ) -> Result<Setup, String> {
        if layout.family.has(Version::Ipv6) {
            return Err(format!(
                "{} set up for IPv6, which is not built",
                self.name()
            ));
        }
        match self {
            Self::Frr => frr::setup(layout, gateway, interval, standing),
            Self::Keepalived => keepalived::setup(layout, gateway, interval, standing),
            Self::Steadfast => Err("steadfast is configured from a whole plan".to_owned()),
            Self::Ucarp => ucarp::setup(layout, gateway, interval, standing),
            Self::Vrrp => vrrp::setup(layout, gateway, interval, standing, program),
        }
    }
}

/// Served ports of a gateway with their segments' virtual addresses, at least one each.
fn served<'a>(
    layout: &'a Layout,
    gateway: &'a Gateway,
) -> impl Iterator<Item = (&'a Port, &'a [IpAddr])> + 'a {
    gateway.ports.iter().filter_map(|port| {
        let segment = layout.segments.get(port.segment.index())?;
        (!segment.virtuals.is_empty()).then_some((port, segment.virtuals.as_slice()))
    })
}

/// The most addresses that a router of VRRP can name in an advertisement.
const ADDRESSES_MAX: usize = 255;

/// # Errors
/// A port with more virtual addresses than `daemon` can name for one router.
fn few(daemon: &str, ports: &[(&Port, &[IpAddr])]) -> Result<(), String> {
    let many = ports.iter().find(|(_, it)| it.len() > ADDRESSES_MAX);
    many.map_or(Ok(()), |(port, it)| {
        Err(format!(
            "{daemon} has at most {ADDRESSES_MAX} virtual addresses on {}, and {} are wanted",
            port.name,
            it.len()
        ))
    })
}

/// Addresses as text.
fn spelt(addresses: &[IpAddr]) -> Vec<String> {
    addresses.iter().map(IpAddr::to_string).collect()
}

/// The only virtual address of a port.
///
/// # Errors
/// There are more, which `daemon` cannot have there.
fn only<'a>(daemon: &str, port: &Port, virtuals: &'a [IpAddr]) -> Result<&'a IpAddr, String> {
    match virtuals {
        [only] => Ok(only),
        _ => Err(format!(
            "{daemon} has one virtual address on {}, and {} are wanted",
            port.name,
            virtuals.len()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use steadfast_scenarios::format::Topology;

    fn layout() -> Layout {
        Layout::new(&Topology::default()).unwrap()
    }

    /// Each daemon's configuration names each served port and its virtual address: one that forgot
    /// a port would lose a race for a reason of ours.
    #[test]
    fn daemons_serve_every_port() {
        let layout = layout();
        let gateway = &layout.gateways[0];
        let standing = Standing::by_id(&layout, gateway);
        for daemon in [Daemon::Frr, Daemon::Keepalived, Daemon::Ucarp, Daemon::Vrrp] {
            let setup = daemon
                .foreign(
                    &layout,
                    gateway,
                    Duration::from_secs(1),
                    standing,
                    "/x/steadfastd",
                )
                .unwrap();
            let texts = setup.files.values();
            let all: String = texts.map(|text| String::from_utf8_lossy(text)).collect();
            for (port, addresses) in served(&layout, gateway) {
                assert!(all.contains(&port.name), "{}: {all}", daemon.name());
                for address in addresses {
                    assert!(
                        all.contains(&address.to_string()),
                        "{}: {all}",
                        daemon.name()
                    );
                }
            }
        }
    }

    /// No two of three have one priority: they would claim together.
    #[test]
    fn daemons_priorities_differ() {
        let topology = Topology {
            preset: steadfast_scenarios::format::Preset::Trio,
            ..Topology::default()
        };
        let layout = Layout::new(&topology).unwrap();
        let all = layout.gateways.iter();
        let all: Vec<u8> = all
            .map(|it| Standing::by_id(&layout, it).priority())
            .collect();
        assert_eq!(all, [250, 240, 230]);
    }

    /// FRR answers with a MAC of its own on each segment, and its files give it that one.
    #[test]
    fn daemons_frr_has_the_mac_it_is_asked_at() {
        let layout = layout();
        let gateway = &layout.gateways[0];
        let interval = Duration::from_secs(1);
        let setup = Daemon::Frr
            .foreign(
                &layout,
                gateway,
                interval,
                Standing::by_id(&layout, gateway),
                "",
            )
            .unwrap();
        let script = String::from_utf8_lossy(&setup.files["daemons"]);
        for (port, _) in served(&layout, gateway) {
            let mac = Daemon::Frr.virtual_mac(&layout, port.segment).unwrap();
            assert!(
                script.contains(&format!("address {mac}")),
                "{mac}: {script}"
            );
            let own = Daemon::Keepalived.virtual_mac(&layout, port.segment);
            assert_eq!(own, None);
        }
    }

    /// What a daemon cannot do is said, never rounded to something it can.
    #[test]
    fn daemons_say_what_they_cannot() {
        let layout = layout();
        let gateway = &layout.gateways[0];
        let tenth = Duration::from_millis(100);
        let standing = Standing::by_id(&layout, gateway);
        assert!(
            Daemon::Ucarp
                .foreign(&layout, gateway, tenth, standing, "")
                .is_err()
        );
        let both = Topology {
            family: steadfast_scenarios::format::Family::Both,
            ..Topology::default()
        };
        let both = Layout::new(&both).unwrap();
        let second = Duration::from_secs(1);
        for daemon in [Daemon::Frr, Daemon::Keepalived, Daemon::Ucarp, Daemon::Vrrp] {
            let refused = daemon.foreign(&both, &both.gateways[0], second, standing, "");
            assert!(refused.unwrap_err().contains("IPv6"), "{}", daemon.name());
        }
        let odd = Duration::from_millis(15);
        assert!(
            Daemon::Frr
                .foreign(&layout, gateway, odd, standing, "")
                .is_err()
        );
    }

    /// The product's file says what the plan says.
    #[test]
    fn daemons_steadfast_file_follows_the_plan() {
        let text = "format = 1\nname = \"x\"\ntitle = \"x\"\nclaims = [\"R1.1\"]\n\
                    duration = \"1s\"\n\
                    [cluster]\ninterval = \"50ms\"\npreempt = \"prefer\"\n\
                    [gateway.b]\npreferred = true\n\
                    [[expect]]\noracle = \"no_flap\"\nmax_moves = 1\n";
        let scenario = steadfast_scenarios::Scenario::parse("x", text).unwrap();
        let plan: Plan = scenario.resolve(0).unwrap();
        let setup = steadfast::setup(&plan, &plan.layout.gateways[1], "/x/steadfastd").unwrap();
        let file = String::from_utf8_lossy(&setup.files["steadfast.toml"]);
        for line in [
            "interval = \"50ms\"",
            "preempt = \"prefer\"",
            "preferred = true",
            "id = 2",
        ] {
            assert!(file.contains(line), "no `{line}` in\n{file}");
        }
    }

    /// A profile is named to the daemon, which must know by itself what that means; only what the
    /// plan says otherwise stands beside it.
    #[test]
    fn daemons_steadfast_file_names_the_profile() {
        let text = "format = 1\nname = \"x\"\ntitle = \"x\"\nclaims = [\"R2.1\"]\n\
                    duration = \"1s\"\n\
                    [cluster]\nprofile = \"kemp\"\ndead_interval = \"3s\"\n\
                    [[expect]]\noracle = \"no_flap\"\nmax_moves = 1\n";
        let scenario = steadfast_scenarios::Scenario::parse("x", text).unwrap();
        let plan: Plan = scenario.resolve(0).unwrap();
        let setup = steadfast::setup(&plan, &plan.layout.gateways[0], "/x/steadfastd").unwrap();
        let file = String::from_utf8_lossy(&setup.files["steadfast.toml"]);
        assert!(file.contains("profile = \"kemp\""), "{file}");
        assert!(
            file.contains("[timing]\ndead_interval = \"3000ms\"\n\n"),
            "{file}"
        );
        assert!(file.contains("[policy]\n\n"), "{file}");
    }
}
