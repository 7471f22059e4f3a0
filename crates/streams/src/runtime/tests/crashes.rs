//! A kill at each named step of a commit, and random schedules of kills, faults and rebalances,
//! replayed from their number.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use testkit::Random;

use super::*;
use crate::error::Error;

/// Kills (by a panic that the test catches) at the `at`-th arrival at a step.
pub(super) struct Killer {
    step: Step,
    at: usize,
    seen: AtomicUsize,
}

impl Killer {
    pub fn new(step: Step, at: usize) -> Killer {
        Killer { step, at, seen: AtomicUsize::new(0) }
    }
}

impl StepObserver for Killer {
    fn before(&self, _thread: usize, step: Step) {
        if step == self.step && self.seen.fetch_add(1, Ordering::Relaxed) + 1 == self.at {
            std::panic::panic_any(Killed);
        }
    }
}

struct Killed;

/// Lets an instance live until it is killed; whether it was.
pub(super) fn dies(mut running: Running, turns: usize) -> bool {
    let death = catch_unwind(AssertUnwindSafe(|| running.turns(turns)));
    match death {
        Ok(()) => false,
        Err(payload) if payload.is::<Killed>() => true,
        Err(payload) => std::panic::resume_unwind(payload),
    }
}

const LINES: [&str; 8] = ["a b", "c d e", "a a", "f", "g h i j", "b", "a !", "k a"];
const WORDS: usize = 15;

#[test]
fn a_kill_at_any_step_of_a_commit_loses_and_doubles_nothing() {
    for (step, make) in
        COMMIT_STEPS.into_iter().flat_map(|step| [(step, World::new as fn() -> World), (step, World::in_memory)])
    {
        for at in 1..=3 {
            let mut world = make();
            world.publish(&LINES[..4]);
            world.observer = Arc::new(Killer::new(step, at));
            let running = world.start_all();
            let mut published = false;
            if !dies(running, 60) {
                // A third commit comes only with more to do.
                world.publish(&LINES[4..]);
                published = true;
                assert!(dies(world.start_all(), 200), "step {} comes {at} times", step.name());
            }
            if !published {
                world.publish(&LINES[4..]);
            }
            world.observer = Arc::new(NoObserver);
            let mut running = world.start_all();
            running.finish();
            running.stop();
            world.assert_exactly_once(WORDS);
        }
    }
}

#[test]
fn work_goes_on_commit_by_commit_over_kills_until_it_is_done() {
    for step in COMMIT_STEPS {
        for at in [1, 2, 5] {
            let mut world = World::new();
            world.publish(&LINES[..6]);
            let mut running = world.start_all();
            running.finish();
            running.stop();
            world.publish(&["?"]);
            world.observer = Arc::new(Killer::new(step, at));
            assert!(dies(world.start_all(), 300), "step {} comes {at} times while nothing else comes", step.name());
            world.observer = Arc::new(NoObserver);
            let mut running = world.start_all();
            running.turns(300);
            assert!(!running.thread.has_background_work().unwrap());
            running.stop();
            let mut listed = world.outputs();
            listed.retain(|text| text.ends_with("=listed"));
            let words = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
            assert_eq!(listed, words.map(|word| format!("{word}=listed")), "step {} at {at}", step.name());
        }
    }
}

fn random_fault(schedule: &mut Random, world: &World) {
    let calls = [
        "poll",
        "begin",
        "send",
        "deliver",
        "send_offsets",
        "commit",
        "after commit",
        "abort",
        "committed",
        "init",
        "create",
    ];
    let call = schedule.pick(&calls);
    let errors = [
        Error::Retry("r".into()),
        Error::Aborted("a".into()),
        Error::ProducerLost("p".into()),
        Error::Migrated("m".into()),
    ];
    let error = match call {
        "poll" | "committed" | "create" => Error::Retry("r".into()),
        "after commit" => Error::ProducerLost("p".into()),
        "deliver" => Error::Aborted("a".into()),
        _ => schedule.pick(&errors),
    };
    world.broker.fault(call, error);
}

fn soak(number: u64) {
    let mut schedule = Random::new(number);
    let mut world = if number % 3 == 2 { World::in_memory() } else { World::new() };
    world.config.commit_interval = Duration::from_millis(1 + schedule.below(40) as u64);
    world.config.task_timeout = Duration::from_secs(3600);
    let mut words = 0;
    let letters = ["a", "b", "c", "d", "e"];
    for _ in 0..8 {
        world.observer = match schedule.below(2) {
            0 => Arc::new(NoObserver),
            _ => {
                let step = schedule.pick(&COMMIT_STEPS);
                let at = 1 + schedule.below(4);
                Arc::new(Killer::new(step, at))
            }
        };
        let running = world.start_all();
        let group = running.group.clone();
        for _ in 0..schedule.below(5) {
            let count = 1 + schedule.below(6);
            let line: Vec<&str> = (0..count).map(|_| schedule.pick(&letters)).collect();
            world.broker.publish(
                "lines",
                schedule.below(2) as i32,
                None,
                &line.join(" "),
                1 + schedule.below(50_000) as i64,
            );
            words += count;
        }
        (0..schedule.below(3)).for_each(|_| random_fault(&mut schedule, &world));
        if schedule.below(3) == 0 {
            group.consumer.borrow_mut().events.push_back(GroupEvent::Lost(Vec::new()));
        }
        dies(running, 5 + schedule.below(60));
        if schedule.below(4) == 0 {
            world.stores = MemoryStores::new();
        }
    }
    world.observer = Arc::new(NoObserver);
    world.broker.lock().faults.clear();
    let mut running = world.start_all();
    running.finish();
    running.stop();
    world.assert_exactly_once(words);
}

#[test]
fn random_schedules_lose_and_double_nothing() {
    testkit::seeds(300).for_each(soak);
}
