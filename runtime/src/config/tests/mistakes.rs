//! One mistake at a time: what is said, and where the caret points.

use super::*;

/// The mistakes of a text, one a line, and what stands under the caret.
pub(super) fn told(text: &str) -> String {
    let (folder, loaded) = load_text(text);
    let report = loaded.expect_err("a mistake");
    let mut lines = Vec::new();
    for one in &report.mistakes {
        let line = text
            .lines()
            .nth(one.line.saturating_sub(1))
            .unwrap_or_default();
        let under: String = line
            .chars()
            .skip(one.column.saturating_sub(1))
            .take(30)
            .collect();
        let (message, cure) = (&one.message, &one.cure);
        lines.push(format!(
            "{}:{} `{under}`\n    {message}\n    {cure}",
            one.line, one.column
        ));
    }
    folder.plain(&lines.join("\n"))
}

/// Cases, one a line: what is changed, into what, what is under the caret, words of the message.
pub(super) fn check(cases: &str) -> String {
    let mut all = String::new();
    for case in cases.lines().filter(|line| !line.is_empty()) {
        let parts: Vec<String> = case
            .split(" | ")
            .map(|part| part.replace('⏎', "\n"))
            .collect();
        let [from, to, under, message] = parts.as_slice() else {
            panic!("not four parts: {case}");
        };
        let told = told(&changed(from, to));
        assert!(
            told.contains(&format!("`{under}")),
            "{case}: caret not there: {told}"
        );
        assert!(told.contains(message.as_str()), "{case}: {told}");
        assert_eq!(
            told.lines().count(),
            3,
            "{case}: more than one mistake: {told}"
        );
        all.push_str(&format!("{told}\n"));
    }
    all
}

/// A transport that is none, and a port that is none (R2.5).
#[test]
fn config_transports_that_are_none() {
    let cases = r##"
virtual_router = 51 | virtual_router = 51⏎transports = ["udp"] | "udp" | known here: `ethernet`
virtual_router = 51 | virtual_router = 51⏎transports = 3 | 3 | must be a text
virtual_router = 51 | virtual_router = 51⏎transports = [] | [] | or leave it out
virtual_router = 51 | virtual_router = 51⏎udp_port = 70000 | 70000 | between 1 and 65535
[timing] | [timing]⏎udp_port = 7000 | udp_port | [cluster]
"##;
    check(cases);
}

/// Values of a wrong kind are told with an example of the right one.
#[test]
fn config_values_of_a_wrong_kind() {
    let cases = r##"
priority = 100 | priority = "100" | "100" | must be a whole number
priority = 100 | priority = 300 | 300 | between 0 and 255
name = "gw1" | name = 7 | 7 | must be a text
name = "gw1" | name = "  " | "  " | is empty
direct = true | direct = "yes" | "yes" | must be `true` or `false`
"100ms" | 100 | 100 | has no unit
"100ms" | "100" | "100" | has no unit
"100ms" | 0.1 | 0.1 | has no unit
"100ms" | "100 Hz" | "100 Hz" | not a unit
"100ms" | "25h" | "25h" | longer than a day
"100ms" | true | true | a duration in quotes
"any" | "actve" | "actve" | no word for `role`
"never" | "always" | "always" | no word for `preempt`
"10.0.2.1" | "10.0.2.1/24" | "10.0.2.1/24" | prefix length
"10.0.2.1" | "10.0.2" | "10.0.2" | not an IP address
"10.0.2.1" | 7 | 7 | a text in quotes
"10.0.1.50" | ["10.0.1.50", "10.0.1.51"] | "10.0.1.51" | one address
[daemon] | [[daemon]] | daemon | one table
"##;
    insta::assert_snapshot!(check(cases));
}

/// Unknown and missing keys, with what was probably meant or where it belongs.
#[test]
fn config_keys_unknown_missing_and_misplaced() {
    let cases = r##"
priority | prioritty | prioritty | unknown key `prioritty`
priority = 100 | colour = 1 | colour | known here
log = | preempt_delay = "1s"⏎log = | preempt_delay | belongs under
format = 1 | format = 2 | 2 | not known here
format = 1⏎ | ⏎ |  | missing key `format`
id = 1⏎ |  | node] | missing key `id`
interface = "ha0"⏎ |  |  | missing key `interface`
[timing] | [timings] | timings | unknown key `timings`
[timing] | [timing |  | expected
interval = | vrid = 3⏎interval = | vrid | unknown key
virtual_router = 51 | virtual_router = 51⏎vrid = 5 | vrid | mean the same
preempt = "never" | preempt = "never"⏎nopreempt = true | true | twice
"##;
    insta::assert_snapshot!(check(cases));
}

