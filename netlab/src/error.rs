//! What can go wrong with a lab, in words that say what to do about it.
//!
//! Three kinds, because people answer them differently: the machine refused to let us in (with the
//! stage that was refused, and its cure: [`crate::enter`]), the kernel refused one operation
//! inside, or this machine cannot do what the scenario asks, which is no failure but `not run:
//! needs X`.

use std::io;

use crate::enter::Stage;

/// Why a lab did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The machine did not let us into namespaces of our own.
    #[error("failed to enter the lab at {stage}: {source}; {cure}")]
    Enter {
        /// How far we came.
        stage: Stage,
        /// What the kernel said.
        source: io::Error,
        /// What people can do about it.
        cure: String,
    },
    /// This machine lacks something that is asked for.
    #[error("not run: needs {0}")]
    Needs(String),
    /// An operation inside the lab was refused.
    #[error("failed to {doing}: {source}")]
    System {
        /// What we were doing, with the name of what it was done to.
        doing: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Puts words to what the kernel said.
pub(crate) trait Doing<T> {
    /// `failed to {doing}: ...`; the words are only made when they are needed.
    fn doing(self, words: impl FnOnce() -> String) -> Result<T, LabError>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, words: impl FnOnce() -> String) -> Result<T, LabError> {
        self.map_err(|error| LabError::System {
            doing: words(),
            source: error.into(),
        })
    }
}
