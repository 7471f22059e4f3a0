//! Simulation of a topology under faults: the real runtime, with all its instances, threads,
//! restorations and standbys, on a simulated cluster, network, disk and clock.
//!
//! One seed decides everything: which faults are on, when they strike, how threads interleave, how
//! long each call takes. So a run is replayed exactly from its seed. When it is over, the outputs
//! are compared with the definition, record by record, and so are all stores; and once the faults
//! have ended, everything must be committed within a bounded time.
//!
//! ```
//! # extern crate helixstream_streams as streams;
//! use streams::processor::{Processor, ProcessorContext, ProcessorError};
//! use streams::record::Record;
//! use streams::testing::simulation::{Simulation, SimulationSettings};
//! use streams::topology::Topology;
//!
//! struct Pass;
//!
//! impl Processor for Pass {
//!     fn process(
//!         &mut self,
//!         record: &Record<'_>,
//!         ctx: &mut dyn ProcessorContext<'_>,
//!     ) -> Result<(), ProcessorError> {
//!         ctx.forward(record)
//!     }
//! }
//!
//! fn topology() -> Topology {
//!     Topology::builder()
//!         .source("in", "in")
//!         .process("pass", ["in"], || Box::new(Pass))
//!         .sink("out", "out", ["pass"])
//!         .build()
//!         .expect("the topology is right")
//! }
//!
//! let settings = SimulationSettings { records: 20, ..SimulationSettings::default() };
//! let simulation = Simulation::new(topology).with_settings(settings);
//! let report = simulation.run(0..3).expect("no seed fails");
//! assert_eq!(report.seeds, 3);
//! ```

mod admin;
mod batches;
mod broker;
mod checks;
mod client;
mod consumer;
mod definition;
mod disk;
mod disk_snapshot;
mod faults;
mod files;
mod group;
mod input;
mod membership;
mod observed;
mod pauses;
mod process;
mod process_state;
mod producer;
mod producer_state;
mod queries;
mod scheduler;
mod settings;
mod settlement;
mod shrink;
mod transactions;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

pub use broker::StoredRecord;
use checks::Checks;
use faults::Faults;
pub use faults::{Fault, Strike};
use input::Input;
pub use input::RecordFactory;
use process::TopologyFactory;
use queries::QueryCheck;
use scheduler::Scheduler;
pub use scheduler::is_outage;
pub use settings::SimulationSettings;
use settlement::Settlement;
use world::{Simulated, Timer, World};

use crate::runtime::RuntimeConfig;
use crate::task::{Plan, Sizes};
use crate::topology::Topology;
use crate::topology_digest::TopologyDigest;

/// The simulation of a topology.
#[derive(Clone)]
pub struct Simulation {
    topology: TopologyFactory,
    settings: SimulationSettings,
    make_record: Arc<RecordFactory>,
}

/// Result of the seeds of a simulation that have not failed.
#[derive(Clone, Debug, Default)]
pub struct SimulationReport {
    /// Seeds that ran.
    pub seeds: u64,
    /// Steps of all fibers.
    pub steps: u64,
    /// Input records.
    pub records: u64,
    /// Snapshots of the stores of running tasks that were read.
    pub active_snapshots: u64,
    /// Snapshots of the stores of standbys that were read.
    pub standby_snapshots: u64,
    /// How often each kind of fault struck, by the place where.
    pub strikes: BTreeMap<(Fault, &'static str), u64>,
}

/// A seed that failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("seed {seed}: {what}")]
pub struct SimulationFailure {
    /// The seed.
    pub seed: u64,
    /// The check that failed, and how.
    pub what: String,
    /// The strikes of faults that are left after the run was cut down: leaving out one more was not
    /// found to keep it failing.
    pub strikes: Vec<Strike>,
    /// The events of the run, line by line, with the simulated time in seconds.
    pub trace: Vec<String>,
}

/// Result of one run.
struct Run {
    failure: Option<String>,
    digest: u64,
    steps: u64,
    active_snapshots: u64,
    standby_snapshots: u64,
    strikes: Vec<(Strike, &'static str)>,
    trace: Vec<String>,
}

/// Simulates a topology with these seeds, with default settings and input.
///
/// # Errors
/// The first seed that fails, cut down to the faults that it takes.
pub fn simulate(
    topology: impl Fn() -> Topology + Send + Sync + 'static,
    seeds: impl IntoIterator<Item = u64>,
) -> Result<SimulationReport, Box<SimulationFailure>> {
    Simulation::new(topology).run(seeds)
}

impl Simulation {
    /// The simulation of a topology, with default settings, and words under few keys as its input.
    pub fn new(topology: impl Fn() -> Topology + Send + Sync + 'static) -> Simulation {
        Simulation {
            topology: Arc::new(topology),
            settings: SimulationSettings::default(),
            make_record: Arc::new(input::words),
        }
    }

