//! The product on a lab's gateway: the configuration file that an operator would write.
//!
//! Written as text, not built as a value: what is tested is what is shipped, reader included.

use std::fmt::Write as _;

use steadfast_core::NodeId;
use steadfast_core::role::ConfiguredRole;
use steadfast_scenarios::format::{
    Action, AllPacified, Asks, Capability, Cluster, Detection, FenceHooks, Gateway, GatewaySetup,
    Isolation, OnFailure, Plan, Preempt, SegmentKind, Span,
};

use super::{FOLDER, RUN, STATE, clocks, programs, routers};
use crate::machine::Setup;

/// The cluster of every lab.
const CLUSTER: &str = "5354454144464153544c414230303031";
/// The virtual router of every lab.
pub const VIRTUAL_ROUTER: u8 = 51;
/// The secret of every lab; never of a real pair.
const SECRET: &str = "1 enforce 6b6e6f776e20746f206576657279207265616465722c206e6f7420726561";
/// The secret of a gateway that was given another one.
const OTHER_SECRET: &str =
    "1 enforce 6d69737479706564206f6e652c20756e6e6f74696365642079657420616761";

/// The control socket's name below [`RUN`].
pub const SOCKET: &str = "control.sock";

/// The certificate's file, below the folder of the configuration.
pub const CERTIFICATE: &str = "certificate.pem";

/// A file in which tools find a certificate; nobody reads on what is in it.
pub fn certificate(shows: &str) -> Vec<u8> {
    // Four digits of sixteen are four digits of sixty-four too.
    let pairs = shows.as_bytes().chunks(2).map(|pair| match *pair {
        [first, second] => format!("{first:02x}{second:02x}"),
        _ => format!("{:02x}00", pair[0]),
    });
    let body: String = pairs.collect();
    format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n").into_bytes()
}

/// What a gateway needs to run the product. `daemon` is the path of `steadfastd`.
///
/// # Errors
/// What a plan wants of a gateway's disk before its first boot, which no file says.
pub fn setup(plan: &Plan, gateway: &Gateway, daemon: &str) -> Result<Setup, String> {
    if plan.gateway(&gateway.name).maintenance {
        return Err("a record with maintenance on".to_owned());
    }
    if plan.gateway(&gateway.name).older_release {
        return Err("an older release of the software".to_owned());
    }
    let other = plan.gateway(&gateway.name).other_secret;
    let secret = if other { OTHER_SECRET } else { SECRET };
    let files = [
        ("steadfast.toml", configuration(plan, gateway)),
        ("secret", format!("{secret}\n")),
    ];
    let argv = [daemon, "--config", &format!("{FOLDER}/steadfast.toml")];
    let mut setup = super::setup(files, argv.map(str::to_owned).to_vec());
    let product = plan.gateway(&gateway.name).product;
    if !product.is_empty() {
        setup.files.insert("facts".to_owned(), product.into_bytes());
    }
    let shown = plan.gateway(&gateway.name).certificate;
    if !shown.is_empty() {
        setup
            .files
            .insert(CERTIFICATE.to_owned(), certificate(&shown));
    }
    setup.files.extend(programs::files(&plan.cluster));
    if !gateway.witness {
        setup.others.extend(programs::services(plan)?);
        setup.others.extend(programs::touched(plan));
    }
    if plan.topology.router_adverts && !gateway.witness {
        setup.files.extend(routers::files(&plan.layout, gateway));
        setup.others.push(routers::command());
    }
    clocks::give(&mut setup, plan, plan.gateway(&gateway.name).clock)?;
    setup.forwards = true;
    Ok(setup)
}

