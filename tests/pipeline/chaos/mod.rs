//! Chaos: three brokers, three instances, a database, and events all the time, while processes are
//! killed and stopped, networks are cut, clocks jump and disks fail. Then everything is made anew
//! from the input log and compared.
//!
//! The variable `CHAOS_ROUNDS` says how many rounds there are (`make chaos` sets it); without it a
//! sample of three is run. `SEED` draws the schedule of the faults, and `CHAOS_FAULTS` has the
//! kinds that are drawn from. With `OTHER_PROGRAM`, the path of another version of the program,
//! instances are replaced by ones of that program and back, one after the other. `docs/chaos.md`
//! says how each fault is made.

mod load;
mod plan;
mod preload;
mod verify;
mod world;

use load::Load;
use plan::Kind;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use verify::{Checked, Wrong};
use world::World;

/// Rounds after which the faults rest and all is compared.
const ROUNDS_OF_A_CHECK: usize = 20;
/// Checks after which another application begins: all that it has published is compared each time.
const CHECKS_OF_A_LOAD: usize = 4;
/// Rounds of the sample.
const SAMPLE: usize = 3;
/// The time in which all must be done once no fault is left.
const SETTLES: Duration = Duration::from_secs(180);

/// The figures of a run.
#[derive(Default)]
struct Figures {
    rounds: usize,
    faults: BTreeMap<Kind, usize>,
    /// Drawn, but with nothing to meet: the instance was away, or nothing was read or written.
    missed: BTreeMap<Kind, usize>,
    events: usize,
    checks: usize,
    parts: BTreeMap<&'static str, (usize, Wrong)>,
    stalls: BTreeMap<(String, i32), Duration>,
    /// The slowest time from the last fault until all was done.
    settled: Duration,
    state_bytes: usize,
    record_bytes: usize,
}

#[test]
fn nothing_is_lost_doubled_or_different_whatever_happens() {
    let asked = std::env::var("CHAOS_ROUNDS").ok();
    let rounds = asked.as_ref().map_or(SAMPLE, |text| text.parse().expect("CHAOS_ROUNDS is a number"));
    let (seed, started) = (testkit::seed(), Instant::now());
    let world = World::start(asked.is_some(), other_program());
    let mut figures = Figures::default();
    let kinds = plan::kinds(&std::env::var("CHAOS_FAULTS").unwrap_or_default());
    let mut schedule = plan::rounds(seed, rounds, &kinds);
    if let Some(other) = &world.other {
        println!("the other program is {}", other.display());
        schedule = plan::with_turns(seed, schedule);
    }
    let (mut rest, mut number) = (&*schedule, 0);
    while !rest.is_empty() {
        let load = Load::new(number, &world.cluster, &world.postgres);
        number += 1;
        world.begin(&load);
        let mut is_right = true;
        for _ in 0..CHECKS_OF_A_LOAD {
            let (rounds, later) = rest.split_at(rest.len().min(ROUNDS_OF_A_CHECK));
            if rounds.is_empty() || !is_right {
                break;
            }
            is_right = run(&world, &load, rounds, &mut figures);
            rest = later;
        }
        world.end();
        figures.take_stalls(&load);
    }
    figures.print(&world, seed, started.elapsed());
    let failures = world.failures.lock().unwrap();
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// Another version of the program, whose instances are to get on with ours.
pub fn other_program() -> Option<PathBuf> {
    let path = std::env::var_os("OTHER_PROGRAM").filter(|path| !path.is_empty())?;
    Some(std::fs::canonicalize(&path).unwrap_or_else(|e| panic!("OTHER_PROGRAM={}: {e}", path.display())))
}

/// Some rounds, and the comparison after them; whether all was right.
fn run(world: &World, load: &Load, rounds: &[Vec<plan::Strike>], figures: &mut Figures) -> bool {
    let feeding = load.feed(1 + figures.rounds as u64);
    for strikes in rounds {
        let begun = Instant::now();
        let struck = world.round(load, strikes);
        figures.rounds += 1;
        for strike in strikes {
            let counts = if struck.contains(&strike.kind) { &mut figures.faults } else { &mut figures.missed };
            *counts.entry(strike.kind).or_default() += 1;
        }
        let names: Vec<String> = strikes.iter().map(|strike| format!("{} ({})", strike.kind, strike.slot)).collect();
        println!("round {}: {}, {:.1} s", figures.rounds, names.join(", "), begun.elapsed().as_secs_f64());
    }
    figures.events += feeding.stop();
    let begun = Instant::now();
    let checked = catch_unwind(AssertUnwindSafe(|| {
        settle(world, load);
        figures.settled = figures.settled.max(begun.elapsed());
        load.verifier.lock().unwrap_or_else(std::sync::PoisonError::into_inner).check(load)
    }));
    figures.checks += 1;
    match checked {
        Ok(checked) => figures.take(&checked),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            world.fail(format!("after round {}: {}", figures.rounds, text.unwrap_or_default()));
            return false;
        }
    }
    println!("check after round {}: {:.1} s", figures.rounds, begun.elapsed().as_secs_f64());
    true
}

