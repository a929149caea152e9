//! The world lab.