/// Each rule of the core finds its place in the file.
#[test]
fn config_rules_of_the_core_have_places() {
    let cases = r##"
"100ms" | "1ms" | "1ms" | between 3.3 ms and 60 s
"100ms" | "100ms"⏎dead_interval = "90ms" | "90ms" | dead_interval is 90ms
"100ms" | "100ms"⏎lease = "50ms" | "50ms" | lease is 50ms
"100ms" | "100ms"⏎initial_wait = "5s" | "5s" | initial_wait is 5s
"100ms" | "100ms"⏎offer = "1s" | "1s" | offer is 1s
= 51 | = 0 | 0 | virtual_router is 0
priority = 100 | priority = 255 | 255 | priority is 255
id = 2 | id = 1 | 1 | node id 1 is used twice
id = 2 | id = 255 | 255 | out of range
id = 1⏎ | id = 0⏎ | 0 | out of range
direct = true | direct = true⏎number = 0 | 0 | two ports have number 0
direct = true | direct = true⏎number = 16 | 16 | out of range
"10.0.2.1" | "10.0.3.1" | "10.0.3.1" | lies in none
"10.0.2.1" | "10.0.2.3" | "10.0.2.3" | a node's own address
"10.0.2.1" | "10.0.2.2" | "10.0.2.2" | a node's own address
"fd00:1::1" | "10.0.1.1" | "10.0.1.1" | listed twice
"##;
    insta::assert_snapshot!(check(cases));
}

/// Rules that take more than one change to break.
#[test]
fn config_rules_of_the_core_in_combination() {
    let direct = told(&changed(
        "direct = true",
        "direct = true\nvirtual = [\"10.0.9.1\"]",
    ));
    assert!(
        direct.contains("is a direct cable and has virtual addresses"),
        "{direct}"
    );
    let mut silent = SOUND.replace("virtual = [", "virtual = []\n# [");
    silent = silent.replace("neighbour", "# neighbour");
    let nothing = told(&silent);
    assert!(
        nothing.contains("no port has a virtual address"),
        "{nothing}"
    );
    let quiet = SOUND.replace("interface = ", "heartbeat = false\ninterface = ");
    let quiet = told(&quiet);
    assert!(quiet.contains("no port carries heartbeats"), "{quiet}");
    let twice = told(&changed("interface = \"ha0\"", "interface = \"lan0\""));
    assert!(twice.contains("port `lan0` is listed twice"), "{twice}");
    let peers: String = (3..40).map(|id| format!("[[peer]]\nid = {id}\n")).collect();
    let many = told(&changed("[timing]", &format!("{peers}[timing]")));
    assert!(many.contains("39 nodes; at most 32 are allowed"), "{many}");
    insta::assert_snapshot!([direct, nothing, quiet, twice].join("\n"));
}

/// A window may also be broken by the dead interval it must fit into.
#[test]
fn config_window_points_to_both_times() {
    let text = changed(
        "\"100ms\"",
        "\"10ms\"\ndead_interval = \"20ms\"\ntail = \"25ms\"",
    );
    let report = load_text(&text).1.expect_err("a mistake").render(false);
    assert!(report.contains("with this"), "{report}");
}

/// Interfaces, own addresses, peers' addresses, neighbours.
#[test]
fn config_addresses_and_interfaces() {
    let cases = r##"
interface = "ha0" | interface = "ha1" | "ha1" | no interface `ha1`
interface = "ha0" | interface = "tun0" | "tun0" | no Ethernet address
direct = true | direct = true⏎watched = true | true | direct cable and watched
"10.0.1.50" | "10.0.9.50" | "10.0.9.50" | lies in none
"10.0.1.50" | "10.0.1.1" | "10.0.1.1" | own or a virtual
"10.0.2.1" | "10.0.2.255" | "10.0.2.255" | first or last
"10.0.1.3" | "10.0.9.3" | "10.0.9.3" | lies in none of the subnets
"10.0.1.3" | "10.0.1.2" | "10.0.1.2" | this node's own
wan0 = "10.0.2.3" | wan0 = ["10.0.2.3", "10.0.2.3"] | "10.0.2.3"] | twice
wan0 = "10.0.2.3" | wam0 = "10.0.2.3" | wam0 | no port is called `wam0`
["10.0.2.1"] | ["10.0.2.1"]⏎address = "10.0.2.9/24" | "10.0.2.9/24" | does not have 10.0.2.9/24
["10.0.2.1"] | ["10.0.2.1"]⏎address = "10.0.2.2" | "10.0.2.2" | has no prefix length
name = "gw2" | name = "gw1" | "gw1" | two nodes are called
id = "000102030405060708090a0b0c0d0e0f" | id = "xyz" | "xyz" | 32 hexadecimal
"##;
    insta::assert_snapshot!(check(cases));
}

