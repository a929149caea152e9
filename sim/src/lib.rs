//! Models and worlds.
