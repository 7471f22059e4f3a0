//! The state of a simulated cluster and the machines beside it, and the clock that they share.
//!
//! All of it is one value behind one lock, which no fiber holds while it waits. A port that has to
//! wait hands over to the scheduler by [`Simulated::sleep`] or [`Simulated::wait`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;

use super::broker::{Broker, MarkedPlace, StoredRecord};
use super::client::Client;
use super::faults::{Fault, Faults};
use super::files::Machine;
use super::group::GroupCoordinator;
use super::process_state::{Placement, Process, ProcessId};
use super::producer_state::{Batch, ProducerClient};
use super::settings::SimulationSettings;
use crate::error::{Error, Result};
use crate::record::TopicPartition;
use crate::topology_digest::TopologyDigest;

/// The number of a fiber.
pub(super) type FiberId = usize;

/// When a fiber goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wake {
    /// At this time at the latest.
    pub at: Duration,
    /// As soon as something has changed since, if it waits for that.
    pub changed_since: Option<u64>,
}

/// Work that the cluster does by itself at a certain time.
#[derive(Clone, Debug)]
pub(super) enum Timer {
    /// The background thread of a consumer: heartbeats, joining.
    Consumer(usize),
    /// The background thread of a producer makes batches of what is queued.
    Flush(usize),
    /// A batch reaches its partition's leader.
    Arrive(Batch),
    /// The answer to a batch reaches the producer.
    Acknowledge(Batch, Option<i64>),
    /// The transaction coordinator writes a marker to a partition, or to the offsets topic.
    Mark(u64, MarkedPlace),
    /// The coordinators look for members and transactions that are too old.
    Coordinators,
    /// An outside program appends input.
    Input,
    /// A fault may strike.
    Strike(Fault),
    /// A process is started by its supervisor.
    Start(usize),
    /// A double, or an instance with another topology, is ended.
    EndIntruder(usize),
}

/// A fiber to be started: its process, a name, the work.
pub(super) type Spawn = (ProcessId, String, Box<dyn FnOnce() + Send>);

/// The state of everything.
pub(super) struct World {
    pub settings: SimulationSettings,
    pub now: Duration,
    /// Raised by each change that somebody may wait for.
    pub changes: u64,
    pub wakes: BTreeMap<FiberId, Wake>,
    pub current: FiberId,
    /// The process whose fiber is at work; `None` while the cluster is.
    pub current_process: Option<ProcessId>,
    pub processes: Vec<Process>,
    pub spawns: Vec<Spawn>,
    pub slots: Vec<Placement>,
    /// Processes whose main thread is to be started, with their slots.
    pub starts: Vec<(ProcessId, usize)>,
    timers: BTreeMap<(Duration, u64), Timer>,
    next_timer: u64,
    /// Decides the schedule.
    pub random: Rng,
    pub faults: Faults,
    pub broker: Broker,
    pub group: GroupCoordinator,
    /// Whether the consumers have a `group.instance.id`.
    pub has_static_members: bool,
    /// Whether members tell the group's leader which tasks' state lies on their disks.
    pub is_state_aware: bool,
    /// How long an instance that has just started waits for others that may have state.
    pub restore_grace: Duration,
    pub clients: Vec<Client>,
    pub producers: Vec<ProducerClient>,
    pub machines: Vec<Machine>,
    /// The sink topics of the topology, and its topic of dead letters.
    pub sinks: Vec<String>,
    pub dead_letters: Option<String>,
    /// Records that the broker refuses, wherever they come from.
    pub refused: BTreeSet<(TopicPartition, Arc<StoredRecord>)>,
    /// Processes that die with the power of their machine.
    pub power_lost: BTreeSet<ProcessId>,
    /// Input records that were published.
    pub published: usize,
    pub input_random: Rng,
    /// Makes the slot of one more instance.
    pub slot_config: crate::runtime::RuntimeConfig,
    pub slot_threads: usize,
    /// When an end of a log was answered falsely.
    pub last_stale_end: Option<Duration>,
    /// Until when what processors need of others is away.
    pub outage_until: Duration,
    /// The first check that failed while the simulation ran.
    pub failure: Option<String>,
    /// Digest of all decisions, by which two runs are compared.
    pub digest: u64,
    pub steps: u64,
    pub trace: Option<Vec<String>>,
}

/// A handle to the world, as the ports of one process hold it.
#[derive(Clone)]
pub(super) struct Simulated {
    world: Arc<Mutex<World>>,
    pub process: ProcessId,
}

