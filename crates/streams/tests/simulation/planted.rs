//! Each planted bug is found by the simulation within so many seeds, all of which pass without it:
//! `make planted-bugs`.

use std::collections::BTreeSet;

use streams::planted::PlantedBug;
use streams::testing::simulation::SimulationSettings;

use crate::first_faults;
use crate::topologies::simulation_of;

/// Seeds that a bug is looked for in.
const MOST_SEEDS: u64 = 400;

/// Settings as seeds were noted with, and with live queries where a bug is one of theirs.
fn settings(live_queries: bool) -> SimulationSettings {
    SimulationSettings { live_queries, ..first_faults() }
}

fn needs_live_queries(bug: PlantedBug) -> bool {
    matches!(bug, PlantedBug::UnconfirmedStandbyRead | PlantedBug::QueryPositionOfRestore)
}

/// The first seed that finds a planted bug, with the check that failed.
fn first_failure(bug: PlantedBug) -> Option<(u64, String)> {
    (0..MOST_SEEDS).find_map(|seed| {
        PlantedBug::plant(Some(bug));
        let found = simulation_of(seed).with_settings(settings(needs_live_queries(bug))).first_failure(seed);
        PlantedBug::plant(None);
        Some((seed, found?))
    })
}

#[test]
fn each_planted_bug_is_found() {
    let (mut missed, mut used) = (Vec::new(), BTreeSet::new());
    let only = std::env::var("BUG").unwrap_or_default();
    for bug in PlantedBug::ALL.into_iter().filter(|bug| only.is_empty() || only.contains(&format!("{bug:?}"))) {
        match first_failure(bug) {
            Some((seed, what)) => {
                println!("| `{bug:?}` | {} | {} |", seed + 1, what.split(':').next().unwrap_or_default());
                used.insert((needs_live_queries(bug), seed));
            }
            None => {
                println!("| `{bug:?}` | not within {MOST_SEEDS} | |");
                missed.push(bug);
            }
        }
    }
    for live_queries in [false, true] {
        let last = used.iter().filter(|(needed, _)| *needed == live_queries).map(|(_, seed)| *seed).max();
        for seed in 0..=last.unwrap_or_default() {
            let found = simulation_of(seed).with_settings(settings(live_queries)).first_failure(seed);
            assert_eq!(found, None, "seed {seed} passes without a bug");
        }
    }
    assert!(missed.is_empty(), "these bugs were not found in {MOST_SEEDS} seeds: {missed:?}");
}
