//! What is written can be read, joined, and is never lost.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::super::tests::{Folder, Gateway};
use super::super::{Offline, load};
use super::*;

fn options(folder: &Folder, name: &str) -> InitOptions {
    InitOptions {
        config: folder.0.join(format!("{name}/steadfast.toml")),
        secret: folder.0.join(format!("{name}/secret")),
        ..InitOptions::default()
    }
}

/// The text that an operator sees first, but for what is drawn.
#[test]
fn init_file_reads_like_a_story() {
    let folder = Folder::new();
    let draft = Draft::fresh(&options(&folder, "a"), ClusterId([7; 16]));
    insta::assert_snapshot!(folder.plain(&draft.render()));
}

/// Clusters that are made one after the other have numbers of their own, and those that are asked
/// for are kept.
#[test]
fn init_draws_a_virtual_router_that_few_others_have() {
    let folder = Folder::new();
    let number = |options: &InitOptions, first, second| {
        let mut id = [7; 16];
        (id[0], id[1]) = (first, second);
        let text = Draft::fresh(options, ClusterId(id)).render();
        let line = text
            .lines()
            .find(|line| line.starts_with("virtual_router = "));
        let words = line.and_then(|line| line.split_whitespace().nth(2));
        words
            .and_then(|word| word.parse::<u8>().ok())
            .expect("a number")
    };
    let mut options = options(&folder, "a");
    let all = (0..=u16::MAX).map(u16::to_be_bytes);
    let some = all
        .step_by(97)
        .map(|[first, second]| number(&options, first, second));
    let drawn: BTreeSet<u8> = some.collect();
    let wanted: BTreeSet<u8> = (11..=255).filter(|it| *it != 51).collect();
    assert_eq!(drawn, wanted);
    options.virtual_router = Some(51);
    assert_eq!(number(&options, 1, 2), 51);
}

/// What was written loads without a mistake, on the gateway and elsewhere.
#[test]
fn init_file_round_trip_through_load() {
    let folder = Folder::new();
    let written = init(&options(&folder, "a")).expect("new files");
    let loaded = load(&written.config, &Gateway).unwrap_or_else(|report| {
        panic!("{}", report.render(false));
    });
    assert_eq!(loaded.config.ports.len(), 3);
    assert_eq!(
        loaded.config.timing,
        steadfast_core::config::Timing::default()
    );
    assert_eq!(
        loaded.config.policy,
        steadfast_core::config::Policy::default()
    );
    assert_eq!(loaded.notes, []);
    assert!(load(&written.config, &Offline).is_ok());
    let mode = fs::metadata(&written.secret)
        .expect("a secret")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let left = fs::read_dir(folder.0.join("a")).expect("a folder").count();
    assert_eq!(left, 2, "nothing else is left in the folder");
}

/// Every key that the file shows as a comment is one that the reader knows, with a usual value.
#[test]
fn init_commented_keys_are_known() {
    let folder = Folder::new();
    let written = init(&options(&folder, "a")).expect("new files");
    let text = fs::read_to_string(&written.config).expect("a text");
    let key = |line: &str| {
        let words = line.strip_prefix("# ")?;
        let name = words.split_once(" = ")?.0;
        let word = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        (word && !words.contains('…')).then(|| words.to_owned())
    };
    let opened: Vec<String> = text
        .lines()
        .map(|line| key(line).unwrap_or_else(|| line.to_owned()))
        .collect();
    assert!(opened.len() > 60);
    fs::write(&written.config, opened.join("\n")).expect("a file");
    let loaded = load(&written.config, &Gateway);
    let loaded = loaded.unwrap_or_else(|report| panic!("{}", report.render(false)));
    assert_eq!(
        loaded.config.timing,
        steadfast_core::config::Timing::default()
    );
    assert_eq!(
        loaded.config.policy,
        steadfast_core::config::Policy::default()
    );
}

/// A file that is there stays, byte for byte, unless the operator says otherwise.
#[test]
fn init_never_overwrites_unasked() {
    let folder = Folder::new();
    let mut again = options(&folder, "a");
    let written = init(&again).expect("new files");
    let bytes = |path: &PathBuf| fs::read(path).expect("a file");
    let before = (bytes(&written.config), bytes(&written.secret));
    assert!(matches!(init(&again), Err(InitError::Exists(_))));
    fs::remove_file(&again.secret).expect("removed");
    assert!(matches!(init(&again), Err(InitError::Exists(_))));
    assert!(
        !again.secret.exists(),
        "a refused start leaves no secret behind"
    );
    again.force = true;
    init(&again).expect("replaced");
    assert_ne!((bytes(&written.config), bytes(&written.secret)), before);
}

