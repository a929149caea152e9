//! The certificate that clients see at the shared address while this node serves (R5.6).
//!
//! Whoever is active answers at the shared address with its own certificate. Two nodes that have
//! different ones change it at each failover, under the eyes of every client that pinned it; so
//! status shows the fingerprint, the node tells its peers, and each says so when the other's is
//! another (R14.1). The file is looked at every few seconds: renewals need no reload. The looking
//! has a thread of its own, for a file system that hangs; then the last that was read is shown, and
//! nobody waits. The limit: the first certificate of the file, as PEM.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use steadfast_core::CertificateMark;
use steadfast_shell::orders::{Order, Orders};
use zeroize::Zeroizing;

/// Most bytes of the file that are read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Stack of the thread that looks.
const STACK_BYTES: usize = 256 * 1024;

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
    fn new(path: &Path, read: Result<Fingerprint, String>) -> Self {
        let (sha256, problem) = match read {
            Ok(bytes) => (Some(shown(&bytes)), None),
            Err(problem) => (None, Some(problem)),
        };
        Self {
            path: path.display().to_string(),
            sha256,
            problem,
        }
    }
}

/// Looks at the file again and again, and tells the node what is news.
pub(super) struct CertificateWatch {
    orders: Orders,
    /// Held while one file takes another's place, which waits for the node.
    replacing: Mutex<()>,
    looking: Mutex<Looking>,
}

/// One file, as long as the configuration names it.
#[derive(Default)]
struct Looking {
    path: Option<PathBuf>,
    told: Arc<Mutex<Option<CertificateFacts>>>,
    /// Held while the node is told: nothing is said any more of a file that was given up.
    over: Arc<Mutex<bool>>,
    thread: Option<Thread>,
}

impl CertificateWatch {
    /// Begins to look, if there is a file.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn start(path: Option<PathBuf>, orders: &Orders) -> io::Result<Self> {
        // A node has none until it is told of one.
        let looking = match path {
            Some(path) => look(Some(path), false, orders)?,
            None => Looking::default(),
        };
        Ok(Self {
            orders: orders.clone(),
            replacing: Mutex::default(),
            looking: Mutex::new(looking),
        })
    }

    /// Looks at another file from now on, or at none.
    ///
    /// # Errors
    /// No thread can be started; no file is looked at any more.
    pub(super) fn replace(&self, path: Option<PathBuf>) -> io::Result<()> {
        let _one_by_one = lock(&self.replacing);
        let over = {
            let looking = lock(&self.looking);
            if looking.path == path {
                return Ok(());
            }
            Arc::clone(&looking.over)
        };
        // Whoever is told of the new file must have heard the last of the old one.
        *lock(&over) = true;
        let new = look(path, true, &self.orders);
        let mut looking = lock(&self.looking);
        if let Some(thread) = &looking.thread {
            thread.unpark();
        }
        let (new, done) = match new {
            Ok(new) => (new, Ok(())),
            Err(why) => (Looking::default(), Err(why)),
        };
        *looking = new;
        done
    }

    /// What was read last; none if the configuration names no file.
    pub(super) fn facts(&self) -> Option<CertificateFacts> {
        let looking = lock(&self.looking);
        let path = looking.path.as_deref()?;
        let told = lock(&looking.told).clone();
        let unread = || CertificateFacts::new(path, Err("it has not been read yet".to_owned()));
        Some(told.unwrap_or_else(unread))
    }
}

/// `renewed`: the node knows of another file.
fn look(path: Option<PathBuf>, renewed: bool, orders: &Orders) -> io::Result<Looking> {
    let (told, over) = (Arc::default(), Arc::default());
    let body = Body {
        path: path.clone(),
        renewed,
        told: Arc::clone(&told),
        over: Arc::clone(&over),
        orders: orders.clone(),
    };
    let named = thread::Builder::new().name("certificate".to_owned());
    let handle = named.stack_size(STACK_BYTES).spawn(move || body.run())?;
    Ok(Looking {
        path,
        told,
        over,
        thread: Some(handle.thread().clone()),
    })
}

/// The thread that looks.
struct Body {
    path: Option<PathBuf>,
    renewed: bool,
    told: Arc<Mutex<Option<CertificateFacts>>>,
    over: Arc<Mutex<bool>>,
    orders: Orders,
}