    /// With these settings.
    #[must_use]
    pub fn with_settings(self, settings: SimulationSettings) -> Simulation {
        Simulation { settings, ..self }
    }

    /// With this input: the function makes record number `n` of a source topic, from random
    /// numbers alone. No two records should be the same, or a mix-up of the two cannot be seen.
    #[must_use]
    pub fn with_input(
        self,
        make: impl Fn(&mut Rng, usize, &str) -> StoredRecord + Send + Sync + 'static,
    ) -> Simulation {
        Simulation { make_record: Arc::new(make), ..self }
    }

    /// Runs seeds, one after the other. Those that 100 divides run twice, and must take the same
    /// course.
    ///
    /// # Errors
    /// The first seed that fails, cut down to the faults that it takes.
    pub fn run(&self, seeds: impl IntoIterator<Item = u64>) -> Result<SimulationReport, Box<SimulationFailure>> {
        let mut report = SimulationReport::default();
        for seed in seeds {
            let run = self.run_once(seed, BTreeSet::new(), false);
            if let Some(what) = run.failure {
                return Err(Box::new(self.cut_down(seed, what)));
            }
            if seed.is_multiple_of(100) && self.run_once(seed, BTreeSet::new(), false).digest != run.digest {
                let what =
                    "a second run of the same seed took another course: something in it is not decided by the seed";
                let (strikes, trace) = (Vec::new(), Vec::new());
                return Err(Box::new(SimulationFailure { seed, what: what.to_owned(), strikes, trace }));
            }
            report.seeds += 1;
            report.steps += run.steps;
            report.active_snapshots += run.active_snapshots;
            report.standby_snapshots += run.standby_snapshots;
            report.records += self.settings.records as u64;
            for ((fault, _), place) in run.strikes {
                *report.strikes.entry((fault, place)).or_default() += 1;
            }
        }
        Ok(report)
    }

    /// Runs one seed; the check that failed, if any. Nothing is cut down.
    pub fn first_failure(&self, seed: u64) -> Option<String> {
        self.run_once(seed, BTreeSet::new(), false).failure
    }

    /// Runs one seed and returns its trace, also where it passes.
    pub fn trace(&self, seed: u64) -> Vec<String> {
        self.run_once(seed, BTreeSet::new(), true).trace
    }

    fn run_once(&self, seed: u64, left_out: BTreeSet<Strike>, is_traced: bool) -> Run {
        let faults = Faults::of_seed(seed, &self.settings.faults, left_out);
        let mut world = World::new(self.settings.clone(), seed, faults, is_traced);
        let topology = (self.topology)();
        self.prepare(&mut world, &topology);
        let plans = plans(&topology, &world);
        let topics = topology.source_topics().into_iter().map(str::to_owned).collect();
        let make = self.make_record.clone();
        let input = Input { make: Box::new(move |random, n, topic| make(random, n, topic)), topics };
        let sim = Simulated::new(world);
        let mut scheduler = Scheduler::new(sim.clone(), self.topology.clone(), Arc::new(input));
        scheduler.queries = self.settings.live_queries.then(|| QueryCheck::new(plans.clone(), seed.is_multiple_of(2)));
        let fault_time = self.settings.fault_time;
        scheduler.run(fault_time, |_| false);
        scheduler::end_outage();
        {
            let mut world = sim.lock();
            world.heal();
            if world.failure.is_none()
                && let Err(what) = (Checks { world: &world, plans: &plans }).run_so_far()
            {
                world.fail(what);
            }
        }
        end_pauses(&mut scheduler, &sim);
        let limit = sim.now() + self.settings.recovery_time;
        let mut settlement = Settlement::of(&plans);
        let settled = scheduler.run(limit, |world| settlement.is_reached(world));
        {
            let mut world = sim.lock();
            if !settled && world.failure.is_none() {
                let what = settlement.describe(&world);
                world.fail(format!(
                    "{:?} after the last fault not everything is committed: {what}",
                    self.settings.recovery_time
                ));
            }
            world.stop_all();
        }
        let limit = sim.now() + STOP_TIME;
        let stopped = scheduler.run(limit, |world| {
            // Markers come later than the decision.
            let is_marked = world.broker.partitions.values().all(|log| log.open.is_empty());
            is_marked && world.processes.iter().all(|process| !process.is_alive)
        });
        let queries = scheduler.queries.take();
        drop(scheduler);
        scheduler::end_outage();
        let mut world = sim.lock();
        if !stopped && world.failure.is_none() {
            world.fail("not all processes have stopped, or not all transactions have ended");
        }
        if world.failure.is_none()
            && let Err(what) = queries
                .as_ref()
                .map_or(Ok(()), |queries| queries.check(&world))
                .and_then(|()| (Checks { world: &world, plans: &plans }).run())
        {
            world.fail(what);
        }
        Run {
            failure: world.failure.clone(),
            digest: world.digest,
            steps: world.steps,
            active_snapshots: queries.as_ref().map_or(0, |queries| queries.active_snapshots),
            standby_snapshots: queries.as_ref().map_or(0, |queries| queries.standby_snapshots),
            strikes: std::mem::take(&mut world.faults.struck),
            trace: world.trace.take().unwrap_or_default(),
        }
    }