/// The second node takes over cluster, secret, ports and times; the pair agrees.
#[test]
fn init_join_shares_cluster_and_secret() {
    let folder = Folder::new();
    let first = init(&options(&folder, "a")).expect("new files");
    let text = fs::read_to_string(&first.config).expect("a text");
    let text = text.replace("# interval = \"100ms\"", "interval = \"50ms\"   ");
    let text = text.replace("# isolation = \"serve\"", "isolation = \"yield\"  ");
    let text = text.replacen(
        "[[port]]",
        "[[port]]\nheartbeat = \"secondary\"\naction = \"set\"",
        1,
    );
    let check = "\n[[check]]\nname = \"uplink\"\nconnect = \"10.0.2.9:443\"\n";
    fs::write(&first.config, text + check).expect("a file");
    let mut second = options(&folder, "b");
    second.join = Some(first.config.clone());
    (second.node_id, second.node_name) = (2, "gw2".to_owned());
    second.peers = vec![InitPeer {
        id: 1,
        name: String::new(),
        addresses: vec![("lan0".to_owned(), IpAddr::from([10, 0, 1, 2]))],
    }];
    let joined = init(&second).expect("joined");
    assert_eq!(
        fs::read(&first.secret).expect("one"),
        fs::read(&joined.secret).expect("other")
    );
    let (a, b) = (
        load(&first.config, &Offline),
        load(&joined.config, &Offline),
    );
    let (a, b) = (
        a.expect("sound"),
        b.unwrap_or_else(|report| panic!("{}", report.render(false))),
    );
    assert_eq!(a.config.digests, b.config.digests);
    assert!(a.config.ports[0].secondary && b.config.ports[0].secondary);
    assert_eq!((b.config.node.0, b.config.peers[0].node.0), (2, 1));
    assert_eq!(b.config.peers[0].units.len(), 1);
    assert_eq!(b.names.peers[0].1, "gw1");
    assert!(
        joined.next[1].contains("[[peer]] with id = 2"),
        "{:?}",
        joined.next
    );
    let told = joined.next[2].contains("left out (check uplink)");
    assert!(told, "{:?}", joined.next);
    assert!(b.checks.is_empty(), "checks are each node's own");
}

/// Joining under the other node's id, with its file broken, or without its secret: nothing is
/// written.
#[test]
fn init_join_refusals_write_nothing() {
    let folder = Folder::new();
    let first = init(&options(&folder, "a")).expect("new files");
    let mut second = options(&folder, "b");
    second.join = Some(first.config.clone());
    assert!(matches!(init(&second), Err(InitError::SameId(1))));
    second.node_id = 2;
    fs::set_permissions(&first.secret, fs::Permissions::from_mode(0o644)).expect("a mode");
    assert!(matches!(init(&second), Err(InitError::Secret(_))));
    fs::remove_file(&first.secret).expect("removed");
    let error = init(&second).expect_err("no secret").to_string();
    assert!(error.contains("is missing"), "{error}");
    fs::write(&first.config, "format = 1\n[cluster]\n").expect("a file");
    assert!(matches!(init(&second), Err(InitError::Join(_))));
    assert!(!folder.0.join("b").exists(), "nothing was written");
}

/// A file for another product's times shows what is usual there, and reads as it says.
#[test]
fn init_file_of_a_profile_shows_what_is_usual_with_it() {
    let folder = Folder::new();
    let asked = InitOptions {
        profile: Some(Profile::Kemp),
        ..options(&folder, "a")
    };
    let written = init(&asked).expect("new files");
    let text = fs::read_to_string(&written.config).expect("a text");
    for line in [
        "\nprofile = \"kemp\" ",
        "\n# interval = \"1s\" ",
        "\n# dead_interval = \"9s\" ",
        "\n# preempt = \"prefer\" ",
        "\n# all_pacified = \"never\" ",
    ] {
        assert!(text.contains(line), "no{line}\n{text}");
    }
    let loaded = load(&written.config, &Gateway).expect("sound");
    let kemp = Profile::Kemp;
    assert_eq!(loaded.config.timing, kemp.timing(kemp.interval()));
    let joined = InitOptions {
        join: Some(written.config),
        node_id: 2,
        ..options(&folder, "b")
    };
    let second = init(&joined).expect("new files");
    let text = fs::read_to_string(&second.config).expect("a text");
    assert!(text.contains("\nprofile = \"kemp\" "), "{text}");
}

