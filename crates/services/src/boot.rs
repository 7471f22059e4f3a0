//! Checks services, and starts those that do not answer: all in parallel, each behind those that it
//! needs. Services and containers are reached over ports, so that tests need neither.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::board::{Board, Outcome, Reason, State};
use super::probes::shown;
use super::settings::Service;

/// Asks a service whether it is healthy.
pub trait Probe: Sync {
    /// One question, answered within `limit` or a little more.
    ///
    /// # Errors
    /// Why the service does not count as healthy, for people.
    fn probe(&self, service: &Service, limit: Duration) -> Result<(), String>;
}

/// The containers of services.
pub trait Containers: Sync {
    /// Starts the container of a service alone, without those that it needs. A container that
    /// somebody else has started is left alone.
    ///
    /// # Errors
    /// Why it could not be started, for people.
    fn start(&self, service: &Service) -> Result<Start, String>;
}

/// How a start has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The container was started.
    Started,
    /// Somebody else has started one, which may still be warming up.
    WasThere,
}

/// The first pause between two checks.
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
/// The longest pause between two checks.
const LONGEST_BACKOFF: Duration = Duration::from_secs(2);
/// How often a signal is looked for while nothing else happens.
const LOOK: Duration = Duration::from_millis(50);

/// The pause behind the check with this number, which begins at 0.
pub fn backoff(check: u32) -> Duration {
    FIRST_BACKOFF.saturating_mul(1 << check.min(8)).min(LONGEST_BACKOFF)
}

/// The parts of a boot.
pub struct Boot<'a> {
    /// The services, each behind those that it needs.
    pub services: &'a [Service],
    /// Checks them.
    pub probe: &'a dyn Probe,
    /// Starts those that are local and do not answer; without it, services are checked alone.
    pub containers: Option<&'a dyn Containers>,
    /// How long a service that was started may take to be healthy.
    pub limit: Duration,
    /// Ends everything early.
    pub stop: &'a AtomicBool,
}