/// Waits until all that was published is processed and committed.
#[track_caller]
fn settle(world: &World, load: &Load) {
    let onlooker = load.trial.onlooker("read_uncommitted");
    testkit::wait::wait_for_within(SETTLES, "the group's lag to be 0", || {
        world.mend(load);
        load.trial.is_done(&onlooker).then_some(())
    });
}

impl Figures {
    fn take(&mut self, checked: &Checked) {
        for (part, (count, wrong)) in &checked.parts {
            let (counted, all) = self.parts.entry(part).or_default();
            *counted += count;
            *all += *wrong;
        }
        self.state_bytes = self.state_bytes.max(checked.state_bytes);
        self.record_bytes = checked.changelog_record_bytes;
    }

    fn take_stalls(&mut self, load: &Load) {
        for (place, stall) in load.stalls() {
            let known = self.stalls.entry(place).or_default();
            *known = stall.max(*known);
        }
    }

    fn print(&self, world: &World, seed: u64, took: Duration) {
        let minutes = took.as_secs_f64() / 60.0;
        println!("\n{} rounds in {minutes:.0} minutes, SEED={seed}: {} events", self.rounds, self.events);
        println!("\n| fault | times | met nothing |\n|---|---|---|");
        let kinds: std::collections::BTreeSet<&Kind> = self.faults.keys().chain(self.missed.keys()).collect();
        for kind in kinds {
            let count = |counts: &BTreeMap<Kind, usize>| counts.get(kind).copied().unwrap_or(0);
            println!("| {kind} | {} | {} |", count(&self.faults), count(&self.missed));
        }
        println!("\n| compared, {} times | records | wrong |\n|---|---|---|", self.checks);
        for (part, (count, wrong)) in &self.parts {
            println!("| {part} | {count} | {wrong} |");
        }
        println!("\n| partition | longest stall |\n|---|---|");
        for ((topic, partition), stall) in &self.stalls {
            println!("| {topic}-{partition} | {:.1} s |", stall.as_secs_f64());
        }
        let restored = world.restored.load(Ordering::Relaxed);
        let bytes = restored as usize * self.record_bytes;
        println!(
            "\n{restored} changelog records were restored, of {} bytes on average: {bytes} bytes.",
            self.record_bytes
        );
        println!(
            "The state has {} bytes; {} stores were rebuilt.",
            self.state_bytes,
            world.rebuilt.load(Ordering::Relaxed)
        );
        println!("{} leaders were moved.", world.leaders_moved.load(Ordering::Relaxed));
        println!(
            "Instances that have ended with an error, over bad disks or (HS1015) a Kafka that does not answer: {:?}.",
            world.ends.lock().unwrap()
        );
        println!("All was done {:.1} s after the last fault at most.", self.settled.as_secs_f64());
    }
}
