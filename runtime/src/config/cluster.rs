//! `[cluster]`: what every node of a cluster has in common, beside its times and choices.

use steadfast_core::ClusterId;
use steadfast_core::config::profile::Profile;
use steadfast_core::wire::carriage::{Carriage, Form, Forms};
use toml::Spanned;

use super::mistake::{Findings, Place};
use super::section::{Key, Section, Word};
use super::values::Refusal;

const TRANSPORTS: &str = "[\"ethernet\", \"multicast\"]";
const PROFILES: [Word<Profile>; 8] = [
    ("fortimail", Profile::Fortimail, None),
    ("kemp", Profile::Kemp, None),
    ("kerio", Profile::Kerio, None),
    ("safe-at-office", Profile::SafeAtOffice, None),
    ("seqrite", Profile::Seqrite, None),
    ("loadmaster", Profile::Kemp, Some("kemp")),
    ("safe@office", Profile::SafeAtOffice, Some("safe-at-office")),
    (
        "safe_at_office",
        Profile::SafeAtOffice,
        Some("safe-at-office"),
    ),
];

/// The table as written.
pub(super) struct Cluster {
    pub(super) place: Place,
    pub(super) id: Option<Spanned<ClusterId>>,
    pub(super) name: Option<Spanned<String>>,
    pub(super) profile: Option<Spanned<Profile>>,
    pub(super) virtual_router: Option<Spanned<u64>>,
    pub(super) secret_file: Option<Spanned<String>>,
    /// What advertisements may travel in; empty when the file says nothing.
    pub(super) transports: Vec<Spanned<Form>>,
    pub(super) udp_port: Option<Spanned<u64>>,
}

/// The table, which every file has.
pub(super) fn read(
    mut section: Section<'_>,
    elsewhere: &[(&str, &str)],
    findings: &mut Findings,
) -> Cluster {
    let cure = "`steadfastctl init` draws one; every node of a cluster has the same";
    section.demand("id", cure, findings);
    let id = section.text(Key::new("id", "\"32 hexadecimal digits\""), findings);
    let id = id.and_then(|id| {
        let known = steadfast_shell::secret::cluster_id(id.get_ref());
        if known.is_none() {
            let message = "`id` is not 32 hexadecimal digits, or all of them are 0";
            findings.wrong(&id.span(), message, cure);
        }
        Some(Spanned::new(id.span(), known?))
    });
    let name = section.text(Key::new("name", "\"office\""), findings);
    let profile = section.word(Key::new("profile", "\"kemp\""), &PROFILES, findings);
    let key = Key::new("virtual_router", "51").or(&["vrid", "virtual_router_id"]);
    let virtual_router = section.number(key, (0, 255), findings);
    let key = Key::new("secret_file", "\"/etc/steadfast/secret\"");
    let secret_file = section.text(key, findings);
    let transports = section.each_of_some(Key::new("transports", TRANSPORTS), findings, transport);
    let key = Key::new("udp_port", "6973").or(&["port", "base_port"]);
    let udp_port = section.number(key, (1, 65_535), findings);
    Cluster {
        place: section.finish(elsewhere, findings),
        id,
        name,
        profile,
        virtual_router,
        secret_file,
        transports,
        udp_port,
    }
}

impl Cluster {
    /// What advertisements may travel in (D4, R2.5).
    pub(super) fn carriage(&self) -> Carriage {
        let usual = Carriage::default();
        let written = self.transports.iter().map(|form| *form.get_ref());
        let forms = written.fold(Forms::default(), Forms::and);
        let port = self.udp_port.as_ref().map(|port| *port.get_ref());
        Carriage {
            forms: forms.first().map_or(usual.forms, |_| forms),
            port: port
                .and_then(|port| u16::try_from(port).ok())
                .unwrap_or(usual.port),
        }
    }
}

fn transport(word: &str) -> Result<Form, Refusal> {
    let known = Form::ALL.into_iter().find(|form| form.word() == word);
    known.ok_or_else(|| {
        let all = Form::ALL.map(Form::word).join("`, `");
        (
            format!("`{word}` is no word for `transports`"),
            format!("known here: `{all}`"),
        )
    })
}
