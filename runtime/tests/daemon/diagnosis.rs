//! What a pair says of a path that is filtered and of a secret that differs: cause and cure.

use std::process::Command;

use serde_json::Value;

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