impl World {
    pub fn new(settings: SimulationSettings, seed: u64, faults: Faults, is_traced: bool) -> World {
        let mut random = Rng::with_seed(seed ^ 0x57a7_ea3a);
        let is_state_aware = settings.state_aware && random.bool();
        let restore_grace = Duration::from_secs([0, 3, 20][random.usize(0..3)]);
        World {
            settings,
            is_state_aware,
            restore_grace,
            now: Duration::from_secs(1),
            changes: 0,
            wakes: BTreeMap::new(),
            current: 0,
            current_process: None,
            processes: Vec::new(),
            spawns: Vec::new(),
            slots: Vec::new(),
            starts: Vec::new(),
            timers: BTreeMap::new(),
            next_timer: 0,
            random: Rng::with_seed(seed),
            faults,
            broker: Broker::default(),
            group: GroupCoordinator::default(),
            has_static_members: Rng::with_seed(seed ^ 0x0057_a71c).bool(),
            clients: Vec::new(),
            producers: Vec::new(),
            machines: Vec::new(),
            sinks: Vec::new(),
            dead_letters: None,
            refused: BTreeSet::new(),
            power_lost: BTreeSet::new(),
            published: 0,
            input_random: Rng::with_seed(seed ^ 0x1_4b07),
            slot_config: crate::runtime::RuntimeConfig::default(),
            slot_threads: 1,
            last_stale_end: None,
            outage_until: Duration::ZERO,
            failure: None,
            digest: seed,
            steps: 0,
            trace: is_traced.then(Vec::new),
        }
    }

    /// Adds a machine, and a slot for an instance on it.
    pub fn add_slot(&mut self) -> usize {
        let slot = self.slots.len();
        let config = crate::runtime::RuntimeConfig { instance_id: format!("i{slot}"), ..self.slot_config.clone() };
        self.machines.push(Machine::default());
        let threads = self.slot_threads;
        self.slots.push(Placement {
            threads,
            config,
            is_to_run: true,
            is_double: false,
            is_stranger: false,
            process: None,
        });
        slot
    }

    /// Whether a process is of an instance with another topology than the group's.
    pub fn runs_another_topology(&self, process: ProcessId) -> bool {
        self.processes.get(process).is_some_and(|process| self.slots[process.slot].is_stranger)
    }

    /// Adds a machine, and a slot for an instance with another topology on it.
    pub fn add_stranger(&mut self) -> usize {
        let slot = self.add_slot();
        let digest = TopologyDigest::of(&[("graph", "another".to_owned())]);
        (self.slots[slot].is_stranger, self.slots[slot].config.digest) = (true, Some(digest));
        slot
    }

    /// Adds a machine with a copy of the files of a slot, and a slot with the same instance id on
    /// it: what must not be done, and what fencing is for.
    pub fn add_double(&mut self, of: usize) -> usize {
        let slot = self.slots.len();
        let mut machine = Machine { tasks: self.machines[of].tasks.clone(), full_until: Duration::ZERO };
        machine.tasks.values_mut().for_each(|files| files.survive(true, |_| 0));
        self.machines.push(machine);
        let (threads, config) = (self.slot_threads, self.slots[of].config.clone());
        self.slots.push(Placement {
            threads,
            config,
            is_to_run: true,
            is_double: true,
            is_stranger: self.slots[of].is_stranger,
            process: None,
        });
        slot
    }

    /// Somebody may be waiting for what has just changed.
    pub fn changed(&mut self) {
        self.changes += 1;
    }

    pub fn set_timer(&mut self, after: Duration, timer: Timer) {
        self.next_timer += 1;
        self.timers.insert((self.now + after, self.next_timer), timer);
    }

    /// The next timer that is due.
    pub fn due_timer(&mut self) -> Option<Timer> {
        let entry = self.timers.first_entry()?;
        if entry.key().0 > self.now { None } else { Some(entry.remove()) }
    }

    pub fn next_timer_at(&self) -> Option<Duration> {
        self.timers.keys().next().map(|(at, _)| *at)
    }

