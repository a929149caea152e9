//! Where every statement is made: one gateway with three ports, and a station on each.
//!
//! ```text
//!   client ── lan0  10.0.1.2 fd00:1::2 fe80::1:2 ┐
//!   server ── wan0  10.0.2.2 fd00:2::2 fe80::2:2 ├ the machine
//!   peer   ── ha0   10.0.0.2 fd00::2   fe80::3:2 ┘   virtual: 10.0.1.1, 10.0.2.1, and IPv6
//! ```
//! `lan0` and `wan0` serve clients, so the fence stands there; advertisements leave on all three.
//! Nothing is on the machine at first but its unit addresses: virtual ones are added by a step.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use steadfast_core::{MacAddr, PortId};

/// The clients' port.
pub const LAN: PortId = PortId(0);
/// The servers' port.
pub const WAN: PortId = PortId(1);
/// The cable to the peer: heartbeats alone.
pub const CABLE: PortId = PortId(2);

/// The virtual addresses of the LAN.
pub const LAN_VIRTUAL: IpAddr = v4([10, 0, 1, 1]);
/// Its IPv6 one.
pub const LAN_VIRTUAL6: IpAddr = v6([0xfd00, 1, 0, 1]);
/// The virtual addresses of the WAN.
pub const WAN_VIRTUAL: IpAddr = v4([10, 0, 2, 1]);
/// Its IPv6 one.
pub const WAN_VIRTUAL6: IpAddr = v6([0xfd00, 2, 0, 1]);
/// The virtual MAC of the LAN, where a statement has one.
pub const STATION: MacAddr = MacAddr([0, 0, 0x5e, 0, 1, 51]);
/// The machine's own addresses, which no fence may touch.
pub const LAN_UNIT: IpAddr = v4([10, 0, 1, 2]);
/// On the LAN, IPv6.
pub const LAN_UNIT6: IpAddr = v6([0xfd00, 1, 0, 2]);
/// On the LAN, for neighbours alone.
pub const LAN_LOCAL6: IpAddr = v6([0xfe80, 0, 1, 2]);
/// On the WAN.
pub const WAN_UNIT: IpAddr = v4([10, 0, 2, 2]);
/// On the WAN, IPv6.
pub const WAN_UNIT6: IpAddr = v6([0xfd00, 2, 0, 2]);
/// On the WAN, for neighbours alone.
pub const WAN_LOCAL6: IpAddr = v6([0xfe80, 0, 2, 2]);
/// On the cable.
pub const CABLE_UNIT: IpAddr = v4([10, 0, 0, 2]);
/// On the cable, IPv6.
pub const CABLE_UNIT6: IpAddr = v6([0xfd00, 0, 0, 2]);
/// On the cable, for neighbours alone.
pub const CABLE_LOCAL6: IpAddr = v6([0xfe80, 0, 3, 2]);

/// A machine at the other end of a port's wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Station {
    /// Where it is.
    pub port: PortId,
    /// Its hardware address.
    pub mac: MacAddr,
    /// Its address.
    pub v4: IpAddr,
    /// Its IPv6 address.
    pub v6: IpAddr,
}

/// On the LAN.
pub const CLIENT: Station = station(LAN, [10, 0, 1, 9], [0xfd00, 1, 0, 9]);
/// On the WAN.
pub const SERVER: Station = station(WAN, [10, 0, 2, 9], [0xfd00, 2, 0, 9]);
/// On the cable.
pub const PEER: Station = station(CABLE, [10, 0, 0, 3], [0xfd00, 0, 0, 3]);
/// Another station on the LAN that says it is the client.
pub const THIEF: Station = Station {
    mac: MacAddr([2, 0, 0, 0, 8, 8]),
    ..CLIENT
};

impl Station {
    /// Its address of the same IP version.
    pub const fn like(self, other: IpAddr) -> IpAddr {
        if other.is_ipv4() { self.v4 } else { self.v6 }
    }
}

/// A port of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its number.
    pub port: PortId,
    /// The name of its interface.
    pub name: &'static str,
    /// Its hardware address.
    pub mac: MacAddr,
    /// Its unit addresses with the lengths of their prefixes; the first is IPv4.
    pub units: [(IpAddr, u8); 3],
    /// Whether clients are there.
    pub served: bool,
}

/// Every port.
pub const fn places() -> [Place; 3] {
    [
        place(LAN, "lan0", [LAN_UNIT, LAN_UNIT6, LAN_LOCAL6]),
        place(WAN, "wan0", [WAN_UNIT, WAN_UNIT6, WAN_LOCAL6]),
        place(CABLE, "ha0", [CABLE_UNIT, CABLE_UNIT6, CABLE_LOCAL6]),
    ]
}

/// The hardware address of a port.
pub const fn mac(port: PortId) -> MacAddr {
    MacAddr([2, 0, 0, 0, 1, port.0])
}

/// The machine's own address on a port, of the same IP version as another address.
pub const fn unit(port: PortId, like: IpAddr) -> IpAddr {
    let (four, six) = match port {
        LAN => (LAN_UNIT, LAN_UNIT6),
        WAN => (WAN_UNIT, WAN_UNIT6),
        _ => (CABLE_UNIT, CABLE_UNIT6),
    };
    if like.is_ipv4() { four } else { six }
}

/// What the fence protects, and where each address lives when it is held.
pub const fn virtuals() -> [(PortId, IpAddr); 4] {
    [
        (LAN, LAN_VIRTUAL),
        (LAN, LAN_VIRTUAL6),
        (WAN, WAN_VIRTUAL),
        (WAN, WAN_VIRTUAL6),
    ]
}

const fn place(port: PortId, name: &'static str, units: [IpAddr; 3]) -> Place {
    let [four, six, local] = units;
    Place {
        port,
        name,
        mac: mac(port),
        units: [(four, 24), (six, 64), (local, 64)],
        served: !matches!(port, CABLE),
    }
}

const fn station(port: PortId, four: [u8; 4], six: [u16; 4]) -> Station {
    Station {
        port,
        mac: MacAddr([2, 0, 0, 0, 9, port.0]),
        v4: v4(four),
        v6: v6(six),
    }
}

/// An IPv4 address.
pub const fn v4([a, b, c, d]: [u8; 4]) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

/// An IPv6 address of its first two and last two parts.
pub const fn v6([a, b, c, d]: [u16; 4]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(a, b, 0, 0, 0, 0, c, d))
}
