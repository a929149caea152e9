//! The keys that a fresh file offers as comments: name, what is usual, what it means.

/// Keys of `[timing]`.
pub(super) const TIMING: [(&str, &str, &str); 11] = [
    (
        "interval",
        "\"100ms\"",
        "between two advertisements; 3.3ms to 60s",
    ),
    (
        "dead_interval",
        "\"300ms\"",
        "silence that is death without better evidence; 3 intervals",
    ),
    (
        "lease",
        "\"300ms\"",
        "how long a kernel serves on when its daemon died; 3 intervals",
    ),
    (
        "initial_wait",
        "\"10s\"",
        "before a claim, if a peer is not heard; 0s, 10s to 180s",
    ),
    (
        "slack",
        "\"5ms\"",
        "how late an advertisement may be, at most",
    ),
    (
        "w_carrier",
        "\"4ms\"",
        "confirm window after a cable lost its carrier",
    ),
    ("w_silence", "\"20ms\"", "confirm window after silence"),
    (
        "offer",
        "\"30ms\"",
        "how long an offer to hand over is good",
    ),
    (
        "tail",
        "\"30ms\"",
        "how long the old active forwards after a hand-over",
    ),
    (
        "rtt_bound",
        "\"5ms\"",
        "longest round trip between healthy nodes",
    ),
    ("round", "\"1ms\"", "between two rounds of questions"),
];
/// Keys of `[policy]`.
pub(super) const POLICY: [(&str, &str, &str); 12] = [
    (
        "preempt",
        "\"never\"",
        "who may retake the role: never, prefer, priority",
    ),
    (
        "on_failure",
        "\"standby\"",
        "after this node's failure is mended: standby, configured, off",
    ),
    (
        "isolation",
        "\"serve\"",
        "a node that hears nobody at all: serve, yield",
    ),
    (
        "detection",
        "\"fast\"",
        "fast asks the peer's kernel at once; dead-interval waits first",
    ),
    (
        "all_pacified",
        "\"serve\"",
        "when all nodes are barred for boot loops: serve, never",
    ),
    (
        "boot_limit",
        "3",
        "more unclean boots than this in a row ...",
    ),
    (
        "boot_window",
        "\"5min\"",
        "... within this uptime bar a node",
    ),
    (
        "restart_limit",
        "5",
        "so do more restarts of its daemon than this, after crashes",
    ),
    (
        "flap_limit",
        "6",
        "after more moves of the role than this (0: any) ...",
    ),
    (
        "flap_window",
        "\"15min\"",
        "... within this it stays where it can serve",
    ),
    (
        "preempt_delay",
        "\"10s\"",
        "how long a preferred node waits before it asks for its role",
    ),
    (
        "hold_down",
        "\"10s\"",
        "wait after a role change before a voluntary one",
    ),
];
/// Keys of `[daemon]`.
pub(super) const DAEMON: [(&str, &str, &str); 9] = [
    ("log", "\"info\"", "off, error, warn, info, debug, trace"),
    ("state_dir", "\"/var/lib/steadfast\"", "kept over reboots"),
    ("runtime_dir", "\"/run/steadfast\"", "sockets"),
    (
        "control_socket",
        "\"/run/steadfast/control.sock\"",
        "where steadfastctl finds the daemon",
    ),
    (
        "control_group",
        "\"adm\"",
        "whose members may command, beside root; usually nobody",
    ),
    (
        "certificate",
        "\"/etc/ssl/gateway.pem\"",
        "what clients see at the shared address; status shows it",
    ),
    (
        "forward",
        "false",
        "turn forwarding on, once fenced; leave net.ipv4.ip_forward at 0",
    ),
    (
        "fence",
        "\"auto\"",
        "egress (Linux 5.16), output or flushable (as on older ones: a trial); auto: by the kernel",
    ),
    ("journal_bytes_max", "8388608", "flight recorder on disk"),
];
