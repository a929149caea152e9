//! Control over real sockets, asked with the operator's own client; a real node answers.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use steadfast_core::effect::{Command, Effect, Input, Rejection};
use steadfast_core::{Node, RequestId};
use steadfast_shell::orders::{Order, orders};
use tokio::sync::mpsc;

use super::*;
use crate::ctl::{Client, ClientError, Verdict};
use crate::journal::tests::pair;
use crate::store::tests::Scratch;

/// The daemon around the node, as far as control asks it.
struct House;

impl Daemon for House {
    fn facts(&self) -> DaemonFacts {
        DaemonFacts {
            now: Instant::from_millis(65_000),
            pid: std::process::id(),
            build: "0.1.0 test".to_owned(),
            node_names: BTreeMap::from([(1, "gw1".to_owned()), (2, "gw2".to_owned())]),
            port_names: BTreeMap::from([(1, "lan0".to_owned())]),
            alerts: vec!["peer gw2 is down".to_owned()],
            ..DaemonFacts::default()
        }
    }

    fn config_text(&self) -> String {
        "format = 1\n".to_owned()
    }

    fn order_reload(&self, orders: &Orders) -> Result<ReloadAnswer, String> {
        let (reply, answer) = oneshot::channel();
        let config = Box::new(pair::config(0));
        let sent = orders.blocking_send(Order::Reload { config, reply });
        sent.map(|()| answer).map_err(|why| why.to_string())
    }
}

/// Control, and the driver's ends of its channels.
struct Rig {
    scratch: Scratch,
    control: Control,
    waiting: mpsc::Receiver<Order>,
    node: Node,
    status: watch::Sender<Arc<Status>>,
}

impl Rig {
    fn new(change: fn(&mut Settings)) -> Self {
        let scratch = Scratch::new("control");
        let mut settings = Settings::new(scratch.0.join("control.sock"));
        change(&mut settings);
        let node = Node::new(pair::config(0), pair::origin_boot(1));
        let (status, watched) = watch::channel(Arc::new(node.status(Instant::ORIGIN)));
        let (sender, waiting) = orders();
        let bound = Bound::new(settings).expect("a free path");
        let control = Control::start(bound, sender, watched, Arc::new(House)).expect("a thread");
        Self {
            scratch,
            control,
            waiting,
            node,
            status,
        }
    }

    fn socket(&self) -> PathBuf {
        self.scratch.0.join("control.sock")
    }

    fn client(&self) -> Client {
        Client::new(self.socket()).expect("a client")
    }

    /// Carries out `verb` as the command would, while the node answers one order.
    fn command(&mut self, verb: &[&str]) -> (Verdict, String) {
        let socket = self.socket();
        let verb: Vec<OsString> = verb.iter().map(OsString::from).collect();
        let asking = thread::spawn(move || steadfastctl(&socket, verb));
        self.answer_one();
        asking.join().expect("the command ends")
    }

    /// The next order; it must come soon.
    fn next_order(&mut self) -> Order {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        let order = runtime.expect("a runtime").block_on(async {
            tokio::time::timeout(Duration::from_secs(10), self.waiting.recv()).await
        });
        order.expect("an order in time").expect("an order")
    }

    /// The node takes the next order, as the driver would hand it over.
    fn answer_one(&mut self) {
        match self.next_order() {
            Order::Command { command, reply } => {
                let request = RequestId(1);
                let input = Input::CommandReceived { request, command };
                self.node.handle(Instant::from_millis(1), input);
                let mut effects = std::iter::from_fn(|| self.node.poll_effect());
                let result = effects.find_map(|effect| match effect {
                    Effect::Reply { result, .. } => Some(result),
                    _ => None,
                });
                reply.send(result.expect("a reply")).expect("control waits");
            }
            Order::Reload { reply, .. } => {
                let why = ReloadRefused("the cluster id needs a restart".to_owned());
                reply.send(Err(why)).expect("control waits");
            }
            Order::CertificateRead { .. } | Order::Checked { .. } | Order::Shutdown => {}
        }
    }
}

fn steadfastctl(socket: &Path, verb: Vec<OsString>) -> (Verdict, String) {
    let mut line = vec!["steadfastctl".into(), "--socket".into(), socket.into()];
    line.extend(verb);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let verdict = crate::ctl::run(line, &mut out, &mut err);
    out.extend(err);
    (verdict, String::from_utf8(out).expect("text"))
}

fn refusal(result: Result<Value, ClientError>) -> (String, String) {
    match result {
        Err(ClientError::Refused { error, cure }) => (error, cure),
        other => panic!("not refused: {other:?}"),
    }
}

