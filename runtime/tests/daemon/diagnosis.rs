//! What a pair says of a path that is filtered and of a secret that differs: cause and cure.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;

use serde_json::Value;

use crate::common::ip;
use crate::gateways::pair;

/// Runs `nft` where the switches are.
fn nft(line: &str) {
    let status = Command::new("nft").args(line.split_whitespace()).status();
    assert!(
        status.expect("this test needs nftables").success(),
        "nft {line}"
    );
}

fn troubles(status: &Value) -> String {
    status["troubles"].to_string()
}

/// A switch keeps our frames from one gateway: nothing fails over, and each says which way is shut.
#[test]
fn diagnosis_path_that_is_filtered_one_way() {
    if !inside_own_namespace!("diagnosis_path_that_is_filtered_one_way") {
        return;
    }
    let [a, b] = pair();
    let mut first = a.start();
    first.says("active:");
    let mut second = b.start();
    second.says("standby:");
    nft("add table netdev switch");
    nft("add chain netdev switch out { type filter hook egress device gw2-lan priority 0 ; }");
    nft("add rule netdev switch out ether type 0x88b5 drop");
    let deaf = b.status_when("the standby tells", |told| {
        troubles(told)
            .contains("one-way link: gw1 (node 1) hears this node on lan0 and is not heard there")
    });
    a.status_when("the active tells", |told| {
        troubles(told).contains(
            "one-way link: gw2 (node 2) is heard on lan0 and does not hear this node there",
        )
    });
    let one = deaf["troubles"].as_array().map(Vec::len);
    assert_eq!(one, Some(1), "one path is shut: {}", troubles(&deaf));
    let (_, table) = b.ctl("status");
    assert!(table.contains("TROUBLE one-way link: gw1"), "{table}");
    assert!(table.contains("   cure look at the cable"), "{table}");
    let (_, explained) = b.ctl("explain");
    assert!(explained.contains("What is wrong"), "{explained}");
    assert!(a.holds() && !b.holds());
    nft("delete table netdev switch");
    b.status_when("it is mended", |told| {
        told["troubles"].as_array().is_some_and(Vec::is_empty)
    });
    first.stop();
    second.stop();
}

/// Two secrets: neither can read the other. The second leaves the role to the kernel that answers
/// for the address, both say why, and when the first is gone the second serves.
#[test]
fn diagnosis_secret_that_differs() {
    if !inside_own_namespace!("diagnosis_secret_that_differs") {
        return;
    }
    let [a, b] = pair();
    b.write_secret("1 enforce 616e6f74686572206f6e652c2074797065642062792068616e642c206c617465");
    let mut first = a.start();
    first.says("active:");
    let mut second = b.start();
    for (gateway, other) in [(&a, "gw2 (node 2)"), (&b, "gw1 (node 1)")] {
        let wanted = format!("did not verify, and {other} is not heard: another secret");
        gateway.status_when("it tells", |told| troubles(told).contains(&wanted));
    }
    let told = troubles(&b.status());
    assert!(
        told.contains("leaves the role to whoever answers"),
        "{told}"
    );
    assert!(
        a.holds() && !b.holds(),
        "one owner, for more than ten seconds"
    );
    first.stop();
    second.says("active:");
    assert!(b.holds() && !a.holds());
    second.stop();
}

/// Who is left with its secondary paths says so, with what the primary one lacks; and what
/// neighbours send to a standby is told by it: a station has its own address for its router.
#[test]
fn diagnosis_secondary_path_and_misled_neighbour() {
    if !inside_own_namespace!("diagnosis_secondary_path_and_misled_neighbour") {
        return;
    }
    let [a, b] = pair();
    let ranked = |text: String| {
        let mut lines: Vec<&str> = Vec::new();
        for line in text.lines() {
            lines.push(line);
            if ["interface = \"lan0\"", "interface = \"wan0\""].contains(&line) {
                lines.push("heartbeat = \"secondary\"");
            }
        }
        lines.join("\n")
    };
    a.configure(ranked);
    b.configure(ranked);
    let mut first = a.start();
    first.says("active:");
    let mut second = b.start();
    second.says("standby:");
    ip("route add 203.0.113.0/24 via 10.0.1.3");
    b.home.ip("link set ha0 down");
    let target = SocketAddr::from(([203, 0, 113, 1], 9));
    let sender = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    let told = b.status_when("the standby tells both", |told| {
        // Nobody answers, and nobody need: each question sends one more.
        let _ = sender.send_to(b"x", target);
        let all = troubles(told);
        all.contains("heartbeats (ha0: no carrier); lan0, wan0 alone")
            && all.contains("have come to lan0 for")
    });
    let kinds: Vec<_> = told["troubles"]
        .as_array()
        .expect("a list")
        .iter()
        .collect();
    assert_eq!(kinds.len(), 2, "{}", troubles(&told));
    let said = troubles(&a.status());
    assert!(!said.contains("have come to"), "the active: {said}");
    first.stop();
    second.stop();
}