impl Boot<'_> {
    /// Works until the outcome of each service is decided, and shows the states meanwhile.
    pub fn run(&self, board: &Board) -> Vec<Outcome> {
        // One call of `docker compose` at a time: two would both create the project's network.
        let starts = Mutex::new(());
        thread::scope(|scope| {
            let threads = self.services.iter().enumerate().map(|(index, service)| {
                let starts = &starts;
                scope.spawn(move || {
                    let outcome = self.decide(service, board, index, starts);
                    board.set(index, State::Done(outcome.clone()));
                    outcome
                })
            });
            let threads: Vec<_> = threads.collect();
            let died = || Outcome::Unhealthy("its check ended by a panic [HS9000]".to_owned());
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| died())).collect()
        })
    }

    fn decide(&self, service: &Service, board: &Board, index: usize, starts: &Mutex<()>) -> Outcome {
        let containers = self.containers.filter(|_| !service.remote);
        let Some(containers) = containers else {
            let reason = if self.containers.is_some() { Reason::Remote } else { Reason::Checked };
            board.set(index, State::Checking);
            return self.check(service, reason);
        };
        if let Err(outcome) = self.wait_for_needs(service, board) {
            return outcome;
        }
        board.set(index, State::Checking);
        if self.probe.probe(service, service.timeout).is_ok() {
            return Outcome::Healthy(Reason::WasRunning);
        }
        let started = {
            let _one = starts.lock().unwrap_or_else(PoisonError::into_inner);
            if self.is_stopped() {
                return Outcome::Interrupted;
            }
            board.set(index, State::Starting);
            containers.start(service)
        };
        if self.is_stopped() {
            return Outcome::Interrupted;
        }
        match started {
            Err(why) => Outcome::NotStarted(why),
            Ok(start) => {
                board.set(index, State::WarmingUp);
                self.warm_up(service, start)
            }
        }
    }

    /// Checks it as often as its settings say.
    fn check(&self, service: &Service, reason: Reason) -> Outcome {
        let mut check = 0;
        loop {
            let Err(why) = self.probe.probe(service, service.timeout) else { return Outcome::Healthy(reason) };
            if self.is_stopped() {
                return Outcome::Interrupted;
            }
            check += 1;
            if check >= service.retry_count {
                return Outcome::Unhealthy(why);
            }
            if !self.pause(backoff(check - 1)) {
                return Outcome::Interrupted;
            }
        }
    }

    /// Checks it until it is healthy or its time is over.
    fn warm_up(&self, service: &Service, start: Start) -> Outcome {
        let (reason, since) = match start {
            Start::Started => (Reason::Started, "after its start"),
            Start::WasThere => (Reason::WasRunning, "after its container was found, which `up` has not started"),
        };
        let started = Instant::now();
        let mut check = 0;
        loop {
            let left = self.limit.saturating_sub(started.elapsed()).max(LOOK);
            let Err(why) = self.probe.probe(service, service.timeout.min(left)) else {
                return Outcome::Healthy(reason);
            };
            if self.is_stopped() {
                return Outcome::Interrupted;
            }
            if started.elapsed() >= self.limit {
                return Outcome::Unhealthy(format!("not healthy {} {since}: {why}", shown(self.limit)));
            }
            if !self.pause(backoff(check).min(left)) {
                return Outcome::Interrupted;
            }
            check += 1;
        }
    }

    /// Waits for the services of this boot that a service needs.
    fn wait_for_needs(&self, service: &Service, board: &Board) -> Result<(), Outcome> {
        let of = |name: &str| self.services.iter().position(|other| other.spec.name == name);
        for (name, index) in service.spec.needs.iter().filter_map(|name| Some((name, of(name)?))) {
            let outcome = loop {
                if self.is_stopped() {
                    return Err(Outcome::Interrupted);
                }
                if let Some(outcome) = board.outcome(index, LOOK) {
                    break outcome;
                }
            };
            if !outcome.is_healthy() {
                return Err(Outcome::Skipped(format!("it needs {name}, which is not healthy")));
            }
        }
        Ok(())
    }

    /// Waits; false when a signal ends the wait.
    fn pause(&self, pause: Duration) -> bool {
        let started = Instant::now();
        while started.elapsed() < pause {
            if self.is_stopped() {
                return false;
            }
            thread::sleep(LOOK.min(pause));
        }
        !self.is_stopped()
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::selection::{select, with_needs};
    use crate::settings::{Sources, read};

    /// Services that answer when they were started, after so many checks.
    #[derive(Default)]
    struct World {
        /// How many checks a service fails once it runs.
        slow: BTreeMap<&'static str, u32>,
        /// Services that cannot be started.
        broken: Vec<&'static str>,
        /// Services of which somebody else has a container.
        foreign: Vec<&'static str>,
        /// Whether each check ends with a signal.
        is_signalled_by_checks: bool,
        running: Mutex<BTreeMap<&'static str, u32>>,
        started: Mutex<Vec<&'static str>>,
        stop: AtomicBool,
        /// The service whose start sets `stop`.
        stops_at: Option<&'static str>,
    }

    impl Probe for World {
        fn probe(&self, service: &Service, _: Duration) -> Result<(), String> {
            if self.is_signalled_by_checks {
                self.stop.store(true, Ordering::Relaxed);
            }
            let mut running = self.running.lock().unwrap();
            let checks = running.get_mut(service.spec.name).ok_or("refused")?;
            *checks += 1;
            let fails = self.slow.get(service.spec.name).copied().unwrap_or(0);
            if *checks > fails { Ok(()) } else { Err("still starting".to_owned()) }
        }
    }

    impl Containers for World {
        fn start(&self, service: &Service) -> Result<Start, String> {
            let name = service.spec.name;
            if self.broken.contains(&name) {
                return Err("no such image".to_owned());
            }
            for need in service.spec.needs {
                assert!(self.running.lock().unwrap().contains_key(need), "{name} is started before {need}");
            }
            self.started.lock().unwrap().push(name);
            self.running.lock().unwrap().insert(name, 0);
            self.stop.store(self.stops_at == Some(name), Ordering::Relaxed);
            Ok(if self.foreign.contains(&name) { Start::WasThere } else { Start::Started })
        }
    }

    impl World {
        fn up(&self, names: &[&str], variables: &[(&str, &str)], limit: Duration) -> BTreeMap<&'static str, Outcome> {
            let variables: Vec<_> = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            let all = read(&Sources { variables: &variables, ..Sources::default() }).unwrap().services;
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let services = with_needs(select(all.clone(), &names, &[]).unwrap(), &all);
            let boot = Boot { services: &services, probe: self, containers: Some(self), limit, stop: &self.stop };
            let board = Board::new(services.len());
            let outcomes = boot.run(&board);
            let states: Vec<State> = outcomes.iter().cloned().map(State::Done).collect();
            assert_eq!(board.states(), states);
            services.iter().map(|service| service.spec.name).zip(outcomes).collect()
        }
    }

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn only_what_does_not_answer_is_started_and_behind_what_it_needs() {
        let world = World { slow: [("spark-master", 2), ("kafka", 1)].into(), ..World::default() };
        world.running.lock().unwrap().insert("postgres", 0);
        let outcomes = world.up(&["kafka", "postgres", "spark-worker"], &[], LONG);
        let started = Outcome::Healthy(Reason::Started);
        assert_eq!(outcomes["postgres"], Outcome::Healthy(Reason::WasRunning));
        for name in ["kafka", "spark-master", "spark-worker"] {
            assert_eq!(outcomes[name], started, "{name}");
        }
        let mut order = world.started.lock().unwrap().clone();
        order.sort_unstable();
        assert_eq!(order, ["kafka", "spark-master", "spark-worker"]);
    }

    #[test]
    fn a_service_without_what_it_needs_is_skipped() {
        let world = World { broken: vec!["spark-master"], ..World::default() };
        let outcomes = world.up(&["spark-worker", "minio"], &[], LONG);
        assert_eq!(outcomes["spark-master"], Outcome::NotStarted("no such image".to_owned()));
        assert!(matches!(&outcomes["spark-worker"], Outcome::Skipped(why) if why.contains("spark-master")));
        assert!(outcomes["minio"].is_healthy(), "the others go on");
    }

    #[test]
    fn a_remote_service_is_checked_and_never_started() {
        let world = World::default();
        let variables = [("SVC_KAFKA_HOST", "elsewhere"), ("SVC_KAFKA_RETRY_COUNT", "2"), ("SVC_MINIO_REMOTE", "true")];
        world.running.lock().unwrap().insert("minio", 0);
        let outcomes = world.up(&["kafka", "minio"], &variables, LONG);
        assert_eq!(outcomes["kafka"], Outcome::Unhealthy("refused".to_owned()));
        assert_eq!(outcomes["minio"], Outcome::Healthy(Reason::Remote));
        assert!(world.started.lock().unwrap().is_empty());
    }

    #[test]
    fn a_service_that_stays_unhealthy_is_given_up_at_its_deadline() {
        let world = World { slow: [("kafka", u32::MAX)].into(), ..World::default() };
        let outcomes = world.up(&["kafka"], &[], Duration::from_millis(1));
        assert!(matches!(&outcomes["kafka"], Outcome::Unhealthy(why) if why.ends_with(": still starting")));
    }

    #[test]
    fn a_signal_ends_the_wait() {
        let slow = [("zookeeper", u32::MAX)].into();
        let world = World { slow, stops_at: Some("zookeeper"), ..World::default() };
        let outcomes = world.up(&["kafka-zookeeper"], &[], LONG);
        assert_eq!(outcomes["zookeeper"], Outcome::Interrupted);
        assert!(!outcomes["kafka-zookeeper"].is_healthy());
        assert_eq!(*world.started.lock().unwrap(), ["zookeeper"]);
    }

    #[test]
    fn a_signal_during_the_last_check_is_no_verdict() {
        let world = World { is_signalled_by_checks: true, ..World::default() };
        let variables = [("SVC_KAFKA_REMOTE", "true"), ("SVC_KAFKA_RETRY_COUNT", "1")];
        assert_eq!(world.up(&["kafka"], &variables, LONG)["kafka"], Outcome::Interrupted);
    }

    #[test]
    fn a_container_of_somebody_else_is_waited_for() {
        let world = World { foreign: vec!["minio"], slow: [("minio", 2)].into(), ..World::default() };
        assert_eq!(world.up(&["minio"], &[], LONG)["minio"], Outcome::Healthy(Reason::WasRunning));
        let world = World { foreign: vec!["minio"], slow: [("minio", u32::MAX)].into(), ..World::default() };
        let outcomes = world.up(&["minio"], &[], Duration::from_millis(1));
        assert!(matches!(&outcomes["minio"], Outcome::Unhealthy(why) if why.contains("`up` has not started")));
    }

    #[test]
    fn pauses_grow_and_stay_bounded() {
        let pauses: Vec<u128> = (0..6).map(|check| backoff(check).as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 2000, 2000]);
        assert_eq!(backoff(u32::MAX), LONGEST_BACKOFF);
    }
}