/// Sends bytes as they are; gives the status line's code and the rest.
fn raw(stream: &mut UnixStream, request: &str) -> (u16, String) {
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let code = answer.get(9..12).and_then(|code| code.parse().ok());
    (code.unwrap_or(0), answer)
}

const GET_STATUS: &str = "GET /v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
const POST_RELEASE: &str =
    "POST /v1/release HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Status carries the node's and the daemon's facts; the table shows them to people.
#[test]
fn control_status_shows_node_and_daemon() {
    let rig = Rig::new(|_| {});
    let answer = rig.client().read("/v1/status").expect("an answer");
    assert_eq!(answer["status"]["role"], "starting");
    assert_eq!(answer["daemon"]["pid"], std::process::id());
    let (verdict, text) = steadfastctl(&rig.socket(), vec!["status".into()]);
    assert_eq!(verdict, Verdict::Done);
    for part in [
        "gw1 (node 1): STARTING since 1 min 5 s",
        "why         just started",
        "gw2 (node 2)",
        "unknown   -          never",
        "lan0                 DOWN",
        "ALERT peer gw2 is down",
        "steadfastd 0.1.0 test",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    let config = rig.client().read("/v1/config").expect("an answer");
    assert_eq!(config["text"], "format = 1\n");
}

/// Who knows the present mark is answered when the role changes and not before, and who knows
/// another at once; so is everybody when the driver has ended.
#[test]
fn control_status_is_told_when_it_changes() {
    let mut rig = Rig::new(|_| {});
    let client = rig.client();
    let asked = |mark: &str, wait: u32| {
        let route = format!("/v1/status?after={mark}&wait={wait}");
        client.read(&route).expect("an answer")
    };
    let mark = |answer: &Value| answer["mark"].as_str().expect("a mark").to_owned();
    let first = mark(&client.read("/v1/status").expect("an answer"));
    assert_eq!(mark(&asked("another", 5_000)), first);
    assert_eq!(mark(&asked(&first, 1)), first, "nothing changed");
    let (socket, known) = (rig.socket(), first.clone());
    let waiting = thread::spawn(move || {
        let client = Client::new(socket).expect("a client");
        client.read(&format!("/v1/status?after={known}"))
    });
    let input = Input::CommandReceived {
        request: RequestId(1),
        command: Command::MaintenanceOn,
    };
    rig.node.handle(Instant::from_millis(60_000), input);
    rig.status
        .send_replace(Arc::new(rig.node.status(Instant::from_millis(60_000))));
    let told = waiting
        .join()
        .expect("it ends")
        .expect("an answer, well before the client gives up");
    assert_eq!(told["status"]["role"], "off");
    assert_ne!(mark(&told), first);
    let last = mark(&told);
    drop(rig.status);
    assert_eq!(
        mark(&asked(&last, 5_000)),
        last,
        "an ended driver says no more"
    );
    let (error, cure) = refusal(client.read("/v1/status?before=1"));
    assert_eq!(error, "before=1 is not known here");
    assert!(cure.contains("?after=MARK"), "{cure}");
}

/// An explanation tells the way that led here, newest first, and what would change the role.
#[test]
fn control_explain_tells_the_chain_of_causes() {
    let mut rig = Rig::new(|_| {});
    let client = rig.client();
    let explain = || client.read("/v1/explain").expect("an answer");
    assert!(
        explain()["chain"][0]
            .as_str()
            .is_some_and(|text| text.contains("just started"))
    );
    let command = Command::MaintenanceOn;
    let request = RequestId(1);
    let input = Input::CommandReceived { request, command };
    rig.node.handle(Instant::from_millis(60_000), input);
    let status = rig.node.status(Instant::from_millis(60_000));
    assert_eq!(status.role, EffectiveRole::Off, "in maintenance");
    rig.status.send_replace(Arc::new(status));
    // The change is remembered by a task of control's, so the first look may come too early.
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    let mut told = explain();
    while told["chain"].as_array().map_or(0, Vec::len) < 2 {
        assert!(std::time::Instant::now() < deadline, "{told:#}");
        told = explain();
    }
    let newest = told["chain"][0].as_str().expect("text");
    assert_eq!(newest, "5 s ago: off, because: maintenance is on");
    let (verdict, text) = steadfastctl(&rig.socket(), vec!["explain".into()]);
    assert_eq!(verdict, Verdict::Done);
    assert!(text.contains("What would change it\n  - "), "{text}");
}

/// A command reaches the node; what the node refuses comes back with a cure and exit code 1.
#[test]
fn control_command_is_refused_by_the_node_with_a_cure() {
    let mut rig = Rig::new(|_| {});
    let (verdict, text) = rig.command(&["takeover"]);
    assert_eq!(verdict, Verdict::Refused);
    assert!(
        text.contains("error: refused: not possible in the present role"),
        "{text}"
    );
    assert!(
        text.contains(" cure: look at `steadfastctl explain`"),
        "{text}"
    );
    let (verdict, text) = rig.command(&["maintenance", "on"]);
    assert_eq!(
        (verdict, text.as_str()),
        (Verdict::Done, "maintenance is on\n")
    );
    let (verdict, text) = rig.command(&["reload"]);
    assert_eq!(verdict, Verdict::Refused);
    assert!(text.contains("the cluster id needs a restart"), "{text}");
}

/// While one command waits for its answer, a second one gets its own at once.
#[test]
fn control_second_command_is_answered_while_the_first_waits() {
    let mut rig = Rig::new(|_| {});
    let path = rig.socket();
    let ask = |verb: &str| {
        let (socket, verb) = (path.clone(), vec![OsString::from(verb)]);
        thread::spawn(move || steadfastctl(&socket, verb))
    };
    let first = ask("release");
    let Order::Command { command, reply } = rig.next_order() else {
        panic!("no command");
    };
    assert_eq!(command, Command::Release);
    let second = ask("takeover");
    let Order::Command { reply: busy, .. } = rig.next_order() else {
        panic!("no command");
    };
    busy.send(Err(Rejection::Busy)).expect("control waits");
    let (verdict, text) = second.join().expect("the command ends");
    assert_eq!(verdict, Verdict::Refused);
    assert!(text.contains("a hand-over is under way"), "{text}");
    reply.send(Ok(())).expect("control waits");
    let (verdict, text) = first.join().expect("the command ends");
    assert_eq!(
        (verdict, text.as_str()),
        (Verdict::Done, "release: a peer has the role now\n")
    );
}

/// A node that does not answer, and one that has ended, are told apart; status still works.
#[test]
fn control_silent_and_ended_nodes_are_told_apart() {
    let mut rig = Rig::new(|settings| settings.answer_wait = Duration::from_millis(50));
    let client = rig.client();
    // More than the channel holds: those beyond it fail like the others, in time.
    for _ in 0..steadfast_shell::orders::ORDERS_MAX + 2 {
        let (error, _) = refusal(client.order("/v1/release", &Value::Null));
        assert_eq!(error, "the node did not answer in time");
    }
    rig.waiting.close();
    let (error, _) = refusal(client.order("/v1/release", &Value::Null));
    assert_eq!(error, "the node has ended");
    client.read("/v1/status").expect("an answer");
}

/// What is not understood is refused with what to do instead, and costs nothing.
#[test]
fn control_requests_that_are_not_understood_are_refused() {
    let mut rig = Rig::new(|_| {});
    let client = rig.client();
    let (error, cure) = refusal(client.read("/v2/status"));
    assert_eq!(error, "/v2/status is not known here");
    assert!(!cure.is_empty());
    let (error, _) = refusal(client.read("/v1/release"));
    assert_eq!(error, "GET does not go with /v1/release");
    let bodies = [
        json!({ "on": 1 }),
        json!({}),
        json!({ "on": true, "off": false }),
    ];
    for body in bodies {
        let (error, _) = refusal(client.order("/v1/maintenance", &body));
        assert!(error.starts_with("the body is not understood"), "{error}");
    }
    let (error, _) = refusal(client.order("/v1/takeover", &json!({ "now": true })));
    assert_eq!(error, "this request takes no body");
    let long = json!({ "on": "x".repeat(BODY_BYTES_MAX) });
    for route in ["/v1/maintenance", "/v1/takeover", "/v1/reload"] {
        let (error, cure) = refusal(client.order(route, &long));
        assert!(cure.contains("64 KiB"), "{route}: {error}");
    }
    assert!(rig.waiting.try_recv().is_err(), "nothing reached the node");
}

/// Connections that say nothing take all places; they end at their deadline, and others get in.
#[test]
fn control_idle_connections_do_not_keep_others_out() {
    let rig = Rig::new(|settings| settings.connection_wait = Duration::from_millis(300));
    let idle: Vec<UnixStream> = (0..CONNECTIONS_MAX + 8)
        .map(|_| UnixStream::connect(rig.socket()).expect("a connection"))
        .collect();
    rig.client().read("/v1/status").expect("an answer");
    drop(idle);
}

/// A socket left behind is taken over; one that is served is not, and its process is named; a file
/// is never removed.
#[test]
fn control_stale_socket_is_replaced_and_a_live_one_is_not() {
    let rig = Rig::new(|_| {});
    let again = Bound::new(Settings::new(rig.socket())).expect_err("served");
    let own = std::process::id();
    assert!(
        again
            .to_string()
            .contains(&format!("process {own} already serves")),
        "{again}"
    );
    let (path, file) = (rig.scratch.0.join("stale.sock"), rig.scratch.0.join("file"));
    drop(UnixListener::bind(&path).expect("a socket"));
    let bound = Bound::new(Settings::new(path.clone())).expect("a stale socket is replaced");
    let mode = fs::metadata(&path).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    drop(bound);
    assert!(!path.exists(), "removed at the end");
    fs::write(&file, "in the way").expect("a file");
    let refused = Bound::new(Settings::new(file.clone())).expect_err("no socket");
    assert!(matches!(refused, BindError::NoSocket(_)), "{refused}");
    assert!(file.exists());
    let socket = rig.socket();
    rig.control.stop().expect("control ends well");
    assert!(!socket.exists(), "removed at the end");
}

/// Others may look and not touch; members of the control group may do both. Who somebody is, is
/// what the kernel said when they connected.
#[test]
fn control_obeys_by_the_credentials_of_the_peer() {
    const GROUP: u32 = 4_242;
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run: needs root, to ask as other users");
        return;
    }
    let mut rig = Rig::new(|settings| settings.group = Some(GROUP));
    let socket = rig.socket();
    fs::set_permissions(&socket, Permissions::from_mode(0o666)).expect("a mode");
    let connect = |groups: &'static [u32]| connect_as(socket.clone(), 65_534, groups);
    assert_eq!(raw(&mut connect(&[]), GET_STATUS).0, 200);
    let (code, answer) = raw(&mut connect(&[]), POST_RELEASE);
    assert_eq!(code, 403);
    assert!(answer.contains("user 65534 may not do this"), "{answer}");
    let config = GET_STATUS.replace("status", "config");
    assert_eq!(raw(&mut connect(&[]), &config).0, 403);
    assert!(rig.waiting.try_recv().is_err(), "nothing reached the node");
    let mut member = connect(&[7, GROUP]);
    let asking = thread::spawn(move || raw(&mut member, POST_RELEASE).0);
    rig.answer_one();
    assert_eq!(
        asking.join().expect("an answer"),
        409,
        "heard, and refused by the node"
    );
}