fn configuration(plan: &Plan, gateway: &Gateway) -> String {
    let setup = plan.gateway(&gateway.name);
    let mut text = format!(
        "format = 1\n\n[cluster]\nid = \"{CLUSTER}\"\nvirtual_router = {VIRTUAL_ROUTER}\n\
         secret_file = \"{FOLDER}/secret\"\n"
    );
    // Writing to memory cannot fail.
    if !plan.cluster.transports.is_empty() {
        let forms = plan.cluster.transports.iter();
        let forms: Vec<String> = forms.map(|form| format!("\"{}\"", form.word())).collect();
        let _ = writeln!(text, "transports = [{}]", forms.join(", "));
    }
    if let Some(profile) = plan.cluster.profile {
        let _ = writeln!(text, "profile = \"{profile}\"");
    }
    let _ = node(&mut text, plan.listed_id(gateway, gateway), gateway, &setup);
    let _ = peers(&mut text, plan, gateway);
    let _ = ports(&mut text, plan, gateway);
    let _ = witness(&mut text, plan);
    let _ = programs::checks(&mut text, plan);
    if !gateway.witness {
        let _ = programs::hooks(&mut text, &plan.cluster);
    }
    let (times, policy) = (needed(&plan.cluster, times), needed(&plan.cluster, policy));
    let _ = write!(text, "\n[timing]\n{times}\n[policy]\n{policy}");
    let _ = write!(
        text,
        "\n[daemon]\nstate_dir = \"{STATE}\"\nruntime_dir = \"{RUN}\"\n\
         control_socket = \"{RUN}/{SOCKET}\"\nlog = \"info\"\nforward = true\n"
    );
    let fence = match plan.cluster.fence {
        FenceHooks::Auto => None,
        FenceHooks::Output => Some("output"),
        FenceHooks::Flushable => Some("flushable"),
    };
    if let Some(fence) = fence.filter(|_| !gateway.witness) {
        let _ = writeln!(text, "fence = \"{fence}\"");
    }
    if plan.needs().contains(&Capability::Certificates) {
        let _ = writeln!(text, "certificate = \"{FOLDER}/{CERTIFICATE}\"");
    }
    text
}

fn node(
    text: &mut String,
    id: NodeId,
    gateway: &Gateway,
    setup: &GatewaySetup,
) -> std::fmt::Result {
    let role = match setup.configured {
        _ if gateway.witness => "off",
        ConfiguredRole::Active => "active",
        ConfiguredRole::Any => "any",
        ConfiguredRole::Off => "off",
        ConfiguredRole::Standby => "standby",
    };
    write!(
        text,
        "\n[node]\nid = {id}\nname = \"{}\"\nrole = \"{role}\"\npriority = {}\npreferred = {}\n",
        gateway.name, setup.priority, setup.preferred
    )?;
    if !setup.product.is_empty() {
        writeln!(text, "facts_file = \"{FOLDER}/facts\"")?;
    }
    Ok(())
}

fn peers(text: &mut String, plan: &Plan, gateway: &Gateway) -> std::fmt::Result {
    let unlisted = plan.gateway(&gateway.name).unlisted;
    let listed = |other: &&Gateway| other.id != gateway.id && !unlisted.contains(&other.name);
    for other in plan.layout.gateways.iter().filter(listed) {
        write!(
            text,
            "\n[[peer]]\nid = {}\nname = \"{}\"\n",
            plan.listed_id(gateway, other),
            other.name
        )?;
        writeln!(text, "[peer.addresses]")?;
        for port in &other.ports {
            let here = gateway.ports.iter().any(|own| own.name == port.name);
            let units: Vec<String> = port.units.iter().map(|ip| format!("\"{ip}\"")).collect();
            match units.as_slice() {
                [one] if here => writeln!(text, "{} = {one}", port.name)?,
                [] => {}
                many if here => writeln!(text, "{} = [{}]", port.name, many.join(", "))?,
                _ => {}
            }
        }
    }
    Ok(())
}

fn ports(text: &mut String, plan: &Plan, gateway: &Gateway) -> std::fmt::Result {
    let layout = &plan.layout;
    let unwatched = plan.gateway(&gateway.name).unwatched;
    for port in &gateway.ports {
        write!(
            text,
            "\n[[port]]\ninterface = \"{}\"\nnumber = {}\n",
            port.name, port.id
        )?;
        let Some(segment) = layout.segments.get(port.segment.index()) else {
            continue;
        };
        if unwatched.contains(&port.name) {
            writeln!(text, "watched = false")?;
        }
        if !segment.heartbeats {
            writeln!(text, "heartbeat = \"off\"")?;
        } else if segment.secondary {
            writeln!(text, "heartbeat = \"secondary\"")?;
        }
        if let Some(router) = port.router {
            writeln!(text, "via = \"{router}\"")?;
        }
        if segment.kind == SegmentKind::Cable {
            writeln!(text, "direct = true")?;
            continue;
        }
        if !gateway.witness && segment.served() {
            let virtuals = segment.virtuals.iter().map(|ip| format!("\"{ip}\""));
            let virtuals: Vec<String> = virtuals.collect();
            writeln!(text, "virtual = [{}]", virtuals.join(", "))?;
            if segment.virtual_mac.is_some() {
                writeln!(text, "virtual_mac = true")?;
            }
            if plan.topology.action == Action::Set {
                writeln!(text, "action = \"set\"")?;
            }
        }
        let mut hosts = layout.hosts.iter();
        let host = hosts.find(|it| it.segment == port.segment && !gateway.witness);
        if let Some(address) = host.and_then(|host| host.addresses.first()) {
            writeln!(text, "neighbour = \"{address}\"")?;
        }
    }
    Ok(())
}

