//! The replay of a recorded life: the same inputs into a fresh node, and a look at what comes out.
//!
//! An effect is polled only where the journal has one, so the node's queue is as full as it was
//! then. The hard case is the end: a recording cut off between an input and its effects is no
//! difference, but effects that are missing before an end in order are. A replaced configuration is
//! replaced again, with the same keys: a life in which the secret changed differs from there on.

use steadfast_core::Node;
use steadfast_core::config::Config;
use steadfast_core::wire::auth::KeyRing;

use super::{ConfigFacts, Hole, Life, Stored, StoredEffect};

/// What a replay found.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The node does something else than was recorded.
    Differs {
        /// The place in the life's entries.
        entry: usize,
        /// What was recorded; none if nothing was.
        recorded: Option<Box<Stored>>,
        /// What the node does; none if nothing.
        replayed: Option<Box<Stored>>,
    },
    /// Every recorded effect and status came out again, bit for bit.
    Equal {
        /// Inputs replayed.
        inputs: usize,
        /// Effects compared.
        effects: usize,
    },
    /// Equal so far; here entries are missing, and what follows proves nothing.
    Gap {
        /// The place in the life's entries.
        entry: usize,
        /// What is missing.
        hole: Option<Hole>,
    },
    /// The life's first file is gone: nothing can be replayed.
    NoStart,
    /// The recorded configuration does not go with these keys.
    WrongKeys(String),
}

/// Feeds a life to a fresh node that holds `keys`, and says where it first does something else.
pub fn replay(life: &Life, keys: &KeyRing) -> Outcome {
    if !life.from_start {
        return Outcome::NoStart;
    }
    let begun = match config(&life.facts.config, keys) {
        Ok(config) => config,
        Err(why) => return Outcome::WrongKeys(why),
    };
    let mut node = Node::new(begun, life.facts.boot());
    let (mut inputs, mut effects) = (0, 0);
    for (place, entry) in life.entries.iter().enumerate() {
        let replayed = match &entry.what {
            Stored::Input(input) => {
                node.handle(entry.at, input.input());
                inputs += 1;
                continue;
            }
            Stored::Effect(_) => {
                effects += 1;
                polled(&mut node)
            }
            Stored::Status(_) => {
                let text = serde_json::to_string(&node.status(entry.at));
                text.ok().map(Stored::Status)
            }
            Stored::End => match polled(&mut node) {
                Some(replayed) => return differs(place, None, Some(replayed)),
                None => continue,
            },
            Stored::Config(facts) => match config(facts, keys) {
                Ok(config) => {
                    // What the node refused then it refuses now, and nothing changes.
                    let _ = node.replace_config(entry.at, config);
                    continue;
                }
                Err(why) => return Outcome::WrongKeys(why),
            },
            Stored::Gap(_) => return gap(place, None),
            Stored::Hole(Hole::Torn { .. }) if place + 1 == life.entries.len() => continue,
            Stored::Hole(hole) => return gap(place, Some(hole.clone())),
        };
        if replayed.as_ref() != Some(&entry.what) {
            return differs(place, Some(entry.what.clone()), replayed);
        }
    }
    Outcome::Equal { inputs, effects }
}

fn config(facts: &ConfigFacts, keys: &KeyRing) -> Result<Config, String> {
    Config::new(facts.parts(keys.clone())).map_err(|errors| {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        texts.join("; ")
    })
}

fn polled(node: &mut Node) -> Option<Stored> {
    let effect = node.poll_effect()?;
    Some(Stored::Effect(StoredEffect::new(&effect)))
}

fn gap(entry: usize, hole: Option<Hole>) -> Outcome {
    Outcome::Gap { entry, hole }
}

fn differs(entry: usize, recorded: Option<Stored>, replayed: Option<Stored>) -> Outcome {
    Outcome::Differs {
        entry,
        recorded: recorded.map(Box::new),
        replayed: replayed.map(Box::new),
    }
}
