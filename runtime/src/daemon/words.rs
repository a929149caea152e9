//! Alerts in words: the same in the log and in status.

use steadfast_core::effect::Alert;
use steadfast_core::wire::foreign::{ForeignProtocol, ForeignSpeaker};
use steadfast_core::{CheckId, NodeId, PortId};

/// What an alert says. `name` says how a node is called, `check` how a check is, `port` how a port.
pub(super) fn alert(
    alert: &Alert,
    name: impl Fn(NodeId) -> String,
    check: impl Fn(CheckId) -> String,
    port: impl Fn(PortId) -> String,
) -> String {
    match *alert {
        Alert::AddressConflict { address, mac } => format!(
            "{mac}, no node of ours, answers for the virtual address {address}: find it and take \
             the address from it"
        ),
        Alert::ApplyFailed => {
            "the kernel refused what the role demands; the lines before this say what".to_owned()
        }
        Alert::CheckFailed { check: failed } => format!("check {} fails", check(failed)),
        Alert::DuplicateNodeId => {
            "another node sends with this node's id: give each its own [node] id".to_owned()
        }
        Alert::FenceDamaged => {
            "the fence was damaged: some other program changes nf_tables tables".to_owned()
        }
        Alert::ForeignSpeaker { speaker, free } => foreign(speaker, free),
        Alert::FormFallback { port: on, form } => format!(
            "on {} heartbeats do not reach every peer in their usual form ([cluster] transports); \
             {} passes there and is used: see what the network drops",
            port(on),
            form.word()
        ),
        Alert::StationUsed { port: on } => format!(
            "somebody else sends from the virtual MAC on {}: another group with this \
             `virtual_router`, an impostor, or a loop that brings this node's own frames back",
            port(on)
        ),
        Alert::Pacified => {
            "barred after repeated unclean boots; `steadfastctl clear-pacified` ends it".to_owned()
        }
        Alert::PeerDown { peer } => format!("{} is dead", name(peer)),
        Alert::PeerUp { peer } => format!("{} lives again", name(peer)),
        Alert::RoleFlaps => "the role moves too often: until it has been still for long enough, \
                             only a death, a fault or a command moves it ([policy] flap_limit and \
                             flap_window)"
            .to_owned(),
        Alert::SameRole { peer } => {
            format!(
                "{} is configured with the same role as this node",
                name(peer)
            )
        }
        Alert::ServingFaulty => {
            "this node has a fault and serves on: no peer is healthier".to_owned()
        }
        Alert::ServingPacified => {
            "every node is barred after repeated boots; this one serves all the same".to_owned()
        }
        Alert::SplitBrain { peer } => format!("{} was active at the same time", name(peer)),
        Alert::StoreFailed => {
            "the node's record could not be stored: see that [daemon] state_dir has room and can \
             be written"
                .to_owned()
        }
    }
}

fn foreign(speaker: ForeignSpeaker, free: Option<u8>) -> String {
    let ForeignSpeaker {
        protocol,
        virtual_id,
        priority,
        source,
    } = speaker;
    let protocol = match protocol {
        ForeignProtocol::Steadfast => return another_cluster(source, virtual_id, free),
        ForeignProtocol::Carp => "CARP",
        ForeignProtocol::Vrrp2 => "VRRP version 2",
        ForeignProtocol::Vrrp3 => "VRRP version 3",
    };
    let free = unused(free);
    format!(
        "{source} speaks {protocol} with virtual id {virtual_id} and priority {priority} on a \
         served segment: change [cluster] virtual_router on every node ({free}), or stop it"
    )
}

/// A clash there is with virtual MACs alone.
fn another_cluster(source: steadfast_core::MacAddr, virtual_id: u8, free: Option<u8>) -> String {
    format!(
        "{source} is the active of another cluster with virtual id {virtual_id}: with virtual \
         MACs both would be one station. Give one of the clusters another [cluster] \
         virtual_router, the same on its every node ({})",
        unused(free)
    )
}

fn unused(free: Option<u8>) -> String {
    free.map_or_else(
        || "no other number was left free".to_owned(),
        |free| format!("nobody was heard with {free} so far"),
    )
}

#[cfg(test)]
mod tests {
    use steadfast_core::wire::carriage::Form;

    use super::*;

    /// A node is called by its name, a stranger by its address and with what helps.
    #[test]
    fn words_of_alerts_name_whom_they_are_about() {
        let name = |node: NodeId| format!("gw{}", node.0);
        let check = |check: CheckId| format!("number {check}");
        let port = |_: PortId| "lan0".to_owned();
        let down = alert(&Alert::PeerDown { peer: NodeId(2) }, name, check, port);
        assert_eq!(down, "gw2 is dead");
        let speaker = ForeignSpeaker {
            protocol: ForeignProtocol::Vrrp3,
            virtual_id: 51,
            priority: 100,
            source: steadfast_core::MacAddr([0, 0, 0x5e, 0, 1, 51]),
        };
        let stranger = |free| Alert::ForeignSpeaker { speaker, free };
        let told = alert(&stranger(Some(11)), name, check, port);
        assert!(
            told.starts_with("00:00:5e:00:01:33 speaks VRRP version 3"),
            "{told}"
        );
        assert!(
            told.contains("on every node (nobody was heard with 11 so far)"),
            "{told}"
        );
        let told = alert(&stranger(None), name, check, port);
        assert!(told.contains("no other number was left free"), "{told}");
        let cluster = ForeignSpeaker {
            protocol: ForeignProtocol::Steadfast,
            ..speaker
        };
        let other = Alert::ForeignSpeaker {
            speaker: cluster,
            free: Some(11),
        };
        let told = alert(&other, name, check, port);
        let text = "is the active of another cluster with virtual id 51";
        assert!(
            told.contains(text) && told.contains("with 11 so far"),
            "{told}"
        );
        let (id, form) = (PortId(1), Form::Multicast);
        let told = alert(&Alert::FormFallback { port: id, form }, name, check, port);
        assert!(told.starts_with("on lan0 heartbeats"), "{told}");
        assert!(told.contains("multicast passes there"), "{told}");
    }
}
