//! The troubles there are: a word of each for programs, and what is told to people.

use serde::{Deserialize, Serialize};

/// What is wrong, in a word for programs.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum TroubleKind {
    /// An active peer's kernel answers for itself and for no virtual address.
    AddressesUnanswered,
    /// A direct cable has carrier and does not lead to the peer.
    CableElsewhere,
    /// A peer shows clients another certificate, or none.
    CertificatesDiffer,
    /// A check of this node's health fails.
    CheckFails,
    /// A peer's shared configuration is another.
    ConfigDiffers,
    /// A peer's identity facts are others.
    FactsDiffer,
    /// A peer's interfaces are others, by name or number.
    InterfacesDiffer,
    /// A port hears others, and a peer not.
    MulticastBlocked,
    /// Packets that the active should have come to this standby.
    NeighboursMisled,
    /// A peer is heard on a path, and does not hear this node there.
    OneWayThere,
    /// A peer hears this node on a path, and is not heard there.
    OneWayHere,
    /// A port has carrier and hears nobody.
    PortSilent,
    /// The router to a peer does not answer.
    RouterSilent,
    /// Of the paths to a peer only those carry anything that nobody counts on.
    SecondaryAlone,
    /// Frames do not verify, and a peer is missing.
    SecretDiffers,
    /// Nothing from the virtual MAC comes through.
    StationDropped,
    /// A peer is heard, and answers nothing this node says.
    Unacquainted,
    /// A node of this cluster is not configured here.
    UnknownSender,
    /// A peer's software is another version.
    VersionDiffers,
    /// Something passes the way through a router in one direction alone, or in none.
    WayBlocked,
    /// The way through a router takes too long.
    WaySlow,
    /// Something that this release does not know.
    #[default]
    #[serde(other)]
    Other,
}

impl TroubleKind {
    /// One of each that there is, in declaration order.
    pub const ALL: [Self; 21] = [
        Self::AddressesUnanswered,
        Self::CableElsewhere,
        Self::CertificatesDiffer,
        Self::CheckFails,
        Self::ConfigDiffers,
        Self::FactsDiffer,
        Self::InterfacesDiffer,
        Self::MulticastBlocked,
        Self::NeighboursMisled,
        Self::OneWayThere,
        Self::OneWayHere,
        Self::PortSilent,
        Self::RouterSilent,
        Self::SecondaryAlone,
        Self::SecretDiffers,
        Self::StationDropped,
        Self::Unacquainted,
        Self::UnknownSender,
        Self::VersionDiffers,
        Self::WayBlocked,
        Self::WaySlow,
    ];
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// What, in a word; a daemon of before there were words says none.
    #[serde(default)]
    pub kind: TroubleKind,
    /// What, and how that is known.
    pub problem: String,
    /// What to do about it.
    pub cure: String,
}
