//! The gateway of the stories: ports lan0, wan0 and ha0, with packet sockets on their far ends.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use rustix::net::{RecvFlags, SendFlags};
use steadfast::linux::fence::{self, Fence, FenceSpec, Hooks, ServedPort};
use steadfast::linux::netlink::{Ack, Batch, CREATE, EXCLUSIVE, Netlink, REPLACE};
use steadfast_core::MacAddr;

use super::frames::{self, Mac, STATION, VIRTUAL_MAC};

pub(crate) const LAN_UNIT: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);
pub(crate) const LAN_VIRTUAL: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 9);
pub(crate) const WAN_UNIT: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 9);
pub(crate) const LAN_UNIT6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 2);
pub(crate) const LAN_VIRTUAL6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 1);
pub(crate) const LINK_VIRTUAL6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0x5e, 0x133);
pub(crate) const CLIENT6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 9);
pub(crate) const SERVER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 9);
const WAN_UNIT6: Ipv6Addr = Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 2);

/// Longer than in service: a story is told within it, on a busy machine too.
pub(crate) const L: Duration = Duration::from_secs(1);
pub(crate) const TAIL: Duration = Duration::from_millis(500);
/// Most frames read while waiting for one; beyond it the story fails.
const FRAMES_MAX: usize = 10_000;
/// How long a frame that must come may take.
const FRAME_WAIT: Duration = Duration::from_secs(2);

/// A port of the gateway.
pub(crate) struct Port {
    pub(crate) mac: Mac,
    /// Sends as a program on the gateway would.
    pub(crate) near: OwnedFd,
    /// The other end of the wire.
    pub(crate) far: OwnedFd,
}

pub(crate) struct World {
    pub(crate) lan: Port,
    pub(crate) wan: Port,
    pub(crate) ha: Port,
    pub(crate) folder: PathBuf,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut route = Netlink::open(libc::NETLINK_ROUTE).unwrap();
        let lan = port(&mut route, "lan0", 1);
        let wan = port(&mut route, "wan0", 2);
        let ha = port(&mut route, "ha0", 3);
        for (name, value) in [
            ("ipv4/ip_forward", "1"),
            ("ipv6/conf/all/forwarding", "1"),
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv4/conf/lan0/rp_filter", "0"),
            ("ipv4/conf/wan0/rp_filter", "0"),
        ] {
            fs::write(format!("/proc/sys/net/{name}"), value).unwrap();
        }
        equip(&mut route);
        let folder = std::env::temp_dir().join(format!("fence-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self {
            lan,
            wan,
            ha,
            folder,
        }
    }

    pub(crate) fn spec(&self) -> FenceSpec {
        spec(self.folder.clone())
    }

    /// Deletes the LAN port and makes it again, under the same name.
    pub(crate) fn remake_lan(&mut self) {
        let mut route = Netlink::open(libc::NETLINK_ROUTE).unwrap();
        let mut header = [0; 16];
        header[4..8].copy_from_slice(&index_of("lan0").to_ne_bytes());
        let mut batch = Batch::new();
        batch.message("delete lan0", 17, 0, &header);
        must(&mut route, batch);
        self.lan = port(&mut route, "lan0", 1);
        equip(&mut route);
    }

    pub(crate) fn fenced(&self) -> Fence {
        Fence::install(&self.spec()).unwrap()
    }

    /// Whether the gateway answers for this address on its LAN. The unit address, asked after
    /// it on the same wire, always does.
    pub(crate) fn answers(&self, address: Ipv4Addr) -> bool {
        self.lan.inject(&frames::arp_request(CLIENT, address));
        self.lan.inject(&frames::arp_request(CLIENT, LAN_UNIT));
        self.lan.hears(
            |frame| frames::is_arp_reply(frame, address),
            |frame| frames::is_arp_reply(frame, LAN_UNIT),
        )
    }

    /// The same for IPv6.
    pub(crate) fn answers6(&self, address: Ipv6Addr) -> bool {
        for target in [address, LAN_UNIT6] {
            self.lan
                .inject(&frames::solicitation(self.lan.mac, CLIENT6, target));
        }
        self.lan.hears(
            |frame| frames::is_advertisement(frame, address),
            |frame| frames::is_advertisement(frame, LAN_UNIT6),
        )
    }

