//! The ground of the instruments' tests: a plan's layout out of namespaces, by `ip`.
//!
//! Each test starts itself again in a user namespace of its own, where an ordinary user is root
//! and nothing reaches the host; what is built goes when that process ends. One namespace holds
//! the switches, and one each gateway, host and observer.

use std::fmt::Write as _;
use std::fs::File;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::AsFd;
use steadfast_core::wire::advert::{GROUP_MAC, Kind};
use steadfast_core::wire::announce::gratuitous_arp;
use steadfast_core::wire::ethernet::{self, ethertype};
use steadfast_core::{MacAddr, NodeId};
use steadfast_scenarios::format::{Gateway, Plan, Port, Segment};
use steadfast_scenarios::{Scenario, SegmentId};

use super::super::{Connections, Eye, Observer, Outlet, PacketSocket, Station, Tap, filter};

const INSIDE: &str = "STEADFAST_TEST_INSIDE";

/// Whether we are inside; otherwise the test has been run there.
pub(super) fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    if Command::new("ip")
        .arg("-V")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        eprintln!("not run: needs ip (iproute2)");
        return false;
    }
    let namespaces = ["--user", "--map-root-user", "--net", "--mount"];
    let allowed = Command::new("unshare")
        .args(namespaces)
        .arg("true")
        .output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        eprintln!("not run: needs unshare (util-linux) and user namespaces");
        return false;
    }
    let output = Command::new("unshare")
        .args(namespaces)
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("1 passed"), "no such test: {test}");
    eprint!("{errors}");
    false
}

/// A pair, with the usual four streams at 1 kHz.
pub(super) fn plan() -> Plan {
    let mut text = String::from("format = 1\nname = \"eyes\"\ntitle = \"eyes\"\n");
    text.push_str("claims = [\"R1.1\"]\nduration = \"20s\"\n");
    let streams = [
        ("out", "client", "server"),
        ("back", "server", "client"),
        ("ping_lan", "client", "vip.lan"),
        ("ping_wan", "server", "vip.wan"),
    ];
    for (name, from, to) in streams {
        write!(text, "[[traffic]]\nname = \"{name}\"\nfrom = \"{from}\"\n").unwrap();
        write!(text, "to = \"{to}\"\nrate = \"1000 Hz\"\n").unwrap();
    }
    Scenario::parse("eyes.toml", &text)
        .unwrap()
        .resolve(1)
        .unwrap()
}

/// Namespaces that make up a plan's layout.
pub(super) struct Ground {
    pub(super) plan: Plan,
}

impl Ground {
    /// Builds it. The process must be inside.
    pub(super) fn build(plan: Plan) -> Self {
        let mut script = String::from("mount -t tmpfs none /run\nmkdir /run/netns\n");
        let layout = &plan.layout;
        let gateways = layout.gateways.iter().map(|it| it.name.as_str());
        let hosts = layout.hosts.iter().map(|it| it.name.as_str());
        for name in gateways.chain(hosts).chain(["switch", "observer"]) {
            writeln!(script, "ip netns add {name}\nip -n {name} link set lo up").unwrap();
        }
        for segment in layout.segments.iter().filter(|it| it.served()) {
            let name = &segment.name;
            writeln!(script, "ip -n switch link add {name} type bridge").unwrap();
            writeln!(script, "ip -n switch link set {name} up").unwrap();
            plug(&mut script, name, "observer", segment.observer_mac());
            for host in layout.hosts.iter().filter(|it| it.segment == segment.id) {
                plug(&mut script, name, &host.name, host.mac);
                let (ip, host) = (host.addresses[0], &host.name);
                writeln!(script, "ip -n {host} addr add {ip}/16 dev {name}0").unwrap();
                let gateway = segment.virtuals[0];
                writeln!(script, "ip -n {host} route add default via {gateway}").unwrap();
            }
            for gateway in &layout.gateways {
                let port = port(gateway, segment);
                plug(&mut script, name, &gateway.name, port.mac);
                let (ip, gateway) = (port.units[0], &gateway.name);
                writeln!(script, "ip -n {gateway} addr add {ip}/16 dev {name}0").unwrap();
                let key = "/proc/sys/net/ipv4/ip_forward";
                let set = format!("sh -c 'echo 1 > {key}'");
                writeln!(script, "ip netns exec {gateway} {set}").unwrap();
            }
        }
        shell(&script);
        Self { plan }
    }

    /// A gateway takes all virtual addresses, and says so.
    pub(super) fn serve(&self, gateway: &str) {
        self.addresses(gateway, "add");
        for segment in self.served() {
            self.announce(gateway, segment.id);
        }
    }

    /// A gateway gives all virtual addresses up.
    pub(super) fn withdraw(&self, gateway: &str) {
        self.addresses(gateway, "del");
    }

    /// A frame of ours leaves a gateway's port on the first segment.
    pub(super) fn offer(&self, gateway: &str, kind: Kind) {
        let gateway = self.gateway(gateway);
        let mut frame = Vec::new();
        ethernet::header(
            &mut frame,
            GROUP_MAC,
            gateway.ports[0].mac,
            ethertype::STEADFAST,
        );
        let byte = (0..=u8::MAX).find(|byte| Kind::from_byte(*byte) == Some(kind));
        frame.extend([1, 0, byte.unwrap()]);
        frame.extend([0; 40]);
        let lan = self.served().next().unwrap();
        self.put(&gateway.name, lan, &[frame]);
    }

    /// The switch's end of a port goes down.
    pub(super) fn cut(&self, port: &str) {
        shell(&format!("ip -n switch link set {port} down"));
    }

