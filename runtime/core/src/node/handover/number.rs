//! A hand-over's number: the message it began with, and in the last byte to whom.
//!
//! Frames of a hand-over go to everybody, so that they cross every path. Of several standbys one
//! alone may feel addressed, else two are ready and two claim (D10, D13). The limit: a number says
//! nothing about who gives; that is the frame's sender.

use crate::NodeId;

/// The number of a hand-over to `to` that begins with the message `counter`.
pub(in crate::node) const fn number(counter: u64, to: NodeId) -> u64 {
    counter << 8 | to.0 as u64
}

/// The message a hand-over began with.
pub(in crate::node) const fn begun(id: u64) -> u64 {
    id >> 8
}

/// Whether a hand-over is for this node.
pub(in crate::node) const fn names(id: u64, node: NodeId) -> bool {
    id & 0xff == node.0 as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One standby alone is named, and what the number began with can be told from it.
    #[test]
    fn handover_number_names_one_taker() {
        let id = number(7, NodeId(2));
        assert!(names(id, NodeId(2)));
        assert!(!names(id, NodeId(3)));
        assert_eq!(begun(id), 7);
        assert_ne!(id, number(8, NodeId(2)), "each hand-over has its own");
    }
}