/// The same on every node, the witness included (D14).
fn witness(text: &mut String, plan: &Plan) -> std::fmt::Result {
    let Some(node) = plan.layout.witness() else {
        return Ok(());
    };
    let asks = match plan.cluster.witness_asks {
        Asks::Always => "always",
        Asks::Unproven => "unproven",
    };
    write!(text, "\n[witness]\nnode = {node}\nasks = \"{asks}\"\n")?;
    match plan.cluster.witness_term {
        Some(term) => writeln!(text, "term = {}", spelt(term)),
        None => Ok(()),
    }
}

/// The keys that the file needs: every one, or with a profile those that it would set otherwise.
fn needed<const N: usize>(
    cluster: &Cluster,
    of: fn(&Cluster) -> [(&'static str, String); N],
) -> String {
    let usual = cluster
        .profile
        .map(|profile| of(&Cluster::following(Some(profile))));
    let keys = of(cluster).into_iter().enumerate();
    let needed = keys.filter(|(place, key)| {
        let usual = usual.as_ref().map(|usual| &usual[*place]);
        usual != Some(key)
    });
    needed
        .map(|(_, (key, value))| format!("{key} = {value}\n"))
        .collect()
}

fn times(cluster: &Cluster) -> [(&'static str, String); 10] {
    [
        ("interval", cluster.interval),
        ("slack", cluster.slack),
        ("dead_interval", cluster.dead_interval),
        ("lease", cluster.lease),
        ("initial_wait", cluster.initial_wait),
        ("w_carrier", cluster.w_carrier),
        ("w_silence", cluster.w_silence),
        ("offer", cluster.offer),
        ("tail", cluster.tail),
        ("rtt_bound", cluster.rtt_bound),
    ]
    .map(|(key, span)| (key, spelt(span)))
}

fn policy(cluster: &Cluster) -> [(&'static str, String); 12] {
    let word = |word: &str| format!("\"{word}\"");
    let preempt = match cluster.preempt {
        Preempt::Never => "never",
        Preempt::Prefer => "prefer",
        Preempt::Priority => "priority",
    };
    let on_failure = match cluster.on_failure {
        OnFailure::Configured => "configured",
        OnFailure::Off => "off",
        OnFailure::Standby => "standby",
    };
    let isolation = match cluster.isolation {
        Isolation::Serve => "serve",
        Isolation::Yield => "yield",
    };
    let detection = match cluster.detection {
        Detection::DeadInterval => "dead-interval",
        Detection::Fast => "fast",
    };
    let all_pacified = match cluster.all_pacified {
        AllPacified::Never => "never",
        AllPacified::Serve => "serve",
    };
    [
        ("preempt", word(preempt)),
        ("on_failure", word(on_failure)),
        ("isolation", word(isolation)),
        ("detection", word(detection)),
        ("all_pacified", word(all_pacified)),
        ("boot_limit", cluster.boot_limit.to_string()),
        ("restart_limit", cluster.restart_limit.to_string()),
        ("boot_window", spelt(cluster.boot_window)),
        ("flap_limit", cluster.flap_limit.to_string()),
        ("flap_window", spelt(cluster.flap_window)),
        ("preempt_delay", spelt(cluster.preempt_delay)),
        ("hold_down", spelt(cluster.hold_down)),
    ]
}

/// A duration as the file writes it, in the largest unit that needs no fraction.
fn spelt(span: Span) -> String {
    let nanos = span.0.as_nanos();
    if nanos.is_multiple_of(1_000_000) {
        format!("\"{}ms\"", nanos / 1_000_000)
    } else {
        format!("\"{}us\"", nanos / 1_000)
    }
}
