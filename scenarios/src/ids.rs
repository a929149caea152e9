//! Numbers that a trace uses for things that have names in a scenario file.
//!
//! Gateways and ports carry the numbers they have on the wire ([`steadfast_core::NodeId`],
//! [`steadfast_core::PortId`]); the rest is counted from 0 in the order of the scenario's layout.

use core::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone,
            Copy,
            Debug,
            Default,
            PartialEq,
            Eq,
            PartialOrd,
            Ord,
            Hash,
            Serialize,
            Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u8);

        impl $name {
            /// The number as an index into the layout's list.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number!(
    /// A host on a segment; counted from 0 in the order of `Layout::hosts`.
    HostId
);
number!(
    /// A segment: a switch or a direct cable; counted from 0 in the order of `Layout::segments`.
    SegmentId
);
number!(
    /// A stream of probes; counted from 0 in the order of `Plan::traffic`.
    StreamId
);
