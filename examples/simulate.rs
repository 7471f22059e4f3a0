//! Runs many seeds of the simulation on all cores: `make simulate SEEDS=100000`, `make simulate
//! HOURS=8`. A seed that fails is cut down, and its trace goes to a file.

#![allow(clippy::panic, reason = "the topologies are those of a test")]

#[path = "../crates/streams/tests/simulation/topologies.rs"]
mod topologies;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use streams::testing::simulation::{Fault, SimulationFailure};
use topologies::simulation_of;

/// Seeds that a worker takes at a time.
const PORTION: u64 = 25;

/// Arguments, by environment variables as `make` passes them.
struct Arguments {
    /// The first seed.
    from: u64,
    seeds: u64,
    limit: Option<Duration>,
    jobs: usize,
}

fn number(name: &str) -> Result<Option<f64>, String> {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => {
            text.parse().map(Some).map_err(|_| format!("{name}={text}: give {name} a number"))
        }
        _ => Ok(None),
    }
}

fn arguments() -> Result<Arguments, String> {
    let hours = number("HOURS")?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Arguments {
        from: number("FROM")?.map_or(0, |from| from as u64),
        seeds: number("SEEDS")?.map_or(if hours.is_some() { u64::MAX } else { 1000 }, |seeds| seeds as u64),
        limit: hours.map(|hours| Duration::from_secs_f64(hours * 3600.0)),
        jobs: number("JOBS")?.map_or(cores, |jobs| jobs as usize).max(1),
    })
}

/// The state that the workers share.
#[derive(Default)]
struct Progress {
    seeds: u64,
    steps: u64,
    records: u64,
    failed: Vec<(u64, String)>,
    strikes: BTreeMap<(Fault, &'static str), u64>,
}

fn main() -> ExitCode {
    match arguments() {
        Ok(arguments) => run(&arguments),
        Err(what) => {
            eprintln!("simulate: {what}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> ExitCode {
    let started = Instant::now();
    let (next, progress) = (AtomicU64::new(0), Mutex::new(Progress::default()));
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs {
            scope.spawn(|| work(arguments, started, &next, &progress));
        }
    });
    let progress = progress.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let seconds = started.elapsed().as_secs_f64();
    println!("coverage: how often each fault struck, by the place where");
    let mut faults: BTreeMap<Fault, Vec<String>> = BTreeMap::new();
    for ((fault, place), count) in &progress.strikes {
        faults.entry(*fault).or_default().push(format!("{place} {count}"));
    }
    for (fault, places) in faults {
        println!("  {fault:?}: {}", places.join(", "));
    }
    println!(
        "{} seeds from {} on, {} records, {} steps in {seconds:.0} s on {} threads: {:.1} seeds a second and thread; {} failed",
        progress.seeds,
        arguments.from,
        progress.records,
        progress.steps,
        arguments.jobs,
        progress.seeds as f64 / seconds / arguments.jobs as f64,
        progress.failed.len()
    );
    for (seed, what) in &progress.failed {
        println!("  failed: seed {seed}: {what}");
    }
    if progress.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn work(arguments: &Arguments, started: Instant, next: &AtomicU64, progress: &Mutex<Progress>) {
    let is_in_time = || arguments.limit.is_none_or(|limit| started.elapsed() < limit);
    while is_in_time() {
        let first = next.fetch_add(PORTION, Ordering::Relaxed);
        if first >= arguments.seeds {
            return;
        }
        for seed in first..arguments.seeds.min(first + PORTION) {
            let seed = arguments.from.wrapping_add(seed);
            let found = simulation_of(seed).run([seed]);
            let mut progress = progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            progress.seeds += 1;
            match found {
                Ok(report) => {
                    progress.steps += report.steps;
                    progress.records += report.records;
                    for (strike, count) in report.strikes {
                        *progress.strikes.entry(strike).or_default() += count;
                    }
                }
                Err(failure) => {
                    report_failure(&failure);
                    progress.failed.push((seed, failure.what.clone()));
                }
            }
            if progress.seeds.is_multiple_of(1000) {
                println!(
                    "{} seeds, {} failed, {:.0} s",
                    progress.seeds,
                    progress.failed.len(),
                    started.elapsed().as_secs_f64()
                );
            }
        }
    }
}

fn report_failure(failure: &SimulationFailure) {
    println!("{failure}\n  it takes these faults: {:?}", failure.strikes);
    let folder = Path::new("target/simulation");
    let file = folder.join(format!("seed-{}.txt", failure.seed));
    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&file, failure.trace.join("\n")));
    match written {
        Ok(()) => println!("  what happened: {}", file.display()),
        Err(error) => println!("  its trace could not be written to {}: {error}", file.display()),
    }
}
