//! Every mistake at its place, all at once; and what a sound file becomes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;

use super::*;

mod checks;
mod hooks;
mod mistakes;
mod profiles;
mod reference;
mod sound;

/// A folder of its own for a test, gone with it.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("steadfast-config-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub(super) fn write(&self, name: &str, text: &[u8], mode: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
        path
    }

    /// Without the part of a message that differs from run to run.
    pub(super) fn plain(&self, text: &str) -> String {
        text.replace(&self.0.display().to_string(), "DIR")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A gateway with a LAN of both families, a WAN and a cable.
pub(super) struct Gateway;

impl Interfaces for Gateway {
    fn interface(&self, name: &str) -> Option<InterfaceFacts> {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let (last, units) = match name {
            "lan0" => (1, vec![(ip("10.0.1.2"), 24), (ip("fd00:1::2"), 64)]),
            "wan0" => (2, vec![(ip("10.0.2.2"), 24)]),
            "ha0" => (3, Vec::new()),
            "tun0" => {
                return Some(InterfaceFacts {
                    mac: MacAddr::ZERO,
                    units: Vec::new(),
                });
            }
            _ => return None,
        };
        let mac = MacAddr([2, 0, 0, 0, 1, last]);
        Some(InterfaceFacts { mac, units })
    }

    fn names(&self) -> Vec<String> {
        ["ha0", "lan0", "tun0", "wan0"].map(str::to_owned).to_vec()
    }
}

pub(super) const SECRET: &str = "1 enforce f0e1d2c3b4a5968778695a4b3c2d1e0f\n";

/// Nothing is wrong with it.
pub(super) const SOUND: &str = r#"format = 1

[cluster]
id = "000102030405060708090a0b0c0d0e0f"
name = "office"
virtual_router = 51
secret_file = "secret"

[node]
id = 1
name = "gw1"
role = "any"
priority = 100

[[peer]]
id = 2
name = "gw2"
[peer.addresses]
lan0 = "10.0.1.3"
wan0 = "10.0.2.3"

[[port]]
interface = "lan0"
virtual = ["10.0.1.1", "fd00:1::1"]
neighbour = "10.0.1.50"

[[port]]
interface = "wan0"
virtual = ["10.0.2.1"]

[[port]]
interface = "ha0"
direct = true

[timing]
interval = "100ms"

[policy]
preempt = "never"

[daemon]
log = "info"
"#;

/// Loads a text on the gateway, with the usual secret.
pub(super) fn load_text(text: &str) -> (Folder, Result<Loaded, Report>) {
    let folder = Folder::new();
    folder.write("secret", SECRET.as_bytes(), 0o600);
    let path = folder.write("steadfast.toml", text.as_bytes(), 0o644);
    let loaded = load(&path, &Gateway);
    (folder, loaded)
}

/// The sound file with one part changed.
pub(super) fn changed(from: &str, to: &str) -> String {
    assert!(SOUND.contains(from), "nothing to change: {from}");
    SOUND.replacen(from, to, 1)
}

pub(super) fn sound() -> Loaded {
    load_text(SOUND).1.expect("a sound file")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever bytes are in the file, the answer is a report.
    #[test]
    fn config_any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let folder = Folder::new();
        let path = folder.write("steadfast.toml", &bytes, 0o644);
        prop_assert!(load(&path, &Offline).is_err());
    }

    /// A sound file cut, doubled or overwritten anywhere is answered, and its report can be drawn.
    #[test]
    fn config_damaged_file_is_answered(
        at in 0..SOUND.len(), len in 0..40_usize, with in ".{0,12}",
    ) {
        let end = (at + len).min(SOUND.len());
        let text = format!("{}{with}{}", &SOUND[..at], &SOUND[end..]);
        if let Err(report) = load_text(&text).1 {
            prop_assert!(!report.mistakes.is_empty());
            prop_assert!(!report.render(false).is_empty());
        }
    }
}
