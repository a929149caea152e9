//! What the gateways are configured with: shared settings, and each gateway's own.
//!
//! Every value has the product's default, so a file says only what its story needs; with a profile
//! the default is that of another product (R2.1). The words are the product's own configuration
//! words; a world translates them for what it runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use steadfast_core::config;
use steadfast_core::config::profile::Profile;
use steadfast_core::role::ConfiguredRole;
use steadfast_core::wire::carriage::{Carriage, Form, Forms};

use super::{CheckSetup, HookSetup, Shift, Span, VrrpSetup};

/// Settings that all gateways share. Sources: the rule named at each, and R2.1, R3, R12.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cluster {
    /// What happens when every node is pacified (R12.1).
    pub all_pacified: AllPacified,
    /// More consecutive unclean boots than this within `boot_window` pacify (R12.1).
    pub boot_limit: u8,
    /// Uptime within which boots are counted (R12.1).
    pub boot_window: Span,
    /// More restarts of a daemon than this within `boot_window`, after crashes, pacify (R12.1).
    pub restart_limit: u8,
    /// Checks that every gateway runs of its own health (R4.2).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckSetup>,
    /// Silence after which a path is dead.
    pub dead_interval: Span,
    /// How a dead peer is found out (R2.1, D7).
    pub detection: Detection,
    /// Where the kernels judge what leaves a gateway.
    #[serde(skip_serializing_if = "FenceHooks::is_auto")]
    pub fence: FenceHooks,
    /// After more moves of the role than this within `flap_window` it stays where it can serve; 0
    /// sets no limit (F33).
    pub flap_limit: u8,
    /// How long a move counts.
    pub flap_window: Span,
    /// Wait after a change before the next move.
    pub hold_down: Span,
    /// Programs that follow the role on every gateway, in this order when it serves (R1.5).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<HookSetup>,
    /// Wait after boot and link-up before a claim when no peer runs (R12.2).
    pub initial_wait: Span,
    /// Time between advertisements.
    pub interval: Span,
    /// What a node does that hears nobody at all (D14).
    pub isolation: Isolation,
    /// Length of the kernel's lease (D9).
    pub lease: Span,
    /// V: how long an offer stands (D10).
    pub offer: Span,
    /// What a node does once a failure of its own is mended (R3.3).
    pub on_failure: OnFailure,
    /// Who may retake the role from a working active (R3.2).
    pub preempt: Preempt,
    /// Wait before doing so.
    pub preempt_delay: Span,
    /// A product whose documented times and choices stand wherever the file says nothing (R2.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Product>")]
    pub profile: Option<Profile>,
    /// What advertisements may travel in; Ethernet frames alone when absent (D4, R2.5).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<Transport>")]
    pub transports: Vec<Form>,
    /// Longest round trip counted with in a hand-over (D10).
    pub rtt_bound: Span,
    /// An advertisement later than interval plus this is suspicious (D7).
    pub slack: Span,
    /// How long the old active forwards what is in flight (D10).
    pub tail: Span,
    /// Length of the confirm burst after carrier loss (D7).
    pub w_carrier: Span,
    /// Length of the confirm burst after silence (D7).
    pub w_silence: Span,
    /// The gateways are virtual routers of VRRP, and no cluster, with this `interval` (D19).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vrrp: Option<VrrpSetup>,
    /// Which claims wait for the witness's grant, where the topology has a witness (D14).
    pub witness_asks: Asks,
    /// How long its grant is good for; lease + four intervals when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub witness_term: Option<Span>,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            all_pacified: AllPacified::Serve,
            boot_limit: 3,
            boot_window: Span::secs(300),
            restart_limit: 5,
            checks: Vec::new(),
            dead_interval: Span::millis(300),
            detection: Detection::Fast,
            fence: FenceHooks::Auto,
            flap_limit: 6,
            flap_window: Span::secs(900),
            hold_down: Span::secs(10),
            hooks: Vec::new(),
            initial_wait: Span::secs(10),
            interval: Span::millis(100),
            isolation: Isolation::Serve,
            lease: Span::millis(300),
            offer: Span::millis(30),
            on_failure: OnFailure::Standby,
            preempt: Preempt::Never,
            preempt_delay: Span::secs(10),
            profile: None,
            transports: Vec::new(),
            rtt_bound: Span::millis(5),
            slack: Span::millis(5),
            tail: Span::millis(30),
            w_carrier: Span::millis(4),
            w_silence: Span::millis(20),
            vrrp: None,
            witness_asks: Asks::Always,
            witness_term: None,
        }
    }
}

