//! A simulated process: an instance of the application with its threads, as the program runs them.

use std::sync::Arc;
use std::time::Duration;

use super::admin::SimulatedAdmin;
use super::consumer::SimulatedConsumer;
use super::disk::SimulatedDisk;
use super::faults::Fault;
use super::process_state::{Placement, Process};
use super::producer::SimulatedProducers;
use super::world::{Simulated, Timer, World};
use crate::error::{Error, Result};
use crate::ports::Clock;
use crate::runtime::{
    Executor, Instance, InstancePorts, Job, RunStatus, RuntimeConfig, StandbyThread, Step, StepObserver, StreamThread,
    ThreadPorts, transactional_id,
};
use crate::task_assignment::StateOnDisk;
use crate::topology::Topology;

/// Makes the topology of each process that starts.
pub(super) type TopologyFactory = Arc<dyn Fn() -> Topology + Send + Sync>;

struct SimulatedClock(Simulated);

impl Clock for SimulatedClock {
    fn monotonic(&self) -> Duration {
        let world = self.0.lock();
        world.now + world.processes[self.0.process].clock_offset
    }

    fn sleep(&self, time: Duration) {
        self.0.sleep(time);
    }
}

struct SimulatedExecutor(Simulated);

/// Jobs of a process that work at a time.
const PLACES: usize = 2;

impl SimulatedExecutor {
    fn take_place(sim: &Simulated) {
        let process = sim.process;
        let placed = sim.wait_for_place(|world| {
            let is_free = world.processes[process].working < PLACES;
            if is_free {
                world.processes[process].working += 1;
            }
            is_free
        });
        debug_assert!(placed || !sim.lock().processes[process].is_alive);
    }

    fn give_place(sim: &Simulated) {
        let mut world = sim.lock();
        let process = &mut world.processes[sim.process];
        process.working = process.working.saturating_sub(1);
        world.changed();
    }
}

impl Simulated {
    /// Waits for something inside of the process: no network is in between.
    fn wait_for_place(&self, mut take: impl FnMut(&mut World) -> bool) -> bool {
        loop {
            let mut world = self.lock();
            if !world.processes[self.process].is_alive {
                return false;
            }
            if take(&mut world) {
                return true;
            }
            drop(world);
            self.wait(super::world::FOREVER);
        }
    }

    fn spawn(&self, name: String, work: impl FnOnce() + Send + 'static) {
        let mut world = self.lock();
        let process = self.process;
        world.spawns.push((process, name, Box::new(work)));
    }
}

impl Executor for SimulatedExecutor {
    fn run(&self, job: Job) {
        let sim = self.0.clone();
        self.0.spawn("job".to_owned(), move || {
            SimulatedExecutor::take_place(&sim);
            job();
            SimulatedExecutor::give_place(&sim);
        });
    }

    fn run_at_once(&self, job: Job) {
        self.0.spawn("small job".to_owned(), job);
    }

    fn wait(&self, call: &mut dyn FnMut()) {
        SimulatedExecutor::give_place(&self.0);
        call();
        SimulatedExecutor::take_place(&self.0);
    }
}

/// Kills the process before a step of a commit, and lets others run there.
struct Steps(Simulated);

impl StepObserver for Steps {
    fn before(&self, _thread: usize, step: Step) {
        let mut world = self.0.lock();
        let process = self.0.process;
        world.processes[process].doing = step.name();
        if world.strikes(Fault::KillInCommit, step.name()) {
            world.processes[process].is_doomed = true;
        }
        drop(world);
        self.0.sleep(Duration::ZERO);
    }
}

/// Runs a process to its end, as its main thread.
pub(super) fn run_process(sim: &Simulated, slot: usize, setup: &Placement, topology: &TopologyFactory) {
    let admin = Arc::new(SimulatedAdmin(sim.clone()));
    let ports = InstancePorts {
        admin: admin.clone(),
        restore: admin.clone(),
        standby: admin,
        stores: Arc::new(SimulatedDisk { sim: sim.clone(), slot }),
        clock: Arc::new(SimulatedClock(sim.clone())),
        executor: Arc::new(SimulatedExecutor(sim.clone())),
        observer: Arc::new(Steps(sim.clone())),
    };
    let state_on_disk = sim.lock().is_state_aware.then(StateOnDisk::default);
    let config = RuntimeConfig { state_on_disk, ..setup.config.clone() };
    let instance = loop {
        match Instance::new(&topology(), config.clone(), setup.threads, ports.clone()) {
            Ok(instance) => break instance,
            Err(Error::Retry(_)) if sim.lock().processes[sim.process].is_alive => sim.sleep(Duration::from_secs(1)),
            Err(error) => return end(sim, Err(error)),
        }
    };
    {
        let mut world = sim.lock();
        let process = sim.process;
        world.processes[process].instance = Some(instance.clone());
        if !world.slots[slot].is_to_run {
            instance.stop();
        }
    }
    start_threads(sim, &instance, &config);
    if instance.has_standbys() {
        let (standby_sim, instance) = (sim.clone(), instance.clone());
        sim.spawn("standby thread".to_owned(), move || {
            let mut standby = StandbyThread::new(&instance);
            while !instance.is_stopping() && standby_sim.lock().processes[standby_sim.process].is_alive {
                if !standby.run_once() {
                    standby_sim.sleep(Duration::from_millis(50));
                }
            }
        });
    }
    let process = sim.process;
    loop {
        sim.wait_for_place(|world| {
            let process = &world.processes[process];
            process.running_threads == 0 || process.error.is_some() || instance.are_threads_requested()
        });
        if !instance.are_threads_requested() || sim.lock().processes[process].error.is_some() {
            break;
        }
        start_threads(sim, &instance, &config);
    }
    instance.stop();
    // The other threads have a while to commit and leave.
    let until = sim.now() + Duration::from_secs(20);
    while sim.lock().processes[process].running_threads > 0 && sim.now() < until {
        sim.wait(until);
    }
    let error = sim.lock().processes[process].error.clone();
    end(sim, error.map_or(Ok(()), Err));
}

