//! Scenario files, traces and oracles.