/// Connects from a thread that is another user with other groups.
fn connect_as(socket: PathBuf, user: u32, groups: &'static [u32]) -> UnixStream {
    let connecting = thread::spawn(move || {
        use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};
        let groups: Vec<_> = groups
            .iter()
            .map(|id| rustix::fs::Gid::from_raw(*id))
            .collect();
        set_thread_groups(&groups).expect("groups");
        set_thread_gid(rustix::fs::Gid::from_raw(user)).expect("a group");
        set_thread_uid(rustix::fs::Uid::from_raw(user)).expect("a user");
        UnixStream::connect(socket).expect("a connection")
    });
    connecting.join().expect("a connection")
}

/// No daemon: exit code 2 and what to do; wrong usage: 3; help names the exit codes.
#[test]
fn ctl_exit_codes_are_as_documented() {
    let scratch = Scratch::new("control");
    let socket = scratch.0.join("none.sock");
    let run = |verb: &str| steadfastctl(&socket, vec![verb.into()]);
    let (verdict, text) = run("status");
    assert_eq!(verdict, Verdict::Unreachable);
    assert!(
        text.contains("no daemon answers at") && text.contains("systemctl status"),
        "{text}"
    );
    assert_eq!(run("frobnicate").0, Verdict::Usage);
    let (verdict, text) = run("--help");
    assert_eq!((verdict, verdict.code()), (Verdict::Done, 0));
    assert!(text.contains("2  no daemon answers"), "{text}");
    let folder = scratch.0.clone().into_os_string();
    let verb = vec!["journal".into(), "verify".into(), folder.clone()];
    assert_eq!(
        steadfastctl(&socket, verb).0,
        Verdict::Done,
        "empty is not damaged"
    );
    fs::write(scratch.0.join("journal-00000000.bin"), "x").expect("a file");
    let verb = vec!["journal".into(), "verify".into(), folder];
    assert_eq!(steadfastctl(&socket, verb).0, Verdict::Refused);
}