/// Starts the stream threads that the instance asks for.
fn start_threads(sim: &Simulated, instance: &Arc<Instance>, config: &RuntimeConfig) {
    while let Some(index) = instance.take_requested_thread() {
        sim.lock().processes[sim.process].running_threads += 1;
        let (thread_sim, instance, config) = (sim.clone(), instance.clone(), config.clone());
        sim.spawn(format!("stream thread {index}"), move || {
            let ended = run_thread(&thread_sim, &instance, &config, index);
            let mut world = thread_sim.lock();
            let process = &mut world.processes[thread_sim.process];
            process.running_threads = process.running_threads.saturating_sub(1);
            if let Err(error) = ended {
                process.error.get_or_insert(error);
            }
            world.changed();
        });
    }
}

/// A stream thread for as long as the instance runs: one after the other where its clients are
/// renewed or its consumer has failed for good.
fn run_thread(sim: &Simulated, instance: &Arc<Instance>, config: &RuntimeConfig, index: usize) -> Result<()> {
    let is_to_run = || !instance.is_stopping() && !instance.is_thread_leaving(index);
    while is_to_run() && sim.lock().processes[sim.process].is_alive {
        let id = transactional_id(&config.application_id, &config.instance_id, index);
        let renewal = instance.renewals();
        let consumer = SimulatedConsumer::new(sim, &id, config);
        let ports = ThreadPorts {
            membership: Box::new(consumer.clone()),
            fetching: Box::new(consumer.clone()),
            producers: Box::new(SimulatedProducers { sim: sim.clone(), id }),
            renewal,
        };
        let mut thread = StreamThread::new(instance, index, ports);
        let ended = loop {
            match thread.run_once() {
                Ok(RunStatus::Running) => {}
                Ok(RunStatus::Stopped) => break Ok(()),
                Err(error) => {
                    thread.close();
                    break Err(error);
                }
            }
        };
        consumer.close();
        ended?;
        sim.sleep(Duration::from_millis(100));
    }
    if instance.is_thread_leaving(index) {
        instance.thread_ended(index);
    }
    Ok(())
}

/// The process ends by itself; the scheduler drops its fibers.
fn end(sim: &Simulated, ended: Result<()>) {
    let mut world = sim.lock();
    let process = sim.process;
    world.trace(|_| format!("process {process} ends: {ended:?}"));
    let is_refusal = world.runs_another_topology(process) && matches!(ended, Err(Error::Disagreement(_)));
    if let Err(error) = &ended
        && !is_refusal
        && !is_legitimate(error)
    {
        world.fail(format!("process {process} ended with an error that no fault explains: {error}"));
    }
    world.processes[process].has_ended = true;
    world.changed();
}

/// Errors that a fault may bring about, and that a restart mends: a full disk, a failure that
/// lasted longer than the task timeout.
fn is_legitimate(error: &Error) -> bool {
    let text = error.to_string();
    matches!(error, Error::Fatal(_)) && (text.contains("[HS3007]") || text.contains("[HS1023]"))
        || text == super::world::dead().to_string()
}

impl World {
    /// Starts a process in a slot, unless it has one.
    pub fn start_process(&mut self, slot: usize) {
        if self.slots[slot].process.is_some() || !self.slots[slot].is_to_run {
            return;
        }
        let id = self.processes.len();
        self.processes.push(Process::new(slot));
        self.slots[slot].process = Some(id);
        self.starts.push((id, slot));
        self.trace(|_| format!("process {id} starts in slot {slot}"));
    }

    /// A process is no more; its supervisor starts another one after a while.
    pub fn restart_later(&mut self, slot: usize) {
        self.slots[slot].process = None;
        let after = Duration::from_millis(50) + self.random_time(Duration::from_secs(8));
        self.set_timer(after, Timer::Start(slot));
    }
}