impl Body {
    fn run(self) {
        // What was read of another file counts no more, however long this one takes.
        if self.renewed && !self.tell(None) {
            return;
        }
        let Some(path) = self.path.as_deref() else {
            return;
        };
        let mut known = None;
        loop {
            let read = fingerprint(path);
            let mark = read.as_ref().ok().map(mark);
            *lock(&self.told) = Some(CertificateFacts::new(path, read));
            if known != Some(mark) && !self.tell(mark) {
                return;
            }
            known = Some(mark);
            thread::park_timeout(LOOK_EVERY);
            if *lock(&self.over) {
                return;
            }
        }
    }

    /// False if nobody wants to know any more.
    fn tell(&self, certificate: Option<CertificateMark>) -> bool {
        let over = lock(&self.over);
        let order = Order::CertificateRead { certificate };
        !*over && self.orders.blocking_send(order).is_ok()
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

type Fingerprint = [u8; 32];

/// As other tools print it.
fn shown(bytes: &Fingerprint) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

fn mark(bytes: &Fingerprint) -> CertificateMark {
    let [a, b, c, d, e, f, g, h, ..] = *bytes;
    CertificateMark(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
}

fn fingerprint(path: &Path) -> Result<Fingerprint, String> {
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
    Ok(Sha256::digest(&certificate).into())
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

    fn of(path: &Path) -> CertificateFacts {
        CertificateFacts::new(path, fingerprint(path))
    }

    #[test]
    fn certificate_is_shown_by_its_fingerprint() {
        let scratch = Scratch::new("certificate");
        std::fs::create_dir_all(&scratch.0).expect("a folder");
        let path = scratch.0.join("gateway.pem");
        let missing = of(&path);
        assert_eq!(missing.sha256, None);
        assert!(
            missing
                .problem
                .is_some_and(|why| why.contains("No such file"))
        );
        // What stands before it, and the chain behind it, are other things.
        std::fs::write(&path, format!("# of the gateway\n{PEM}")).expect("a file");
        let found = of(&path);
        assert_eq!(
            (found.sha256.as_deref(), found.problem),
            (Some(SHA256), None)
        );
        std::fs::write(&path, "not yet").expect("a file");
        let problem = of(&path).problem.expect("a problem");
        assert!(problem.contains("no certificate"), "{problem}");
        let folder = of(&scratch.0).problem;
        assert_eq!(folder.as_deref(), Some("it is no file"));
    }

    /// The node is told of what was read, of each renewal, of a file that is gone and of no file;
    /// whoever looks at status sees the same.
    #[test]
    fn certificate_is_told_when_it_is_news() {
        let scratch = Scratch::new("certificate-watch");
        std::fs::create_dir_all(&scratch.0).expect("a folder");
        let path = scratch.0.join("gateway.pem");
        std::fs::write(&path, PEM).expect("a file");
        let (orders, mut told) = steadfast_shell::orders::orders();
        let mut next = || match told.blocking_recv() {
            Some(Order::CertificateRead { certificate }) => certificate.map(|it| it.0),
            other => panic!("{other:?}"),
        };
        let watch = CertificateWatch::start(Some(path.clone()), &orders).expect("a thread");
        let again = || {
            let looking = lock(&watch.looking);
            looking.thread.as_ref().expect("it looks").unpark();
        };
        assert_eq!(next(), Some(0x6171_A91D_DFC5_EE45));
        let facts = watch.facts().expect("a file is named");
        assert_eq!(facts.sha256.as_deref(), Some(SHA256));
        again();
        std::fs::remove_file(&path).expect("it was there");
        again();
        assert_eq!(
            next(),
            None,
            "the second look was no news, or not before the removal"
        );
        assert!(watch.facts().is_some_and(|facts| facts.sha256.is_none()));
        std::fs::write(&path, PEM).expect("a file");
        again();
        assert_eq!(next(), Some(0x6171_A91D_DFC5_EE45));
        let other = scratch.0.join("other.pem");
        let begun = "-----BEGIN CERTIFICATE-----";
        let text = format!("{begun}\nAAAA\n-----END CERTIFICATE-----\n");
        std::fs::write(&other, text).expect("a file");
        watch.replace(Some(other.clone())).expect("a thread");
        assert_eq!(
            next(),
            None,
            "what was read of the first file counts no more"
        );
        assert!(next().is_some_and(|mark| mark != 0x6171_A91D_DFC5_EE45));
        let facts = watch.facts().expect("a file is named");
        assert_eq!(facts.path, other.display().to_string());
        watch.replace(None).expect("a thread");
        assert_eq!(next(), None);
        assert_eq!(watch.facts(), None);
    }
}