/// Whoever joins asks the same witness, and the witness's own file serves nothing.
#[test]
fn init_join_shares_the_witness() {
    let folder = Folder::new();
    let mut asked = InitOptions {
        witness: Some(3),
        ..options(&folder, "a")
    };
    asked.peers.push(InitPeer {
        id: 3,
        name: "w".to_owned(),
        addresses: Vec::new(),
    });
    let first = init(&asked).expect("new files");
    let text = fs::read_to_string(&first.config).expect("a text");
    assert!(text.contains("\n# isolation = \"yield\" "), "{text}");
    let text = text.replace(
        "node = 3  ",
        "node = 3\nterm = \"900ms\"\nasks = \"unproven\"",
    );
    fs::write(&first.config, text).expect("a file");
    let joins = |node_id: u8, name: &str| {
        let joined = InitOptions {
            join: Some(first.config.clone()),
            node_id,
            node_name: name.to_owned(),
            peers: Vec::new(),
            ..options(&folder, name)
        };
        let written = init(&joined).expect("new files");
        let loaded = load(&written.config, &Offline);
        loaded.unwrap_or_else(|report| panic!("{}", report.render(false)))
    };
    let a = load(&first.config, &Offline).expect("sound");
    let (b, w) = (joins(2, "b"), joins(3, "w"));
    assert!(a.config.witness.is_some());
    assert_eq!(a.config.witness, b.config.witness);
    assert_eq!(a.config.digests, b.config.digests);
    assert!(w.config.is_witness());
    assert_eq!(a.config.witness, w.config.witness);
    let ports: Vec<_> = w.config.ports.iter().map(|port| port.id).collect();
    assert_eq!(ports, [a.config.ports[0].id, a.config.ports[1].id]);
}

/// Whoever joins speaks as the others do, through the router of a segment that both are on; of
/// another one it is asked to name its own.
#[test]
fn init_join_shares_transports_and_the_way_to_far_peers() {
    let folder = Folder::new();
    let mut asked = InitOptions {
        transports: vec![Form::Ethernet, Form::Unicast],
        ..options(&folder, "a")
    };
    let lan = &mut asked.ports[0];
    lan.via = Some(IpAddr::from([10, 0, 1, 254]));
    let far = ("lan0".to_owned(), IpAddr::from([198, 51, 100, 7]));
    asked.peers.push(InitPeer {
        id: 3,
        name: "w".to_owned(),
        addresses: vec![far],
    });
    asked.witness = Some(3);
    let first = init(&asked).expect("new files");
    let text = fs::read_to_string(&first.config).expect("a text");
    let text = text.replace("secret_file =", "udp_port = 7000\nsecret_file =");
    let text = text.replace(
        "[[port]]\ninterface = \"wan0\"",
        "[[port]]\nvirtual_mac = true\ninterface = \"wan0\"",
    );
    fs::write(&first.config, text).expect("a file");
    let joins = |node_id: u8, name: &str| {
        let joined = InitOptions {
            join: Some(first.config.clone()),
            node_id,
            node_name: name.to_owned(),
            peers: Vec::new(),
            ..options(&folder, name)
        };
        let written = init(&joined).expect("new files");
        fs::read_to_string(&written.config).expect("a text")
    };
    let (second, witness) = (joins(2, "b"), joins(3, "w"));
    for text in [&second, &witness] {
        for line in [
            "\ntransports = [\"ethernet\", \"unicast\"] ",
            "\nudp_port = 7000\n",
        ] {
            assert!(text.contains(line), "no{line}\n{text}");
        }
    }
    assert!(second.contains("\nvia = \"10.0.1.254\" "), "{second}");
    assert!(second.contains("\nvirtual_mac = true"), "{second}");
    assert!(witness.contains("\n# via = \"…\" "), "{witness}");
    assert!(!witness.contains("virtual_mac"), "{witness}");
    let a = load(&first.config, &Offline);
    let a = a.unwrap_or_else(|report| panic!("{}", report.render(false)));
    let b = load(&folder.0.join("b/steadfast.toml"), &Offline).expect("sound");
    assert_eq!(a.config.carriage, b.config.carriage);
    assert_eq!(a.config.digests, b.config.digests);
    assert_eq!(a.config.ports[0].via, b.config.ports[0].via);
}