    /// A gateway's port is taken away and plugged in again, as new interfaces.
    pub(super) fn plug_anew(&self, segment: &str, gateway: &str) {
        let segment = self.plan.layout.segment(segment).unwrap();
        let (name, gateway) = (&segment.name, self.gateway(gateway));
        let port = port(gateway, segment);
        let mut script = format!("ip -n switch link del {name}.{}\n", gateway.name);
        plug(&mut script, name, &gateway.name, port.mac);
        let (unit, address) = (port.units[0], segment.virtuals[0]);
        for ip in [format!("{unit}/16"), format!("{address}/32")] {
            let gateway = &gateway.name;
            writeln!(script, "ip -n {gateway} addr add {ip} dev {name}0").unwrap();
        }
        shell(&script);
    }

    /// What a gateway says when it has taken a segment's addresses.
    pub(super) fn announce(&self, gateway: &str, segment: SegmentId) {
        let segment = &self.plan.layout.segments[segment.index()];
        let gateway = self.gateway(gateway);
        let mac = port(gateway, segment).mac;
        let IpAddr::V4(ip) = segment.virtuals[0] else {
            unreachable!("this ground speaks IPv4");
        };
        let frames: Vec<Vec<u8>> = gratuitous_arp(mac, ip).into();
        self.put(&gateway.name, segment, &frames);
    }

    pub(super) fn tap(&self, segment: SegmentId, gateway: NodeId, recorded: bool) -> Tap {
        let layout = &self.plan.layout;
        let segment = &layout.segments[segment.index()];
        let name = &layout
            .gateways
            .iter()
            .find(|it| it.id == gateway)
            .unwrap()
            .name;
        let port = format!("{}.{name}", segment.name);
        let open = || Tap::gateway(layout, segment, gateway, &port, recorded);
        within("switch", open).unwrap()
    }

    pub(super) fn taps(&self, recorded: bool) -> Vec<Tap> {
        let layout = &self.plan.layout;
        let mut taps = Vec::new();
        for segment in self.served() {
            let gateways = layout.gateways.iter();
            taps.extend(gateways.map(|it| self.tap(segment.id, it.id, recorded)));
        }
        for host in &layout.hosts {
            let port = format!("{}0", layout.segments[host.segment.index()].name);
            taps.push(within(&host.name, || Tap::host(host.id, &port)).unwrap());
        }
        taps
    }

    pub(super) fn eyes(&self) -> Vec<Eye> {
        let eye = |segment: &Segment| {
            let port = format!("{}0", segment.name);
            let open = || Observer::outlet(segment, &port);
            Eye {
                segment: segment.id,
                outlet: within("observer", open).unwrap(),
                virtual_mac: None,
                ports: Vec::new(),
            }
        };
        self.served().map(eye).collect()
    }

    pub(super) fn stations(&self) -> Vec<Station> {
        let hosts = self.plan.layout.hosts.iter();
        hosts
            .map(|host| within(&host.name, || Station::host(host.id, None)).unwrap())
            .collect()
    }

    pub(super) fn outlets(&self) -> Vec<Outlet> {
        let hosts = self.plan.layout.hosts.iter();
        hosts
            .map(|host| within(&host.name, || Outlet::open(host)).unwrap())
            .collect()
    }

    pub(super) fn connections(&self) -> Connections {
        let (client, server) = (&self.plan.layout.hosts[0], &self.plan.layout.hosts[1]);
        let listener = within(&server.name, || Connections::listen(server.addresses[0])).unwrap();
        let name = client.name.clone();
        let enter = Box::new(move || enter(&name));
        Connections::new(client.addresses[0], enter, listener).unwrap()
    }

    fn served(&self) -> impl Iterator<Item = &Segment> {
        self.plan.layout.segments.iter().filter(|it| it.served())
    }

    fn gateway(&self, name: &str) -> &Gateway {
        self.plan.layout.gateway(name).unwrap()
    }

    fn addresses(&self, gateway: &str, verb: &str) {
        let mut script = String::new();
        for segment in self.served() {
            let (ip, name) = (segment.virtuals[0], &segment.name);
            writeln!(script, "ip -n {gateway} addr {verb} {ip}/32 dev {name}0").unwrap();
        }
        shell(&script);
    }

    fn put(&self, machine: &str, segment: &Segment, frames: &[Vec<u8>]) {
        let port = format!("{}0", segment.name);
        let socket = within(machine, || {
            PacketSocket::open(&port, &filter::nothing(), false)
        });
        assert_eq!(socket.unwrap().send(frames), frames.len());
    }
}

fn port<'a>(gateway: &'a Gateway, segment: &Segment) -> &'a Port {
    let mut ports = gateway.ports.iter();
    ports.find(|port| port.segment == segment.id).unwrap()
}

/// A cable from the switch of a segment to a machine.
fn plug(script: &mut String, segment: &str, machine: &str, mac: MacAddr) {
    let port = format!("{segment}.{machine}");
    let mac = mac.0.map(|byte| format!("{byte:02x}")).join(":");
    writeln!(
        script,
        "ip -n switch link add {port} type veth \
         peer name {segment}0 netns {machine} address {mac}\n\
         ip -n switch link set {port} master {segment} up\n\
         ip -n {machine} link set {segment}0 up"
    )
    .unwrap();
}

fn shell(script: &str) {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}\n{script}");
}

fn enter(name: &str) -> std::io::Result<()> {
    let net = File::open(format!("/run/netns/{name}"))?;
    let kind = Some(LinkNameSpaceType::Network);
    Ok(move_into_link_name_space(net.as_fd(), kind)?)
}

/// Opens something on a thread inside a namespace.
fn within<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            enter(name).unwrap();
            work()
        });
        thread.join().unwrap()
    })
}
