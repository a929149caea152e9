//! The certificate that clients see at the shared address while this node serves (R5.6).
//!
//! Whoever is active answers at the shared address with its own certificate. Two nodes that have
//! different ones change it at each failover, under the eyes of every client that pinned it; so
//! status shows the fingerprint, on each node its own. The file is read anew each time it is asked
//! for: renewals need no reload. The limits: the first certificate of the file, as PEM; and a file
//! system that hangs keeps whoever asks, and never a heartbeat.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// Most bytes of the file that are read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What clients see at the shared address while this node serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateFacts {
    /// The file.
    pub path: String,
    /// SHA-256 of the certificate, as other tools print it; none if it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Why it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl CertificateFacts {
    /// Looks at the file now.
    pub fn of(path: &Path) -> Self {
        let (sha256, problem) = match fingerprint(path) {
            Ok(sha256) => (Some(sha256), None),
            Err(problem) => (None, Some(problem)),
        };
        Self {
            path: path.display().to_string(),
            sha256,
            problem,
        }
    }
}

fn fingerprint(path: &Path) -> Result<String, String> {
    // A pipe or a device could keep whoever opens it.
    let kind = path.metadata().map_err(|error| error.to_string())?;
    if !kind.is_file() {
        return Err("it is no file".to_owned());
    }
    // The key may be in the same file.
    let mut text = Zeroizing::new(Vec::new());
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut text))
        .map_err(|error| error.to_string())?;
    let certificate = CertificateDer::from_pem_slice(&text)
        .map_err(|_| "it holds no certificate as PEM (-----BEGIN CERTIFICATE-----)".to_owned())?;
    let bytes = Sha256::digest(&certificate);
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    Ok(pairs.join(":"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::Scratch;

    /// Made with `openssl req -x509 -newkey ed25519 -subj /CN=gateway`; the fingerprint is what
    /// `openssl x509 -fingerprint -sha256` says of it.
    const PEM: &str = include_str!("certificate/tests.pem");
    const SHA256: &str = "61:71:A9:1D:DF:C5:EE:45:DE:BC:B1:3E:16:0C:40:4D:\
                          6D:48:34:61:95:80:EE:17:60:CD:7D:F4:A8:97:4D:30";

    #[test]
    fn certificate_is_shown_by_its_fingerprint() {
        let scratch = Scratch::new("certificate");
        std::fs::create_dir_all(&scratch.0).expect("a folder");
        let path = scratch.0.join("gateway.pem");
        let missing = CertificateFacts::of(&path);
        assert_eq!(missing.sha256, None);
        assert!(
            missing
                .problem
                .is_some_and(|why| why.contains("No such file"))
        );
        // What stands before it, and the chain behind it, are other things.
        std::fs::write(&path, format!("# of the gateway\n{PEM}")).expect("a file");
        let found = CertificateFacts::of(&path);
        assert_eq!(
            (found.sha256.as_deref(), found.problem),
            (Some(SHA256), None)
        );
        std::fs::write(&path, "not yet").expect("a file");
        let problem = CertificateFacts::of(&path).problem.expect("a problem");
        assert!(problem.contains("no certificate"), "{problem}");
        let folder = CertificateFacts::of(&scratch.0).problem;
        assert_eq!(folder.as_deref(), Some("it is no file"));
    }
}
