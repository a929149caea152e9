//! Virtual routers, shown and commanded.

use std::io::Write;

use clap::Subcommand;
use serde_json::json;
use steadfast_shell::vrrp::{RouterStatus, Stands};

use super::{Client, ClientError, Trouble, Verdict};
use crate::control::{RoutersTold, in_words};

/// What is asked of the daemon of virtual routers.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Every router: its state, why, and what was counted.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Let another router serve.
    Resign {
        /// The link.
        interface: String,
        /// The virtual router's number.
        #[arg(value_parser = clap::value_parser!(u8).range(1..))]
        virtual_router: u8,
        /// The one over IPv6.
        #[arg(long)]
        ipv6: bool,
    },
}

pub(super) fn carry_out(
    verb: &Verb,
    client: &Client,
    out: &mut dyn Write,
) -> Result<Verdict, Trouble> {
    match verb {
        Verb::Status { json } => {
            let answer = client.read("/v1/vrrp")?;
            if *json {
                writeln!(out, "{answer:#}")?;
                return Ok(Verdict::Done);
            }
            let told: RoutersTold = serde_json::from_value(answer)
                .map_err(|why| ClientError::Unclear(why.to_string()))?;
            show(&told, out)?;
        }
        Verb::Resign {
            interface,
            virtual_router,
            ipv6,
        } => {
            let family = if *ipv6 { 6 } else { 4 };
            let named = json!({
                "interface": interface,
                "virtual_router": virtual_router,
                "family": family,
            });
            client.order("/v1/vrrp/resign", &named)?;
            writeln!(out, "resign: another router may serve now")?;
        }
    }
    Ok(Verdict::Done)
}

fn show(told: &RoutersTold, out: &mut dyn Write) -> std::io::Result<()> {
    for router in &told.routers {
        let RouterStatus {
            interface,
            virtual_router,
            family,
            version,
            priority,
            ..
        } = router;
        let state = match router.state {
            Stands::Active if router.serving => "ACTIVE",
            Stands::Active => "BECOMING ACTIVE",
            Stands::Backup => "BACKUP",
            Stands::Initialize => "NOT RUNNING",
        };
        let since = in_words(told.now.since(router.since));
        writeln!(
            out,
            "{interface}, virtual router {virtual_router}, IPv{family}: {state} since {since} ago"
        )?;
        writeln!(out, "  why         {}", router.why)?;
        writeln!(out, "  speaks      VRRP {version}, priority {priority}")?;
        let addresses: Vec<String> = router.addresses.iter().map(ToString::to_string).collect();
        writeln!(out, "  addresses   {}", addresses.join(", "))?;
        for (name, count) in &router.counters {
            writeln!(out, "  counted     {name} {count}")?;
        }
    }
    writeln!(out, "fence  {}", told.fence)?;
    for note in &told.notes {
        writeln!(out, "note   {note}")?;
    }
    writeln!(out, "steadfastd {}, process {}", told.build, told.pid)
}