impl Cluster {
    /// What advertisements may travel in, as a node takes it.
    pub fn carriage(&self) -> Carriage {
        let usual = Carriage::default();
        let forms = self.transports.iter().copied();
        let forms = forms.fold(Forms::default(), Forms::and);
        Carriage {
            forms: forms.first().map_or(usual.forms, |_| forms),
            ..usual
        }
    }

    /// As it reads with this profile and nothing else.
    #[must_use]
    pub fn following(profile: Option<Profile>) -> Self {
        let mut cluster = Self {
            profile,
            ..Self::default()
        };
        cluster.follow_profile(|_| false);
        cluster
    }

    /// With routers of VRRP others take over after three intervals, and a lease lasts as long.
    pub(super) fn follow_vrrp(&mut self, written: impl Fn(&str) -> bool) {
        if self.vrrp.is_none() {
            return;
        }
        let usual = Span(self.interval.0.saturating_mul(3));
        for (key, time) in [
            ("dead_interval", &mut self.dead_interval),
            ("lease", &mut self.lease),
        ] {
            if !written(key) {
                *time = usual;
            }
        }
    }

    /// Puts what the profile says wherever the file says nothing, as the product's own reader does.
    pub(super) fn follow_profile(&mut self, written: impl Fn(&str) -> bool) {
        let Some(profile) = self.profile else {
            return;
        };
        if !written("interval") {
            self.interval = Span(profile.interval());
        }
        let (timing, policy) = (profile.timing(self.interval.0), profile.policy());
        let times = [
            (
                "dead_interval",
                &mut self.dead_interval,
                timing.dead_interval,
            ),
            ("hold_down", &mut self.hold_down, timing.hold_down),
            ("lease", &mut self.lease, timing.lease),
            (
                "preempt_delay",
                &mut self.preempt_delay,
                timing.preempt_delay,
            ),
        ];
        for (key, time, usual) in times {
            if !written(key) {
                *time = Span(usual);
            }
        }
        if !written("all_pacified") {
            self.all_pacified = policy.all_pacified.into();
        }
        if !written("detection") {
            self.detection = policy.detection.into();
        }
        if !written("preempt") {
            self.preempt = policy.preempt.into();
        }
    }
}

impl From<config::AllPacified> for AllPacified {
    fn from(policy: config::AllPacified) -> Self {
        match policy {
            config::AllPacified::Never => Self::Never,
            config::AllPacified::Serve => Self::Serve,
        }
    }
}

impl From<config::Detection> for Detection {
    fn from(policy: config::Detection) -> Self {
        match policy {
            config::Detection::DeadInterval => Self::DeadInterval,
            config::Detection::Fast => Self::Fast,
        }
    }
}

impl From<config::Preempt> for Preempt {
    fn from(policy: config::Preempt) -> Self {
        match policy {
            config::Preempt::Never => Self::Never,
            config::Preempt::Prefer => Self::Prefer,
            config::Preempt::Priority => Self::Priority,
        }
    }
}

/// Which claims without consent wait for the witness's grant (D14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Asks {
    /// All of them.
    Always,
    /// Those without proof from the peer's kernel.
    Unproven,
}

/// What happens when every node is pacified (R12.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AllPacified {
    /// Nobody serves until an operator acts.
    Never,
    /// The best of them serves, loudly.
    Serve,
}

/// How a dead peer is found out (R2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Detection {
    /// By the dead interval alone.
    DeadInterval,
    /// By suspicion and confirmation (D7, D8).
    Fast,
}

