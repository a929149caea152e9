//! The replay of a recorded life: the same inputs into a fresh node, and a look at what comes out.
//!
//! An effect is polled only where the journal has one, so the node's queue is as full as it was
//! then. The hard case is the end: a recording cut off between an input and its effects is no
//! difference, but effects that are missing before an end in order are. A replaced configuration is
//! replaced again, with the same keys: a life in which the secret changed differs from there on.

use std::fmt;

use steadfast_core::config::Config;
use steadfast_core::role::EffectiveRole;
use steadfast_core::wire::auth::KeyRing;
use steadfast_core::{Instant, Node};

use super::{ConfigFacts, Hole, Life, Stored, StoredEffect, codec};

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

/// A replay and what was seen on its way.
#[derive(Clone, Debug, PartialEq)]
pub struct Examination {
    /// How it ended.
    pub outcome: Outcome,
    /// Decisions looked at, the first that differs included.
    pub decisions: usize,
    /// Of the recorded decisions, as far as they were looked at; of all of them up to the first
    /// hole, if nothing could be replayed.
    pub recorded: DecisionHash,
    /// Of what the fresh node decided; none if nothing could be replayed.
    pub replayed: Option<DecisionHash>,
    /// The fresh node's roles, from its start on.
    pub roles: Vec<Turn>,
}

/// A node's role from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Since when.
    pub at: Instant,
    /// The role.
    pub role: EffectiveRole,
}

/// BLAKE3 over decisions: each effect's canonical bytes ([`codec::decision`]) behind their length,
/// in order. Equal exactly if the decisions are. Times are not in it: a node has no clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecisionHash(pub [u8; 32]);

impl fmt::Display for DecisionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::hex::encode(&self.0))
    }
}

/// Feeds a life to a fresh node that holds `keys`, and says where it first does something else.
pub fn replay(life: &Life, keys: &KeyRing) -> Outcome {
    examine(life, keys).outcome
}

/// The same, with hashes of what was decided then and now, and the roles on the way.
pub fn examine(life: &Life, keys: &KeyRing) -> Examination {
    let begun = if life.from_start {
        config(&life.facts.config, keys).map_err(Outcome::WrongKeys)
    } else {
        Err(Outcome::NoStart)
    };
    let begun = match begun {
        Ok(begun) => begun,
        Err(outcome) => return unexamined(life, outcome),
    };
    let mut player = Player {
        node: Node::new(begun, life.facts.boot()),
        keys,
        inputs: 0,
        recorded: Decisions::default(),
        replayed: Decisions::default(),
        roles: Vec::new(),
    };
    player.turn(life.facts.now);
    let outcome = player.play(life);
    Examination {
        outcome,
        decisions: player.recorded.count.max(player.replayed.count),
        recorded: player.recorded.hash(),
        replayed: Some(player.replayed.hash()),
        roles: player.roles,
    }
}

/// What can be said of a life without a node, with a reason of the caller's.
pub fn unexamined(life: &Life, outcome: Outcome) -> Examination {
    let mut recorded = Decisions::default();
    let sound = |entry: &&super::Timed| !matches!(entry.what, Stored::Gap(_) | Stored::Hole(_));
    for entry in life.entries.iter().take_while(sound) {
        if let Stored::Effect(effect) = &entry.what {
            recorded.add(effect);
        }
    }
    Examination {
        outcome,
        decisions: recorded.count,
        recorded: recorded.hash(),
        replayed: None,
        roles: Vec::new(),
    }
}

#[derive(Default)]
struct Decisions {
    hasher: blake3::Hasher,
    count: usize,
}

impl Decisions {
    fn add(&mut self, effect: &StoredEffect) {
        let bytes = codec::decision(effect);
        self.hasher.update(&(bytes.len() as u64).to_le_bytes());
        self.hasher.update(&bytes);
        self.count += 1;
    }

    fn hash(&self) -> DecisionHash {
        DecisionHash(*self.hasher.finalize().as_bytes())
    }
}

struct Player<'a> {
    node: Node,
    keys: &'a KeyRing,
    inputs: usize,
    recorded: Decisions,
    replayed: Decisions,
    roles: Vec<Turn>,
}

impl Player<'_> {
    fn play(&mut self, life: &Life) -> Outcome {
        for (place, entry) in life.entries.iter().enumerate() {
            let replayed = match &entry.what {
                Stored::Input(input) => {
                    self.node.handle(entry.at, input.input());
                    self.inputs += 1;
                    self.turn(entry.at);
                    continue;
                }
                Stored::Effect(effect) => {
                    self.recorded.add(effect);
                    self.polled()
                }
                Stored::Status(_) => {
                    let text = serde_json::to_string(&self.node.status(entry.at));
                    text.ok().map(Stored::Status)
                }
                Stored::End => match self.polled() {
                    Some(replayed) => return differs(place, None, Some(replayed)),
                    None => continue,
                },
                Stored::Config(facts) => match config(facts, self.keys) {
                    Ok(config) => {
                        // What the node refused then it refuses now, and nothing changes.
                        let _ = self.node.replace_config(entry.at, config);
                        self.turn(entry.at);
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
        Outcome::Equal {
            inputs: self.inputs,
            effects: self.recorded.count,
        }
    }

    fn polled(&mut self) -> Option<Stored> {
        let effect = StoredEffect::new(&self.node.poll_effect()?);
        self.replayed.add(&effect);
        Some(Stored::Effect(effect))
    }

    fn turn(&mut self, at: Instant) {
        let role = self.node.role();
        if self.roles.last().is_none_or(|last| last.role != role) {
            self.roles.push(Turn { at, role });
        }
    }
}

fn config(facts: &ConfigFacts, keys: &KeyRing) -> Result<Config, String> {
    Config::new(facts.parts(keys.clone())).map_err(|errors| {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        texts.join("; ")
    })
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
