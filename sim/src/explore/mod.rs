//! The world `explore`: every interleaving of a few faults, on the production core.
//!
//! A pair of production [`steadfast_core::Node`]s and two kernel models, driven by the model
//! checker stateright through every order of decisive events and every place for up to `faults`
//! faults. It proves what a campaign can only make likely, for a small world.

mod fault;
mod judge;
mod model;
mod pair;
mod run;
mod setup;
mod wires;

use core::time::Duration;

use stateright::{Checker, Model};
use steadfast_core::Rules;

pub use fault::{Fault, Way};
pub use judge::{Oracle, Theorem};

use model::Explorer;
use setup::Setup;

/// dbg
pub fn debug(faults: u8, rules: Rules) {
    let setup = Setup::new(rules).unwrap();
    println!("outage max {:?}", setup.outage_max());
    let explorer = Explorer::new(setup, faults).unwrap();
    println!("start {:?}", explorer.init_states()[0]);
    let t = std::time::Instant::now();
    let checker = explorer.checker().threads(1).spawn_bfs();
    let mut i = 0;
    while !checker.is_done() {
        std::thread::sleep(Duration::from_millis(100));
        i += 1;
        if i % 200 == 0 {
            println!(
                "{} {} {} {:?}",
                checker.state_count(),
                checker.unique_state_count(),
                checker.max_depth(),
                t.elapsed()
            );
        }
    }
    println!(
        "done {} {} {} {:?}",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        t.elapsed()
    );
    for (name, _) in checker.discoveries() {
        println!("found {name}");
    }
    let mut all: Vec<_> = checker
        .model()
        .found
        .lock()
        .unwrap()
        .clone()
        .into_iter()
        .collect();
    all.sort_by_key(|(c, f)| (c.0.theorem.is_some(), f.story.len()));
    println!("classes {}", all.len());
    let n: usize = std::env::args().nth(2).map_or(0, |n| n.parse().unwrap());
    for (class, found) in all.iter().filter(|(c, _)| c.0.theorem.is_none()).take(n) {
        println!(
            "{:?} {} {}",
            class.0,
            found.count,
            fault::tell_story(&found.story)
        );
        checker.model().tell_trace(&found.story);
    }
    for (class, found) in all.iter().take(60) {
        println!(
            "{:?} {} {}",
            class.0,
            found.count,
            fault::tell_story(&found.story)
        );
    }
}