/// What a node does that hears nobody at all (D14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// It goes on serving.
    Serve,
    /// It gives the role up.
    Yield,
}

/// What a node does once a failure of its own is mended (R3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// It returns to its configured role.
    Configured,
    /// It stays off until an operator acts.
    Off,
    /// It stands by.
    Standby,
}

/// Who may retake the role from a working active (R3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Preempt {
    /// Nobody.
    Never,
    /// The preferred node.
    Prefer,
    /// The node of higher priority.
    Priority,
}

/// Where the kernels judge what leaves a gateway (D9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FenceHooks {
    /// As it leaves a port: netdev egress, which every world has.
    Auto,
    /// Where ARP and IP send it, as kernels before 5.16 must; the daemon guards its own frames.
    Output,
    /// The same in tables that a flush of the ruleset takes, as kernels before 5.13 must.
    Flushable,
}

impl FenceHooks {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
    const fn is_auto(&self) -> bool {
        matches!(self, Self::Auto)
    }
}

/// What one gateway is configured with, and how it stands when the run begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GatewaySetup {
    /// When it is switched on, if it is `powered` at all.
    pub boot_at: Span,
    /// Earlier boots in its record, oldest first (D16).
    pub boots: Vec<PastBoot>,
    /// What the certificate shows that its clients see, at the start; no file when empty (R5.6).
    pub certificate: String,
    /// How far its wall clock is off at the start.
    pub clock: Shift,
    /// What the operator set (R1.2).
    #[schemars(with = "Configured")]
    pub configured: ConfiguredRole,
    /// Whether maintenance was left on (R3.4).
    pub maintenance: bool,
    /// Whether it runs an older release than the rest.
    pub older_release: bool,
    /// Whether it was given another secret than the rest (R14.1).
    pub other_secret: bool,
    /// Whether it has power.
    pub powered: bool,
    /// Whether it is the preferred node (R3.2).
    pub preferred: bool,
    /// Configured priority, 1 to 254.
    pub priority: u8,
    /// What the product says of itself, to be the same on all (R1.4); nothing when empty.
    pub product: String,
    /// The gateway whose id its file gives to its own node, and its own id to that one (R1.3);
    /// nobody's when empty.
    pub same_id_as: String,
    /// Whether its store survived.
    pub store: StoreState,
    /// Gateways of the cluster that its file does not list (R14.1).
    pub unlisted: Vec<String>,
    /// Ports whose carrier its file says not to watch (R14.1).
    pub unwatched: Vec<String>,
}

impl Default for GatewaySetup {
    fn default() -> Self {
        Self {
            boot_at: Span::default(),
            boots: Vec::new(),
            certificate: String::new(),
            clock: Shift::default(),
            configured: ConfiguredRole::Any,
            maintenance: false,
            older_release: false,
            other_secret: false,
            powered: true,
            preferred: false,
            priority: 100,
            product: String::new(),
            same_id_as: String::new(),
            store: StoreState::Kept,
            unlisted: Vec::new(),
            unwatched: Vec::new(),
        }
    }
}

/// One earlier life in a gateway's boot record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PastBoot {
    /// How long it ran.
    pub uptime: Span,
    /// Whether it ended by a commanded shutdown.
    #[serde(default)]
    pub clean: bool,
}

/// What a gateway finds in its store when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StoreState {
    /// Everything it wrote.
    Kept,
    /// Nothing.
    Lost,
}

/// The words of [`ConfiguredRole`], for the schema.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "names the words in the JSON Schema; never built")]
pub(in crate::format) enum Configured {
    Active,
    Any,
    Off,
    Standby,
}

/// The words of [`Form`], for the schema.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
#[expect(dead_code, reason = "names the words in the JSON Schema; never built")]
enum Transport {
    Broadcast,
    Ethernet,
    Multicast,
    Unicast,
}

/// The words of [`Profile`], for the schema.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "names the words in the JSON Schema; never built")]
enum Product {
    Fortimail,
    Kemp,
    Kerio,
    SafeAtOffice,
    Seqrite,
}