    fn prepare(&self, world: &mut World, topology: &Topology) {
        for topic in topology.source_topics() {
            world.broker.create(topic, self.settings.source_partitions, Vec::new());
        }
        for topic in topology.sink_topics() {
            world.broker.create(topic, self.settings.sink_partitions, Vec::new());
        }
        world.sinks = topology.sink_topics().into_iter().map(str::to_owned).collect();
        world.dead_letters = topology.dead_letters().map(str::to_owned);
        let millis = |random: &mut Rng, choices: &[u64]| Duration::from_millis(choices[random.usize(0..choices.len())]);
        world.slot_config = RuntimeConfig {
            application_id: APPLICATION.to_owned(),
            commit_interval: millis(&mut world.random, &[10, 100, 500]),
            purge_interval: Some(millis(&mut world.random, &[300, 2_000])),
            max_poll_records: [3, 50, 2_000][world.random.usize(0..3)],
            uncommitted_bytes: [400, 32 << 20][world.random.usize(0..2)],
            contact_timeout: self.settings.transaction_timeout,
            control_interval: world
                .faults
                .kinds()
                .any(|kind| kind == Fault::Paused)
                .then_some(pauses::CONTROL_INTERVAL),
            has_static_members: world.has_static_members,
            restore_grace: world.restore_grace,
            digest: Some(TopologyDigest::of(&[("graph", "of this simulation".to_owned())])),
            ..RuntimeConfig::default()
        };
        world.slot_threads = 1 + world.random.usize(0..self.settings.threads.max(1));
        for _ in 0..self.settings.instances {
            let slot = world.add_slot();
            world.start_process(slot);
        }
        let kinds: Vec<Fault> = world.faults.kinds().collect();
        world.trace(|_| format!("faults that are on: {kinds:?}"));
        for fault in kinds {
            if let Some(after) = world.faults.next_interval(fault) {
                world.set_timer(after, Timer::Strike(fault));
            }
        }
        world.set_timer(Duration::ZERO, Timer::Coordinators);
        world.set_timer(Duration::ZERO, Timer::Input);
    }
}

/// The faults have ended: nothing that is paused moves, and then every pause ends.
fn end_pauses(scheduler: &mut Scheduler, sim: &Simulated) {
    if sim.lock().slot_config.control_interval.is_none() {
        return;
    }
    scheduler.run(sim.now() + pauses::QUIET, |_| false);
    let before = sim.lock().paused_offsets();
    scheduler.run(sim.now() + pauses::QUIET, |_| false);
    let mut world = sim.lock();
    let after = world.paused_offsets();
    if world.failure.is_none() && after != before {
        world.fail(format!("what is paused is processed: {before:?} is committed, and later {after:?}"));
    }
    world.resume_all();
}

/// The application id of a simulation.
const APPLICATION: &str = "app";
/// How long all processes have to stop.
const STOP_TIME: Duration = Duration::from_secs(120);

/// The plans of a topology, as the runtime makes them.
fn plans(topology: &Topology, world: &World) -> Vec<Arc<Plan>> {
    let config = RuntimeConfig { application_id: APPLICATION.to_owned(), ..RuntimeConfig::default() };
    let internal = crate::runtime::internal_topics(topology, &config, &world.broker.counts).unwrap_or_default();
    let mut partitions = world.broker.counts.clone();
    partitions.extend(internal.into_iter().map(|topic| (topic.name, topic.partitions)));
    Plan::all(topology, APPLICATION, &Sizes { partitions, ..Sizes::default() })
}
