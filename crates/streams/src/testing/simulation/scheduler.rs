//! The scheduler: runs one fiber at a time, lets time pass when none can go on, lets the cluster do
//! its work and faults strike.
//!
//! A fiber is a coroutine with a stack of its own, on the one thread of the simulation; it hands
//! over in each call of a port. So a seed decides every interleaving, and replays it exactly.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use generator::{Generator, Gn};

use super::faults::Fault;
use super::input::Input;
use super::process::{TopologyFactory, run_process};
use super::process_state::{Placement, Process, ProcessId};
use super::queries::{self, QueryCheck};
use super::world::{FiberId, Simulated, Spawn, Timer, Wake, World};

/// A fiber's stack, in words.
const STACK_WORDS: usize = 0x8000;
/// Instances at most.
const MOST_SLOTS: usize = 4;
/// Stream threads of an instance at most, where some are added.
const MOST_THREADS: usize = 4;
/// A run of more steps than this goes round in circles.
const MOST_STEPS: u64 = 3_000_000;

thread_local! {
    /// Whether a service that processors need is away.
    static OUTAGE: Cell<bool> = const { Cell::new(false) };
}

/// Whether the simulation has taken away what processors need of others (a schema registry, say):
/// a processor that asks for it is to answer [`crate::error::Error::Retry`].
pub fn is_outage() -> bool {
    OUTAGE.get()
}

/// The service is there again.
pub(super) fn end_outage() {
    OUTAGE.set(false);
}

struct Fiber {
    process: ProcessId,
    name: String,
    body: Generator<'static, (), ()>,
}

/// Runs a world.
pub(super) struct Scheduler {
    pub sim: Simulated,
    fibers: BTreeMap<FiberId, Fiber>,
    next_fiber: FiberId,
    topology: TopologyFactory,
    input: Arc<Input>,
    pub queries: Option<QueryCheck>,
}

impl Scheduler {
    pub fn new(sim: Simulated, topology: TopologyFactory, input: Arc<Input>) -> Scheduler {
        OUTAGE.set(false);
        Scheduler { sim, fibers: BTreeMap::new(), next_fiber: 0, topology, input, queries: None }
    }

    /// Runs until `is_over`, a failure, or `until`; whether it is over.
    pub fn run(&mut self, until: Duration, mut is_over: impl FnMut(&World) -> bool) -> bool {
        let mut changes = u64::MAX;
        loop {
            {
                let world = self.sim.lock();
                if world.failure.is_some() || world.now >= until {
                    return false;
                }
                if world.changes != changes {
                    changes = world.changes;
                    if is_over(&world) {
                        return true;
                    }
                }
            }
            self.step();
        }
    }

    fn step(&mut self) {
        self.run_timers();
        self.remove_dead();
        self.start();
        let Some(id) = self.choose() else { return };
        let Some(fiber) = self.fibers.get_mut(&id) else { return };
        let name = fiber.name.clone();
        fiber.body.resume();
        if fiber.body.is_done() {
            let panic = fiber.body.get_panic_data();
            self.fibers.remove(&id);
            let mut world = self.sim.lock();
            world.wakes.remove(&id);
            if let Some(panic) = panic {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
                world.fail(format!("{name} panicked: {text}"));
            }
            world.changed();
        }
        let is_due = self.sim.lock().steps.is_multiple_of(queries::INTERVAL);
        if let Some(queries) = &mut self.queries
            && is_due
        {
            queries.run(&self.sim);
        }
    }

    /// Starts the fibers that were asked for.
    fn start(&mut self) {
        loop {
            let mut world = self.sim.lock();
            let starts = std::mem::take(&mut world.starts);
            let spawns = std::mem::take(&mut world.spawns);
            if starts.is_empty() && spawns.is_empty() {
                return;
            }
            let mains: Vec<Spawn> = starts
                .into_iter()
                .map(|(process, slot)| {
                    let (sim, setup, topology) =
                        (self.sim.of(process), world.slots[slot].clone(), self.topology.clone());
                    let main = move || run_process(&sim, slot, &setup, &topology);
                    (process, "main thread".to_owned(), Box::new(main) as Box<dyn FnOnce() + Send>)
                })
                .collect();
            for (process, name, work) in mains.into_iter().chain(spawns) {
                if !world.processes[process].is_alive {
                    continue;
                }
                let mut body: Generator<'static, (), ()> = Gn::new_opt(STACK_WORDS, work);
                // Marks it as a coroutine, whose ports hand over by `co_yield_with` from any depth.
                body.set_local_data(std::ptr::dangling_mut());
                let name = format!("process {process}, {name}");
                self.next_fiber += 1;
                world.wakes.insert(self.next_fiber, Wake { at: Duration::ZERO, changed_since: None });
                self.fibers.insert(self.next_fiber, Fiber { process, name, body });
            }
        }
    }

