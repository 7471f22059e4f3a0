//! Cuts a failing run down: leaves out strikes of faults for as long as the run still fails
//! (delta debugging: Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input",
//! IEEE TSE 2002).

use std::collections::BTreeSet;

use super::faults::Strike;
use super::{Simulation, SimulationFailure};

/// Runs at most.
const MOST_RUNS: usize = 200;

impl Simulation {
    /// The failure of a seed, with as few strikes as it takes.
    pub(super) fn cut_down(&self, seed: u64, what: String) -> SimulationFailure {
        let mut left_out: BTreeSet<Strike> = BTreeSet::new();
        let mut strikes = self.strikes_of(seed, &left_out).unwrap_or_default();
        let mut size = strikes.len().div_ceil(2);
        let mut runs = 0;
        while size > 0 && runs < MOST_RUNS {
            let mut was_cut = false;
            let mut at = 0;
            while at < strikes.len() && runs < MOST_RUNS {
                let part = &strikes[at..(at + size).min(strikes.len())];
                let mut candidate = left_out.clone();
                candidate.extend(part.iter().copied());
                runs += 1;
                match self.strikes_of(seed, &candidate) {
                    // What is left out may bring about others, which count from here on.
                    Some(fewer) if fewer.len() < strikes.len() => {
                        (left_out, strikes, was_cut) = (candidate, fewer, true);
                    }
                    _ => at += size,
                }
            }
            size = if was_cut { size.min(strikes.len()) } else { size / 2 };
        }
        let run = self.run_once(seed, left_out, true);
        let what = run.failure.unwrap_or(what);
        let strikes = run.strikes.into_iter().map(|(strike, _)| strike).collect();
        SimulationFailure { seed, what, strikes, trace: run.trace }
    }

    /// The strikes of a run that fails; `None` where it passes.
    fn strikes_of(&self, seed: u64, left_out: &BTreeSet<Strike>) -> Option<Vec<Strike>> {
        let run = self.run_once(seed, left_out.clone(), false);
        run.failure.map(|_| run.strikes.into_iter().map(|(strike, _)| strike).collect())
    }
}