    /// Whether a packet from the server reaches the client through the gateway.
    pub(crate) fn forwards(&self, source: IpAddr, target: IpAddr) -> bool {
        let body = b"through the gateway";
        self.wan
            .inject(&frames::datagram(self.wan.mac, source, target, body));
        // Behind it on the same wire, an ARP question that is answered in every state.
        self.wan.inject(&frames::arp_request(SERVER, WAN_UNIT));
        self.wan
            .hears(|_| false, |frame| frames::is_arp_reply(frame, WAN_UNIT));
        self.lan.inject(&frames::arp_request(CLIENT, LAN_UNIT));
        self.lan.hears(
            |frame| frames::holds(frame, body),
            |frame| frames::is_arp_reply(frame, LAN_UNIT),
        )
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A story that failed leaves its fence, whose keeper would keep the namespace.
        let _ = fence::remove(&self.folder);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Names the form of the fence, to children of a story as well.
pub(crate) const FORM: &str = "FENCE_FORM";

/// What the kernel can do, or what kernels before 5.16 can.
pub(crate) fn hooks() -> Hooks {
    match std::env::var(FORM).as_deref() {
        Ok("output") => Hooks::Output,
        _ => Hooks::Auto,
    }
}

/// Whether the kernel guards and renews the lease, and the daemon need not.
pub(crate) fn kernel_guards() -> bool {
    hooks() == Hooks::Auto
}

/// Whether a table of ours stands, by its name.
pub(crate) fn table_is_there(name: &str) -> bool {
    const GET_TABLE: u16 = 10 << 8 | 1;
    let family = match name {
        "steadfast-arp" => 3,
        "steadfast-ip" => 1,
        _ => 5,
    };
    let mut netlink = Netlink::open(libc::NETLINK_NETFILTER).unwrap();
    let mut question = Batch::new();
    question
        .message("look", GET_TABLE, 0, &[family, 0, 0, 0])
        .put_text(1, name);
    netlink.ask(question).is_ok()
}

pub(crate) fn spec(keeper_dir: PathBuf) -> FenceSpec {
    FenceSpec {
        heartbeat_ports: ["lan0", "wan0", "ha0"].map(str::to_owned).to_vec(),
        served: vec![
            ServedPort {
                name: "lan0".to_owned(),
                units: vec![LAN_UNIT.into(), LAN_UNIT6.into()],
                virtuals: vec![
                    LAN_VIRTUAL.into(),
                    LAN_VIRTUAL6.into(),
                    LINK_VIRTUAL6.into(),
                ],
                virtual_macs: vec![MacAddr(VIRTUAL_MAC)],
            },
            ServedPort {
                name: "wan0".to_owned(),
                units: vec![WAN_UNIT.into(), WAN_UNIT6.into()],
                virtuals: vec![Ipv4Addr::new(10, 0, 2, 1).into()],
                virtual_macs: Vec::new(),
            },
        ],
        datagrams: Some(6973),
        hooks: hooks(),
        lease: L,
        tail: TAIL,
        keeper_dir,
        keeper_program: "/proc/self/exe".into(),
    }
}

impl Port {
    /// Puts a frame on the wire, towards the gateway.
    pub(crate) fn inject(&self, frame: &[u8]) {
        rustix::net::send(&self.far, frame, SendFlags::empty()).unwrap();
    }

    /// Sends a frame from the gateway.
    pub(crate) fn send(&self, frame: &[u8]) -> io::Result<()> {
        rustix::net::send(&self.near, frame, SendFlags::empty())?;
        Ok(())
    }

    /// Sends as a program of another user would; none where there is no other one.
    pub(crate) fn send_as(&self, user: u32, name: &str, frame: &[u8]) -> Option<io::Result<()>> {
        let socket = super::user::packet_socket_of(user, index_of(name)).unwrap()?;
        let sent = rustix::net::send(&socket, frame, SendFlags::empty());
        Some(sent.map(drop).map_err(io::Error::from))
    }

    /// Whether a wanted frame comes before the last one, which must come.
    pub(crate) fn hears(
        &self,
        is_wanted: impl Fn(&[u8]) -> bool,
        is_last: impl Fn(&[u8]) -> bool,
    ) -> bool {
        let (mut frame, mut heard) = ([0; 2048], false);
        for _ in 0..FRAMES_MAX {
            let (len, _) = rustix::net::recv(&self.far, &mut frame[..], RecvFlags::empty())
                .expect("the last frame comes");
            heard |= is_wanted(&frame[..len]);
            if is_last(&frame[..len]) {
                return heard;
            }
        }
        panic!("too many frames");
    }

    /// Whether a frame sent from the gateway reaches the far end, ahead of a frame that does.
    pub(crate) fn lets_out(&self, frame: &[u8]) -> bool {
        let sent = self.send(frame);
        let last = frames::ethernet(STATION, self.mac, 0x1234, b"last of all");
        self.send(&last).unwrap();
        let heard = self.hears(|heard| heard == frame, |heard| heard == last);
        assert_eq!(sent.is_ok(), heard, "what is dropped is said to be");
        heard
    }
}

/// An interface with a wire to another one, whose end only packet sockets see.
fn port(route: &mut Netlink, name: &str, number: u8) -> Port {
    let mac = [2, 0, 0, 0, number, 1];
    let mut batch = Batch::new();
    batch
        .message(format!("create {name}"), 16, CREATE | EXCLUSIVE, &[0; 16])
        .put_text(3, name)
        .put(1, &mac)
        .nest(18, |info| {
            info.put_text(1, "veth").nest(2, |data| {
                data.nest(1, |peer| {
                    peer.put_header(&[0; 16]).put_text(3, &format!("{name}far"));
                });
            });
        });
    must(route, batch);
    let far = format!("{name}far");
    // No address of its own: the far end must not speak.
    let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{far}/disable_ipv6"), "1");
    let mut batch = Batch::new();
    for name in [name, &far] {
        let mut header = [0; 16];
        header[4..8].copy_from_slice(&index_of(name).to_ne_bytes());
        header[8..12].copy_from_slice(&1_u32.to_ne_bytes());
        header[12..16].copy_from_slice(&1_u32.to_ne_bytes());
        batch.message(format!("set {name} up"), 16, 0, &header);
    }
    must(route, batch);
    Port {
        mac,
        near: super::sys::packet_socket(index_of(name), Some(FRAME_WAIT)).unwrap(),
        far: super::sys::packet_socket(index_of(&far), Some(FRAME_WAIT)).unwrap(),
    }
}

/// Addresses of the gateway, and its neighbours.
fn equip(route: &mut Netlink) {
    let mut batch = Batch::new();
    let (at_lan, at_wan) = (index_of("lan0"), index_of("wan0"));
    address(&mut batch, at_lan, LAN_UNIT.into(), 24);
    address(&mut batch, at_lan, LAN_VIRTUAL.into(), 32);
    address(&mut batch, at_wan, WAN_UNIT.into(), 24);
    address(&mut batch, at_lan, LAN_UNIT6.into(), 64);
    address(&mut batch, at_lan, LAN_VIRTUAL6.into(), 128);
    address(&mut batch, at_lan, LINK_VIRTUAL6.into(), 128);
    address(&mut batch, at_wan, WAN_UNIT6.into(), 64);
    neighbour(&mut batch, at_lan, CLIENT.into());
    neighbour(&mut batch, at_lan, CLIENT6.into());
    neighbour(&mut batch, at_wan, SERVER.into());
    neighbour(&mut batch, at_wan, SERVER6.into());
    must(route, batch);
}

pub(crate) fn must(netlink: &mut Netlink, batch: Batch) {
    let refused = netlink.exchange(batch, Ack::Each).unwrap();
    assert!(refused.is_empty(), "{refused:?}");
}

pub(crate) fn index_of(name: &str) -> i32 {
    // The folder of every interface is named in the namespace of this thread alone by netlink.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    i32::try_from(rustix::net::netdevice::name_to_index(&socket, name).unwrap()).unwrap()
}

fn octets(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (2, address.octets().to_vec()),
        IpAddr::V6(address) => (10, address.octets().to_vec()),
    }
}

fn address(batch: &mut Batch, index: i32, address: IpAddr, prefix: u8) {
    let (family, octets) = octets(address);
    let without_detection = 2;
    let header = [
        &[family, prefix, without_detection, 0][..],
        &index.to_ne_bytes(),
    ]
    .concat();
    batch
        .message(format!("add {address}"), 20, CREATE | REPLACE, &header)
        .put(2, &octets)
        .put(1, &octets);
}

fn neighbour(batch: &mut Batch, index: i32, address: IpAddr) {
    let (family, octets) = octets(address);
    let permanent = [0x80, 0, 0, 0];
    let header = [&[family, 0, 0, 0][..], &index.to_ne_bytes(), &permanent].concat();
    batch
        .message(
            format!("add neighbour {address}"),
            28,
            CREATE | REPLACE,
            &header,
        )
        .put(1, &octets)
        .put(2, &STATION);
}
