//! Daemons under test: what each must be told, and how each is asked.
//!
//! The lab knows machines; what runs on them comes from here as files and a command line. Steadfast
//! is the product, the others are what it is compared with, configured as their own handbooks say
//! for a pair that moves LAN and WAN together. All of them live in a node's own mounts, so paths
//! below `/run` are private to a gateway.

pub mod frr;
pub mod keepalived;
pub mod steadfast;
pub mod ucarp;

use std::time::Duration;

use steadfast_scenarios::format::{Gateway, Layout, Plan};

/// Where a gateway's daemon keeps its files, inside the node's own mounts.
pub const FOLDER: &str = "/run/gateway";

/// A file that a daemon reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name below [`FOLDER`].
    pub name: String,
    /// Its contents.
    pub text: String,
    /// Its permissions.
    pub mode: u32,
}

impl File {
    fn new(name: &str, text: String) -> Self {
        Self {
            name: name.to_owned(),
            text,
            mode: 0o644,
        }
    }

    fn with_mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }
}

/// Everything a machine needs to run a daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The files it reads.
    pub files: Vec<File>,
    /// Commands carried out before it starts, in order; one that fails is a failure of the start.
    pub before: Vec<Vec<String>>,
    /// The command line; it stays in the foreground.
    pub argv: Vec<String>,
}

/// Which daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Daemon {
    /// FRR's zebra and vrrpd.
    Frr,
    /// keepalived.
    Keepalived,
    /// The product.
    Steadfast,
    /// ucarp.
    Ucarp,
}

impl Daemon {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Frr => "frr",
            Self::Keepalived => "keepalived",
            Self::Steadfast => "steadfast",
            Self::Ucarp => "ucarp",
        }
    }

    /// The programs that must be installed.
    pub const fn needs(self) -> &'static [&'static str] {
        match self {
            Self::Frr => &["/usr/lib/frr/zebra", "/usr/lib/frr/vrrpd"],
            Self::Keepalived => &["/usr/sbin/keepalived"],
            Self::Steadfast => &[],
            Self::Ucarp => &["/usr/sbin/ucarp", "/usr/sbin/ip"],
        }
    }

    /// Another daemon's program on a gateway of a layout, or why it cannot do the job. The
    /// product's own comes from [`steadfast::program`], which takes a whole plan.
    ///
    /// # Errors
    /// In words: what that daemon cannot do.
    pub fn foreign(
        self,
        layout: &Layout,
        gateway: &Gateway,
        interval: Duration,
    ) -> Result<Program, String> {
        match self {
            Self::Frr => frr::program(layout, gateway, interval),
            Self::Keepalived => keepalived::program(layout, gateway, interval),
            Self::Steadfast => Err("steadfast is configured from a whole plan".to_owned()),
            Self::Ucarp => ucarp::program(layout, gateway, interval),
        }
    }
}

/// Served ports of a gateway with their segments' virtual addresses.
fn served<'a>(
    layout: &'a Layout,
    gateway: &'a Gateway,
) -> impl Iterator<Item = (&'a steadfast_scenarios::format::Port, String)> + 'a {
    gateway.ports.iter().filter_map(|port| {
        let segment = layout.segments.get(port.segment.index())?;
        let first = segment.virtuals.first()?;
        Some((port, first.to_string()))
    })
}

/// Whether this gateway shall win a first election: the one with the lowest id.
fn comes_first(plan_gateways: &[Gateway], gateway: &Gateway) -> bool {
    plan_gateways.iter().all(|other| other.id >= gateway.id)
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
        for daemon in [Daemon::Frr, Daemon::Keepalived, Daemon::Ucarp] {
            let program = daemon
                .foreign(&layout, gateway, Duration::from_secs(1))
                .unwrap();
            let mut all: String = program
                .files
                .iter()
                .map(|file| file.text.as_str())
                .collect();
            all.extend(program.before.concat());
            for (port, address) in served(&layout, gateway) {
                assert!(all.contains(&port.name), "{}: {all}", daemon.name());
                assert!(all.contains(&address), "{}: {all}", daemon.name());
            }
        }
    }

    /// What a daemon cannot do is said, never rounded to something it can.
    #[test]
    fn daemons_say_what_they_cannot() {
        let layout = layout();
        let gateway = &layout.gateways[0];
        let tenth = Duration::from_millis(100);
        assert!(Daemon::Ucarp.foreign(&layout, gateway, tenth).is_err());
        let odd = Duration::from_millis(15);
        assert!(Daemon::Frr.foreign(&layout, gateway, odd).is_err());
    }

    /// The product's file says what the plan says.
    #[test]
    fn daemons_steadfast_file_follows_the_plan() {
        let text = "format = 1\nname = \"x\"\ntitle = \"x\"\nclaims = [\"R1.1\"]\nduration = \"1s\"\n\
                    [cluster]\ninterval = \"50ms\"\npreempt = \"prefer\"\n\
                    [gateway.b]\npreferred = true\n[[expect]]\noracle = \"no_flap\"\nmax_moves = 1\n";
        let scenario = steadfast_scenarios::Scenario::parse("x", text).unwrap();
        let plan: Plan = scenario.resolve(0).unwrap();
        let program = steadfast::program(&plan, &plan.layout.gateways[1], "/x/steadfastd");
        let file = &program.files[0].text;
        for line in [
            "interval = \"50ms\"",
            "preempt = \"prefer\"",
            "preferred = true",
            "id = 2",
        ] {
            assert!(file.contains(line), "no `{line}` in\n{file}");
        }
        assert_eq!(program.files[1].mode, 0o600);
    }
}