/// SOUND with datagrams, or without, and a router on `wan0`.
fn through(router: &str, transports: &str) -> String {
    let transports = format!("transports = [{transports}]");
    let via = format!("interface = \"wan0\"\nvia = {router}");
    SOUND
        .replace("name = \"office\"", &transports)
        .replace("interface = \"wan0\"", &via)
}

/// The router to peers on other segments (R2.5).
#[test]
fn config_router_to_other_segments() {
    let unicast = "\"ethernet\", \"unicast\"";
    let all = [
        ("\"10.0.2.254\"", "\"ethernet\""),
        ("\"10.0.3.254\"", unicast),
        ("\"10.0.2.1\"", unicast),
        ("\"224.0.0.1\"", unicast),
        ("\"fd00:2::9\"", unicast),
        ("[\"10.0.2.254\", \"10.0.2.253\"]", unicast),
    ];
    let told = all.map(|(router, transports)| told(&through(router, transports)));
    insta::assert_snapshot!(told.join("\n"));
}

/// SOUND with a router on `wan0`, other addresses of gw2 there, and a witness with these.
fn routed(gateway: &str, witness: &str) -> String {
    let third = format!("[[peer]]\nid = 3\nname = \"w\"\naddresses.wan0 = {witness}\n\n[[port]]");
    through("\"10.0.2.254\"", "\"ethernet\", \"unicast\"")
        .replacen("[[port]]", &third, 1)
        .replace("wan0 = \"10.0.2.3\"", &format!("wan0 = {gateway}"))
        + "\n[witness]\nnode = 3\n"
}

/// With a router and datagrams a witness may be elsewhere; a router that leads nowhere is named.
#[test]
fn config_router_leads_to_a_peer() {
    let loaded = |witness| {
        let text = routed("\"10.0.2.3\"", witness);
        load_text(&text).1.expect("a sound file")
    };
    let noted = |loaded: &Loaded| {
        let notes = loaded.notes.iter();
        notes
            .filter(|note| note.text.contains("leads to no peer"))
            .count()
    };
    let far = loaded("\"198.51.100.3\"");
    assert_eq!(noted(&far), 0);
    let ports = &far.config.ports;
    let wan = ports.iter().find(|port| port.name == "wan0");
    assert!(wan.expect("a port").is_beyond([198, 51, 100, 3].into()));
    assert_eq!(noted(&loaded("\"10.0.2.9\"")), 1);
}

/// A gateway that shares a port's virtual addresses is on its segment, and a witness on one side of
/// its router.
#[test]
fn config_router_has_gateways_on_its_own_side() {
    let typo = told(&routed("\"10.0.22.3\"", "\"198.51.100.3\""));
    let both = told(&routed("\"10.0.2.3\"", "[\"10.0.2.9\", \"198.51.100.3\"]"));
    insta::assert_snapshot!([typo, both].join("\n"));
}

/// A served interface without an own address gets the cure of R5.2.
#[test]
fn config_served_port_without_own_address() {
    let text = SOUND.replace("wan0", "ha0").replacen(
        "[[port]]\ninterface = \"ha0\"\ndirect = true\n",
        "",
        1,
    );
    let told = told(&text);
    assert!(
        told.contains("interface `ha0` has no address of its own"),
        "{told}"
    );
}

/// Secrets: each way to have a bad one is told at `secret_file`, and never shown.
#[test]
fn config_bad_secrets_are_told_and_not_shown() {
    let cases: [(&str, u32); 9] = [
        ("", 0o600),
        ("change_me\n", 0o600),
        ("1 enforce text:change_me\n", 0o600),
        ("1 enforce 00112233\n", 0o600),
        ("1 enforce text:short\n", 0o600),
        ("1 enforce correct-horse-battery-staple\n", 0o600),
        (SECRET, 0o644),
        ("1 receive-only f0e1d2c3b4a5968778695a4b3c2d1e0f\n", 0o600),
        (
            "cluster 99999999999999999999999999999999\n\
             1 enforce f0e1d2c3b4a5968778695a4b3c2d1e0f\n",
            0o600,
        ),
    ];
    let mut all = String::new();
    for (secret, mode) in cases {
        let folder = Folder::new();
        folder.write("secret", secret.as_bytes(), mode);
        let path = folder.write("steadfast.toml", SOUND.as_bytes(), 0o644);
        let report = load(&path, &Gateway).expect_err("a bad secret");
        assert_eq!(report.mistakes.len(), 1, "{secret}: {:?}", report.mistakes);
        let one = &report.mistakes[0];
        assert!(
            one.line == 7 || one.line == 4,
            "{secret}: line {}",
            one.line
        );
        let drawn = folder.plain(&format!("{}\n    {}\n", one.message, one.cure));
        assert!(
            !report.render(false).contains("battery"),
            "a secret is shown: {drawn}"
        );
        all.push_str(&drawn);
    }
    insta::assert_snapshot!(all);
}

