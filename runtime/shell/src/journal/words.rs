//! Journal entries in words, one line each.

use std::fmt;

use super::{Hole, LifeFacts, Outcome, Stored, StoredEffect, StoredInput};

impl fmt::Display for LifeFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "life of node {} by {}, started {} s after boot",
            self.config.node,
            self.build,
            self.uptime.as_secs()
        )
    }
}

impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(_) => f.write_str("configuration replaced"),
            Self::Effect(effect) => write!(f, "-> {effect}"),
            Self::End => f.write_str("end, in order"),
            Self::Gap(count) => write!(f, "GAP: {count} entries were lost"),
            Self::Hole(hole) => write!(f, "HOLE: {hole}"),
            Self::Input(input) => write!(f, "<- {input}"),
            Self::Status(text) => write!(f, "== status {text}"),
        }
    }
}

impl fmt::Display for Hole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged { file, offset } => {
                let file = file.display();
                write!(
                    f,
                    "{file} is damaged at byte {offset}; its rest is left out"
                )
            }
            Self::Missing => f.write_str("files of this life are missing"),
            Self::Torn { file, offset } => {
                let file = file.display();
                write!(f, "{file} was cut off at byte {offset}")
            }
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |stored: &Option<Box<Stored>>| {
            let told = stored.as_ref().map(ToString::to_string);
            told.unwrap_or_else(|| "nothing".to_owned())
        };
        match self {
            Self::Differs {
                entry,
                recorded,
                replayed,
            } => write!(
                f,
                "DIFFERENT at entry {entry}\n  recorded {}\n  replayed {}",
                told(recorded),
                told(replayed)
            ),
            Self::Equal { inputs, effects } => {
                write!(f, "equal: {inputs} inputs gave the same {effects} effects")
            }
            Self::Gap { entry, hole } => {
                write!(f, "equal up to entry {entry}; there entries are missing")?;
                hole.as_ref().map_or(Ok(()), |hole| write!(f, ": {hole}"))
            }
            Self::NoStart => f.write_str("not replayed: the life's first file is gone"),
            Self::WrongKeys(why) => write!(f, "not replayed: the keys do not fit: {why}"),
        }
    }
}

impl fmt::Display for StoredInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CertificateRead { certificate } => match certificate {
                Some(mark) => write!(f, "certificate read: {:016X}", mark.0),
                None => f.write_str("certificate read: none"),
            },
            Self::Checked { check, passed } => write!(f, "check {check} passed: {passed}"),
            Self::CommandReceived { request, command } => {
                write!(f, "command {request}: {command:?}")
            }
            Self::Completed { op, outcome } => write!(f, "completed {op}: {outcome:?}"),
            Self::DeadlineReached => f.write_str("deadline"),
            Self::FenceChecked { whole } => write!(f, "fence checked, whole: {whole}"),
            Self::FrameReceived { port, frame, at } => {
                write!(f, "frame on port {port}, {} bytes, at {at}", frame.len())
            }
            Self::LinkChanged { port, up: true } => write!(f, "port {port} has carrier"),
            Self::LinkChanged { port, up: false } => write!(f, "port {port} lost carrier"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::TransmitRefused { port } => {
                write!(f, "lease guard refused a frame on port {port}")
            }
        }
    }
}

impl fmt::Display for StoredEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alert(alert) => write!(f, "alert {alert:?}"),
            Self::Apply { op, desired, .. } => write!(f, "apply {op}: {desired:?}"),
            Self::Persist { op, record } => write!(f, "persist {op}: epoch {}", record.epoch),
            Self::Reply { request, result } => write!(f, "reply {request}: {result:?}"),
            Self::Stopped => f.write_str("stopped"),
            Self::Transmit { port, length, .. } => {
                write!(f, "frame on port {port}, {length} bytes")
            }
        }
    }
}
