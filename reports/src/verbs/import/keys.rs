//! The keys of then, from the secret file that the operator gives.
//!
//! A journal holds no secret, so it says whose keys are needed and nothing about them.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use steadfast_core::NodeId;
use steadfast_core::wire::auth::KeyRing;
use steadfast_shell::journal::ConfigFacts;
use steadfast_shell::secret::{Line, cure, read_line};

use crate::problem::Problem;

/// Largest secret file; a larger one is refused.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// The lines of a secret file.
pub(super) struct Secret {
    lines: Vec<Line>,
    path: String,
}

impl Secret {
    /// Reads the file.
    pub(super) fn read(path: &Path) -> Result<Self, Problem> {
        let mut text = Vec::new();
        let file = fs::File::open(path).map_err(Problem::reading(path))?;
        let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text);
        read.map_err(Problem::reading(path))?;
        let shown = path.display().to_string();
        if text.len() as u64 > FILE_BYTES_MAX {
            let large = io::Error::from(io::ErrorKind::FileTooLarge);
            return Err(Problem::reading(path)(large));
        }
        let mut lines = Vec::new();
        for (place, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let read = read_line(line).map_err(|(message, cure)| Problem::Secret {
                what: format!("{shown}, line {}: {message}", place + 1),
                cure,
            });
            lines.push(read?);
        }
        Ok(Self { lines, path: shown })
    }

    /// The keys of a recorded node.
    pub(super) fn ring(&self, facts: &ConfigFacts) -> Result<KeyRing, Problem> {
        let mut keys = Vec::new();
        for line in &self.lines {
            match line {
                Line::Cluster(id) if *id != facts.cluster => {
                    return Err(Problem::Secret {
                        what: format!("{}: these are the keys of another cluster", self.path),
                        cure: "give the secret file of the cluster that was recorded".to_owned(),
                    });
                }
                Line::Cluster(_) => {}
                Line::Key(key) => keys.push(key.clone()),
            }
        }
        let peers = facts.peers.iter().map(|peer| peer.node);
        let nodes: Vec<NodeId> = peers.chain([facts.node]).collect();
        KeyRing::new(facts.cluster, facts.node, &nodes, keys).map_err(|error| Problem::Secret {
            what: format!("{}: {error}", self.path),
            cure: cure(error),
        })
    }
}