    /// Chooses a fiber that can go on; lets time pass where none can.
    fn choose(&mut self) -> Option<FiberId> {
        let mut world = self.sim.lock();
        let (mut can_go_on, mut next): (Vec<FiberId>, _) = (Vec::new(), world.next_timer_at());
        for (id, fiber) in &self.fibers {
            let wake = world.wakes[id];
            let changed = wake.changed_since.is_some_and(|since| world.changes > since);
            let frozen = world.processes[fiber.process].frozen_until;
            if (changed || wake.at <= world.now) && frozen <= world.now {
                can_go_on.push(*id);
            } else {
                let at = if changed { frozen } else { wake.at.max(frozen) };
                next = Some(next.map_or(at, |next| next.min(at)));
            }
        }
        if can_go_on.is_empty() {
            world.now = next.unwrap_or(world.now + Duration::from_secs(1)).max(world.now);
            return None;
        }
        let chosen = can_go_on[world.random.usize(0..can_go_on.len())];
        world.current = chosen;
        world.current_process = Some(self.fibers[&chosen].process);
        world.steps += 1;
        if world.steps > MOST_STEPS {
            world.fail(format!("the run has taken {MOST_STEPS} steps and goes on"));
        }
        let (now, steps) = (world.now.as_nanos() as u64, world.steps);
        world.mix(now ^ (chosen as u64) << 40 ^ steps);
        Some(chosen)
    }

    fn run_timers(&mut self) {
        loop {
            let mut world = self.sim.lock();
            let Some(timer) = world.due_timer() else { return };
            world.current_process = None;
            match timer {
                Timer::Consumer(index) => world.run_consumer_background(index),
                Timer::Flush(index) => world.flush_producer(index),
                Timer::Arrive(batch) => world.arrive(batch),
                Timer::Acknowledge(batch, offset) => world.acknowledge(&batch, offset),
                Timer::Mark(number, place) => world.mark(number, place),
                Timer::Coordinators => {
                    world.look_at_group();
                    world.end_old_transactions();
                    world.set_timer(Duration::from_millis(100), Timer::Coordinators);
                }
                Timer::Input => {
                    let input = self.input.clone();
                    input.publish(&mut world);
                }
                Timer::Start(slot) => world.start_process(slot),
                Timer::EndIntruder(slot) => world.end_intruder(slot),
                Timer::Strike(fault) => {
                    if world.strikes(fault, "timer") {
                        world.strike(fault);
                    }
                    if let Some(after) = world.faults.next_interval(fault).filter(|_| !world.faults.is_over) {
                        world.set_timer(after, Timer::Strike(fault));
                    }
                }
            }
        }
    }

    /// Removes the processes that are doomed or have ended, with their fibers.
    fn remove_dead(&mut self) {
        let mut world = self.sim.lock();
        OUTAGE.set(world.now < world.outage_until);
        let gone = |process: &Process| process.is_alive && (process.is_doomed || process.has_ended);
        let gone: Vec<ProcessId> =
            world.processes.iter().enumerate().filter(|(_, process)| gone(process)).map(|(id, _)| id).collect();
        for id in gone {
            let process = &mut world.processes[id];
            process.is_alive = false;
            process.instance = None;
            let slot = process.slot;
            let has_power = !world.power_lost.remove(&id);
            world.trace(|_| format!("process {id} of slot {slot} is dead"));
            if world.processes[id].is_doomed {
                world.close_files(slot, has_power);
            }
            world.restart_later(slot);
            let fibers: Vec<FiberId> =
                self.fibers.iter().filter(|(_, fiber)| fiber.process == id).map(|(id, _)| *id).collect();
            for fiber in fibers {
                world.wakes.remove(&fiber);
                let fiber = self.fibers.remove(&fiber);
                drop(world);
                // Unwinds its stack. No port waits or changes anything any more.
                drop(fiber);
                world = self.sim.lock();
            }
            world.close_files(slot, true);
            world.changed();
        }
    }
}

impl World {
    fn random_process(&mut self, fault: Fault) -> Option<ProcessId> {
        let alive: Vec<ProcessId> = self.slots.iter().filter_map(|slot| slot.process).collect();
        if alive.is_empty() { None } else { Some(alive[self.faults.below(fault, alive.len())]) }
    }