/// A missing secret, a missing file and a file that is no text each say what to do.
#[test]
fn config_missing_files() {
    let folder = Folder::new();
    let path = folder.write("steadfast.toml", SOUND.as_bytes(), 0o644);
    let secret = load(&path, &Gateway).expect_err("no secret");
    assert!(
        secret.mistakes[0].message.contains("is missing"),
        "{secret:?}"
    );
    assert!(
        load(&path, &Offline).is_ok(),
        "elsewhere no secret is needed"
    );
    let none = load(&folder.0.join("none.toml"), &Gateway).expect_err("no file");
    assert!(
        none.mistakes[0].cure.contains("steadfastctl init"),
        "{none:?}"
    );
    let path = folder.write("steadfast.toml", b"format = 1\nname = \"\xff\"\n", 0o644);
    let bytes = load(&path, &Gateway).expect_err("no text");
    assert!(
        bytes.mistakes[0].message.contains("line 2: not UTF-8"),
        "{bytes:?}"
    );
    let folder_itself = load(&folder.0, &Gateway).expect_err("a folder");
    assert!(
        folder_itself.mistakes[0].cure.contains("plain file"),
        "{folder_itself:?}"
    );
}

/// All mistakes of a file are told at once, in its order, drawn with carets.
#[test]
fn config_all_mistakes_at_once_drawn() {
    let text = SOUND
        .replace("priority = 100", "prioritty = 100")
        .replace("\"100ms\"", "100")
        .replace("id = 2", "id = 1")
        .replace("\"10.0.2.1\"", "\"10.0.3.1\"")
        .replace("\"never\"", "\"nevr\"");
    let (folder, loaded) = load_text(&text);
    let report = loaded.expect_err("five mistakes");
    assert_eq!(report.mistakes.len(), 5);
    let json = serde_json::to_value(&report).expect("JSON");
    assert_eq!(json["mistakes"][0]["line"], 13);
    insta::assert_snapshot!(folder.plain(&report.render(false)));
}

/// More mistakes than anybody reads are counted.
#[test]
fn config_many_mistakes_are_bounded() {
    let keys: String = (0..150).map(|key| format!("zz{key} = 1\n")).collect();
    let report = load_text(&changed("[daemon]\n", &format!("[daemon]\n{keys}"))).1;
    let report = report.expect_err("many mistakes");
    assert_eq!((report.mistakes.len(), report.left_out), (MISTAKES_MAX, 50));
    assert!(report.render(false).ends_with("and 50 more\n"));
}

/// A witness nobody knows, one that is meant to serve, a term that one lost answer would end (D14).
#[test]
fn config_witness_mistakes() {
    let cases = r##"
[policy] | [witness]⏎node = 9⏎[policy] | 9 | is no peer
[policy] | [witness]⏎node = 1⏎[policy] | 1 | this node is the witness
[policy] | [witness]⏎node = 2⏎term = "400ms"⏎[policy] | "400ms" | must lie between
[policy] | [witness]⏎node = 2⏎asks = "never"⏎[policy] | "never" | `asks`
[policy] | [witness]⏎term = "700ms"⏎[policy] | witness] | missing key `node`
"##;
    insta::assert_snapshot!(check(cases), @r#"
    39:8 `9`
        the witness, node 9, is no peer; list it among the peers
        list it as a `[[peer]]`; on the witness, list every gateway so
    39:8 `1`
        this node is the witness; it must be off and have no virtual address
        leave `virtual` and `role` out of the witness's own file
    40:8 `"400ms"`
        the witness's term is 400ms; it must lie between 605ms and 60 s
        write `term = "605ms"` or longer (lease + slack + 3 intervals)
    40:8 `"never"`
        `never` is no word for `asks`
        known here: `always`, `unproven`
    38:2 `witness]`
        missing key `node` in `witness`
        write the id of the node that grants, as in its own file under `[node]`
    "#);
}
