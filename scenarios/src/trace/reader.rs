//! Reads a trace back.

use miette::Diagnostic;
use steadfast_core::Instant;
use thiserror::Error;

use super::Event;

/// Why a trace cannot be read.
#[derive(Debug, Diagnostic, Error)]
pub enum TraceError {
    /// A line is no event.
    #[error("failed to read line {line} of the trace: {reason}")]
    Malformed {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Time went back.
    #[error("line {line} of the trace is earlier than the line above")]
    OutOfOrder {
        /// Its number, from 1.
        line: usize,
    },
}

/// All events of a trace. Empty lines are skipped; time never goes back.
pub fn read(text: &str) -> Result<Vec<Event>, TraceError> {
    let mut events = Vec::new();
    let mut latest = Instant::ORIGIN;
    for (index, text) in text.lines().enumerate() {
        let line = index + 1;
        if text.is_empty() {
            continue;
        }
        let event: Event = serde_json::from_str(text).map_err(|error| TraceError::Malformed {
            line,
            reason: error.to_string(),
        })?;
        if event.at < latest {
            return Err(TraceError::OutOfOrder { line });
        }
        latest = event.at;
        events.push(event);
    }
    Ok(events)
}