    /// A fault that comes at intervals strikes.
    fn strike(&mut self, fault: Fault) {
        let lasts = self.faults.duration(fault);
        let until = self.now + lasts;
        match fault {
            Fault::LeaderMove => {
                let count = self.broker.partitions.len();
                let chosen = self.faults.below(fault, count);
                if let Some((at, log)) = self.broker.partitions.iter_mut().nth(chosen) {
                    log.away_until = until.min(self.now + Duration::from_secs(25));
                    let at = at.clone();
                    self.trace(|_| format!("{at} has no leader for {lasts:?}"));
                }
            }
            Fault::GroupCoordinatorMove => {
                let away = &mut self.broker.group_coordinator_away_until;
                *away = until.max(*away);
            }
            Fault::TransactionCoordinatorMove => {
                let away = &mut self.broker.transaction_coordinator_away_until;
                *away = until.max(*away);
            }
            Fault::Compaction => self.compact(),
            Fault::Outage => self.outage_until = until,
            Fault::BitFlip => self.flip_bit(),
            Fault::StoreExchanged => self.exchange_store(),
            Fault::ScaleUp if self.slots.len() < MOST_SLOTS => {
                let slot = self.add_slot();
                self.start_process(slot);
            }
            Fault::ScaleUp => {}
            Fault::Double | Fault::OtherTopology => self.start_intruder(fault, until),
            _ => {
                let Some(id) = self.random_process(fault) else { return };
                let doing = self.processes[id].doing;
                self.faults.place_last_strike(doing);
                self.trace(|_| format!("{fault:?} strikes process {id} in {doing}, {lasts:?}"));
                let process = &mut self.processes[id];
                match fault {
                    Fault::Kill => process.is_doomed = true,
                    Fault::PowerLoss => {
                        process.is_doomed = true;
                        self.power_lost.insert(id);
                    }
                    Fault::Freeze => process.frozen_until = until,
                    Fault::Disconnect => process.cut_until = until,
                    Fault::ClockJump => process.clock_offset += lasts,
                    Fault::Stop => process.instance.iter().for_each(|instance| instance.stop()),
                    Fault::Paused => self.strike_pause(id),
                    Fault::ThreadAdded => {
                        let few = process.instance.iter().filter(|instance| instance.thread_count() < MOST_THREADS);
                        few.for_each(|instance| _ = instance.add_thread());
                    }
                    Fault::ThreadRemoved => process.instance.iter().for_each(|instance| _ = instance.remove_thread()),
                    Fault::Renew => process.instance.iter().for_each(|instance| instance.renew_clients()),
                    Fault::DiskFull => {
                        let slot = process.slot;
                        self.machines[slot].full_until = until;
                    }
                    _ => {}
                }
            }
        }
        self.changed();
    }

    /// Starts a double of an instance, or an instance with another topology, unless there is one.
    /// The topology of a group is what its commits say, so the latter comes after a first commit.
    fn start_intruder(&mut self, fault: Fault, until: Duration) {
        let is_double = fault == Fault::Double;
        let is_same = |slot: &Placement| if is_double { slot.is_double } else { slot.is_stranger };
        if self.slots.iter().any(is_same) || (!is_double && self.broker.committed.is_empty()) {
            return;
        }
        let of = self.faults.below(fault, self.slots.len());
        let slot = if is_double { self.add_double(of) } else { self.add_stranger() };
        let text = if is_double { format!("is a copy of slot {of}") } else { "has another topology".to_owned() };
        self.trace(|_| format!("slot {slot} {text}"));
        self.start_process(slot);
        self.set_timer(until - self.now, Timer::EndIntruder(slot));
    }

    /// Kills such an instance for good.
    pub fn end_intruder(&mut self, slot: usize) {
        self.slots[slot].is_to_run = false;
        if let Some(process) = self.slots[slot].process {
            self.processes[process].is_doomed = true;
        }
    }

    /// Ends all faults, and has every process run.
    pub fn heal(&mut self) {
        self.faults.is_over = true;
        let now = self.now;
        for process in &mut self.processes {
            (process.frozen_until, process.cut_until) = (process.frozen_until.min(now), process.cut_until.min(now));
        }
        self.broker.partitions.values_mut().for_each(|log| log.away_until = log.away_until.min(now));
        self.broker.group_coordinator_away_until = now;
        self.broker.transaction_coordinator_away_until = now;
        self.outage_until = now;
        self.machines.iter_mut().for_each(|machine| machine.full_until = now);
        for slot in 0..self.slots.len() {
            if self.slots[slot].is_double || self.slots[slot].is_stranger {
                self.end_intruder(slot);
            }
        }
        self.trace(|_| "all faults end".to_owned());
        self.changed();
    }

    /// Asks all processes to stop, and starts none again.
    pub fn stop_all(&mut self) {
        for slot in &mut self.slots {
            slot.is_to_run = false;
        }
        let instances: Vec<_> = self.processes.iter().filter_map(|process| process.instance.clone()).collect();
        instances.iter().for_each(|instance| instance.stop());
        self.changed();
    }
}