    /// A random time up to `most`, even short ones as likely as long ones.
    pub fn random_time(&mut self, most: Duration) -> Duration {
        let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.random.u64(0..=micros))
    }

    pub fn mix(&mut self, number: u64) {
        self.digest = (self.digest ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }

    /// Adds a line to the trace, if there is one.
    pub fn trace(&mut self, line: impl FnOnce(&World) -> String) {
        if self.trace.is_some() {
            let text = format!("{:>12.6} {}", self.now.as_secs_f64(), line(self));
            if let Some(trace) = &mut self.trace {
                trace.push(text);
            }
        }
    }

    /// Notes a fault of the program under test; the first one counts.
    pub fn fail(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.trace(|_| format!("FAILED: {what}"));
        self.failure.get_or_insert(what);
    }

    /// Whether requests of a process get through.
    pub fn is_connected(&self, process: ProcessId) -> bool {
        let process = &self.processes[process];
        process.is_alive && self.now >= process.cut_until
    }

    pub fn is_frozen(&self, process: ProcessId) -> bool {
        self.now < self.processes[process].frozen_until
    }
}

impl Simulated {
    pub fn new(world: World) -> Simulated {
        Simulated { world: Arc::new(Mutex::new(world)), process: usize::MAX }
    }

    pub fn of(&self, process: ProcessId) -> Simulated {
        Simulated { world: self.world.clone(), process }
    }

    pub fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over to the scheduler until `wake`. Nothing waits in a process that is dead: its
    /// fibers are being unwound.
    fn hand_over(&self, wake: impl FnOnce(&World) -> Wake) {
        let mut world = self.lock();
        if !world.processes[self.process].is_alive {
            return;
        }
        let wake = wake(&world);
        let current = world.current;
        world.wakes.insert(current, wake);
        drop(world);
        generator::co_yield_with(());
    }

    /// Waits for so long.
    pub fn sleep(&self, time: Duration) {
        self.hand_over(|world| Wake { at: world.now + time, changed_since: None });
    }

    /// Waits until something has changed, or the time has come.
    pub fn wait(&self, at: Duration) {
        self.hand_over(|world| Wake { at, changed_since: Some(world.changes) });
    }

    /// Begins a call of a port: lets others run, and lets faults strike.
    ///
    /// # Errors
    /// The process is dead, or a fault of the call itself.
    pub fn call(&self, name: &'static str) -> Result<()> {
        let mut world = self.lock();
        if !world.processes[self.process].is_alive {
            return Err(dead());
        }
        world.processes[self.process].doing = name;
        let latency = world.random_latency();
        drop(world);
        self.sleep(latency);
        let mut world = self.lock();
        if !world.processes[self.process].is_alive {
            return Err(dead());
        }
        if world.strikes(Fault::KillInCall, name) {
            world.processes[self.process].is_doomed = true;
            drop(world);
            self.sleep(FOREVER);
            return Err(dead());
        }
        Ok(())
    }

    /// Waits until `take` has something, at most until `at`; `None` then.
    pub fn wait_for<T>(&self, at: Duration, mut take: impl FnMut(&mut World) -> Option<T>) -> Option<T> {
        loop {
            let mut world = self.lock();
            if !world.processes[self.process].is_alive {
                return None;
            }
            if world.is_connected(self.process)
                && let Some(found) = take(&mut world)
            {
                return Some(found);
            }
            if world.now >= at {
                return None;
            }
            let cut = world.processes[self.process].cut_until;
            let until = if cut > world.now { at.min(cut) } else { at };
            drop(world);
            self.wait(until);
        }
    }

    pub fn now(&self) -> Duration {
        self.lock().now
    }
}

/// Longer than any simulation.
pub(super) const FOREVER: Duration = Duration::from_secs(1 << 32);

pub(super) fn dead() -> Error {
    Error::Retry("the process is dead".to_owned())
}

impl World {
    /// How long a call takes: mostly next to nothing, now and then milliseconds.
    fn random_latency(&mut self) -> Duration {
        match self.random.u32(0..16) {
            0..8 => Duration::ZERO,
            8..14 => self.random_time(Duration::from_micros(500)),
            14 => self.random_time(Duration::from_millis(5)),
            _ => self.random_time(Duration::from_millis(40)),
        }
    }

    /// Whether a fault strikes here and now.
    pub fn strikes(&mut self, fault: Fault, place: &'static str) -> bool {
        let strikes = self.faults.strikes(fault, place);
        if strikes {
            let of = self.current_process.map(|process| format!(" of process {process}")).unwrap_or_default();
            self.trace(|_| format!("fault {fault:?} in {place}{of}"));
        }
        strikes
    }
}
