//! Two instances of two threads, one of them killed with SIGKILL in mid-stream again and again: at each step of a commit, and at random.

use crate::events::Events;
use crate::expect;
use crate::instance::Instance;
use crate::model::generate::Rng;
use crate::trial::Trial;
use helixstream::streams::runtime::COMMIT_STEPS;

fn two_threads(trial: &Trial, state: &str) -> Instance {
    trial.start(state, &["--threads", "2", "--no-mirror"])
}

#[test]
fn killed_at_each_step_of_a_commit() {
    let trial = Trial::new("steps", &[]);
    let mut events = Events::new(1, 40);
    let feeder = trial.feed_on(move || events.take(20));
    let mut first = two_threads(&trial, "first");
    for (at, step) in COMMIT_STEPS.into_iter().enumerate() {
        // Not always at the first commit: the state is then some way on.
        let step = format!("{}:{}", step.name(), 1 + at % 3 * 2);
        trial.start_killed_at(&step, "second", &["--threads", "2", "--no-mirror"]).wait_for_kill();
        first.assert_running();
    }
    let mut second = two_threads(&trial, "second");
    second.wait_for("the instance to have work again", |instance| (instance.records() > 0).then_some(()));
    feeder.stop();
    trial.wait_until_done(&mut [&mut first, &mut second]);
    expect::assert_outputs(&trial);
    first.stop();
    second.stop();
}

#[test]
fn killed_at_random() {
    let trial = Trial::new("random", &[]);
    let (mut events, mut rng) = (Events::new(2, 40), Rng::new(3));
    let feeder = trial.feed_on(move || events.take(20));
    let mut instances = vec![two_threads(&trial, "0"), two_threads(&trial, "1")];
    for round in 0..4 {
        let at = round % 2;
        let records = 1 + rng.below(400) as u64;
        instances[at].wait_for("some records", |instance| (instance.records() >= records).then_some(()));
        instances.remove(at).kill();
        instances.insert(at, two_threads(&trial, &at.to_string()));
    }
    for instance in &mut instances {
        instance.wait_for("the instance to have work again", |instance| (instance.records() > 0).then_some(()));
    }
    feeder.stop();
    trial.wait_until_done(&mut instances.iter_mut().collect::<Vec<_>>());
    expect::assert_outputs(&trial);
    instances.into_iter().for_each(|instance| drop(instance.stop()));
}
