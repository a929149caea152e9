//! Names of things: small copyable values, one type per thing, so that no two can be mixed up.

use core::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number!(
    /// One life of a daemon: drawn afresh at each start; 0 means "none".
    BootId, u64
);
number!(
    /// The first eight bytes of a certificate's SHA-256 (R5.6).
    CertificateMark, u64
);
number!(
    /// A check of a node's own health, by its place in the configuration (R4.2).
    CheckId, u8
);
number!(
    /// Grows at each claim of the active role; settles two actives (D11).
    Epoch, u64
);
number!(
    /// A set of virtual routers that move together (D2); 0 to 31.
    GroupId, u8
);
number!(
    /// A gateway of the cluster; 1 to 254, unique in the cluster.
    NodeId, u8
);
number!(
    /// Numbers an effect that will be answered by `Completed`.
    OpId, u64
);
number!(
    /// A port, and the heartbeat path on it: like-named ports carry the same number on every node.
    PortId, u8
);
number!(
    /// Numbers an operator's command, so that its `Reply` finds back.
    RequestId, u64
);

/// 128 bits that tell one cluster from every other on the same segment (F26).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(pub [u8; 16]);

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterId(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// Every station on the segment.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// No station: the target hardware address of an ARP request.
    pub const ZERO: Self = Self([0; 6]);

    /// Whether more than one station listens to this address (broadcast included).
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
