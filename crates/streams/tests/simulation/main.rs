//! Simulated instances under faults, from seeds: new ones at each run, and those that have shown a
//! fault before. `make simulate` runs as many as one likes.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

// The topologies are also those of examples/simulate.rs, where the engine has this name.
extern crate helixstream_streams as streams;

#[cfg(feature = "planted-bugs")]
mod planted;
mod topologies;

use std::sync::atomic::{AtomicU64, Ordering};

use streams::processor::{Processor, ProcessorContext, ProcessorError};
use streams::record::Record;
use streams::testing::simulation::{Fault, Simulation, SimulationReport, SimulationSettings};
use streams::topology::Topology;
use testkit::seeds;

use topologies::simulation_of;

/// Prints what happened, and panics.
fn assert_passes(simulation: &Simulation, seed: u64) -> SimulationReport {
    simulation.run([seed]).unwrap_or_else(|failure| {
        failure.trace.iter().for_each(|line| eprintln!("{line}"));
        panic!("{failure}\nit takes these faults: {:?}", failure.strikes);
    })
}

#[test]
fn new_seeds_lose_and_double_nothing() {
    let mut shown = (0, 0);
    for seed in seeds(200) {
        let report = assert_passes(&simulation_of(seed), seed);
        shown = (shown.0 + report.active_snapshots, shown.1 + report.standby_snapshots);
    }
    assert!(shown.0 > 1_000 && shown.1 > 100, "live queries have shown {shown:?} snapshots");
}

/// The kinds of faults without those that were added since seeds were noted and planted bugs looked
/// for: with them a seed takes another course.
fn first_faults() -> SimulationSettings {
    let later = [Fault::ThreadAdded, Fault::ThreadRemoved, Fault::Paused];
    let faults = Fault::ALL.into_iter().filter(|fault| !later.contains(fault)).collect();
    SimulationSettings { faults, live_queries: false, state_aware: false, ..SimulationSettings::default() }
}

/// Each of these has failed once, all but three by a fault of the simulation itself.
///
/// 1239 and 1240 (before the faults were given other rates): a disk was full while an event of the
/// group was being answered; the thread left its group without having answered, so the group waited
/// for its session to end.
///
/// 2001511: a process stood still in the midst of a restore, for longer than its session. It went
/// on by a commit whose records had been compacted since, took that for a changelog that was
/// changed from outside, and ended.
#[test]
fn seeds_that_have_failed_pass() {
    for seed in [9, 19, 22, 41, 1239, 1240, 2545, 1_008_060, 2_001_511] {
        for (_, topology) in topologies::TOPOLOGIES {
            assert_passes(&Simulation::new(topology).with_settings(first_faults()), seed);
        }
    }
}

#[test]
fn a_seed_takes_the_same_course_each_time() {
    for seed in seeds(3) {
        let simulation = simulation_of(seed);
        let trace = simulation.trace(seed);
        assert!(trace.len() > 100, "{} lines", trace.len());
        assert_eq!(trace, simulation.trace(seed), "seed {seed}");
    }
}

/// Forwards each record with a number that no two records have.
struct Numbered;

impl Processor for Numbered {
    fn process(&mut self, record: &Record<'_>, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let text = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
        ctx.forward(&Record { value: Some(text.as_bytes()), ..*record })
    }
}

#[test]
fn a_processor_that_is_no_function_of_its_log_is_found() {
    let topology = || {
        let topology = Topology::builder().source("in", "in").process("number", ["in"], || Box::new(Numbered));
        topology.sink("out", "out", ["number"]).build().unwrap()
    };
    let settings = SimulationSettings { records: 10, faults: Vec::new(), ..SimulationSettings::default() };
    let failure = Simulation::new(topology).with_settings(settings).run(0..1).unwrap_err();
    assert!(failure.what.contains("operator `number` of task 0_") && failure.what.contains("is impure"), "{failure}");
}

/// Stores how often it was asked, over all of its lives.
struct Diary;

impl Processor for Diary {
    fn process(&mut self, record: &Record<'_>, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let count = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        ctx.store("diary")?.put(b"last", count.to_vec())?;
        ctx.forward(record)
    }
}

#[test]
fn an_operator_that_writes_something_else_into_its_store_is_named() {
    let topology = || {
        let topology = Topology::builder().source("in", "in").process("keep", ["in"], || Box::new(Diary));
        topology.store("diary", ["keep"]).sink("out", "out", ["keep"]).build().unwrap()
    };
    let settings = SimulationSettings { records: 10, faults: Vec::new(), ..SimulationSettings::default() };
    let failure = Simulation::new(topology).with_settings(settings).run(0..1).unwrap_err();
    assert!(failure.what.contains("an operator that writes store `diary` (`keep`) of task 0_"), "{failure}");
}

/// Takes a record for the one before it, once in a while: a processor that keeps something over an
/// abort.
#[derive(Default)]
struct Forgetful(Option<Vec<u8>>);

impl Processor for Forgetful {
    fn process(&mut self, record: &Record<'_>, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        let last = self.0.replace(record.value.unwrap_or_default().to_vec());
        ctx.forward(&Record { value: last.as_deref(), ..*record })
    }
}

#[test]
fn a_processor_that_keeps_state_outside_of_its_stores_is_found_and_the_run_is_cut_down() {
    let topology = || {
        let topology = Topology::builder().source("in", "in").process("last", ["in"], || Box::<Forgetful>::default());
        topology.sink("out", "out", ["last"]).build().unwrap()
    };
    let settings = SimulationSettings {
        faults: vec![Fault::Kill, Fault::LeaderMove, Fault::Disconnect],
        ..SimulationSettings::default()
    };
    let failure = Simulation::new(topology).with_settings(settings).run(0..50).unwrap_err();
    assert!(failure.what.contains("out-") && failure.what.contains("no task is to send"), "{failure}");
    assert!(failure.strikes.len() <= 8, "{:?}", failure.strikes);
    assert!(failure.trace.iter().any(|line| line.contains("FAILED: out-")), "{:#?}", failure.trace);
}
