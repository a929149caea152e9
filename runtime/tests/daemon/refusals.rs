//! What keeps a daemon from starting: each cause is named with its cure, and nothing is harmed.

use std::fs;
use std::os::unix::net::UnixListener;

use crate::gateways::{Gateway, pair};

/// A refused start leaves nothing behind, and the next one succeeds.
fn starts_after_all(gateway: &Gateway) {
    let mut daemon = gateway.start();
    daemon.says("active:");
    daemon.stop();
    gateway.is_clean();
}

/// An operator's, or another program's, virtual address: it is named with its interface, and stays.
/// On the very port that serves it, it counts as the node's own, which the configuration forbids.
#[test]
fn refusal_address_that_somebody_else_holds() {
    if !inside_own_namespace!("refusal_address_that_somebody_else_holds") {
        return;
    }
    let [gateway, _other] = pair();
    gateway.home.ip("addr add 10.0.1.1/32 dev lo");
    let texts = [
        "10.0.1.1 is on lo already",
        "`ip address del 10.0.1.1 dev lo`",
    ];
    gateway.start().refuses(1, &texts);
    assert!(
        gateway.addresses().contains("10.0.1.1/32"),
        "not ours to remove"
    );
    gateway.home.ip("addr del 10.0.1.1/32 dev lo");
    gateway.home.ip("addr add 10.0.1.1/24 dev lan0");
    gateway
        .start()
        .refuses(3, &["10.0.1.1 on port \"lan0\" is a node's own address"]);
    gateway.home.ip("addr del 10.0.1.1/24 dev lan0");
    starts_after_all(&gateway);
}

/// Where the daemon renews its lease, one that does not last from one word to the next is refused
/// with what would do, when it starts and when it is told to read its file again.
#[test]
fn refusal_lease_too_short_to_be_renewed() {
    if !inside_own_namespace!("refusal_lease_too_short_to_be_renewed") {
        return;
    }
    let [gateway, _other] = pair();
    let short = |text: String| text.replace("[timing]\n", "[timing]\nlease = \"113ms\"\n");
    gateway.configure(short);
    starts_after_all(&gateway);
    gateway.configure(|text| short(text) + "fence = \"output\"\n");
    gateway
        .start()
        .refuses(1, &["lease is too short", "`lease` of [timing] to 1"]);
    gateway.is_clean();
    gateway.configure(|text| text + "fence = \"output\"\n");
    let mut daemon = gateway.start();
    daemon.says("active:");
    gateway.configure(|text| short(text) + "fence = \"output\"\n");
    let (code, said) = gateway.ctl("reload");
    assert_eq!(code, Some(1), "{said}");
    daemon.says("lease is too short");
    daemon.stop();
    gateway.is_clean();
}

/// A second daemon on the same runtime directory, and one with its own: each is told who is there,
/// and the first serves on.
#[test]
fn refusal_second_daemon() {
    if !inside_own_namespace!("refusal_second_daemon") {
        return;
    }
    let [gateway, _other] = pair();
    let mut first = gateway.start();
    first.says("active:");
    let pid = gateway.status()["daemon"]["pid"].to_string();
    let texts = [&format!("runs already, as process {pid}"), "runtime_dir"];
    gateway.start().refuses(1, &texts.map(|text| text as &str));
    assert!(gateway.holds());
    let elsewhere = gateway.folder.join("elsewhere");
    let run = gateway.run().display().to_string();
    gateway.configure(|text| text.replace(&run, &elsewhere.display().to_string()));
    gateway
        .start()
        .refuses(1, &["stop the other steadfastd of this network namespace"]);
    gateway.configure(|text| text);
    assert!(gateway.holds(), "the first one's addresses are not swept");
    first.stop();
    gateway.is_clean();
}

/// A control socket that somebody listens on is not taken; one that a dead program left is.
#[test]
fn refusal_control_socket_of_a_living_one() {
    if !inside_own_namespace!("refusal_control_socket_of_a_living_one") {
        return;
    }
    let [gateway, _other] = pair();
    // So many stand ready behind the fence before the socket is asked for (D17).
    let many: Vec<String> = (100..180)
        .map(|last| format!("\"10.0.1.{last}\""))
        .collect();
    gateway.configure(|text| text.replace("\"10.0.1.1\"", &many.join(", ")));
    fs::create_dir_all(gateway.run()).expect("a folder");
    let socket = gateway.run().join("control.sock");
    let living = UnixListener::bind(&socket).expect("a socket");
    let pid = format!("process {}", std::process::id());
    gateway.start().refuses(1, &[&pid, "control.sock"]);
    assert!(socket.exists());
    let (_, said) = gateway.unfence();
    assert_eq!(
        said, "nothing was there to remove\n",
        "the fence of the refused one is gone, and its addresses"
    );
    drop(living);
    assert!(socket.exists(), "stale now");
    starts_after_all(&gateway);
}

/// Without privileges it says which are missing, and how to have them.
#[test]
fn refusal_without_privileges() {
    if !inside_own_namespace!("refusal_without_privileges") {
        return;
    }
    let [gateway, _other] = pair();
    let bare = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    gateway
        .start_by(&bare)
        .refuses(1, &["Operation not permitted", "CAP_NET_ADMIN"]);
    starts_after_all(&gateway);
}

/// A configuration for another machine, and the secret that everybody knows: exit code 3, with
/// place and cure.
#[test]
fn refusal_configuration_that_does_not_fit() {
    if !inside_own_namespace!("refusal_configuration_that_does_not_fit") {
        return;
    }
    let [gateway, _other] = pair();
    gateway.configure(|text| text.replace("interface = \"wan0\"", "interface = \"wna0\""));
    gateway.start().refuses(3, &["wna0", "wan0"]);
    gateway.configure(|text| text);
    gateway.write_secret("change_me");
    gateway.start().refuses(3, &["steadfastctl init"]);
    assert!(!gateway.run().exists(), "nothing was begun");
}
